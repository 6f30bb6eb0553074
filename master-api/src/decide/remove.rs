//! Removes an object.

use super::{Desk, changeset::words, conflict, not_found};
use crate::fact::FactBody;
use contract::{
    Result,
    command::{ChangeKind, Target},
    subscription::{Subscription, SubscriptionStatus},
    uri::EventUri,
};

/// Most subscriptions that a refusal names: it has to fit where errors go.
const NAMED_MAX: usize = 20;

pub(super) fn remove(desk: &mut Desk<'_>, target: &Target) -> Result<()> {
    let (noun, name) = words(target);
    let known = match target {
        Target::Subscriber(id) => remove_subscriber(desk, id)?,
        Target::EventType(uri) => {
            let known = desk.state.event_types.contains_key(uri);
            known.then(|| desk.record(FactBody::EventTypeRemoved { uri: uri.clone() }))
        }
        Target::Source(name) => desk.state.sources.get(name).cloned().map(|source| {
            desk.record(FactBody::SourceRemoved { name: name.clone() });
            desk.erase_secrets(&source.secrets, &[]);
        }),
        Target::Backoff(target, direction) => {
            let (target, direction) = (target.clone(), *direction);
            let known = desk.state.backoffs.contains_key(&(target.clone(), direction));
            known.then(|| desk.record(FactBody::BackoffRemoved { target, direction }))
        }
        Target::Subscription(name) => {
            desk.state.subscription_named(name).cloned().map(|subscription| {
                desk.record(FactBody::SubscriptionRemoved { number: subscription.number });
                let all: Vec<_> = subscription.all_secrets().cloned().collect();
                desk.erase_secrets(&all, &[]);
            })
        }
        Target::Schema(uri) => remove_schema(desk, uri)?,
    };
    known.ok_or_else(|| not_found(noun, &name))?;
    desk.changed(ChangeKind::Removed, noun, name);
    Ok(())
}

/// Nothing may point to it any more.
fn remove_subscriber(desk: &mut Desk<'_>, id: &str) -> Result<Option<()>> {
    let of_it = |subscriber: &Option<String>| subscriber.as_deref() == Some(id);
    let state = &desk.state;
    if let Some(held) = state.subscriptions.values().find(|s| of_it(&s.spec.subscriber)) {
        let why = format!("it still has the subscription `{}`", held.spec.name);
        return Err(conflict("subscriber", id, why));
    }
    if let Some(held) = state.sources.values().find(|source| of_it(&source.spec.subscriber)) {
        let why = format!("the source `{}` still brings its events", held.spec.name);
        return Err(conflict("subscriber", id, why));
    }
    if let Some(held) = state.keys.values().find(|key| of_it(&key.subscriber)) {
        let why = format!("the key `{}` is still its own", held.name);
        return Err(conflict("subscriber", id, why));
    }
    if let Some(held) = state.users.values().find(|user| of_it(&user.subscriber)) {
        let why = format!("the user `{}` is still its own", held.name);
        return Err(conflict("subscriber", id, why));
    }
    let known = state.subscribers.contains_key(id);
    Ok(known.then(|| desk.record(FactBody::SubscriberRemoved { id: id.to_owned() })))
}

/// No live subscription may need it.
fn remove_schema(desk: &mut Desk<'_>, uri: &EventUri) -> Result<Option<()>> {
    let known = desk.state.schemas.contains_key(uri);
    let of_others: Vec<_> = desk.state.schemas.keys().filter(|other| *other != uri).collect();
    let subscriptions = desk.state.subscriptions.values();
    let mut needing: Vec<_> = subscriptions
        .filter(|subscription| known && needs(subscription, uri, &of_others))
        .map(|subscription| format!("`{}`", subscription.spec.name))
        .collect();
    needing.sort_unstable();
    let count = needing.len();
    needing.truncate(NAMED_MAX);
    let names = needing.join(", ");
    let why = match count {
        0 => return Ok(known.then(|| desk.record(FactBody::SchemaRemoved { uri: uri.clone() }))),
        1 => format!("the subscription {names} needs it"),
        2..=NAMED_MAX => format!("{count} subscriptions need it: {names}"),
        _ => format!("{count} subscriptions need it: {names} and {} more", count - NAMED_MAX),
    };
    Err(conflict("schema", uri.as_str(), why))
}

/// A subscription that is not disabled needs a schema if it names its type, or if it is the last
/// one that one of its patterns selects: a pattern such as `shop/1/*` that goes on selecting others
/// does not hold each of them.
fn needs(subscription: &Subscription, uri: &EventUri, others: &[&EventUri]) -> bool {
    let live = subscription.status != SubscriptionStatus::Disabled;
    live && subscription.spec.events.iter().filter(|pattern| pattern.matches(uri)).any(|pattern| {
        pattern.literal().is_some() || !others.iter().any(|other| pattern.matches(other))
    })
}

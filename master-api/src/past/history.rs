//! What became of something: the facts that touched it, and what each of them changed.

use super::fold;
use crate::{fact::FactBody, state::State};
use contract::{
    Result,
    command::Target,
    id::SecretId,
    master_api::Log,
    past::{FieldChange, HistoryEntry, Subject},
};
use std::{collections::BTreeSet, ops::ControlFlow};

/// Changes that a history lists at most; the newest are kept.
const CHANGES_MAX: usize = 500;

/// The facts that touched a subject, oldest first, the newest [`CHANGES_MAX`] of them.
pub async fn history(log: &impl Log, wanted: &Subject) -> Result<Vec<HistoryEntry>> {
    let (mut found, mut next) = (Vec::new(), State::default());
    fold(log, |state, fact, body| {
        next.apply(fact.sequence, body);
        if touches(state, body, wanted) {
            let (before, after) = (object(state, wanted), object(&next, wanted));
            let mut changes = Vec::new();
            differences("", before.as_ref(), after.as_ref(), &mut changes);
            found.push(HistoryEntry {
                sequence: fact.sequence,
                time: fact.time,
                actor: fact.actor.clone(),
                kind: fact.kind.clone(),
                changes,
            });
            if found.len() > CHANGES_MAX {
                found.remove(0);
            }
        }
        ControlFlow::Continue(())
    })
    .await?;
    Ok(found)
}

/// Is the fact about the subject, given the state before it?
fn touches(state: &State, body: &FactBody, subject: &Subject) -> bool {
    match (subject, body) {
        (Subject::Object(wanted), FactBody::SecretRevealed { id }) => {
            signed_by(state, *id).as_ref() == Some(wanted)
        }
        (
            Subject::Object(Target::Subscription(name)),
            FactBody::BreakerOpened { number, .. }
            | FactBody::BreakerClosed { number, .. }
            | FactBody::DeliveriesSkipped { number, .. },
        ) => state.subscriptions.get(number).is_some_and(|held| held.spec.name == *name),
        (Subject::Object(wanted), _) => target(state, body).as_ref() == Some(wanted),
        (Subject::Setting(name), FactBody::ConfigSet { key, .. }) => key == name,
        (Subject::Key(wanted), FactBody::KeyIssued(key)) => goes_by(&key.id, &key.name, wanted),
        (Subject::Key(wanted), FactBody::KeyRevoked { id }) => {
            state.keys.get(id).is_some_and(|key| goes_by(&key.id, &key.name, wanted))
        }
        (Subject::User(wanted), FactBody::UserCreated(user)) => {
            goes_by(&user.id, &user.name, wanted)
        }
        (
            Subject::User(wanted),
            FactBody::UserRolesSet { id, .. }
            | FactBody::UserPasswordSet { id, .. }
            | FactBody::UserDisabled { id, .. }
            | FactBody::UserRemoved { id },
        ) => state.users.get(id).is_some_and(|user| goes_by(&user.id, &user.name, wanted)),
        (Subject::Setting(_) | Subject::Key(_) | Subject::User(_), _) => false,
    }
}

fn goes_by(id: &impl ToString, name: &str, wanted: &str) -> bool {
    name == wanted || id.to_string() == wanted
}

/// The object that a fact gives another form, given the state before it.
pub(super) fn target(state: &State, body: &FactBody) -> Option<Target> {
    let named = |number| {
        let found = state.subscriptions.get(number)?;
        Some(Target::Subscription(found.spec.name.clone()))
    };
    match body {
        FactBody::SubscriberPut(subscriber) => Some(Target::Subscriber(subscriber.id.clone())),
        FactBody::SubscriberRemoved { id } => Some(Target::Subscriber(id.clone())),
        FactBody::EventTypePut(event_type) => Some(Target::EventType(event_type.uri.clone())),
        FactBody::EventTypeRemoved { uri } => Some(Target::EventType(uri.clone())),
        FactBody::SourcePut(source) => Some(Target::Source(source.spec.name.clone())),
        FactBody::SourceRemoved { name } => Some(Target::Source(name.clone())),
        FactBody::BackoffPut(rule) => Some(Target::Backoff(rule.target.clone(), rule.direction)),
        FactBody::BackoffRemoved { target, direction } => {
            Some(Target::Backoff(target.clone(), *direction))
        }
        FactBody::SchemaPublished(version) => Some(Target::Schema(version.uri.clone())),
        FactBody::SchemaRemoved { uri } => Some(Target::Schema(uri.clone())),
        FactBody::SubscriptionCreated(created) => {
            Some(Target::Subscription(created.spec.name.clone()))
        }
        FactBody::SubscriptionChanged { number, .. }
        | FactBody::SubscriptionStatusChanged { number, .. }
        | FactBody::SubscriptionRemoved { number } => named(number),
        // About no object that has a name; a new kind that is adds its arm here.
        _ => None,
    }
}

/// The subscription that has this secret.
fn signed_by(state: &State, id: SecretId) -> Option<Target> {
    let has = |secrets: &[contract::subscription::SecretRef]| secrets.iter().any(|it| it.id == id);
    let found = state.subscriptions.values().find(|found| has(&found.secrets))?;
    Some(Target::Subscription(found.spec.name.clone()))
}

/// The subject as it stands, in the words of the configuration.
fn object(state: &State, subject: &Subject) -> Option<serde_json::Value> {
    let target = match subject {
        Subject::Object(target) => target,
        Subject::Setting(name) => return serde_json::to_value(state.settings.0.get(name)?).ok(),
        Subject::Key(wanted) => {
            let mut keys = state.keys.values();
            let key = keys.find(|key| goes_by(&key.id, &key.name, wanted))?;
            return without("token_sha256", serde_json::to_value(key.as_ref()));
        }
        Subject::User(wanted) => {
            let mut users = state.users.values();
            let user = users.find(|user| goes_by(&user.id, &user.name, wanted))?;
            return serde_json::to_value(user.as_ref()).ok();
        }
    };
    let shown = match target {
        Target::Subscriber(id) => serde_json::to_value(state.subscribers.get(id)?.as_ref()),
        Target::EventType(uri) => serde_json::to_value(state.event_types.get(uri)?.as_ref()),
        Target::Source(name) => serde_json::to_value(state.sources.get(name)?.as_ref()),
        Target::Backoff(of, direction) => {
            serde_json::to_value(state.backoffs.get(&(of.clone(), *direction))?.as_ref())
        }
        Target::Subscription(name) => {
            serde_json::to_value(state.subscription_named(name)?.as_ref())
        }
        Target::Schema(uri) => serde_json::to_value(state.schemas.get(uri)?.as_ref()),
    };
    shown.ok()
}

fn without(field: &str, value: serde_json::Result<serde_json::Value>) -> Option<serde_json::Value> {
    let mut value = value.ok()?;
    value.as_object_mut()?.remove(field);
    Some(value)
}

/// The leaves in which two values differ.
fn differences(
    path: &str,
    before: Option<&serde_json::Value>,
    after: Option<&serde_json::Value>,
    found: &mut Vec<FieldChange>,
) {
    use serde_json::Value::Object;
    if before == after {
        return;
    }
    if let (Some(Object(old)), Some(Object(new))) = (before, after) {
        let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            differences(&path, old.get(name), new.get(name), found);
        }
        return;
    }
    let (before, after) = (before.cloned(), after.cloned());
    found.push(FieldChange { path: path.to_owned(), before, after });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_name_each_leaf() {
        let (before, after) =
            (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 1, "c": 3}, "d": 4}));
        let mut found = Vec::new();
        differences("", Some(&before), Some(&after), &mut found);
        let leaf = |path: &str, before: Option<i32>, after: Option<i32>| FieldChange {
            path: path.to_owned(),
            before: before.map(|value| json!(value)),
            after: after.map(|value| json!(value)),
        };
        assert_eq!(found, [leaf("a.c", Some(2), Some(3)), leaf("d", None, Some(4))]);
    }
}

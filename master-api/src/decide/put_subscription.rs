//! Creates or changes a subscription.

use super::{
    Desk, check, conflict, credential::with_stored_credential, refused, signing::KEYS_SINCE_FORMAT,
};
use crate::fact::FactBody;
use contract::{
    Result,
    command::ChangeKind,
    id::{SUBSCRIPTION_NUMBER_MAX, SubscriptionId, SubscriptionNumber},
    secret::Secret,
    subscription::{Subscription, SubscriptionSpec, SubscriptionStatus},
};

/// Since then, a subscription may have a rate limit, a filter and a transformation, and its
/// deliveries may wait for each other, or for receivers.
const LIMITS_AND_EXPRESSIONS_SINCE_FORMAT: u32 = 5;
/// Random bytes of a signing secret that is made here.
const SECRET_BYTES: usize = 32;

/// No secrets given: it keeps those it has, and a new one gets one that is shown once.
pub(super) fn put_subscription(
    desk: &mut Desk<'_>,
    spec: &SubscriptionSpec,
    secrets: &[Secret],
) -> Result<()> {
    check::subscription(spec, secrets)?;
    check_format(desk, spec)?;
    check_keys(desk, spec, secrets)?;
    check::subscriber(desk, "subscription", &spec.name, spec.subscriber.as_deref())?;
    let held = desk.state.subscription_named(&spec.name).cloned();
    let spec = &with_stored_credential(desk, spec, held.as_deref().map(|held| &held.spec))?;
    match held {
        Some(held) => change(desk, &held, spec, secrets),
        None => return create(desk, spec, secrets),
    }
    Ok(())
}

/// An older replica would take a private key for a secret.
fn check_keys(desk: &Desk<'_>, spec: &SubscriptionSpec, secrets: &[Secret]) -> Result<()> {
    match desk.state.format < KEYS_SINCE_FORMAT && secrets.iter().any(Secret::is_signing_key) {
        true => {
            Err(conflict("subscription", &spec.name, "some replica is too old to sign with keys"))
        }
        false => Ok(()),
    }
}

/// What an older replica would not heed has to wait until there is none.
fn check_format(desk: &Desk<'_>, spec: &SubscriptionSpec) -> Result<()> {
    let wanted = [
        (!spec.ordering.is_none(), "keep an order"),
        (spec.rate_limit.is_some(), "keep to a rate limit"),
        (spec.filter.is_some(), "heed a filter"),
        (spec.transform.is_some(), "make a body"),
        (spec.pull, "know of receivers"),
    ];
    let too_new = wanted.into_iter().find(|(is_wanted, _)| *is_wanted);
    match too_new.filter(|_| desk.state.format < LIMITS_AND_EXPRESSIONS_SINCE_FORMAT) {
        Some((_, what)) => {
            let why = format!("some replica is too old to {what}");
            Err(conflict("subscription", &spec.name, why))
        }
        None => Ok(()),
    }
}

fn create(desk: &mut Desk<'_>, spec: &SubscriptionSpec, secrets: &[Secret]) -> Result<()> {
    let number = SubscriptionNumber(desk.state.last_number.0 + 1);
    if number.0 > SUBSCRIPTION_NUMBER_MAX {
        let why = format!("no more than {SUBSCRIPTION_NUMBER_MAX} subscriptions can ever be made");
        return Err(refused("subscription", &spec.name, why));
    }
    let made = secrets.iter().all(Secret::is_signing_key).then(|| new_secret(desk));
    let secrets: Vec<_> = made.iter().chain(secrets).cloned().collect();
    let subscription = Subscription {
        id: SubscriptionId::from_bytes(desk.given.ids.uuid()),
        number,
        spec: spec.clone(),
        status: SubscriptionStatus::Active,
        status_reason: None,
        breaker: None,
        secrets: desk.exchange_signing_secrets(&[], &secrets),
        created_at: desk.given.now,
    };
    let id = subscription.id.to_string();
    desk.record(FactBody::SubscriptionCreated(Box::new(subscription)));
    desk.changed(ChangeKind::Created, "subscription", &spec.name);
    desk.changed_with(Some(id), made);
    Ok(())
}

/// A signing secret.
pub(super) fn new_secret(desk: &Desk<'_>) -> Secret {
    let mut bytes = [0; SECRET_BYTES];
    desk.given.random.fill(&mut bytes);
    Secret::webhook(&bytes)
}

fn change(desk: &mut Desk<'_>, held: &Subscription, spec: &SubscriptionSpec, secrets: &[Secret]) {
    let secrets = desk.exchange_signing_secrets(&held.secrets, secrets);
    let kind = if held.spec == *spec && held.secrets == secrets {
        ChangeKind::Unchanged
    } else {
        let kept: Vec<_> = secrets.iter().chain(spec.credential()).cloned().collect();
        let before: Vec<_> = held.all_secrets().cloned().collect();
        let (number, spec) = (held.number, Box::new(spec.clone()));
        desk.record(FactBody::SubscriptionChanged { number, spec, secrets });
        desk.erase_secrets(&before, &kept);
        ChangeKind::Changed
    };
    desk.changed(kind, "subscription", &spec.name);
    desk.changed_with(Some(held.id.to_string()), None);
}

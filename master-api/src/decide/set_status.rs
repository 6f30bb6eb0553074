//! Pauses, resumes or disables a subscription.

use super::{Desk, conflict, not_found};
use crate::{fact::FactBody, state::State};
use contract::{
    Result, command::ChangeKind, id::SubscriptionNumber, subscription::SubscriptionStatus,
};

pub(super) fn set_status(
    desk: &mut Desk<'_>,
    name: &str,
    status: SubscriptionStatus,
    reason: Option<&str>,
) -> Result<()> {
    let held = desk.state.subscription_named(name).cloned();
    let held = held.ok_or_else(|| not_found("subscription", name))?;
    // An active subscription needs no reason.
    let reason = reason.filter(|_| status != SubscriptionStatus::Active).map(str::to_owned);
    // Resuming one whose endpoint is left alone lets it be tried.
    let is_held_back = status == SubscriptionStatus::Active && held.breaker.is_some();
    let same = held.status == status && held.status_reason == reason;
    let kind = if same && !is_held_back {
        ChangeKind::Unchanged
    } else {
        let number = held.number;
        desk.record(FactBody::SubscriptionStatusChanged { number, status, reason });
        ChangeKind::Changed
    };
    desk.changed(kind, "subscription", name);
    desk.changed_with(Some(held.id.to_string()), None);
    Ok(())
}

/// Since then, what waits for a subscription may be skipped.
const SKIPPING_SINCE_FORMAT: u32 = 5;

/// Takes back what waits for a subscription that is not active, and then resumes it.
pub(super) fn resume_skipping(desk: &mut Desk<'_>, name: &str) -> Result<()> {
    let held = desk.state.subscription_named(name).cloned();
    let held = held.ok_or_else(|| not_found("subscription", name))?;
    if desk.state.format < SKIPPING_SINCE_FORMAT {
        return Err(conflict("subscription", name, "some replica is too old to skip deliveries"));
    }
    if held.status == SubscriptionStatus::Active {
        return Err(conflict("subscription", name, "it is active: pause it first"));
    }
    let kind = if desk.state.skipping.contains_key(&held.number) {
        ChangeKind::Unchanged
    } else {
        desk.record(FactBody::DeliveriesSkipped { number: held.number });
        ChangeKind::Changed
    };
    desk.changed(kind, "subscription", name);
    desk.changed_with(Some(held.id.to_string()), None);
    Ok(())
}

/// The endpoint of a subscription answered 410 (RFC 9110, "Gone"): it wants no more.
pub fn pause_after_gone(state: &State, number: SubscriptionNumber) -> Option<FactBody> {
    let subscription = state.subscriptions.get(&number)?;
    let active = subscription.status == SubscriptionStatus::Active;
    active.then(|| FactBody::SubscriptionStatusChanged {
        number,
        status: SubscriptionStatus::Paused,
        reason: Some("the endpoint answered 410".to_owned()),
    })
}

//! Pauses, resumes or disables a subscription.

use super::{Desk, not_found};
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
    let kind = if held.status == status && held.status_reason == reason {
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

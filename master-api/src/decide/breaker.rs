//! Leaves endpoints alone at which nearly all attempts fail, and gives up those that stay so.

use crate::{config::BreakerConfig, fact::FactBody, tally::Tally};
use contract::{
    breaker::Breaker,
    clock::Timestamp,
    subscription::{Subscription, SubscriptionStatus},
};

/// What follows from an attempt at the endpoint of a subscription that is in the `tally` already.
pub fn breaker(
    config: &BreakerConfig,
    subscription: &Subscription,
    tally: &Tally,
    now: Timestamp,
) -> Option<FactBody> {
    let number = subscription.number;
    if !tally.is_failing() {
        return subscription.breaker.map(|_open| FactBody::BreakerClosed { number });
    }
    if subscription.status != SubscriptionStatus::Active {
        return None;
    }
    if let Some(since) = failing_since(config, subscription, tally)
        && !config.disable_after.0.is_zero()
        && now.since(since) >= config.disable_after.0
    {
        let why = format!("every attempt has failed for {} or longer", config.disable_after);
        let status = SubscriptionStatus::Disabled;
        return Some(FactBody::SubscriptionStatusChanged { number, status, reason: Some(why) });
    }
    if !config.enabled || subscription.breaker.is_some() {
        return None;
    }
    let (attempts, failures) = tally.recent(config.window.0, now);
    let too_many = f64::from(failures) >= f64::from(attempts) * config.failure_share;
    (attempts >= config.attempts && too_many).then(|| {
        let probe_every = config.probe_every;
        let breaker = Breaker { since: now, attempts, failures, probe_every };
        FactBody::BreakerOpened { number, breaker }
    })
}

/// Since when nothing came through: since the breaker opened, which the log knows, or for as long
/// as this process has seen it, if that are enough attempts to tell.
fn failing_since(
    config: &BreakerConfig,
    subscription: &Subscription,
    tally: &Tally,
) -> Option<Timestamp> {
    let seen = tally.failing_since().filter(|_| tally.in_a_row() >= config.attempts);
    let open = subscription.breaker.map(|breaker| breaker.since);
    seen.into_iter().chain(open).min()
}

#[cfg(test)]
#[path = "breaker/tests.rs"]
mod tests;

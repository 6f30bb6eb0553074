//! The pure core: what is to be done with a leased delivery, and what follows from an outcome.
//!
//! Nothing here touches a clock, dice, a socket or a port: the shell in `run.rs` brings what is
//! needed and carries out what comes out.

use crate::outcome::{Failure, Outcome};
use contract::{
    backoff::BackoffPolicy,
    clock::Timestamp,
    delivery::{Attempt, AttemptReport, Cause, DeliveryState, Next},
    event::Event,
    id::Sequence,
    master_api::Work,
    queue::Settlement,
    stamp::{StampKey, Stamped},
    subscription::{Subscription, SubscriptionStatus},
};
use std::time::Duration;

/// How long a delivery is put back that cannot be judged or sent just now.
const PUT_BACK: Duration = Duration::from_secs(1);

/// What carries an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// A request to the subscription's URL.
    Http,
    /// The stream of a receiver.
    Stream,
}

/// What a consumer knows when it looks at a delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) now: Timestamp,
    /// Position of the rules that it has.
    pub(crate) rules: Sequence,
    /// The delivery's subscription, if these rules have it.
    pub(crate) subscription: Option<&'a Subscription>,
    /// Why nothing can be delivered to the subscription as it is defined.
    pub(crate) misconfigured: Option<&'a str>,
    pub(crate) stamp_keys: &'a [StampKey],
    /// What would carry it.
    pub(crate) carrier: Carrier,
}

/// What is to be done with a leased delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// No attempt: only the lease ends.
    Settle(Settlement),
    /// An attempt that fails before anything is sent.
    Fail(Failure),
    /// Send it.
    Send,
}

/// What is to be done with `work`?
pub(crate) fn plan(work: &Work, view: &View<'_>) -> Plan {
    let put_back = Plan::Settle(Settlement::Nack(view.now.after(PUT_BACK)));
    if work.delivery.state != DeliveryState::Waiting {
        return Plan::Settle(Settlement::Ack);
    }
    if let Some(due) = work.delivery.due.filter(|due| *due > view.now) {
        return Plan::Settle(Settlement::Nack(due));
    }
    // Whoever matched the event may know newer rules than this process: wait until it has them.
    let behind = view.rules < work.event.rules;
    match view.subscription.map(|subscription| subscription.status) {
        None if behind => return put_back,
        // It was removed, and its deliveries cancelled.
        None => return Plan::Settle(Settlement::Ack),
        Some(SubscriptionStatus::Active) => {}
        Some(SubscriptionStatus::Paused | SubscriptionStatus::Disabled) => return put_back,
    }
    // Between the lease and now its subscription got a URL, or lost it.
    let by_stream = view.subscription.is_some_and(|subscription| subscription.spec.pull);
    if by_stream != (view.carrier == Carrier::Stream) {
        return put_back;
    }
    let Some(payload) = &work.payload else {
        return Plan::Fail(Failure::new(Cause::Expired, "the payload's retention has passed"));
    };
    match stamp_fits(&work.event, payload, view.stamp_keys) {
        Some(true) => {}
        None if behind => return put_back,
        Some(false) | None => {
            let why = "the event is not what the broker stamped: nothing was sent";
            return Plan::Fail(Failure::new(Cause::Integrity, why));
        }
    }
    match view.misconfigured {
        Some(why) => Plan::Fail(Failure::new(Cause::Misconfigured, format!("not sent: {why}"))),
        None => Plan::Send,
    }
}

/// Is the event exactly what was stamped? None if the stamp's key is not known.
fn stamp_fits(event: &Event, payload: &[u8], keys: &[StampKey]) -> Option<bool> {
    let stamped = Stamped {
        id: event.id,
        uri: &event.uri,
        content_type: &event.content_type,
        headers: &event.headers,
        payload,
    };
    let key = keys.iter().rev().find(|key| key.id() == event.stamp.key)?;
    Some(key.verify(&event.stamp, stamped))
}

/// An attempt that was made.
#[derive(Debug)]
pub(crate) struct Made<'a> {
    pub(crate) work: &'a Work,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    pub(crate) outcome: Outcome,
}

/// What decides about a retry.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    pub(crate) policy: BackoffPolicy,
    /// Where the policy comes from.
    pub(crate) rule: String,
    /// In `[0, 1)`.
    pub(crate) dice: f64,
    /// Furthest that a `Retry-After` can move the next attempt.
    pub(crate) retry_after_max: Duration,
}

/// The report of an attempt, and how its lease ends. `backoff` is asked only when it failed and
/// may be tried again.
pub(crate) fn conclude(
    made: Made<'_>,
    backoff: impl FnOnce() -> Backoff,
) -> (AttemptReport, Settlement) {
    let cause = made.outcome.failure.as_ref().map(|failure| failure.cause);
    let (next, backoff_rule) = match cause {
        None => (Next::Done, None),
        // What follows from the event and the subscription alone would only come again.
        Some(cause @ (Cause::Integrity | Cause::Expired | Cause::Transform | Cause::Format)) => {
            (Next::Dead(cause), None)
        }
        Some(cause) => {
            let backoff = backoff();
            (retry(&made, cause, &backoff), Some(backoff.rule))
        }
    };
    let settlement = match next {
        Next::Done | Next::Dead(_) => Settlement::Ack,
        Next::Retry(due) => Settlement::Nack(due),
    };
    let outcome = made.outcome;
    let report = AttemptReport {
        delivery: made.work.delivery.id,
        attempt: Attempt {
            number: made.work.delivery.next_attempt(),
            started_at: made.started_at,
            duration_ms: u32::try_from(outcome.duration.as_millis()).unwrap_or(u32::MAX),
            status: outcome.status,
            cause,
            error: outcome.failure.map(|failure| failure.sentence),
            address: outcome.address,
            response_excerpt: None,
            backoff_rule,
        },
        exchange: outcome.exchange,
        next,
        pause_subscription: cause == Some(Cause::Gone),
    };
    (report, settlement)
}

fn retry(made: &Made<'_>, cause: Cause, backoff: &Backoff) -> Next {
    let delivery = &made.work.delivery;
    let earlier_rounds = usize::try_from(delivery.attempts_before_resend).unwrap_or(usize::MAX);
    let round = delivery.attempts.get(earlier_rounds..).unwrap_or_default();
    // After a resend the clock of the back-off starts anew with the round's first attempt.
    let round_start = match (earlier_rounds, round.first()) {
        (0, _) => made.work.event.received_at,
        (_, Some(first)) => first.started_at,
        (_, None) => made.started_at,
    };
    let n = u32::try_from(round.len()).unwrap_or(u32::MAX).saturating_add(1);
    let elapsed = made.ended_at.since(round_start);
    let Some(delay) = backoff.policy.next(n, elapsed, backoff.dice) else {
        return Next::Dead(Cause::Exhausted);
    };
    let due = made.ended_at.after(delay);
    let asked = made.outcome.retry_after.filter(|_| cause == Cause::Throttled).map(|wait| {
        let asked = made.ended_at.after(wait.min(backoff.retry_after_max));
        let last = backoff.policy.max_elapsed.map(|max| round_start.after(max.0));
        last.map_or(asked, |last| asked.min(last))
    });
    if let Some(wait) = made.outcome.retry_in {
        let wanted = made.ended_at.after(wait.min(backoff.retry_after_max));
        let last = backoff.policy.max_elapsed.map(|max| round_start.after(max.0));
        return Next::Retry(last.map_or(wanted, |last| wanted.min(last)));
    }
    // The endpoint's wish moves the attempt later, never earlier.
    Next::Retry(asked.map_or(due, |asked| asked.max(due)))
}

#[cfg(test)]
#[path = "attempt/tests.rs"]
mod tests;

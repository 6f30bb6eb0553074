//! Decides what a replay is about, and which deliveries it makes.

use super::not_found;
use crate::{
    fact::{FactBody, ReplayOrder},
    lifecycle::{self, Trigger},
    state::State,
    tables::{DeliveryRow, EventIdRow},
};
use contract::{
    Error, ErrorCode, Result,
    clock::Timestamp,
    delivery::DeliveryState,
    event::Event,
    id::{DeliveryId, EventId, ReplayId, Sequence, SubscriptionNumber},
    limits::{REPLAY_EVENTS_MAX, REPLAYS_RUNNING_MAX},
    replay::{ReplayProgress, ReplaySpec},
};

/// The format that allows replays.
pub const SINCE_FORMAT: u32 = 5;

/// A delivery that may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Of this event.
    pub event: EventId,
    /// For this subscription.
    pub to: SubscriptionNumber,
    /// The delivery that is repeated; None: it was none of anybody's.
    pub from: Option<DeliveryId>,
}

/// What becomes of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is made, in the place of this dead letter if there is one.
    Make(Option<DeliveryId>),
    /// Its payload is gone, or goes with its day.
    Expired,
    /// The subscription is gone, or the event is not for it.
    Unwanted,
    /// What is to be repeated is still to be attempted.
    Waiting,
}

impl Verdict {
    /// Counts it. Those that are made are counted as waiting by the facts that make them.
    pub const fn count(self, progress: &mut ReplayProgress) {
        match self {
            Self::Make(_) => progress.made += 1,
            Self::Expired => progress.skipped_expired += 1,
            Self::Unwanted => progress.skipped_unwanted += 1,
            Self::Waiting => progress.skipped_waiting += 1,
        }
    }
}

/// An order as it is recorded. `upto`: the last fact before it.
pub fn order(
    state: &State,
    (id, spec): (ReplayId, ReplaySpec),
    now: Timestamp,
    upto: Sequence,
) -> Result<ReplayOrder> {
    let refuse = |why: String| Err(Error::new(ErrorCode::InvalidRequest, why));
    if state.format < SINCE_FORMAT {
        let why = "replays wait until every replica can read them";
        return Err(Error::new(ErrorCode::Unavailable, why));
    }
    if spec.events.len() > REPLAY_EVENTS_MAX {
        let count = spec.events.len();
        return refuse(format!("{count} events are named; allowed: {REPLAY_EVENTS_MAX}"));
    }
    let all = spec.events.is_empty() && spec.subscription.is_none() && spec.uri.is_none();
    if all && spec.since.is_none() && spec.to.is_none() {
        return refuse("say what to replay: events, a subscription, a type, or a time".to_owned());
    }
    if spec.dead && spec.to.is_some() && spec.subscription.is_none() {
        return refuse("dead letters for another subscription: say whose they are".to_owned());
    }
    if spec.rate == Some(0) {
        return refuse("`rate` is 0; allowed: at least 1 in a second".to_owned());
    }
    if let (Some(since), Some(until)) = (spec.since, spec.until)
        && since >= until
    {
        return refuse(format!("nothing lies between {since} and {until}"));
    }
    let named = |name: &Option<String>| match name {
        None => Ok(None),
        Some(name) => match state.subscription_named(name) {
            Some(found) => Ok(Some(found.number)),
            None => Err(not_found("subscription", name)),
        },
    };
    let (from, to) = (named(&spec.subscription)?, named(&spec.to)?);
    Ok(ReplayOrder { id, spec, from, to, started_at: now, upto })
}

/// Starts it, unless too many run.
pub fn start(state: &State, order: ReplayOrder) -> Result<FactBody> {
    if state.running_replays().count() >= REPLAYS_RUNNING_MAX {
        let why = format!("{REPLAYS_RUNNING_MAX} replays run: wait for one, or cancel one");
        return Err(Error::new(ErrorCode::Conflict, why));
    }
    Ok(FactBody::ReplayStarted(Box::new(order)))
}

/// None: it is over, or cancelled already.
pub fn cancel(state: &State, id: ReplayId) -> Result<Option<FactBody>> {
    let held = state.replays.get(&id).ok_or_else(|| not_found("replay", &id.to_string()))?;
    let running = held.ended.is_none() && !held.cancelled;
    Ok(running.then_some(FactBody::ReplayCancelled { replay: id }))
}

/// May the subscription get this event, as it is now?
pub fn is_wanted(state: &State, to: SubscriptionNumber, event: &Event) -> bool {
    state.subscriptions.get(&to).is_some_and(|held| {
        let spec = &held.spec;
        event.audience.includes(spec.subscriber.as_deref())
            && spec.events.iter().any(|pattern| pattern.matches(&event.uri))
    })
}

/// Judges a candidate by the rows of its event and of the delivery that it repeats.
pub fn judge(
    state: &State,
    candidate: Candidate,
    event: Option<&EventIdRow>,
    from: Option<&DeliveryRow>,
) -> Verdict {
    let retired = |event: &EventIdRow| state.retired.is_some_and(|day| event.bucket <= day);
    let Some(event) = event.filter(|event| event.gone.is_none() && !retired(event)) else {
        return Verdict::Expired;
    };
    if event.quarantined || !state.subscriptions.contains_key(&candidate.to) {
        return Verdict::Unwanted;
    }
    let Some((id, row)) = candidate.from.zip(from) else { return Verdict::Make(None) };
    // What goes with its day stays as it is: it was counted already.
    let same = id.lane.subscription() == candidate.to && !state.retired(id.sequence, row.carried);
    let replaced = same && lifecycle::after(row.state, Trigger::Replayed).is_some();
    match row.state {
        DeliveryState::Waiting => Verdict::Waiting,
        DeliveryState::Dead | DeliveryState::Delivered | DeliveryState::Cancelled => {
            Verdict::Make(replaced.then_some(id))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{delivery::Cause, id::LaneId};

    fn candidate(from: Option<u32>) -> Candidate {
        let from = from.map(|number| DeliveryId {
            lane: LaneId::behind(SubscriptionNumber(number)),
            sequence: Sequence(9),
        });
        Candidate { event: EventId::from_bytes([1; 16]), to: SubscriptionNumber(1), from }
    }

    #[test]
    fn an_order_says_what_it_is_about() {
        let state = State { format: SINCE_FORMAT, ..State::default() };
        let id = ReplayId::from_bytes([1; 16]);
        let order = |spec| super::order(&state, (id, spec), Timestamp(5), Sequence(7));
        let code = |spec| order(spec).unwrap_err().code;
        assert_eq!(code(ReplaySpec::default()), ErrorCode::InvalidRequest);
        let some = || ReplaySpec { since: Some(Timestamp(3)), ..ReplaySpec::default() };
        assert_eq!(order(some()).unwrap().upto, Sequence(7));
        let backwards = ReplaySpec { until: Some(Timestamp(3)), ..some() };
        assert_eq!(code(backwards), ErrorCode::InvalidRequest);
        assert_eq!(code(ReplaySpec { rate: Some(0), ..some() }), ErrorCode::InvalidRequest);
        let unknown = ReplaySpec { to: Some("nobody".into()), ..some() };
        assert_eq!(code(unknown.clone()), ErrorCode::NotFound);
        assert_eq!(code(ReplaySpec { dead: true, ..unknown }), ErrorCode::InvalidRequest);
        let many = vec![EventId::from_bytes([1; 16]); REPLAY_EVENTS_MAX + 1];
        assert_eq!(code(ReplaySpec { events: many, ..some() }), ErrorCode::InvalidRequest);
        let early = State { format: SINCE_FORMAT - 1, ..State::default() };
        let refused = super::order(&early, (id, some()), Timestamp(5), Sequence(7)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unavailable);
    }

    #[test]
    fn candidates_without_payload_or_receiver_are_passed_over() {
        let state = State::default();
        let mut event = EventIdRow::new(Sequence(5), crate::fact::Bucket(3), Vec::new());
        let judged = |event: Option<&EventIdRow>| judge(&state, candidate(None), event, None);
        assert_eq!(judged(None), Verdict::Expired);
        assert_eq!(judged(Some(&event)), Verdict::Unwanted, "there is no subscription");
        event.gone = Some(Cause::Erased);
        assert_eq!(judged(Some(&event)), Verdict::Expired);
        event.gone = None;
        let retired = State { retired: Some(crate::fact::Bucket(3)), ..State::default() };
        assert_eq!(judge(&retired, candidate(None), Some(&event), None), Verdict::Expired);
    }
}

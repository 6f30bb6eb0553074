//! The pure core, without a clock, a socket or a port.

use super::*;
use bytes::Bytes;
use contract::{
    backoff::{Jitter, Kind, Span},
    delivery::Delivery,
    event::{Audience, Direction, EventState, Headers, Origin, Trace},
    id::{DeliveryId, EventId, LaneId, SecretId},
    testing::{subscription, subscription_spec},
};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp(1_000_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

fn stamp_key() -> StampKey {
    StampKey::new(SecretId::from_bytes([9; 16]), b"stamp")
}

fn work(attempts: u32) -> Work {
    let payload = Bytes::from_static(b"{\"ref\":\"main\"}");
    let (id, headers) = (EventId::from_bytes([7; 16]), Headers(vec![("x-a".into(), "1".into())]));
    let uri = "github/1/push".parse().unwrap();
    let content_type = "application/json";
    let stamped =
        Stamped { id, uri: &uri, content_type, headers: &headers, payload: payload.as_ref() };
    let event = Event {
        id,
        sequence: Sequence(5),
        state: EventState::Accepted,
        reason: None,
        direction: Direction::Incoming,
        audience: Audience::Own,
        origin: Origin::Server,
        content_type: content_type.to_owned(),
        idempotency_key: None,
        received_at: NOW.before(Duration::from_secs(60)),
        trace: Trace::default(),
        stamp: stamp_key().stamp(stamped),
        size: 0,
        schema_minor: None,
        lanes: Vec::new(),
        rules: Sequence(3),
        uri,
        headers,
    };
    let delivery = Delivery {
        id: DeliveryId { lane: LaneId(1 << 4 | 5), sequence: Sequence(5) },
        event: id,
        state: DeliveryState::Waiting,
        cause: None,
        created_at: event.received_at,
        due: Some(NOW),
        attempts: (1..=attempts).map(failed_attempt).collect(),
        attempts_before_resend: 0,
        ordering_key: None,
        replay: None,
        new_id: false,
    };
    Work { delivery, event, payload: Some(payload) }
}

fn failed_attempt(number: u32) -> Attempt {
    Attempt {
        number,
        started_at: NOW.before(Duration::from_secs(30)),
        duration_ms: 5,
        status: Some(500),
        cause: Some(Cause::Status),
        error: None,
        address: None,
        response_excerpt: None,
        backoff_rule: None,
    }
}

fn planned(work: &Work, change: impl FnOnce(&mut Subscription), rules: u64) -> Plan {
    let mut subscription = subscription(1, subscription_spec("ci"));
    change(&mut subscription);
    let keys = [stamp_key()];
    let view = View {
        now: NOW,
        rules: Sequence(rules),
        subscription: Some(&subscription),
        misconfigured: None,
        stamp_keys: &keys,
        carrier: Carrier::Http,
    };
    plan(work, &view)
}

fn put_back() -> Plan {
    Plan::Settle(Settlement::Nack(NOW.after(PUT_BACK)))
}

fn cause_of(plan: &Plan) -> Option<Cause> {
    match plan {
        Plan::Fail(failure) => Some(failure.cause),
        _ => None,
    }
}

#[test]
fn a_due_delivery_that_is_as_stamped_is_sent() {
    assert_eq!(planned(&work(0), |_| (), 3), Plan::Send);
}

#[test]
fn finished_is_acknowledged_and_early_is_put_back_to_its_time() {
    for state in [DeliveryState::Delivered, DeliveryState::Dead, DeliveryState::Cancelled] {
        let mut work = work(0);
        work.delivery.state = state;
        assert_eq!(planned(&work, |_| (), 3), Plan::Settle(Settlement::Ack));
    }
    let mut early = work(0);
    let due = NOW.after(Duration::from_micros(1));
    early.delivery.due = Some(due);
    assert_eq!(planned(&early, |_| (), 3), Plan::Settle(Settlement::Nack(due)));
}

#[test]
fn paused_and_disabled_subscriptions_get_nothing() {
    for status in [SubscriptionStatus::Paused, SubscriptionStatus::Disabled] {
        assert_eq!(planned(&work(0), |s| s.status = status, 3), put_back());
    }
}

#[test]
fn a_missing_subscription_is_waited_for_only_while_the_rules_are_behind() {
    let keys = [stamp_key()];
    let view = |rules| View {
        now: NOW,
        rules: Sequence(rules),
        subscription: None,
        misconfigured: None,
        stamp_keys: &keys,
        carrier: Carrier::Http,
    };
    assert_eq!(plan(&work(0), &view(2)), put_back());
    assert_eq!(plan(&work(0), &view(3)), Plan::Settle(Settlement::Ack));
}

#[test]
fn whatever_was_changed_is_not_sent() {
    let changes: [fn(&mut Work); 6] = [
        |w| w.payload = Some(Bytes::from_static(b"{\"ref\":\"evil\"}")),
        |w| w.event.content_type.push('x'),
        |w| w.event.headers.0.push(("x-b".into(), "2".into())),
        |w| w.event.uri = "github/1/pull".parse().unwrap(),
        |w| w.event.id = EventId::from_bytes([8; 16]),
        |w| w.event.stamp.mac[0] ^= 1,
    ];
    for change in changes {
        let mut work = work(0);
        change(&mut work);
        assert_eq!(cause_of(&planned(&work, |_| (), 3)), Some(Cause::Integrity));
    }
}

#[test]
fn an_unknown_stamp_key_is_waited_for_only_while_the_rules_are_behind() {
    let mut work = work(0);
    work.event.stamp.key = SecretId::from_bytes([1; 16]);
    assert_eq!(planned(&work, |_| (), 2), put_back());
    assert_eq!(cause_of(&planned(&work, |_| (), 3)), Some(Cause::Integrity));
}

#[test]
fn an_expired_payload_and_a_broken_definition_fail_before_anything_is_sent() {
    let mut expired = work(0);
    expired.payload = None;
    assert_eq!(cause_of(&planned(&expired, |_| (), 3)), Some(Cause::Expired));

    let (ci, keys) = (subscription(1, subscription_spec("ci")), [stamp_key()]);
    let view = View {
        now: NOW,
        rules: Sequence(3),
        subscription: Some(&ci),
        misconfigured: Some("its URL"),
        stamp_keys: &keys,
        carrier: Carrier::Http,
    };
    assert_eq!(cause_of(&plan(&work(0), &view)), Some(Cause::Misconfigured));
}

fn constant(max_retries: Option<u32>, max_elapsed: Option<Duration>) -> BackoffPolicy {
    BackoffPolicy {
        kind: Kind::Constant,
        base: Some(Span(Duration::from_secs(10))),
        factor: None,
        delays: Vec::new(),
        cap: None,
        jitter: Jitter::None,
        max_retries,
        max_elapsed: max_elapsed.map(Span),
    }
}

fn concluded(work: &Work, outcome: Outcome, policy: BackoffPolicy) -> (AttemptReport, Settlement) {
    let made = Made { work, started_at: NOW, ended_at: NOW.after(Duration::from_secs(2)), outcome };
    let backoff = || Backoff { policy, rule: "global".into(), dice: 0.5, retry_after_max: DAY };
    conclude(made, backoff)
}

fn failing(cause: Cause, retry_after: Option<u64>) -> Outcome {
    let failure = Some(Failure::new(cause, "why"));
    Outcome { failure, retry_after: retry_after.map(Duration::from_secs), ..Outcome::default() }
}

/// The time that many seconds after the end of the attempt.
fn after_end(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(2 + seconds))
}

#[test]
fn a_success_is_done() {
    let delivered = Outcome { status: Some(204), ..Outcome::default() };
    let made = Made { work: &work(3), started_at: NOW, ended_at: NOW, outcome: delivered };
    let (report, settlement) = conclude(made, || panic!("no back-off is needed"));
    assert_eq!((report.next, settlement), (Next::Done, Settlement::Ack));
    assert_eq!((report.attempt.number, report.attempt.status), (4, Some(204)));
    assert_eq!((report.attempt.cause, report.attempt.backoff_rule), (None, None));
    assert!(!report.pause_subscription);
}

#[test]
fn a_failure_is_tried_again_after_the_delay_from_its_end() {
    let policy = constant(Some(10), None);
    let (report, settlement) = concluded(&work(0), failing(Cause::Status, None), policy);
    assert_eq!(report.next, Next::Retry(after_end(10)));
    assert_eq!(settlement, Settlement::Nack(after_end(10)));
    assert_eq!(report.attempt.backoff_rule.as_deref(), Some("global"));
    assert_eq!(report.attempt.error.as_deref(), Some("why"));
}

#[test]
fn ten_retries_are_eleven_attempts() {
    let next = |attempts| {
        let outcome = failing(Cause::Status, None);
        concluded(&work(attempts), outcome, constant(Some(10), None)).0.next
    };
    assert!((0..10).all(|before| matches!(next(before), Next::Retry(_))));
    assert_eq!(next(10), Next::Dead(Cause::Exhausted));
}

#[test]
fn the_elapsed_time_counts_from_the_receipt() {
    // 60 s had passed when the attempt began, it took 2 s, and the delay is 10 s.
    let next = |max| {
        let policy = constant(None, Some(Duration::from_secs(max)));
        concluded(&work(0), failing(Cause::Status, None), policy).0.next
    };
    assert_eq!(next(72), Next::Retry(after_end(10)));
    assert_eq!(next(71), Next::Dead(Cause::Exhausted));
}

#[test]
fn a_resend_starts_the_backoff_anew() {
    let mut resent = work(11);
    resent.delivery.attempts_before_resend = 11;
    let next = |work: &Work, policy| concluded(work, failing(Cause::Status, None), policy).0.next;
    let policy = constant(Some(1), Some(Duration::from_secs(15)));
    assert_eq!(next(&resent, policy), Next::Retry(after_end(10)));

    let mut second = work(12);
    second.delivery.attempts_before_resend = 11;
    assert_eq!(next(&second, constant(Some(1), None)), Next::Dead(Cause::Exhausted));
    // The round's first attempt began 30 s ago.
    let elapsed = |max| constant(None, Some(Duration::from_secs(max)));
    assert_eq!(next(&second, elapsed(42)), Next::Retry(after_end(10)));
    assert_eq!(next(&second, elapsed(41)), Next::Dead(Cause::Exhausted));
}

#[test]
fn gone_pauses_the_subscription_and_keeps_the_delivery() {
    let gone = failing(Cause::Gone, None);
    let (report, _) = concluded(&work(0), gone, constant(Some(1), None));
    assert!(report.pause_subscription);
    assert_eq!(report.next, Next::Retry(after_end(10)));
}

#[test]
fn integrity_and_expiry_are_final() {
    for cause in [Cause::Integrity, Cause::Expired, Cause::Transform, Cause::Format] {
        let outcome = failing(cause, None);
        let (report, settlement) = concluded(&work(0), outcome, constant(Some(9), None));
        assert_eq!((report.next, settlement), (Next::Dead(cause), Settlement::Ack));
        assert_eq!(report.attempt.backoff_rule, None);
    }
}

#[test]
fn patience_is_granted_within_bounds() {
    let next =
        |cause, seconds, policy| concluded(&work(0), failing(cause, Some(seconds)), policy).0.next;
    let policy = || constant(Some(9), None);
    assert_eq!(next(Cause::Throttled, 100, policy()), Next::Retry(after_end(100)));
    // Never earlier than the policy, never later than the bound, and only when throttled.
    assert_eq!(next(Cause::Throttled, 1, policy()), Next::Retry(after_end(10)));
    assert_eq!(next(Cause::Throttled, u64::MAX, policy()), Next::Retry(after_end(86_400)));
    assert_eq!(next(Cause::Status, 100, policy()), Next::Retry(after_end(10)));
    // Not beyond the end of the back-off, either: 62 s have passed.
    let ending = constant(None, Some(Duration::from_secs(122)));
    assert_eq!(next(Cause::Throttled, 3600, ending), Next::Retry(after_end(60)));
    let exhausted = constant(Some(0), None);
    assert_eq!(next(Cause::Throttled, 100, exhausted), Next::Dead(Cause::Exhausted));
}

proptest! {
    #[test]
    fn a_retry_is_never_early_and_ends_with_the_policy(
        attempts in 0_u32..30,
        before_resend in 0_u32..30,
        retry_after in proptest::option::of(0_u64..1_000_000),
        dice in 0.0_f64..1.0,
        max_retries in 0_u32..20,
    ) {
        let mut work = work(attempts);
        work.delivery.attempts_before_resend = before_resend.min(attempts);
        let policy = BackoffPolicy { jitter: Jitter::Full, ..constant(Some(max_retries), None) };
        let ended_at = NOW.after(Duration::from_secs(1));
        let outcome = failing(Cause::Throttled, retry_after);
        let made = Made { work: &work, started_at: NOW, ended_at, outcome };
        let backoff =
            || Backoff { policy: policy.clone(), rule: String::new(), dice, retry_after_max: DAY };
        let (report, settlement) = conclude(made, backoff);
        let n = attempts - before_resend.min(attempts) + 1;
        match report.next {
            Next::Retry(due) => {
                prop_assert!(n <= max_retries);
                prop_assert_eq!(settlement, Settlement::Nack(due));
                prop_assert!(due >= ended_at.after(policy.next(n, Duration::ZERO, dice).unwrap()));
                prop_assert!(due <= ended_at.after(DAY));
            }
            Next::Dead(cause) => {
                prop_assert!(n > max_retries && cause == Cause::Exhausted);
                prop_assert_eq!(settlement, Settlement::Ack);
            }
            Next::Done => prop_assert!(false, "a failure is not done"),
        }
        prop_assert_eq!(report.attempt.number, attempts + 1);
    }
}

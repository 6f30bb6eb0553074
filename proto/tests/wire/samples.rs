//! One of each noun, with every optional field given, and all variants of what has variants.

mod configuration;
mod past;

pub use configuration::*;
pub use past::*;

use bytes::Bytes;
use contract::{
    access::Actor,
    broker::{PayloadOf, TestFire, TestFired},
    clock::Timestamp,
    delivery::{Attempt, AttemptReport, Cause, Delivery, DeliveryState, Next},
    event::{
        Accepted, Audience, Direction, Disposition, Event, EventState, Headers, NewEvent, Origin,
        Trace,
    },
    exchange::{Exchange, ExchangeRecord},
    id::{
        DeliveryId, EventId, KeyId, LaneId, ReplayId, SecretId, Sequence, SubscriptionNumber,
        UserId,
    },
    log::{Chain, LogFilter, LogHead, LogPage, LogQuery, LoggedFact},
    master_api::{
        DeliveryFilter, EventFilter, FeedItem, FeedPage, LaneStatus, PageRequest, ReleaseEvent,
        Stats, StoreEvent, Stored, Work,
    },
    queue::{Enqueued, LaneDepth, Lease, Settlement, Vacancy},
    replay::{Replay, ReplayProgress, ReplaySpec, ReplayState},
    retention::{DayPlan, Retained, RetentionPlan, StoreBytes},
    stamp::Stamp,
    subscription::{OrderingKey, Priority},
    testing::{subscription, subscription_spec},
    uri::EventUri,
};
use std::{collections::BTreeMap, time::Duration};

pub const NOW: Timestamp = Timestamp(1_795_224_556_123_456);

pub fn uri() -> EventUri {
    "github/1/push".parse().unwrap()
}

pub fn event_id() -> EventId {
    EventId::from_bytes([7; 16])
}

pub fn key_id() -> KeyId {
    KeyId::from_bytes([3; 16])
}

pub fn lane() -> LaneId {
    LaneId::new(contract::id::SubscriptionNumber(1), Priority::try_from(9).unwrap())
}

pub fn keys() -> BTreeMap<LaneId, OrderingKey> {
    BTreeMap::from([(lane(), OrderingKey(u64::MAX)), (LaneId(3), OrderingKey(0))])
}

pub fn delivery_id() -> DeliveryId {
    DeliveryId { lane: lane(), sequence: Sequence(u64::MAX) }
}

pub fn actors() -> [Actor; 4] {
    let (issuer, subject) = ("https://login.example".to_owned(), "été:1".to_owned());
    [
        Actor::Key(key_id()),
        Actor::Component("broker".into()),
        Actor::User(UserId::from_bytes([6; 16])),
        Actor::External { issuer, subject },
    ]
}

fn headers() -> Headers {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Headers(vec![pair("x-b", "1"), pair("x-a", "é, \"2\""), pair("x-b", "")])
}

fn trace() -> Trace {
    Trace {
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        trail: vec!["ext.gw.4bf9".into(), "eb.4bf9".into()],
        hops: 255,
    }
}

fn stamp() -> Stamp {
    Stamp { key: SecretId::from_bytes([9; 16]), mac: [6; 32] }
}

pub fn new_event() -> NewEvent {
    NewEvent {
        uri: uri(),
        direction: Direction::Outgoing,
        audience: Audience::Subscriber("org_123".into()),
        origin: Origin::Producer(key_id()),
        payload: Bytes::from_static(b"{\"\xFF\": 0}"),
        content_type: "application/json; charset=utf-8".into(),
        headers: headers(),
        idempotency_key: Some("once".into()),
        received_at: NOW,
        trace: trace(),
        unvalidated: Disposition::Accept,
        invalid: Disposition::Quarantine,
        rules: Sequence(u64::MAX),
    }
}

pub fn new_events() -> Vec<NewEvent> {
    let plain = NewEvent {
        direction: Direction::Incoming,
        audience: Audience::Own,
        origin: Origin::Source("github".into()),
        payload: Bytes::new(),
        content_type: String::new(),
        headers: Headers::default(),
        idempotency_key: None,
        received_at: Timestamp(-1),
        trace: Trace::default(),
        unvalidated: Disposition::Reject,
        invalid: Disposition::Reject,
        rules: Sequence(0),
        ..new_event()
    };
    let own = NewEvent { audience: Audience::All, origin: Origin::Server, ..new_event() };
    vec![new_event(), plain, own]
}

pub fn release_event() -> ReleaseEvent {
    let lanes = vec![LaneId(0), LaneId(u32::MAX)];
    let (id, rules, keys) = (event_id(), Sequence(u64::MAX), keys());
    ReleaseEvent { id, schema_minor: Some(0), lanes, keys, rules }
}

pub fn accepted() -> Accepted {
    Accepted { id: event_id(), deliveries: u32::MAX, duplicate: true, quarantined: true }
}

pub fn event() -> Event {
    Event {
        id: event_id(),
        sequence: Sequence(u64::MAX),
        uri: uri(),
        state: EventState::Quarantined,
        reason: Some("it breaks its contract".into()),
        direction: Direction::Incoming,
        audience: Audience::Own,
        origin: Origin::Source("github".into()),
        content_type: "application/json".into(),
        headers: headers(),
        idempotency_key: Some("once".into()),
        received_at: NOW,
        trace: trace(),
        stamp: stamp(),
        size: u64::MAX,
        schema_minor: Some(0),
        lanes: vec![lane(), LaneId(u32::MAX)],
        rules: Sequence(12),
    }
}

pub fn events() -> Vec<Event> {
    let plain = Event {
        state: EventState::Accepted,
        reason: None,
        idempotency_key: None,
        schema_minor: None,
        lanes: Vec::new(),
        ..event()
    };
    vec![event(), plain]
}

pub const CAUSES: [Cause; 16] = [
    Cause::Status,
    Cause::Redirect,
    Cause::Gone,
    Cause::Throttled,
    Cause::Dns,
    Cause::AddressRefused,
    Cause::Connect,
    Cause::Tls,
    Cause::Timeout,
    Cause::Reset,
    Cause::BadResponse,
    Cause::Integrity,
    Cause::Expired,
    Cause::Misconfigured,
    Cause::Exhausted,
    Cause::Lost,
];

pub fn attempt(cause: Option<Cause>) -> Attempt {
    Attempt {
        number: 4,
        started_at: NOW,
        duration_ms: 15_000,
        status: cause.map(|_cause| 503),
        cause,
        error: cause.map(|cause| cause.to_string()),
        address: Some("192.0.2.1:443".into()),
        response_excerpt: Some("\u{0}\u{FFFD}".into()),
        backoff_rule: cause.map(|_cause| "global".into()),
    }
}

pub fn delivery(state: DeliveryState) -> Delivery {
    let waiting = state == DeliveryState::Waiting;
    Delivery {
        id: delivery_id(),
        event: event_id(),
        state,
        cause: (state == DeliveryState::Dead).then_some(Cause::Exhausted),
        created_at: NOW,
        due: waiting.then_some(NOW.after(Duration::from_secs(5))),
        attempts: CAUSES.map(Some).into_iter().chain([None]).map(attempt).collect(),
        attempts_before_resend: 3,
        ordering_key: Some(OrderingKey(u64::MAX)),
        replay: waiting.then(replay_id),
        new_id: waiting,
    }
}

pub fn replay_id() -> ReplayId {
    ReplayId::from_bytes([4; 16])
}

/// All conditions, and none.
pub fn replay_specs() -> [ReplaySpec; 2] {
    let all = ReplaySpec {
        events: vec![event_id(); 2],
        subscription: Some("ci".into()),
        uri: Some("github/1/*".parse().unwrap()),
        since: Some(Timestamp(0)),
        until: Some(NOW),
        dead: true,
        to: Some("other".into()),
        rate: Some(u32::MAX),
        new_ids: true,
    };
    [all, ReplaySpec::default()]
}

pub fn replay_progress() -> ReplayProgress {
    ReplayProgress {
        looked_at: u64::MAX,
        made: 2,
        skipped_expired: 3,
        skipped_unwanted: 4,
        skipped_waiting: 5,
        waiting: 6,
        delivered: 7,
        dead: 8,
        cancelled: 9,
        through: true,
    }
}

/// One in each state.
pub fn replays() -> Vec<Replay> {
    use ReplayState::{Cancelled, Cancelling, Finished, Running};
    let one = |state: ReplayState| Replay {
        id: replay_id(),
        spec: replay_specs()[usize::from(state.is_over())].clone(),
        state,
        started_at: NOW,
        ended_at: state.is_over().then_some(NOW),
        progress: replay_progress(),
    };
    [Running, Cancelling, Finished, Cancelled].map(one).to_vec()
}

pub fn exchange_record() -> ExchangeRecord {
    ExchangeRecord {
        left_out: vec!["user-agent".into()],
        added: headers(),
        response_headers: headers(),
        response_body: Bytes::from_static(b"\x00\xff"),
        response_cut: true,
    }
}

pub fn key_uses() -> std::collections::BTreeMap<KeyId, Timestamp> {
    [([1; 16], NOW), ([9; 16], Timestamp(0))].map(|(id, at)| (KeyId::from_bytes(id), at)).into()
}

pub fn exchanges() -> Vec<Exchange> {
    let mut second = exchange_record().into_exchange(2, headers());
    second.response_cut = false;
    vec![Exchange { number: 1, ..Exchange::default() }, second]
}

pub fn reports() -> Vec<AttemptReport> {
    let nexts = [Next::Done, Next::Retry(NOW), Next::Dead(Cause::Gone)];
    let report = |next| AttemptReport {
        delivery: delivery_id(),
        attempt: attempt(Some(Cause::Gone)),
        exchange: (next != Next::Done).then(|| Box::new(exchange_record())),
        next,
        pause_subscription: next == Next::Dead(Cause::Gone),
    };
    nexts.map(report).to_vec()
}

pub fn store_event() -> StoreEvent {
    StoreEvent {
        id: event_id(),
        event: new_event(),
        stamp: stamp(),
        schema_minor: Some(0),
        quarantine: Some(String::new()),
        lanes: vec![lane()],
        keys: keys(),
        rules: Sequence(3),
    }
}

pub fn stored() -> Stored {
    let (id, sequence, lanes) = (event_id(), Sequence(8), vec![lane()]);
    Stored { id, sequence, lanes, duplicate: true, quarantined: true }
}

pub fn event_filter() -> EventFilter {
    EventFilter {
        uri: Some("github/1/*".parse().unwrap()),
        prefix: Some("github/".into()),
        producer: Some(KeyId::from_bytes([7; 16])),
        subscriber: Some("org_1".into()),
        direction: Some(Direction::Outgoing),
        source: Some("github".into()),
        state: Some(EventState::Accepted),
        since: Some(NOW),
        until: Some(NOW.after(Duration::from_micros(1))),
        idempotency_key: Some("once".into()),
    }
}

pub fn delivery_filter() -> DeliveryFilter {
    let subscription = Some(subscription(1, subscription_spec("ci")).id);
    DeliveryFilter {
        state: Some(DeliveryState::Dead),
        subscription,
        subscriber: Some("org_1".into()),
        uri: Some("github/1/*".parse().unwrap()),
        since: Some(NOW),
        until: Some(NOW.after(Duration::from_micros(1))),
    }
}

pub fn page_request() -> PageRequest {
    PageRequest { first: 500, after: Some("cursor".into()) }
}

pub fn work() -> Vec<Option<Work>> {
    let work =
        |payload| Work { delivery: delivery(DeliveryState::Waiting), event: event(), payload };
    vec![Some(work(Some(Bytes::new()))), None, Some(work(None))]
}

pub fn retention_plan() -> RetentionPlan {
    let day = DayPlan { starts_at: NOW, facts: 7, bytes: 8, goes_at: NOW, due: true };
    RetentionPlan {
        age: Duration::from_secs(9),
        unfinished: Duration::from_millis(1500),
        size_bytes_max: 10,
        bytes: StoreBytes { configuration: 1, facts: 2, payloads: 3, idempotency: 4, indices: 5 },
        days: vec![day, DayPlan { due: false, ..day }],
        last_run: Some(NOW),
        days_dropped: 11,
        erasures_waiting: 12,
    }
}

pub fn retained() -> Retained {
    Retained {
        days_dropped: 1,
        deliveries_carried: 2,
        deliveries_expired: 3,
        bytes_before: 4,
        bytes_after: 5,
    }
}

pub fn stats() -> Stats {
    Stats { accepted: 1, quarantined: 2, delivered: 3, waiting: 4, dead: 5, cancelled: 6 }
}

pub fn lane_statuses() -> Vec<LaneStatus> {
    let status = |next_due| LaneStatus {
        lane: lane(),
        cursor: Sequence(1),
        head: Sequence(u64::MAX),
        next_due,
    };
    vec![status(None), status(Some(NOW))]
}

pub fn feed_items() -> Vec<FeedItem> {
    let item = FeedItem { delivery: delivery_id(), due: NOW, key: None };
    vec![item, FeedItem { key: Some(OrderingKey(7)), ..item }]
}

pub fn feed_page() -> FeedPage {
    let (fresh, due) = (feed_items(), feed_items()[..1].to_vec());
    FeedPage { fresh, due, read_to: Sequence(77), more: true }
}

pub fn lease() -> Lease {
    Lease { delivery: delivery_id(), token: u64::MAX, deadline: NOW }
}

pub fn settlements() -> Vec<(Lease, Settlement)> {
    vec![(lease(), Settlement::Ack), (lease(), Settlement::Nack(NOW))]
}

pub const ENQUEUED: [Enqueued; 3] = [Enqueued::Queued, Enqueued::Held, Enqueued::Full];

pub fn vacancies() -> Vec<Vacancy> {
    vec![Vacancy { lane: lane(), room: 5 }]
}

pub fn depths() -> Vec<LaneDepth> {
    let depth = |oldest| LaneDepth {
        lane: lane(),
        priority: 9,
        ready: 1,
        delayed: 2,
        in_flight: 3,
        oldest,
    };
    vec![depth(Some(NOW)), depth(None)]
}

pub fn log_query() -> LogQuery {
    let filter = LogFilter {
        chain: Some(Chain::Traffic),
        kinds: vec!["attempt_recorded".into(), "delivery_resent".into()],
        since: Some(NOW),
        notable: true,
    };
    LogQuery { after: Sequence(4), first: 12, filter, wait: Duration::from_millis(1500) }
}

pub fn log_page() -> LogPage {
    let fact = |(at, actor): (u64, Actor)| LoggedFact {
        sequence: Sequence(at),
        time: NOW,
        actor,
        chain: if at == 0 { Chain::Configuration } else { Chain::Traffic },
        kind: "delivery_resent".into(),
        body: serde_json::json!({ "delivery": delivery_id(), "numbers": [u64::MAX, 1.5] }),
        prev_hash: "00".repeat(32),
    };
    let facts = (0..).zip(actors()).map(fact).collect();
    LogPage { facts, read_to: Sequence(9), more: true, head: Sequence(u64::MAX) }
}

pub fn log_head() -> LogHead {
    let (configuration_hash, traffic_hash) = ("01".repeat(32), "02".repeat(32));
    LogHead { sequence: Sequence(9), time: NOW, configuration_hash, traffic_hash }
}

pub fn tests() -> [TestFire; 2] {
    let test = |uri, payload| TestFire {
        subscription: SubscriptionNumber(3),
        by: key_id(),
        uri,
        payload,
        wait: Duration::from_millis(1500),
        rules: Sequence(8),
    };
    let payload = (Bytes::from_static(b"{}"), "application/json".to_owned());
    [test(None, None), test(Some(uri()), Some(payload))]
}

pub fn test_fired() -> TestFired {
    let delivery = delivery(DeliveryState::Dead);
    TestFired { uri: uri(), payload_of: PayloadOf::Skeleton, delivery }
}

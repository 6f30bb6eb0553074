//! One of each noun, with every optional field given, and all variants of what has variants.

use bytes::Bytes;
use contract::{
    access::{Actor, ApiKey, Roles, token_digest},
    backoff::{BackoffPolicy, BackoffRule, Jitter, Kind, Span},
    clock::Timestamp,
    command::{Change, ChangeKind, Changeset, Command, Target},
    delivery::{Attempt, AttemptReport, Cause, Delivery, DeliveryState, Next},
    event::{
        Accepted, Audience, Direction, Disposition, Event, EventState, Headers, NewEvent, Origin,
        Trace,
    },
    id::{DeliveryId, EventId, KeyId, LaneId, SecretId, Sequence},
    master_api::{
        DeliveryFilter, EventFilter, FeedItem, FeedPage, LaneStatus, PageRequest, Stats,
        StoreEvent, Stored, Work,
    },
    queue::{Enqueued, LaneDepth, Lease, Settlement, Vacancy},
    rules::Rules,
    schema::{ProtoFile, Published, SchemaBundle, SchemaSource, SchemaVersion, UnknownFields},
    secret::Secret,
    source::{Scheme, Source, SourceSpec, Template},
    stamp::Stamp,
    subscription::{
        EventType, Priority, SecretRef, Subscriber, Subscription, SubscriptionSpec,
        SubscriptionStatus,
    },
    testing::{subscription, subscription_spec},
    uri::EventUri,
};
use std::{sync::Arc, time::Duration};

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

pub fn delivery_id() -> DeliveryId {
    DeliveryId { lane: lane(), sequence: Sequence(u64::MAX) }
}

pub fn actors() -> [Actor; 2] {
    [Actor::Key(key_id()), Actor::Component("broker".into())]
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
        ..new_event()
    };
    let own = NewEvent { audience: Audience::All, origin: Origin::Server, ..new_event() };
    vec![new_event(), plain, own]
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
    }
}

pub fn reports() -> Vec<AttemptReport> {
    let nexts = [Next::Done, Next::Retry(NOW), Next::Dead(Cause::Gone)];
    let report = |next| AttemptReport {
        delivery: delivery_id(),
        attempt: attempt(Some(Cause::Gone)),
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
        rules: Sequence(3),
    }
}

pub fn stored() -> Stored {
    let (id, sequence, lanes) = (event_id(), Sequence(8), vec![lane()]);
    Stored { id, sequence, lanes, duplicate: true, quarantined: true }
}

pub fn event_filter() -> EventFilter {
    EventFilter {
        uri: Some(uri()),
        source: Some("github".into()),
        state: Some(EventState::Accepted),
        since: Some(NOW),
        until: Some(NOW.after(Duration::from_micros(1))),
        idempotency_key: Some("once".into()),
    }
}

pub fn delivery_filter() -> DeliveryFilter {
    let subscription = Some(subscription(1, subscription_spec("ci")).id);
    DeliveryFilter { state: Some(DeliveryState::Dead), subscription }
}

pub fn page_request() -> PageRequest {
    PageRequest { first: 500, after: Some("cursor".into()) }
}

pub fn work() -> Vec<Option<Work>> {
    let work =
        |payload| Work { delivery: delivery(DeliveryState::Waiting), event: event(), payload };
    vec![Some(work(Some(Bytes::new()))), None, Some(work(None))]
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
    vec![FeedItem { delivery: delivery_id(), due: NOW }; 2]
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

pub fn schema_version() -> SchemaVersion {
    SchemaVersion {
        uri: uri(),
        minor: 0,
        message: "certes.github.v1.Push".into(),
        digest: [5; 32],
        unknown_fields: UnknownFields::Reject,
        published_at: NOW,
    }
}

fn files() -> Vec<ProtoFile> {
    vec![ProtoFile { path: "github/1/push.proto".into(), text: "message Push {}".into() }]
}

pub fn schema_source() -> SchemaSource {
    SchemaSource {
        uri: uri(),
        entry: "github/1/push.proto".into(),
        files: files(),
        message: Some("certes.github.v1.Push".into()),
        unknown_fields: UnknownFields::Ignore,
    }
}

pub fn bundle() -> SchemaBundle {
    let descriptor_set = Bytes::from_static(b"\x0A\x00");
    SchemaBundle { version: schema_version(), descriptor_set, files: files() }
}

pub fn published() -> Published {
    let differences = vec!["`repository` is new".into()];
    Published { version: schema_version(), changed: true, differences }
}

pub fn policies() -> Vec<BackoffPolicy> {
    let span = |millis| Span(Duration::from_millis(millis));
    let full = |kind, jitter| BackoffPolicy {
        kind,
        base: Some(span(500)),
        factor: Some(2.5),
        delays: vec![span(1), Span(Duration::new(86_400, 999_999_999))],
        cap: Some(span(3_600_000)),
        jitter,
        max_retries: Some(0),
        max_elapsed: Some(span(0)),
    };
    vec![
        full(Kind::Constant, Jitter::None),
        full(Kind::Linear, Jitter::Full),
        full(Kind::Logarithmic, Jitter::Equal),
        full(Kind::Exponential, Jitter::None),
        BackoffPolicy::default(),
    ]
}

fn rule() -> BackoffRule {
    let target = "type:github/1/push".parse().unwrap();
    BackoffRule { target, direction: Direction::Outgoing, policy: BackoffPolicy::default() }
}

fn secret_refs() -> Vec<SecretRef> {
    vec![SecretRef { id: SecretId::from_bytes([1; 16]), fingerprint: "00ff".into() }]
}

pub fn source(verify: Scheme) -> Source {
    let spec = SourceSpec {
        name: "github".into(),
        verify,
        event_type: Template("github/1/{header:x-github-event}".into()),
        idempotency_key: Some(Template("{json:id}".into())),
        unvalidated: Disposition::Accept,
        invalid: Disposition::Quarantine,
        subscriber: Some("org_123".into()),
        priority: Some(Priority::try_from(0).unwrap()),
        backoff: Some(BackoffPolicy::default()),
        body_bytes_max: Some(u64::MAX),
        tolerance_s: Some(60),
    };
    Source { spec, secrets: secret_refs() }
}

fn full_spec() -> SubscriptionSpec {
    SubscriptionSpec {
        subscriber: Some("org_123".into()),
        priority: Some(Priority::try_from(9).unwrap()),
        backoff: Some(BackoffPolicy::default()),
        max_in_flight: Some(1),
        timeout_ms: Some(60_000),
        ..subscription_spec("ci")
    }
}

pub fn subscriptions() -> Vec<Subscription> {
    use SubscriptionStatus::{Active, Disabled, Paused};
    let with = |status| Subscription {
        status,
        status_reason: Some("410".into()),
        secrets: secret_refs(),
        created_at: NOW,
        ..subscription(2, full_spec())
    };
    vec![subscription(1, subscription_spec("ci")), with(Active), with(Paused), with(Disabled)]
}

pub fn commands() -> Vec<Command> {
    let target = |target: &str| target.parse().unwrap();
    vec![
        Command::PutSubscriber(Subscriber { id: "org_123".into(), name: String::new() }),
        Command::PutEventType(EventType { uri: uri(), priority: Priority::try_from(7).ok() }),
        Command::PutEventType(EventType { uri: uri(), priority: None }),
        Command::PutSource {
            spec: source(Scheme::Github).spec,
            secrets: vec![Secret::new("a"), Secret::new("b")],
        },
        Command::PutBackoff(rule()),
        Command::PutSubscription { spec: full_spec(), secrets: vec![Secret::new("whsec_c")] },
        Command::PutSubscription { spec: subscription_spec("ci"), secrets: Vec::new() },
        Command::SetSubscriptionStatus {
            name: "ci".into(),
            status: SubscriptionStatus::Paused,
            reason: Some("tired".into()),
        },
        Command::PublishSchema(schema_version()),
        Command::IssueKey {
            name: "producer".into(),
            roles: Roles::parse(["producer", "schemas:read"]).unwrap(),
            subscriber: Some("org_123".into()),
            expires_at: Some(NOW),
        },
        Command::RevokeKey(key_id()),
        Command::Remove(Target::Subscriber("org_123".into())),
        Command::Remove(Target::EventType(uri())),
        Command::Remove(Target::Source("github".into())),
        Command::Remove(Target::Backoff(target("global"), Direction::Incoming)),
        Command::Remove(Target::Subscription("ci".into())),
    ]
}

pub fn changeset() -> Changeset {
    Changeset { commands: commands(), dry_run: true, managed: true, prune: true }
}

pub fn changes() -> Vec<Change> {
    use ChangeKind::{Changed, Created, Removed, Unchanged};
    let change = |kind| Change {
        kind,
        noun: "subscription".into(),
        name: "ci".into(),
        revealed: (kind == Created).then(|| Secret::new("whsec_shown")),
        id: (kind != Removed).then(|| "sub_x".into()),
    };
    [Created, Changed, Unchanged, Removed].map(change).to_vec()
}

/// A key with this token, which is its name with `certes_` before it.
pub fn key(name: &str, number: u8, roles: &[&str], subscriber: Option<&str>) -> ApiKey {
    ApiKey {
        id: KeyId::from_bytes([number; 16]),
        name: name.into(),
        prefix: "certes_".into(),
        token_sha256: token_digest(&token(name)),
        roles: Roles::parse(roles.iter().copied()).unwrap(),
        subscriber: subscriber.map(str::to_owned),
        created_at: Timestamp(0),
        expires_at: None,
    }
}

pub fn token(name: &str) -> Secret {
    Secret::new(format!("certes_{name}"))
}

/// Rules with one of everything.
pub fn rules(sequence: u64) -> Rules {
    let own = subscription(1, subscription_spec("ci"));
    let theirs = subscription(2, full_spec());
    let secret = SecretId::from_bytes([1; 16]);
    let keys = [
        key("admin", 1, &["admin"], None),
        key("producer", 2, &["producer"], None),
        key("reader", 3, &["events:read"], None),
        key("tenant", 4, &["events:write", "subscriptions:write"], Some("org_123")),
        ApiKey { expires_at: Some(NOW), ..key("late", 5, &["admin"], None) },
    ];
    Rules {
        sequence: Sequence(sequence),
        subscribers: [(
            "org_123".into(),
            Arc::new(Subscriber { id: "org_123".into(), name: "Meetly".into() }),
        )]
        .into(),
        event_types: [(uri(), Arc::new(EventType { uri: uri(), priority: None }))].into(),
        sources: [("github".into(), Arc::new(source(Scheme::Github)))].into(),
        subscriptions: [own, theirs].map(|one| (one.number, Arc::new(one))).into(),
        backoffs: vec![Arc::new(rule())],
        schemas: [(uri(), Arc::new(schema_version()))].into(),
        keys: keys.map(|key| (key.token_sha256.clone(), Arc::new(key))).into(),
        secrets: [(secret, Secret::new("hidden-secret"))].into(),
        stamp_keys: vec![(SecretId::from_bytes([9; 16]), Secret::new("hidden-stamp"))],
    }
}

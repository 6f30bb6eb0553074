//! A fact of every kind, and of every shape that a kind has had.

use super::super::*;
use crate::tables::DeliveryRow;
use contract::{
    access::Roles,
    backoff::{BackoffPolicy, Jitter, Kind, Span},
    delivery::Cause,
    event::{Audience, Disposition, Headers, Origin, Trace},
    id::SubscriptionId,
    rate_limit::RateLimit,
    schema::{Rulebook, UnknownFields},
    sending::{Auth, AuthMethod, ClientCredentials, Credential, PayloadFormat},
    setting::SettingValue,
    source::{
        Algorithm, Encoding, Replay, Scheme, SignatureRule, SourceLimits, SourceSpec,
        StaticResponse, Template, TimeUnit,
    },
    stamp::Stamp,
    subscription::{Ordering, OrderingKey, Priority},
};

pub(super) fn time(n: i64) -> Timestamp {
    Timestamp(1_795_224_556_000_000 + n)
}

fn secret_ref() -> SecretRef {
    SecretRef {
        id: SecretId::from_bytes([5; 16]),
        fingerprint: "0011223344556677".into(),
        until: None,
        public_key: None,
    }
}

fn delivery() -> DeliveryId {
    DeliveryId { lane: LaneId(0x19), sequence: Sequence(300) }
}

fn event_id() -> EventId {
    EventId::from_bytes([1; 16])
}

fn event(lanes: Vec<LaneId>) -> Box<StoredEvent> {
    Box::new(StoredEvent {
        id: event_id(),
        uri: "github/1/push".parse().unwrap(),
        direction: Direction::Incoming,
        audience: Audience::Own,
        origin: Origin::Source("github".into()),
        content_type: "application/json".into(),
        headers: Headers(vec![("x-github-event".into(), "push".into())]),
        idempotency_key: Some("72d3162e".into()),
        received_at: time(0),
        trace: Trace {
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
            trail: vec!["gw.0af7651916cd43dd8448eb211c80319c".into()],
            hops: 1,
        },
        stamp: Stamp { key: SecretId::from_bytes([2; 16]), mac: [3; 32] },
        size: 7_000,
        payload_digest: Hash([4; 32]),
        schema_minor: Some(2),
        lanes,
        keys: Default::default(),
        rules: Sequence(12),
    })
}

fn policy() -> BackoffPolicy {
    BackoffPolicy {
        kind: Kind::Exponential,
        base: Some("5s".parse().unwrap()),
        factor: Some(3.0),
        delays: Vec::new(),
        cap: Some("1h".parse().unwrap()),
        jitter: Jitter::Full,
        max_retries: None,
        max_elapsed: Some("7d".parse().unwrap()),
    }
}

fn subscription_spec() -> SubscriptionSpec {
    SubscriptionSpec {
        name: "ci".into(),
        subscriber: Some("org_123".into()),
        url: "https://example.com/hook".into(),
        events: vec!["github/1/*".parse().unwrap()],
        priority: Priority::try_from(9).ok(),
        backoff: Some(BackoffPolicy::default()),
        max_in_flight: Some(4),
        rate_limit: None,
        timeout_ms: Some(5_000),
        ..SubscriptionSpec::default()
    }
}

/// How deliveries are sent: in each way once.
fn sent_so() -> Vec<(&'static str, FactBody)> {
    let oauth2 = AuthMethod::Oauth2(Box::new(ClientCredentials {
        token_url: "https://login.example/token".into(),
        client_id: "certes".into(),
        scopes: vec!["hooks".into()],
        audience: Some("api".into()),
        secret_in_body: true,
    }));
    let ways = [
        ("subscription_changed.basic", AuthMethod::Basic { username: "ada".into() }),
        ("subscription_changed.bearer", AuthMethod::Bearer),
        ("subscription_changed.header", AuthMethod::Header { name: "x-api-key".into() }),
        ("subscription_changed.oauth2", oauth2),
        ("subscription_changed.mtls", AuthMethod::Mtls { certificate: "-----BEGIN".into() }),
    ];
    let changed = |(name, method)| {
        let auth = Some(Auth { method, credential: Credential::Stored(secret_ref()) });
        let headers = Headers(vec![("x-tenant".into(), "a".into())]);
        let spec = Box::new(SubscriptionSpec { headers, auth, ..subscription_spec() });
        let (number, secrets) = (SubscriptionNumber(1), vec![secret_ref()]);
        (name, FactBody::SubscriptionChanged { number, spec, secrets })
    };
    let formats = [
        ("subscription_changed.json", PayloadFormat::Json),
        ("subscription_changed.protobuf", PayloadFormat::Protobuf),
        ("subscription_changed.cloudevents-binary", PayloadFormat::CloudeventsBinary),
        ("subscription_changed.cloudevents-structured", PayloadFormat::CloudeventsStructured),
    ];
    let formatted = |(name, format)| {
        let spec = Box::new(SubscriptionSpec { format, ..subscription_spec() });
        let key = SecretRef { public_key: Some("whpk_AAAA".into()), ..secret_ref() };
        let (number, secrets) = (SubscriptionNumber(1), vec![secret_ref(), key]);
        (name, FactBody::SubscriptionChanged { number, spec, secrets })
    };
    ways.map(changed).into_iter().chain(formats.map(formatted)).collect()
}

fn traffic() -> Vec<(&'static str, FactBody)> {
    let attempt = Box::new(Attempt {
        number: 1,
        started_at: time(1),
        duration_ms: 12,
        status: Some(503),
        cause: Some(Cause::Throttled),
        error: Some("the endpoint answered 503".into()),
        address: Some("192.0.2.7:443".into()),
        response_excerpt: Some("busy".into()),
        backoff_rule: Some("global".into()),
    });
    let next = Next::Retry(time(5_000_000));
    let mut keyed = event(vec![LaneId(0x19), LaneId(0x25)]);
    keyed.keys.insert(LaneId(0x25), OrderingKey(0x0102_0304_0506_0708));
    vec![
        ("event_accepted", FactBody::EventAccepted { event: event(vec![LaneId(0x19)]) }),
        ("event_accepted.keyed", FactBody::EventAccepted { event: keyed }),
        (
            "event_quarantined",
            FactBody::EventQuarantined { event: event(vec![]), reason: "no schema".into() },
        ),
        ("attempt_recorded", FactBody::AttemptRecorded { delivery: delivery(), attempt, next }),
        ("delivery_resent", FactBody::DeliveryResent { delivery: delivery() }),
        (
            "delivery_cancelled",
            FactBody::DeliveryCancelled { delivery: delivery(), reason: "removed".into() },
        ),
        (
            "quarantine_released",
            FactBody::QuarantineReleased { event: event(vec![LaneId(0x19)]), from: Sequence(290) },
        ),
    ]
}

fn letting_go() -> Vec<(&'static str, FactBody)> {
    let bucket = Bucket(20_778);
    let row = DeliveryRow { attempts_before_resend: 1, ..DeliveryRow::new(event_id(), time(0)) };
    let ordered = DeliveryRow { key: Some(OrderingKey(u64::MAX)), ..row.clone() };
    let carried = Box::new(row.into_delivery(delivery()));
    let ordered = Box::new(ordered.into_delivery(delivery()));
    let replay = Some(ReplayId::from_bytes([12; 16]));
    let later = Box::new(Delivery { replay, new_id: true, ..(*carried).clone() });
    let (id, cause) = (delivery(), Cause::Expired);
    let gone = Stats { accepted: 3, delivered: 2, dead: 1, ..Stats::default() };
    let subscriber = ErasureTarget::Subscriber("org_123".into());
    let (sequence, from, lanes) = (Sequence(300), Sequence(295), vec![LaneId(0x19)]);
    let event = event(lanes.clone());
    vec![
        (
            "event_carried",
            FactBody::EventCarried {
                event: event.clone(),
                sequence,
                from,
                lanes: lanes.clone(),
                later: false,
            },
        ),
        (
            "event_carried.later",
            FactBody::EventCarried { event, sequence, from, lanes, later: true },
        ),
        (
            "delivery_carried",
            FactBody::DeliveryCarried { delivery: carried, scheduled: true, later: false },
        ),
        (
            "delivery_carried.keyed",
            FactBody::DeliveryCarried { delivery: ordered, scheduled: true, later: false },
        ),
        (
            "delivery_carried.later",
            FactBody::DeliveryCarried { delivery: later, scheduled: true, later: true },
        ),
        ("delivery_abandoned", FactBody::DeliveryAbandoned { delivery: id, cause }),
        ("payload_removed", FactBody::PayloadRemoved { event: event_id(), cause: Cause::Erased }),
        ("bucket_retired", FactBody::BucketRetired { bucket }),
        ("bucket_dropped", FactBody::BucketDropped { bucket, gone }),
        ("erasure_ordered", FactBody::ErasureOrdered { target: ErasureTarget::Event(event_id()) }),
        ("erasure_ordered.subscriber", FactBody::ErasureOrdered { target: subscriber }),
        ("erasure_done", FactBody::ErasureDone { ordered: Sequence(299) }),
    ]
}

fn housekeeping() -> Vec<(&'static str, FactBody)> {
    let hash = Hash([6; 32]);
    let closed =
        FactBody::BucketClosed { bucket: Bucket(20_778), count: 9, last: Sequence(300), hash };
    let key = ApiKey {
        id: KeyId::from_bytes([7; 16]),
        name: "producer".into(),
        prefix: "certes_a1b2c3".into(),
        token_sha256: "ab".repeat(32),
        roles: Roles::parse(["producer"]).unwrap(),
        subscriber: Some("org_123".into()),
        created_at: time(0),
        expires_at: Some(time(9)),
    };
    vec![
        ("format_raised", FactBody::FormatRaised { format: 1 }),
        ("bucket_closed", closed),
        ("secret_stored", FactBody::SecretStored(secret_ref())),
        ("secret_erased", FactBody::SecretErased { id: secret_ref().id }),
        ("stamp_key_created", FactBody::StampKeyCreated(secret_ref())),
        ("key_issued", FactBody::KeyIssued(Box::new(key))),
        ("key_revoked", FactBody::KeyRevoked { id: KeyId::from_bytes([7; 16]) }),
        ("object_managed", FactBody::ObjectManaged(Target::Subscription("ci".into()))),
    ]
}

fn objects() -> Vec<(&'static str, FactBody)> {
    let uri = || -> EventUri { "github/1/push".parse().unwrap() };
    let target = || BackoffTarget::Source("github".into());
    let source = SourceSpec {
        name: "github".into(),
        verify: Scheme::Github,
        event_type: Template("github/1/{header:x-github-event}".into()),
        idempotency_key: Some(Template("{header:x-github-delivery}".into())),
        unvalidated: Disposition::Accept,
        invalid: Disposition::Quarantine,
        subscriber: None,
        priority: Priority::try_from(3).ok(),
        backoff: Some(policy()),
        body_bytes_max: Some(1_000_000),
        tolerance_s: Some(60),
        ..SourceSpec::new("", Scheme::None, "")
    };
    let described = SourceSpec {
        public_url: Some("https://in.example.com/events/till".into()),
        replay: Replay::Signature,
        signature: Some(Box::new(SignatureRule {
            header: Some("x-till-signature".into()),
            prefix: Some("v1=".into()),
            algorithm: Algorithm::Sha512,
            encoding: Encoding::Base64,
            content: Some("{id}.{timestamp}.{url}.{body}".into()),
            id_header: Some("x-till-id".into()),
            timestamp_header: Some("x-till-time".into()),
            timestamp_unit: TimeUnit::Milliseconds,
        })),
        ..SourceSpec::new("till", Scheme::Hmac, "till/1/paid")
    };
    let schema = SchemaVersion {
        uri: uri(),
        minor: 2,
        message: "certes.github.v1.Push".into(),
        digest: [8; 32],
        unknown_fields: UnknownFields::Reject,
        rulebook: Rulebook::Certes,
        published_at: time(0),
    };
    let by_rulebook = SchemaVersion { rulebook: Rulebook::Wire, ..schema.clone() };
    let rule = BackoffRule { target: target(), direction: Direction::Outgoing, policy: policy() };
    let subscriber = Subscriber { id: "org_123".into(), name: "Meetly".into() };
    let event_type = EventType { uri: uri(), priority: Priority::try_from(7).ok() };
    let source = Source { spec: source, secrets: vec![secret_ref()] };
    let described = Source { spec: described, secrets: vec![secret_ref()] };
    let bounded = SourceSpec {
        event_types: [("paid".to_owned(), uri())].into(),
        otherwise: Some(uri()),
        response: Some(Box::new(StaticResponse {
            status: 201,
            content_type: "text/plain".into(),
            body: "ok".into(),
        })),
        limits: SourceLimits {
            requests_per_second: Some(5),
            burst: Some(10),
            allowed_networks: vec!["10.0.0.0/8".parse().unwrap()],
            event_types: vec!["till/1/*".parse().unwrap()],
        },
        origins: vec!["eventgrid.example.com".into()],
        ..SourceSpec::new("till", Scheme::ApiKey, "{json:type}")
    };
    let bounded = Source { spec: bounded, secrets: vec![secret_ref()] };
    vec![
        ("subscriber_put", FactBody::SubscriberPut(subscriber)),
        ("subscriber_removed", FactBody::SubscriberRemoved { id: "org_123".into() }),
        ("event_type_put", FactBody::EventTypePut(event_type)),
        ("event_type_removed", FactBody::EventTypeRemoved { uri: uri() }),
        ("source_put", FactBody::SourcePut(Box::new(source))),
        ("source_put.described", FactBody::SourcePut(Box::new(described))),
        ("source_put.bounded", FactBody::SourcePut(Box::new(bounded))),
        ("source_removed", FactBody::SourceRemoved { name: "github".into() }),
        ("backoff_put", FactBody::BackoffPut(Box::new(rule))),
        (
            "backoff_removed",
            FactBody::BackoffRemoved { target: target(), direction: Direction::Outgoing },
        ),
        ("schema_published", FactBody::SchemaPublished(Box::new(schema))),
        ("schema_published.rulebook", FactBody::SchemaPublished(Box::new(by_rulebook))),
        ("schema_removed", FactBody::SchemaRemoved { uri: uri() }),
        (
            "loss_accepted",
            FactBody::LossAccepted {
                facts: vec![(Sequence(7), Sequence(9)), (Sequence(299), Sequence(300))],
                payloads: vec![EventId::from_bytes([1; 16])],
            },
        ),
    ]
}

fn subscriptions() -> Vec<(&'static str, FactBody)> {
    let number = SubscriptionNumber(1);
    let (spec, secrets) = (Box::new(subscription_spec()), vec![secret_ref()]);
    let subscription = Subscription {
        id: SubscriptionId::from_bytes([9; 16]),
        number,
        spec: subscription_spec(),
        status: SubscriptionStatus::Active,
        status_reason: None,
        breaker: None,
        secrets: vec![secret_ref()],
        created_at: time(0),
    };
    let in_order = |ordering| Box::new(SubscriptionSpec { ordering, ..subscription_spec() });
    let (strict, by_key) = (in_order(Ordering::Strict), in_order(Ordering::Key("event.id".into())));
    let filter = Some(r#"event.ref == "refs/heads/main""#.to_owned());
    let filtered = Box::new(SubscriptionSpec { filter, ..subscription_spec() });
    let transform = Some(r#"{"id": id, "ref": event.ref}"#.to_owned());
    let transformed = Box::new(SubscriptionSpec { transform, ..subscription_spec() });
    let pulled =
        Box::new(SubscriptionSpec { url: String::new(), pull: true, ..subscription_spec() });
    let changed = |spec| FactBody::SubscriptionChanged { number, spec, secrets: Vec::new() };
    let (status, reason) = (SubscriptionStatus::Paused, Some("the endpoint answered 410".into()));
    vec![
        ("subscription_created", FactBody::SubscriptionCreated(Box::new(subscription))),
        ("subscription_changed", FactBody::SubscriptionChanged { number, spec, secrets }),
        ("subscription_changed.strict", changed(strict)),
        ("subscription_changed.key", changed(by_key)),
        ("subscription_changed.filter", changed(filtered)),
        ("subscription_changed.transform", changed(transformed)),
        ("subscription_changed.pull", changed(pulled)),
        (
            "subscription_status_changed",
            FactBody::SubscriptionStatusChanged { number, status, reason },
        ),
        ("subscription_removed", FactBody::SubscriptionRemoved { number }),
        ("subscription_cleared", FactBody::SubscriptionCleared { number }),
    ]
}

fn replays() -> Vec<(&'static str, FactBody)> {
    let id = ReplayId::from_bytes([12; 16]);
    let spec = ReplaySpec {
        events: vec![event_id()],
        subscription: Some("ci".into()),
        uri: Some("github/1/*".parse().unwrap()),
        since: Some(time(0)),
        until: Some(time(9)),
        dead: true,
        to: Some("other".into()),
        rate: Some(100),
        new_ids: true,
    };
    let (from, to) = (Some(SubscriptionNumber(1)), Some(SubscriptionNumber(2)));
    let order = ReplayOrder { id, spec, from, to, started_at: time(5), upto: Sequence(299) };
    let all = ReplayOrder { spec: ReplaySpec::default(), from: None, to: None, ..order };
    let progress = ReplayProgress {
        looked_at: 9,
        made: 4,
        skipped_expired: 3,
        skipped_unwanted: 1,
        skipped_waiting: 1,
        waiting: 1,
        delivered: 2,
        dead: 1,
        cancelled: 0,
        through: true,
    };
    let (event, lanes) = (event_id(), vec![LaneId::behind(SubscriptionNumber(2))]);
    let made = FactBody::DeliveriesMade {
        event,
        lanes: vec![LaneId(0x19), LaneId(0x25)],
        keys: [(LaneId(0x25), OrderingKey(7))].into(),
        replay: None,
        new_id: false,
        replaces: None,
    };
    let by_replay = FactBody::DeliveriesMade {
        event,
        lanes,
        keys: Default::default(),
        replay: Some(id),
        new_id: true,
        replaces: Some(delivery()),
    };
    let cursor = Bytes::from_static(b"place");
    let advanced = |over, cursor| FactBody::ReplayAdvanced { replay: id, cursor, progress, over };
    vec![
        ("deliveries_made", made),
        ("deliveries_made.replay", by_replay),
        ("replay_advanced", advanced(false, cursor)),
        ("replay_advanced.over", advanced(true, Bytes::new())),
        ("replay_started", FactBody::ReplayStarted(Box::new(order))),
        ("replay_started.all", FactBody::ReplayStarted(Box::new(all))),
        ("replay_cancelled", FactBody::ReplayCancelled { replay: id }),
        ("replay_ended", FactBody::ReplayEnded { replay: id, at: time(8), progress }),
    ]
}

fn access() -> Vec<(&'static str, FactBody)> {
    let id = UserId::from_bytes([11; 16]);
    let user = User {
        id,
        name: "ada".into(),
        password: secret_ref(),
        roles: Roles::parse(["events:read", "subscriptions:write"]).unwrap(),
        subscriber: Some("org_123".into()),
        disabled: false,
        epoch: 0,
        created_at: time(0),
    };
    let key = TokenKey {
        id: secret_ref().id,
        n: "0vx7agoebGcQSuu".into(),
        e: "AQAB".into(),
        created_at: time(0),
    };
    let roles = Roles::parse(["events:read"]).unwrap();
    vec![
        ("user_created", FactBody::UserCreated(Box::new(user))),
        ("user_roles_set", FactBody::UserRolesSet { id, roles }),
        ("user_password_set", FactBody::UserPasswordSet { id, password: secret_ref() }),
        ("user_disabled", FactBody::UserDisabled { id, disabled: true }),
        ("user_removed", FactBody::UserRemoved { id }),
        ("token_key_created", FactBody::TokenKeyCreated(Box::new(key))),
        ("token_key_forgotten", FactBody::TokenKeyForgotten { id: secret_ref().id }),
        ("secret_revealed", FactBody::SecretRevealed { id: secret_ref().id }),
        ("config_set", set(Some(SettingValue::Duration(Span(std::time::Duration::from_secs(60)))))),
        ("config_set.reset", set(None)),
    ]
}

fn set(value: Option<SettingValue>) -> FactBody {
    let setting = Setting { value, version: 3, changed_at: time(0) };
    FactBody::ConfigSet { key: "delivery.timeout".into(), setting }
}

fn breakers() -> Vec<(&'static str, FactBody)> {
    let number = SubscriptionNumber(1);
    let probe_every = Span(std::time::Duration::from_secs(30));
    let breaker = Breaker { since: time(7), attempts: 20, failures: 19, probe_every };
    let rate_limit = Some(RateLimit { per_second: 2.5, burst: 4 });
    let spec = Box::new(SubscriptionSpec { rate_limit, ..subscription_spec() });
    let secrets = vec![secret_ref()];
    vec![
        ("breaker_opened", FactBody::BreakerOpened { number, breaker }),
        ("breaker_closed", FactBody::BreakerClosed { number }),
        ("deliveries_skipped", FactBody::DeliveriesSkipped { number }),
        ("subscription_changed.limited", FactBody::SubscriptionChanged { number, spec, secrets }),
    ]
}

pub(super) fn samples() -> Vec<(&'static str, FactBody)> {
    [
        traffic(),
        letting_go(),
        housekeeping(),
        objects(),
        subscriptions(),
        sent_so(),
        access(),
        breakers(),
        replays(),
    ]
    .concat()
}

//! Samples of the configuration: schemas, back-offs, sources, subscriptions, keys, commands.

use super::{NOW, key_id, uri};
use bytes::Bytes;
use contract::{
    Error, ErrorCode,
    access::{ApiKey, Roles, Session, TokenKey, User, token_digest},
    backoff::{BackoffPolicy, BackoffRule, Jitter, Kind, Span},
    breaker::Breaker,
    clock::Timestamp,
    command::{Change, ChangeKind, Changeset, Command, DeclaredSubscription, Mode, Target},
    event::{Direction, Disposition, Headers},
    id::{KeyId, SecretId, Sequence, UserId},
    rate_limit::RateLimit,
    rules::Rules,
    schema::{
        Difference, ProtoFile, PublishSettings, Published, Rulebook, SchemaBundle, SchemaSet,
        SchemaSource, SchemaVerdict, SchemaVersion, UnknownFields, Verdict, VersionNumber,
        Violation,
    },
    secret::Secret,
    sending::{Auth, AuthMethod, ClientCredentials, Credential, PayloadFormat, SignatureScheme},
    setting::{Setting, SettingValue, Settings},
    source::{
        Algorithm, Encoding, Replay, Scheme, SignatureRule, Source, SourceLimits, SourceSpec,
        StaticResponse, Template, TimeUnit,
    },
    subscription::{
        EventType, Ordering, Priority, SecretRef, Subscriber, Subscription, SubscriptionSpec,
        SubscriptionStatus,
    },
    testing::{subscription, subscription_spec},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub fn schema_version() -> SchemaVersion {
    SchemaVersion {
        uri: uri(),
        minor: 0,
        message: "certes.github.v1.Push".into(),
        digest: [5; 32],
        unknown_fields: UnknownFields::Reject,
        rulebook: Rulebook::Wire,
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
        unknown_fields: Some(UnknownFields::Ignore),
        rulebook: Some(Rulebook::Confluent),
        next_major: true,
        example: Some("{}".into()),
        expected: Some(VersionNumber { major: 1, minor: 7 }),
    }
}

pub fn bundle() -> SchemaBundle {
    let descriptor_set = Bytes::from_static(b"\x0A\x00");
    SchemaBundle {
        version: schema_version(),
        descriptor_set,
        files: files(),
        example: Some("{}".into()),
    }
}

pub fn published() -> Published {
    Published {
        version: schema_version(),
        changed: true,
        differences: differences(),
        refusal: Some("it breaks".into()),
        subscriptions: vec!["ci".into()],
        differences_left_out: 3,
        subscriptions_left_out: 4,
    }
}

/// Sets of several schemas.
pub fn schema_sets() -> Vec<SchemaSet> {
    let settings = PublishSettings {
        unknown_fields: Some(UnknownFields::Reject),
        rulebook: Some(Rulebook::Wire),
        next_major: true,
        expected: Some(VersionNumber { major: 3, minor: 0 }),
    };
    let archive = Bytes::from_static(b"\x1f\x8b");
    vec![
        SchemaSet::Sources(vec![schema_source(), schema_source()]),
        SchemaSet::Archive(archive.clone(), settings),
        SchemaSet::Archive(archive, PublishSettings::default()),
    ]
}

/// The first one is not refused.
pub fn verdicts() -> Vec<SchemaVerdict> {
    let violation = Violation {
        path: "a.b".into(),
        expected: "compatible with 1.0".into(),
        found: "gone".into(),
        rule: "field_removed".into(),
    };
    let error = Error {
        violations: vec![violation],
        ..Error::new(ErrorCode::InvalidDefinition, "it breaks")
    };
    let verdict = |published, error| SchemaVerdict { uri: uri(), published, error };
    vec![
        verdict(Some(published()), None),
        verdict(Some(published()), Some(error)),
        verdict(None, Some(Error::new(ErrorCode::Conflict, "somebody was faster"))),
    ]
}

pub fn peer_marks() -> BTreeMap<String, String> {
    [("peer.example", "7"), ("other.example", "")].map(|(a, b)| (a.into(), b.into())).into()
}

pub fn differences() -> Vec<Difference> {
    let difference = |verdict| Difference {
        path: "certes.github.v1.Push.ref".into(),
        rule: "field_removed".into(),
        verdict,
        text: "field `ref` was removed".into(),
    };
    vec![difference(Verdict::Compatible), difference(Verdict::Breaking)]
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
    vec![SecretRef {
        id: SecretId::from_bytes([1; 16]),
        fingerprint: "00ff".into(),
        until: Some(NOW),
        public_key: Some("whpk_AAAA".into()),
    }]
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
        public_url: Some("https://in.example.com/events/github".into()),
        replay: Replay::Signature,
        signature: Some(Box::new(SignatureRule {
            header: Some("x-sig".into()),
            prefix: Some("v1=".into()),
            algorithm: Algorithm::Sha512,
            encoding: Encoding::Base64,
            content: Some("{id}.{timestamp}.{body}".into()),
            id_header: Some("x-id".into()),
            timestamp_header: Some("x-time".into()),
            timestamp_unit: TimeUnit::Milliseconds,
        })),
        event_types: [("push".to_owned(), uri())].into(),
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
            event_types: vec!["github/1/*".parse().unwrap()],
        },
        origins: vec!["eventgrid.example.com".into()],
    };
    Source { spec, secrets: secret_refs() }
}

fn auths() -> Vec<Auth> {
    let client = |full: bool| ClientCredentials {
        token_url: "https://login.example/token".into(),
        client_id: "certes".into(),
        scopes: if full { vec!["a".into(), "b".into()] } else { Vec::new() },
        audience: full.then(|| "api".into()),
        secret_in_body: full,
    };
    let [stored, ..] = &secret_refs()[..] else { unreachable!("there are secrets") };
    let given = || Credential::Given(Secret::new("hush"));
    let pairs = [
        (AuthMethod::Basic { username: "ada".into() }, given()),
        (AuthMethod::Bearer, Credential::Kept),
        (AuthMethod::Header { name: "x-api-key".into() }, Credential::Stored(stored.clone())),
        (AuthMethod::Mtls { certificate: "-----BEGIN CERTIFICATE-----".into() }, given()),
        (AuthMethod::Oauth2(client(false).into()), Credential::Kept),
        (AuthMethod::Oauth2(client(true).into()), Credential::Stored(stored.clone())),
    ];
    pairs.map(|(method, credential)| Auth { method, credential }).to_vec()
}

fn full_spec() -> SubscriptionSpec {
    SubscriptionSpec {
        subscriber: Some("org_123".into()),
        priority: Some(Priority::try_from(9).unwrap()),
        backoff: Some(BackoffPolicy::default()),
        max_in_flight: Some(1),
        rate_limit: Some(RateLimit { per_second: 0.5, burst: 3 }),
        timeout_ms: Some(60_000),
        ordering: Ordering::Key("event.id".into()),
        headers: Headers(vec![("x-env".into(), "a".into()), ("x-tenant".into(), "b".into())]),
        auth: auths().pop(),
        filter: Some("event.id == 1".into()),
        transform: Some("{\"id\": id}".into()),
        format: PayloadFormat::CloudeventsStructured,
        pull: true,
        ..subscription_spec("ci")
    }
}

pub fn subscriptions() -> Vec<Subscription> {
    use SubscriptionStatus::{Active, Disabled, Paused};
    let with = |status| Subscription {
        status,
        status_reason: Some("410".into()),
        breaker: Some(Breaker {
            since: NOW,
            attempts: 20,
            failures: 19,
            probe_every: Span(Duration::from_secs(30)),
        }),
        secrets: secret_refs(),
        created_at: NOW,
        ..subscription(2, full_spec())
    };
    let strict = SubscriptionSpec { ordering: Ordering::Strict, ..subscription_spec("ci") };
    let plain = [subscription(1, subscription_spec("ci")), subscription(3, strict)];
    plain.into_iter().chain([Active, Paused, Disabled].map(with)).collect()
}

pub fn commands() -> Vec<Command> {
    let target = |target: &str| target.parse().unwrap();
    let each = auths().into_iter().map(|auth| Command::PutSubscription {
        spec: SubscriptionSpec { auth: Some(auth), ..subscription_spec("ci") },
        secrets: Vec::new(),
    });
    let all = vec![
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
        Command::ResumeSkipping { name: "ci".into() },
        Command::PublishSchema(schema_version()),
        Command::IssueKey {
            name: "producer".into(),
            roles: Roles::parse(["producer", "schemas:read"]).unwrap(),
            subscriber: Some("org_123".into()),
            expires_at: Some(NOW),
        },
        Command::RevokeKey(key_id()),
        Command::CreateUser {
            name: "ada".into(),
            password: Secret::new("correct horse"),
            roles: Roles::parse(["events:read"]).unwrap(),
            subscriber: Some("org_123".into()),
        },
        Command::SetUserRoles { name: "ada".into(), roles: Roles::parse(["producer"]).unwrap() },
        Command::SetPassword { name: "ada".into(), password: Secret::new("battery staple") },
        Command::SetUserDisabled { name: "ada".into(), disabled: true },
        Command::RemoveUser("ada".into()),
        Command::RotateTokenKey { forget: true },
        Command::RotateStampKey,
        Command::SetSetting {
            key: "retention.age".into(),
            value: Some("7d".into()),
            expect: Some(0),
        },
        Command::SetSetting { key: "feature.x".into(), value: None, expect: None },
        Command::EnsureSubscriptions {
            subscriber: Some("org_123".into()),
            subscriptions: vec![
                DeclaredSubscription { spec: full_spec(), secrets: vec![Secret::new("whsec_c")] },
                DeclaredSubscription { spec: subscription_spec("ci"), secrets: Vec::new() },
            ],
            prune: true,
        },
        Command::EnsureSubscriptions { subscriber: None, subscriptions: Vec::new(), prune: false },
        Command::Remove(Target::Subscriber("org_123".into())),
        Command::Remove(Target::EventType(uri())),
        Command::Remove(Target::Source("github".into())),
        Command::Remove(Target::Backoff(target("global"), Direction::Incoming)),
        Command::Remove(Target::Subscription("ci".into())),
        Command::Remove(Target::Schema(uri())),
    ];
    all.into_iter().chain(secrets()).chain(each).collect()
}

/// What is done to the secrets of a subscription.
fn secrets() -> impl Iterator<Item = Command> {
    let rotate = |scheme, keep: Option<u64>| {
        let keep = keep.map(|seconds| Span(Duration::from_secs(seconds)));
        Command::RotateSecret { name: "ci".into(), scheme, keep }
    };
    [
        rotate(SignatureScheme::V1, Some(0)),
        rotate(SignatureScheme::V1, Some(36)),
        rotate(SignatureScheme::V1, None),
        rotate(SignatureScheme::V1a, None),
        Command::RevealSecret { name: "ci".into() },
    ]
    .into_iter()
}

pub fn changeset() -> Changeset {
    Changeset {
        commands: commands(),
        dry_run: true,
        managed: true,
        prune: true,
        mode: Mode::Create,
        acting_for: Some("org_123".into()),
        idempotency_key: Some("once".into()),
    }
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

pub fn user() -> User {
    let id = SecretId::from_bytes([7; 16]);
    User {
        id: UserId::from_bytes([6; 16]),
        name: "ada".into(),
        password: SecretRef {
            id,
            fingerprint: "hidden-fingerprint".into(),
            until: None,
            public_key: None,
        },
        roles: Roles::parse(["events:read"]).unwrap(),
        subscriber: None,
        disabled: true,
        epoch: 3,
        created_at: NOW,
    }
}

pub fn session() -> Session {
    Session { token: Secret::new("head.claims.hidden"), expires_at: NOW }
}

pub fn token(name: &str) -> Secret {
    Secret::new(format!("certes_{name}"))
}

/// Rules with one of everything.
pub fn settings() -> Settings {
    let value = Some(SettingValue::Duration(Span(Duration::from_secs(86_400))));
    let set = Setting { value, version: 3, changed_at: NOW };
    let reset = Setting { value: None, version: 2, changed_at: NOW };
    Settings([("retention.age".to_owned(), set), ("feature.x".to_owned(), reset)].into())
}

pub fn rules(sequence: u64) -> Rules {
    let own = subscription(1, subscription_spec("ci"));
    let theirs = subscription(2, full_spec());
    let secret = SecretId::from_bytes([1; 16]);
    let keys = [
        key("admin", 1, &["admin"], None),
        key("producer", 2, &["producer"], None),
        key("reader", 3, &["events:read"], None),
        key(
            "tenant",
            4,
            &["events:write", "subscriptions:read", "subscriptions:write"],
            Some("org_123"),
        ),
        key("writer", 6, &["subscriptions:write"], None),
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
        users: [(user().id, Arc::new(user()))].into(),
        token_keys: vec![Arc::new(TokenKey {
            id: SecretId::from_bytes([8; 16]),
            n: "n".into(),
            e: "AQAB".into(),
            created_at: NOW,
        })],
        settings: settings(),
        secrets: [(secret, Secret::new("hidden-secret"))].into(),
        stamp_keys: vec![(SecretId::from_bytes([9; 16]), Secret::new("hidden-stamp"))],
    }
}

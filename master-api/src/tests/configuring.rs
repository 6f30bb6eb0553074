//! Changesets: what they change, and what is refused.

use super::harness::{Bench, operator, put_subscription, signing_secret, subscription};
use crate::state::State;
use contract::{
    ErrorCode,
    access::Roles,
    backoff::{BackoffPolicy, BackoffRule, BackoffTarget},
    clock::Timestamp,
    command::{Change, ChangeKind, Changeset, Command, Target},
    event::Direction,
    id::SubscriptionNumber,
    master_api::{Configuration, Deliveries},
    rate_limit::RateLimit,
    schema::{Rulebook, SchemaVersion, UnknownFields},
    secret::Secret,
    source::{Scheme, SourceSpec},
    subscription::{EventType, Priority, Subscriber, SubscriptionSpec, SubscriptionStatus},
};
use std::{sync::Arc, time::Duration};

fn source(name: &str) -> SourceSpec {
    SourceSpec::new(name, Scheme::Github, "github/1/{header:x-github-event}")
}

fn put_source(name: &str, secret: &str) -> Command {
    Command::PutSource { spec: source(name), secrets: vec![Secret::new(secret)] }
}

fn put(spec: SubscriptionSpec) -> Command {
    Command::PutSubscription { spec, secrets: Vec::new() }
}

fn global_backoff() -> BackoffRule {
    let (target, direction) = (BackoffTarget::Global, Direction::Incoming);
    BackoffRule { target, direction, policy: BackoffPolicy::default() }
}

fn manifest() -> Vec<Command> {
    let event_type =
        EventType { uri: "github/1/push".parse().unwrap(), priority: Priority::try_from(7).ok() };
    let mut spec = subscription("ci");
    spec.subscriber = Some("org_123".into());
    vec![
        Command::PutSubscriber(Subscriber { id: "org_123".into(), name: "Meetly".into() }),
        Command::PutEventType(event_type),
        put_source("github", "s3cret"),
        Command::PutBackoff(global_backoff()),
        Command::PutSubscription { spec, secrets: vec![signing_secret(1)] },
    ]
}

async fn apply(bench: &Bench, commands: Vec<Command>, prune: bool) -> Vec<Change> {
    let changes = Changeset { commands, managed: true, prune, ..Changeset::default() };
    bench.api.execute(operator(), changes).await.unwrap()
}

fn kinds(changes: &[Change]) -> Vec<ChangeKind> {
    changes.iter().map(|change| change.kind).collect()
}

#[tokio::test]
async fn applying_a_manifest_twice_changes_nothing_the_second_time() {
    let bench = Bench::memory();
    let first = apply(&bench, manifest(), false).await;
    assert_eq!(kinds(&first), [ChangeKind::Created; 5]);
    assert!(first.iter().all(|change| change.revealed.is_none()));
    let head = bench.rules();
    let second = apply(&bench, manifest(), true).await;
    assert_eq!(kinds(&second), [ChangeKind::Unchanged; 5]);
    assert_eq!(bench.rules(), head);
    let rules = bench.api.rules().borrow().clone();
    let ci = rules.subscription_named("ci").unwrap();
    assert_eq!(rules.secrets_of(&ci.secrets).collect::<Vec<_>>(), [&signing_secret(1)]);
    bench.assert_verified().await;
}

#[tokio::test]
async fn pruning_takes_only_what_a_manifest_put() {
    let bench = Bench::memory();
    bench.subscribe("by hand").await;
    apply(&bench, manifest(), false).await;
    let pruned = apply(&bench, vec![put_source("github", "s3cret")], true).await;
    let removed: Vec<_> = pruned
        .iter()
        .filter(|change| change.kind == ChangeKind::Removed)
        .map(|change| change.noun.as_str())
        .collect();
    assert_eq!(removed, ["subscription", "backoff", "event_type", "subscriber"]);
    let rules = bench.api.rules().borrow().clone();
    assert!(rules.subscription_named("by hand").is_some());
    assert_eq!(rules.subscriptions.len(), 1);
    assert_eq!((rules.sources.len(), rules.subscribers.len()), (1, 0));
    bench.assert_verified().await;
}

#[tokio::test]
async fn a_dry_run_only_says_what_would_change() {
    let bench = Bench::memory();
    let head = bench.rules();
    let commands = vec![put_subscription("ci"), Command::RevokeKey(admin_key(&bench))];
    let dry = Changeset { commands: commands[..1].to_vec(), dry_run: true, ..Changeset::default() };
    let changes = bench.api.execute(operator(), dry).await.unwrap();
    assert_eq!(kinds(&changes), [ChangeKind::Created]);
    assert!(changes[0].revealed.is_none() && changes[0].id.is_none());
    assert_eq!(bench.rules(), head);
    // What would be refused is refused.
    let dry = Changeset { commands, dry_run: true, ..Changeset::default() };
    let error = bench.api.execute(operator(), dry).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
}

fn admin_key(bench: &Bench) -> contract::id::KeyId {
    bench.api.rules().borrow().keys.values().find(|key| key.name == "admin").unwrap().id
}

#[tokio::test]
async fn all_commands_take_effect_or_none() {
    let bench = Bench::memory();
    let (head, stats) = (bench.rules(), bench.api.stats().await.unwrap());
    let mut bad = subscription("second");
    bad.url = "ftp://example.com/".into();
    let error = bench.execute(vec![put_subscription("first"), put(bad)]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidDefinition);
    assert!(error.message.contains("subscription `second`: url"), "{error}");
    assert_eq!((bench.rules(), bench.api.stats().await.unwrap()), (head, stats));
    assert!(bench.api.rules().borrow().subscriptions.is_empty());
    bench.assert_verified().await;
}

#[tokio::test]
async fn a_new_subscription_shows_its_secret_once() {
    let bench = Bench::memory();
    let made = bench.execute(vec![put_subscription("ci")]).await.unwrap().remove(0);
    let secret = made.revealed.unwrap();
    assert_eq!(secret.webhook_key().unwrap().len(), 32);
    assert!(made.id.unwrap().starts_with("sub_"));
    let again = bench.execute(vec![put_subscription("ci")]).await.unwrap().remove(0);
    assert_eq!((again.kind, again.revealed), (ChangeKind::Unchanged, None));
    let rules = bench.api.rules().borrow().clone();
    let held = rules.subscription_named("ci").unwrap();
    assert_eq!(rules.secrets_of(&held.secrets).collect::<Vec<_>>(), [&secret]);
}

#[tokio::test]
async fn rotating_a_secret_keeps_the_old_one_as_long_as_it_is_named() {
    let bench = Bench::memory();
    let rotate = |secrets: &[u8]| {
        let secrets = secrets.iter().map(|byte| signing_secret(*byte)).collect();
        vec![Command::PutSubscription { spec: subscription("ci"), secrets }]
    };
    let held = || {
        let rules = bench.api.rules().borrow().clone();
        let refs = rules.subscription_named("ci").unwrap().secrets.clone();
        let bytes: Vec<_> = rules.secrets_of(&refs).cloned().collect();
        (refs, bytes)
    };
    bench.execute(rotate(&[1])).await.unwrap();
    let (first, _) = held();
    bench.execute(rotate(&[2, 1])).await.unwrap();
    let (both, bytes) = held();
    assert_eq!(bytes, [signing_secret(2), signing_secret(1)]);
    assert_eq!(both[1], first[0]);
    bench.execute(rotate(&[2])).await.unwrap();
    assert_eq!(held().1, [signing_secret(2)]);
    // The stamp key is the only other secret left.
    assert_eq!(bench.api.shared.vault.load().len(), 2);
    bench.assert_verified().await;
}

#[tokio::test]
async fn keys_are_issued_and_revoked() {
    let bench = Bench::memory();
    let issue = |name: &str, role: &str, expires_at| Command::IssueKey {
        name: name.into(),
        roles: Roles::parse([role]).unwrap(),
        subscriber: None,
        expires_at,
    };
    let made = bench.execute(vec![issue("shop", "producer", None)]).await.unwrap().remove(0);
    let token = made.revealed.unwrap();
    let rules = bench.api.rules().borrow().clone();
    let principal = rules.authenticate(&token, super::harness::now(&bench)).unwrap();
    let id = made.id.unwrap();
    assert_eq!((principal.name.as_str(), principal.actor.to_string()), ("shop", id.clone()));
    let id = id.parse().unwrap();
    let twice = bench.execute(vec![issue("shop", "producer", None)]).await.unwrap_err();
    assert_eq!(twice.code, ErrorCode::Conflict);
    let past = bench.execute(vec![issue("late", "producer", Some(Timestamp(1)))]).await;
    assert_eq!(past.unwrap_err().code, ErrorCode::InvalidDefinition);

    bench.execute(vec![Command::RevokeKey(id)]).await.unwrap();
    let rules = bench.api.rules().borrow().clone();
    assert!(rules.authenticate(&token, super::harness::now(&bench)).is_none());
    let error = bench.execute(vec![Command::RevokeKey(id)]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn the_last_key_with_all_roles_stays() {
    let bench = Bench::memory();
    let expires_at = Some(super::harness::now(&bench).after(Duration::from_secs(3600)));
    let issue = |name: &str, role: &str, expires_at| Command::IssueKey {
        name: name.into(),
        roles: Roles::parse([role]).unwrap(),
        subscriber: None,
        expires_at,
    };
    // Neither one that makes keys, nor one that has all roles for a while, takes its place.
    let made = vec![issue("keeper", "keys:write", None), issue("guest", "admin", expires_at)];
    bench.execute(made).await.unwrap();
    let last = bench.execute(vec![Command::RevokeKey(admin_key(&bench))]).await.unwrap_err();
    assert_eq!(last.code, ErrorCode::Conflict);
    assert!(last.message.contains("the last one with all roles"), "{last}");
    let second = bench.execute(vec![issue("second", "admin", None)]).await.unwrap().remove(0);
    bench.execute(vec![Command::RevokeKey(admin_key(&bench))]).await.unwrap();
    let second = Command::RevokeKey(second.id.unwrap().parse().unwrap());
    assert_eq!(bench.execute(vec![second]).await.unwrap_err().code, ErrorCode::Conflict);
    bench.assert_verified().await;
}

#[tokio::test]
async fn a_status_is_set_and_taken_back() {
    let bench = Bench::memory();
    bench.subscribe("ci").await;
    let set = |status, reason: Option<&str>| Command::SetSubscriptionStatus {
        name: "ci".into(),
        status,
        reason: reason.map(str::to_owned),
    };
    let paused = set(SubscriptionStatus::Paused, Some("maintenance"));
    assert_eq!(kinds(&bench.execute(vec![paused.clone()]).await.unwrap()), [ChangeKind::Changed]);
    assert_eq!(kinds(&bench.execute(vec![paused]).await.unwrap()), [ChangeKind::Unchanged]);
    bench.execute(vec![set(SubscriptionStatus::Active, Some("done"))]).await.unwrap();
    let rules = bench.api.rules().borrow().clone();
    let held = rules.subscriptions.get(&SubscriptionNumber(1)).unwrap();
    assert_eq!((held.status, &held.status_reason), (SubscriptionStatus::Active, &None));
}

#[tokio::test]
async fn schemas_follow_one_another() {
    let bench = Bench::memory();
    let version = |minor, digest| SchemaVersion {
        uri: "github/1/push".parse().unwrap(),
        minor,
        message: "certes.github.v1.Push".into(),
        digest: [digest; 32],
        unknown_fields: UnknownFields::Ignore,
        rulebook: Rulebook::Certes,
        published_at: Timestamp(1),
    };
    let publish =
        |minor, digest| bench.execute(vec![Command::PublishSchema(version(minor, digest))]);
    assert_eq!(publish(1, 1).await.unwrap_err().code, ErrorCode::Conflict);
    assert_eq!(kinds(&publish(0, 1).await.unwrap()), [ChangeKind::Created]);
    assert_eq!(kinds(&publish(1, 1).await.unwrap()), [ChangeKind::Unchanged]);
    assert_eq!(kinds(&publish(1, 2).await.unwrap()), [ChangeKind::Changed]);
    let error = publish(1, 3).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert!(error.message.contains("the current version is 1.1"), "{error}");
    assert_eq!(bench.api.rules().borrow().schemas.values().next().unwrap().minor, 1);

    let uri = version(0, 0).uri;
    let remove = || bench.execute(vec![Command::Remove(Target::Schema(uri.clone()))]);
    assert_eq!(kinds(&remove().await.unwrap()), [ChangeKind::Removed]);
    assert_eq!(remove().await.unwrap_err().code, ErrorCode::NotFound);
    assert!(bench.api.rules().borrow().schemas.is_empty());
    assert_eq!(publish(0, 1).await.unwrap_err().code, ErrorCode::Conflict);
    assert_eq!(kinds(&publish(2, 1).await.unwrap()), [ChangeKind::Created]);
    let history = bench.api.schema_versions(&uri).await.unwrap();
    assert_eq!(history, [version(0, 1), version(1, 2), version(2, 1)]);
}

#[tokio::test]
async fn a_schema_that_is_needed_stays() {
    let bench = Bench::memory();
    let publish = |name: &str| {
        Command::PublishSchema(SchemaVersion {
            uri: format!("shop/1/{name}").parse().unwrap(),
            minor: 0,
            message: "Paid".into(),
            digest: [1; 32],
            unknown_fields: UnknownFields::Ignore,
            rulebook: Rulebook::Certes,
            published_at: Timestamp(1),
        })
    };
    let subscribe = |name: &str, pattern: &str| {
        put(SubscriptionSpec { events: vec![pattern.parse().unwrap()], ..subscription(name) })
    };
    let remove = |name: &str| {
        let uri = format!("shop/1/{name}").parse().unwrap();
        bench.execute(vec![Command::Remove(Target::Schema(uri))])
    };
    bench.execute(vec![publish("a"), publish("b"), publish("c")]).await.unwrap();
    let subscriptions = vec![subscribe("literal", "shop/1/a"), subscribe("wild", "*/1/*")];
    bench.execute(subscriptions).await.unwrap();

    let error = remove("a").await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert!(error.message.contains("`literal` needs it"), "{error}");
    let more = (0..30).map(|n| subscribe(&format!("more{n:02}"), "shop/1/a")).collect();
    bench.execute(more).await.unwrap();
    let error = remove("a").await.unwrap_err().message;
    assert!(error.contains("31 subscriptions need it: `literal`, `more00`, `more01`"), "{error}");
    assert!(error.contains("`more18` and 11 more"), "{error}");
    let gone = (0..30).map(|n| Command::Remove(Target::Subscription(format!("more{n:02}"))));
    bench.execute(gone.collect()).await.unwrap();
    remove("b").await.unwrap();
    let set =
        |status| Command::SetSubscriptionStatus { name: "literal".into(), status, reason: None };
    bench.execute(vec![set(SubscriptionStatus::Paused)]).await.unwrap();
    assert_eq!(remove("a").await.unwrap_err().code, ErrorCode::Conflict, "it waits to go on");
    bench.execute(vec![set(SubscriptionStatus::Disabled)]).await.unwrap();
    remove("a").await.unwrap();
    let error = remove("c").await.unwrap_err();
    assert!(error.message.contains("`wild` needs it"), "the last one it selects: {error}");
    bench.execute(vec![Command::Remove(Target::Subscription("wild".into()))]).await.unwrap();
    remove("c").await.unwrap();
}

#[tokio::test]
async fn what_others_point_to_stays() {
    let bench = Bench::memory();
    apply(&bench, manifest(), false).await;
    let remove = |target| bench.execute(vec![Command::Remove(target)]);
    let error = remove(Target::Subscriber("org_123".into())).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert!(error.message.contains("`ci`"), "{error}");
    remove(Target::Subscription("ci".into())).await.unwrap();
    remove(Target::Subscriber("org_123".into())).await.unwrap();
    let unknown = [
        Target::Subscriber("x".into()),
        Target::Source("x".into()),
        Target::Subscription("x".into()),
        Target::EventType("x/1/y".parse().unwrap()),
        Target::Backoff(BackoffTarget::Source("x".into()), Direction::Incoming),
    ];
    for target in unknown {
        assert_eq!(remove(target).await.unwrap_err().code, ErrorCode::NotFound);
    }
}

/// A change that makes a definition unacceptable.
#[tokio::test]
async fn what_older_replicas_would_not_keep_to_waits_for_them() {
    let bench = Bench::memory();
    let limited = SubscriptionSpec {
        rate_limit: Some(RateLimit { per_second: 2.5, burst: 1 }),
        ..subscription("ci")
    };
    let state = State::clone(&bench.api.shared.state.load());
    bench.api.shared.state.store(Arc::new(State { format: 4, ..state.clone() }));
    let refused = bench.execute(vec![put(limited.clone())]).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict, "{refused}");
    bench.execute(vec![put(subscription("ci"))]).await.unwrap();
    bench.api.shared.state.store(Arc::new(state));
    bench.execute(vec![put(limited.clone())]).await.unwrap();
    let rules = bench.api.rules().borrow().clone();
    assert_eq!(rules.subscription_named("ci").unwrap().spec, limited);
}

type Spoil<T> = fn(&mut T);

#[tokio::test]
async fn definitions_that_cannot_work_are_refused_with_a_sentence() {
    let bench = Bench::memory();
    let spoils: &[(&str, Spoil<SubscriptionSpec>)] = &[
        ("a name has 1", |spec| spec.name = String::new()),
        ("no space at its ends", |spec| spec.name = " ci".into()),
        ("is no URL", |spec| spec.url = "example.com/hook".into()),
        ("allowed: http, https", |spec| spec.url = "file:///etc/passwd".into()),
        ("user name or password", |spec| spec.url = "http://a:b@example.com/".into()),
        ("1 to 64 patterns", |spec| spec.events.clear()),
        ("max_in_flight", |spec| spec.max_in_flight = Some(0)),
        ("rate_limit: per_second", |spec| {
            spec.rate_limit = Some(RateLimit { per_second: 0.0, burst: 1 });
        }),
        ("timeout_ms", |spec| spec.timeout_ms = Some(999)),
        ("there is no subscriber `org_9`", |spec| spec.subscriber = Some("org_9".into())),
        ("max_retries", |spec| {
            let mut policy =
                BackoffPolicy { kind: contract::backoff::Kind::Linear, ..Default::default() };
            (policy.delays, policy.base) = (Vec::new(), Some("1s".parse().unwrap()));
            spec.backoff = Some(policy);
        }),
    ];
    for (expected, spoil) in spoils {
        let mut spec = subscription("ci");
        spoil(&mut spec);
        let error = bench.execute(vec![put(spec)]).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidDefinition, "{expected}");
        assert!(error.message.contains(expected), "{expected}: {error}");
    }
    for secret in ["whsec_short", "whsec_c2hvcnQ=", "not base64 at all"] {
        let secrets = vec![Secret::new(secret)];
        let command = Command::PutSubscription { spec: subscription("ci"), secrets };
        let error = bench.execute(vec![command]).await.unwrap_err();
        assert!(error.message.contains("24 to 64 bytes"), "{error}");
        assert!(!error.message.contains(secret), "{error}");
    }
    let twice = bench.execute(vec![put_subscription("ci"), put_subscription("ci")]).await;
    assert!(twice.unwrap_err().message.contains("named twice"));
}

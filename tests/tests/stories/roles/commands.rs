//! What `Configuration/Execute` needs for a command. What they name is not there, so that whoever
//! may changes nothing.

use super::NOBODY;
use contract::{
    access::Roles,
    backoff::{BackoffPolicy, BackoffRule, BackoffTarget},
    clock::Timestamp,
    command::{Command, DeclaredSubscription, Target},
    event::Direction,
    id::KeyId,
    schema::{Rulebook, SchemaVersion, UnknownFields},
    secret::Secret,
    source::{Scheme, SourceSpec},
    subscription::{EventType, Subscriber, SubscriptionStatus},
    uri::EventUri,
};

/// Kind, role, whether a key of one subscriber may, and a sample.
type Row = (&'static str, &'static str, bool, Command);

/// One of each kind.
pub(super) fn commands() -> Vec<Row> {
    [subscriptions(), configuration(), access()].concat()
}

fn name() -> String {
    "x".to_owned()
}

fn uri() -> EventUri {
    "a/1/b".parse().unwrap()
}

fn subscriptions() -> Vec<Row> {
    let org = Subscriber { id: " ".into(), name: String::new() };
    let mut spec = contract::testing::subscription_spec(" ");
    spec.subscriber = Some("org_1".into());
    let put = Command::PutSubscription { spec, secrets: Vec::new() };
    let (status, reason) = (SubscriptionStatus::Paused, None);
    let pause = Command::SetSubscriptionStatus { name: name(), status, reason };
    let rotate = Command::RotateSecret { name: name(), scheme: Default::default(), keep: None };
    let needs = "subscriptions:write";
    let mut wanted = contract::testing::subscription_spec(" ");
    wanted.subscriber = Some("org_1".into());
    let subscriptions = vec![DeclaredSubscription { spec: wanted, secrets: Vec::new() }];
    let subscriber = Some("org_1".to_owned());
    let ensure = Command::EnsureSubscriptions { subscriber, subscriptions, prune: false };
    vec![
        ("ensure_subscriptions", needs, true, ensure),
        ("put_subscriber", needs, false, Command::PutSubscriber(org)),
        ("put_subscription", needs, true, put),
        ("set_subscription_status", needs, true, pause),
        ("resume_skipping", needs, true, Command::ResumeSkipping { name: name() }),
        ("remove", needs, true, Command::Remove(Target::Subscription(name()))),
        ("rotate_secret", needs, true, rotate),
        ("reveal_secret", needs, true, Command::RevealSecret { name: name() }),
    ]
}

fn source() -> SourceSpec {
    SourceSpec::new("/", Scheme::None, "a/1/b")
}

fn configuration() -> Vec<Row> {
    let backoff = BackoffRule {
        target: BackoffTarget::Global,
        direction: Direction::Incoming,
        policy: BackoffPolicy::default(),
    };
    let version = SchemaVersion {
        uri: uri(),
        minor: 0,
        message: "B".into(),
        digest: [0; 32],
        unknown_fields: UnknownFields::Ignore,
        rulebook: Rulebook::Certes,
        published_at: Timestamp(0),
    };
    let event_type = EventType { uri: uri(), priority: None };
    let put_source = Command::PutSource { spec: source(), secrets: Vec::new() };
    let set = Command::SetSetting { key: name(), value: None, expect: None };
    vec![
        ("put_event_type", "schemas:write", false, Command::PutEventType(event_type)),
        ("put_source", "sources:write", false, put_source),
        ("put_backoff", "backoffs:write", false, Command::PutBackoff(backoff)),
        // The registry alone publishes.
        ("publish_schema", NOBODY, false, Command::PublishSchema(version)),
        ("rotate_stamp_key", "config:write", false, Command::RotateStampKey),
        ("set_setting", "config:write", false, set),
    ]
}

fn access() -> Vec<Row> {
    let roles = |role: &str| Roles::parse([role]).unwrap();
    let (keys, users) = ("keys:write", "users:write");
    let (subscriber, expires_at) = (None, None);
    let issue = Command::IssueKey { name: " ".into(), roles: roles(keys), subscriber, expires_at };
    let (password, subscriber) = (Secret::new("short"), None);
    let create = Command::CreateUser {
        name: name(),
        password: password.clone(),
        roles: roles(users),
        subscriber,
    };
    let set_roles = Command::SetUserRoles { name: name(), roles: roles(users) };
    let set_password = Command::SetPassword { name: name(), password };
    let disable = Command::SetUserDisabled { name: name(), disabled: true };
    vec![
        ("issue_key", keys, false, issue),
        ("revoke_key", keys, false, Command::RevokeKey(KeyId::from_bytes([0; 16]))),
        ("rotate_token_key", keys, false, Command::RotateTokenKey { forget: false }),
        ("create_user", users, false, create),
        ("set_user_roles", users, false, set_roles),
        ("set_password", users, false, set_password),
        ("set_user_disabled", users, false, disable),
        ("remove_user", users, false, Command::RemoveUser(name())),
    ]
}

//! Commands, and what they changed.

mod user;
mod ensure;

use super::{
    Malformed, backoff::span, duration, each, into_each, message, moment, moment_from, one_of,
    one_of_or, optional, parsed, required, text,
};
use crate::v1::{self, command, target};
use contract::{
    access::Roles,
    backoff::{BackoffRule, Span},
    command::{Change, ChangeKind, Changeset, Command, Mode, Target},
    schema::SchemaVersion,
    secret::Secret,
    sending::SignatureScheme,
    source::SourceSpec,
    subscription::{EventType, Subscriber, SubscriptionSpec},
};
use std::time::Duration;

same_variants!(ChangeKind, v1::ChangeKind, [Created, Changed, Unchanged, Removed]);
same_variants!(Mode, v1::Mode, [Put, Create, Update]);

/// A secret as a text, because these messages are how it is given to the server.
fn shown(secret: &Secret) -> String {
    secret.expose().to_owned()
}

fn exposed(secrets: &[Secret]) -> Vec<String> {
    secrets.iter().map(shown).collect()
}

fn secrets_from(texts: Vec<String>) -> Result<Vec<Secret>, Malformed> {
    let refuse = || Malformed::invalid("", "a secret must not be empty");
    let one = |text: String| if text.is_empty() { Err(refuse()) } else { Ok(Secret::new(text)) };
    each(texts, "secrets", one)
}

impl From<Command> for v1::Command {
    fn from(command: Command) -> Self {
        use command::Command as Wire;
        let command = match command {
            Command::PutSubscriber(subscriber) => Wire::PutSubscriber(subscriber.into()),
            Command::PutEventType(event_type) => Wire::PutEventType(event_type.into()),
            Command::PutSource { spec, secrets } => Wire::PutSource(v1::PutSource {
                spec: Some(spec.into()),
                secrets: exposed(&secrets),
            }),
            Command::PutBackoff(rule) => Wire::PutBackoff(rule.into()),
            Command::PutSubscription { spec, secrets } => {
                let (spec, secrets) = (Some(spec.into()), exposed(&secrets));
                Wire::PutSubscription(v1::PutSubscription { spec, secrets })
            }
            Command::SetSubscriptionStatus { name, status, reason } => {
                let status = v1::SubscriptionStatus::from(status).into();
                Wire::SetSubscriptionStatus(v1::SetSubscriptionStatus { name, status, reason })
            }
            Command::ResumeSkipping { name } => Wire::ResumeSkipping(name),
            Command::PublishSchema(version) => Wire::PublishSchema(version.into()),
            Command::IssueKey { name, roles, subscriber, expires_at } => {
                let (roles, expires_at) = (roles.names(), expires_at.map(moment));
                Wire::IssueKey(v1::IssueKey { name, roles, subscriber, expires_at })
            }
            Command::RevokeKey(id) => Wire::RevokeKey(id.to_string()),
            Command::Remove(target) => Wire::Remove(target.into()),
            Command::CreateUser { name, password, roles, subscriber } => {
                let (password, roles) = (shown(&password), roles.names());
                Wire::CreateUser(v1::CreateUser { name, password, roles, subscriber })
            }
            Command::SetUserRoles { name, roles } => {
                Wire::SetUserRoles(v1::SetUserRoles { name, roles: roles.names() })
            }
            Command::SetPassword { name, password } => {
                Wire::SetPassword(v1::SetPassword { name, password: shown(&password) })
            }
            Command::SetUserDisabled { name, disabled } => {
                Wire::SetUserDisabled(v1::SetUserDisabled { name, disabled })
            }
            Command::RemoveUser(name) => Wire::RemoveUser(name),
            Command::RotateTokenKey { forget } => {
                Wire::RotateTokenKey(v1::RotateTokenKey { forget })
            }
            Command::RotateSecret { name, scheme, keep } => {
                let scheme = v1::SignatureScheme::from(scheme).into();
                let forget = keep.is_some_and(|keep| keep.0.is_zero());
                let keep = keep.map(|keep| duration(keep.0));
                Wire::RotateSecret(v1::RotateSecret { name, forget, keep, scheme })
            }
            Command::RevealSecret { name } => Wire::RevealSecret(name),
            Command::RotateStampKey => Wire::RotateStampKey(v1::RotateStampKey {}),
            Command::SetSetting { key, value, expect: expect_version } => {
                Wire::SetSetting(v1::SetSetting { key, value, expect_version })
            }
            Command::EnsureSubscriptions { subscriber, subscriptions, prune } => {
                Wire::EnsureSubscriptions(ensure::wire(subscriber, subscriptions, prune))
            }
        };
        Self { command: Some(command) }
    }
}

impl TryFrom<v1::Command> for Command {
    type Error = Malformed;
    fn try_from(wire: v1::Command) -> Result<Self, Malformed> {
        use command::Command as Wire;
        /// What is in the variant of this name.
        fn at<N>(name: &'static str, read: Result<N, Malformed>) -> Result<N, Malformed> {
            read.map_err(|malformed| malformed.within(name))
        }
        Ok(match required(wire.command, "")? {
            Wire::PutSubscriber(wire) => {
                Self::PutSubscriber(at("put_subscriber", Subscriber::try_from(wire))?)
            }
            Wire::PutEventType(wire) => {
                Self::PutEventType(at("put_event_type", EventType::try_from(wire))?)
            }
            Wire::PutSource(wire) => at("put_source", put_source(wire))?,
            Wire::PutBackoff(wire) => {
                Self::PutBackoff(at("put_backoff", BackoffRule::try_from(wire))?)
            }
            Wire::PutSubscription(wire) => at("put_subscription", put_subscription(wire))?,
            Wire::SetSubscriptionStatus(wire) => at("set_subscription_status", set_status(wire))?,
            Wire::ResumeSkipping(name) => {
                Self::ResumeSkipping { name: text(name, "resume_skipping")? }
            }
            Wire::PublishSchema(wire) => {
                Self::PublishSchema(at("publish_schema", SchemaVersion::try_from(wire))?)
            }
            Wire::IssueKey(wire) => at("issue_key", issue_key(wire))?,
            Wire::RevokeKey(id) => Self::RevokeKey(parsed(&id, "revoke_key")?),
            Wire::Remove(wire) => Self::Remove(at("remove", Target::try_from(wire))?),
            Wire::CreateUser(wire) => at("create_user", user::create(wire))?,
            Wire::SetUserRoles(wire) => at("set_user_roles", user::set_roles(wire))?,
            Wire::SetPassword(wire) => at("set_password", user::set_password(wire))?,
            Wire::SetUserDisabled(wire) => at("set_user_disabled", user::set_disabled(wire))?,
            Wire::RemoveUser(name) => Self::RemoveUser(text(name, "remove_user")?),
            Wire::RotateTokenKey(wire) => Self::RotateTokenKey { forget: wire.forget },
            Wire::RotateSecret(wire) => {
                let name = text(wire.name, "rotate_secret.name")?;
                let keep = optional(wire.keep, "rotate_secret.keep", span)?;
                let keep = if wire.forget { Some(Span(Duration::ZERO)) } else { keep };
                let scheme = one_of_or::<v1::SignatureScheme, _>(
                    wire.scheme,
                    SignatureScheme::V1,
                    "rotate_secret.scheme",
                )?;
                Self::RotateSecret { name, scheme, keep }
            }
            Wire::RevealSecret(name) => Self::RevealSecret { name: text(name, "reveal_secret")? },
            Wire::RotateStampKey(v1::RotateStampKey {}) => Self::RotateStampKey,
            Wire::SetSetting(v1::SetSetting { key, value, expect_version }) => Self::SetSetting {
                key: text(key, "set_setting.key")?,
                value,
                expect: expect_version,
            },
            Wire::EnsureSubscriptions(wire) => at("ensure_subscriptions", Self::try_from(wire))?,
        })
    }
}

fn put_source(wire: v1::PutSource) -> Result<Command, Malformed> {
    let spec = message(wire.spec, "spec", SourceSpec::try_from)?;
    Ok(Command::PutSource { spec, secrets: secrets_from(wire.secrets)? })
}

fn put_subscription(wire: v1::PutSubscription) -> Result<Command, Malformed> {
    let spec = message(wire.spec, "spec", SubscriptionSpec::try_from)?;
    Ok(Command::PutSubscription { spec, secrets: secrets_from(wire.secrets)? })
}

fn set_status(wire: v1::SetSubscriptionStatus) -> Result<Command, Malformed> {
    Ok(Command::SetSubscriptionStatus {
        name: text(wire.name, "name")?,
        status: one_of::<v1::SubscriptionStatus, _>(wire.status, "status")?,
        reason: wire.reason,
    })
}

fn roles(names: &[String]) -> Result<Roles, Malformed> {
    let roles = Roles::parse(names.iter().map(String::as_str));
    roles.map_err(|why| Malformed::invalid("roles", why))
}

fn issue_key(wire: v1::IssueKey) -> Result<Command, Malformed> {
    Ok(Command::IssueKey {
        name: text(wire.name, "name")?,
        roles: roles(&wire.roles)?,
        subscriber: wire.subscriber,
        expires_at: optional(wire.expires_at, "expires_at", moment_from)?,
    })
}

impl From<Target> for v1::Target {
    fn from(target: Target) -> Self {
        let target = match target {
            Target::Subscriber(id) => target::Target::Subscriber(id),
            Target::EventType(uri) => target::Target::EventType(uri.to_string()),
            Target::Source(name) => target::Target::Source(name),
            Target::Backoff(of, direction) => target::Target::Backoff(v1::BackoffKey {
                target: of.to_string(),
                direction: v1::Direction::from(direction).into(),
            }),
            Target::Subscription(name) => target::Target::Subscription(name),
            Target::Schema(uri) => target::Target::Schema(uri.to_string()),
        };
        Self { target: Some(target) }
    }
}

impl TryFrom<v1::Target> for Target {
    type Error = Malformed;
    fn try_from(wire: v1::Target) -> Result<Self, Malformed> {
        Ok(match required(wire.target, "")? {
            target::Target::Subscriber(id) => Self::Subscriber(text(id, "subscriber")?),
            target::Target::EventType(uri) => Self::EventType(parsed(&uri, "event_type")?),
            target::Target::Source(name) => Self::Source(text(name, "source")?),
            target::Target::Backoff(key) => Self::Backoff(
                parsed(&key.target, "backoff.target")?,
                one_of::<v1::Direction, _>(key.direction, "backoff.direction")?,
            ),
            target::Target::Subscription(name) => Self::Subscription(text(name, "subscription")?),
            target::Target::Schema(uri) => Self::Schema(parsed(&uri, "schema")?),
        })
    }
}

impl From<Changeset> for v1::Changeset {
    fn from(changes: Changeset) -> Self {
        let Changeset { commands, dry_run, managed, prune, mode, acting_for, idempotency_key } =
            changes;
        let (commands, mode) = (into_each(commands), v1::Mode::from(mode).into());
        Self { commands, dry_run, managed, prune, mode, acting_for, idempotency_key }
    }
}

impl TryFrom<v1::Changeset> for Changeset {
    type Error = Malformed;
    fn try_from(wire: v1::Changeset) -> Result<Self, Malformed> {
        let v1::Changeset { commands, dry_run, managed, prune, mode, acting_for, idempotency_key } =
            wire;
        Ok(Self {
            commands: each(commands, "commands", Command::try_from)?,
            dry_run,
            managed,
            prune,
            mode: one_of_or::<v1::Mode, _>(mode, Mode::default(), "mode")?,
            acting_for,
            idempotency_key,
        })
    }
}

impl From<Change> for v1::Change {
    fn from(change: Change) -> Self {
        let Change { kind, noun, name, revealed, id } = change;
        // The one answer in which a secret is shown to whoever asked for it.
        let revealed = revealed.map(|secret| secret.expose().to_owned());
        Self { kind: v1::ChangeKind::from(kind).into(), noun, name, revealed, id }
    }
}

impl TryFrom<v1::Change> for Change {
    type Error = Malformed;
    fn try_from(wire: v1::Change) -> Result<Self, Malformed> {
        Ok(Self {
            kind: one_of::<v1::ChangeKind, _>(wire.kind, "kind")?,
            noun: text(wire.noun, "noun")?,
            name: wire.name,
            revealed: wire.revealed.map(Secret::new),
            id: wire.id,
        })
    }
}

//! Whether a changeset may touch what a command names, as things stand when it is decided.

use super::{
    Desk,
    changeset::{put_by, words},
    conflict, not_found,
};
use contract::{
    Error, ErrorCode, Result,
    command::{Changeset, Command, Mode, Target},
};

/// A whole manifest is nobody's who acts for one subscriber.
pub(super) fn permit_manifest(changeset: &Changeset) -> Result<()> {
    match &changeset.acting_for {
        Some(subscriber) if changeset.managed || changeset.prune => {
            Err(denied(subscriber, "a whole manifest is not for it to apply"))
        }
        _ => Ok(()),
    }
}

/// Of several reasons to refuse, the one that tells a stranger the least comes first.
pub(super) fn permit(desk: &Desk<'_>, changeset: &Changeset, command: &Command) -> Result<()> {
    if let Some(subscriber) = &changeset.acting_for {
        owned(desk, changeset.mode, subscriber, command)?;
    }
    put_by(command).map_or(Ok(()), |target| expected(desk, changeset.mode, &target))
}

/// Whoever acts for a subscriber touches that subscriber's subscriptions and nothing else.
fn owned(desk: &Desk<'_>, mode: Mode, subscriber: &str, command: &Command) -> Result<()> {
    let (name, put) = match command {
        Command::PutSubscription { spec, .. } => {
            if spec.subscriber.as_deref() != Some(subscriber) {
                return Err(denied(subscriber, "the subscription is not its own"));
            }
            (&spec.name, true)
        }
        Command::EnsureSubscriptions { subscriber: whose, .. } => {
            return match whose.as_deref() == Some(subscriber) {
                true => Ok(()),
                false => Err(denied(subscriber, "the subscriptions are not its own")),
            };
        }
        Command::SetSubscriptionStatus { name, .. }
        | Command::ResumeSkipping { name }
        | Command::RotateSecret { name, .. }
        | Command::RevealSecret { name }
        | Command::Remove(Target::Subscription(name)) => (name, false),
        _ => return Err(denied(subscriber, "it may change subscriptions alone")),
    };
    let held = desk.state.subscription_named(name);
    match held.is_none_or(|held| held.spec.subscriber.as_deref() == Some(subscriber)) {
        true => Ok(()),
        // Names are unique among all subscribers: that one is taken cannot be hidden, but whose it
        // is can.
        false if put && mode != Mode::Update => Err(taken("subscription", name)),
        false => Err(not_found("subscription", name)),
    }
}

/// A put finds what it expects.
fn expected(desk: &Desk<'_>, mode: Mode, target: &Target) -> Result<()> {
    let state = &desk.state;
    let known = match target {
        Target::Subscriber(id) => state.subscribers.contains_key(id),
        Target::EventType(uri) => state.event_types.contains_key(uri),
        Target::Source(name) => state.sources.contains_key(name),
        Target::Backoff(of, direction) => state.backoffs.contains_key(&(of.clone(), *direction)),
        Target::Subscription(name) => state.subscription_named(name).is_some(),
        Target::Schema(uri) => state.schemas.contains_key(uri),
    };
    let (noun, name) = words(target);
    match mode {
        Mode::Create if known => Err(taken(noun, &name)),
        Mode::Update if !known => Err(not_found(noun, &name)),
        Mode::Put | Mode::Create | Mode::Update => Ok(()),
    }
}

/// The same for one's own and for another's.
pub(super) fn taken(noun: &'static str, name: &str) -> Error {
    conflict(noun, name, "the name is in use")
}

fn denied(subscriber: &str, why: &str) -> Error {
    let message = format!("on behalf of the subscriber `{subscriber}`: {why}");
    Error::new(ErrorCode::PermissionDenied, message)
}

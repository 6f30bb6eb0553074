//! Commands that take effect together or not at all.

use super::{
    Decided, Desk, Given,
    ensure_subscriptions::ensure_subscriptions,
    issue_key::issue_key,
    permit::{permit, permit_manifest},
    publish_schema::publish_schema,
    put_backoff::put_backoff,
    put_event_type::put_event_type,
    put_source::put_source,
    put_subscriber::put_subscriber,
    put_subscription::put_subscription,
    refused,
    remove::remove,
    revoke_key::revoke_key,
    rotate::{reveal_secret, rotate_secret, rotate_stamp_key, rotate_token_key},
    set_setting::set_setting,
    set_status::{resume_skipping, set_status},
    users,
};
use crate::fact::FactBody;
use contract::{
    Result,
    command::{Changeset, Command, Target},
};
use std::collections::BTreeSet;

/// Decides all commands in order. Of a dry run only the changes are to be used.
pub fn changeset(given: Given<'_>, changeset: &Changeset) -> Result<Decided> {
    let mut desk = Desk::new(given);
    let mut named = BTreeSet::new();
    permit_manifest(changeset)?;
    for command in &changeset.commands {
        if let Some(target) = put_by(command)
            && !named.insert(target.clone())
        {
            let (noun, name) = words(&target);
            return Err(refused(noun, &name, "it is named twice"));
        }
        permit(&desk, changeset, command)?;
        decide(&mut desk, command)?;
    }
    if changeset.managed {
        for target in named.difference(&desk.state.managed.clone()) {
            desk.record(FactBody::ObjectManaged(target.clone()));
        }
    }
    if changeset.prune {
        prune(&mut desk, &named)?;
    }
    Ok(desk.decided)
}

fn decide(desk: &mut Desk<'_>, command: &Command) -> Result<()> {
    match command {
        Command::PutSubscriber(subscriber) => put_subscriber(desk, subscriber),
        Command::PutEventType(event_type) => {
            put_event_type(desk, event_type);
            Ok(())
        }
        Command::PutSource { spec, secrets } => put_source(desk, spec, secrets),
        Command::PutBackoff(rule) => put_backoff(desk, rule),
        Command::PutSubscription { spec, secrets } => put_subscription(desk, spec, secrets),
        Command::SetSubscriptionStatus { name, status, reason } => {
            set_status(desk, name, *status, reason.as_deref())
        }
        Command::ResumeSkipping { name } => resume_skipping(desk, name),
        Command::PublishSchema(version) => publish_schema(desk, version),
        Command::IssueKey { name, roles, subscriber, expires_at } => {
            issue_key(desk, name, roles, (subscriber.as_deref(), *expires_at))
        }
        Command::RevokeKey(id) => revoke_key(desk, *id),
        Command::Remove(target) => remove(desk, target),
        Command::CreateUser { name, password, roles, subscriber } => {
            users::create(desk, name, password, (roles, subscriber.as_deref()))
        }
        Command::SetUserRoles { name, roles } => users::set_roles(desk, name, roles),
        Command::SetPassword { name, password } => users::set_password(desk, name, password),
        Command::SetUserDisabled { name, disabled } => users::set_disabled(desk, name, *disabled),
        Command::RemoveUser(name) => users::remove(desk, name),
        Command::RotateTokenKey { forget } => rotate_token_key(desk, *forget),
        Command::RotateSecret { name, scheme, keep } => rotate_secret(desk, name, (*scheme, *keep)),
        Command::RevealSecret { name } => reveal_secret(desk, name),
        Command::EnsureSubscriptions { subscriber, subscriptions, prune } => {
            ensure_subscriptions(desk, subscriber.as_deref(), subscriptions, *prune)
        }
        Command::RotateStampKey => {
            rotate_stamp_key(desk);
            Ok(())
        }
        Command::SetSetting { key, value, expect } => {
            set_setting(desk, key, value.as_deref(), *expect)
        }
    }
}

/// Removes what an earlier manifest put and this one does not name: what points to others goes
/// before what it points to.
fn prune(desk: &mut Desk<'_>, named: &BTreeSet<Target>) -> Result<()> {
    let mut stale: Vec<_> = desk.state.managed.difference(named).cloned().collect();
    stale.sort_by_key(|target| match target {
        Target::Subscription(_) => 0,
        Target::Source(_) => 1,
        Target::Backoff(..) => 2,
        Target::EventType(_) => 3,
        Target::Subscriber(_) => 4,
        Target::Schema(_) => 5,
    });
    stale.iter().try_for_each(|target| remove(desk, target))
}

/// The object that a command puts, if it is one that can be removed again.
pub(super) fn put_by(command: &Command) -> Option<Target> {
    match command {
        Command::PutSubscriber(subscriber) => Some(Target::Subscriber(subscriber.id.clone())),
        Command::PutEventType(event_type) => Some(Target::EventType(event_type.uri.clone())),
        Command::PutSource { spec, .. } => Some(Target::Source(spec.name.clone())),
        Command::PutBackoff(rule) => Some(Target::Backoff(rule.target.clone(), rule.direction)),
        Command::PutSubscription { spec, .. } => Some(Target::Subscription(spec.name.clone())),
        Command::SetSubscriptionStatus { .. }
        | Command::ResumeSkipping { .. }
        | Command::PublishSchema(_)
        | Command::IssueKey { .. }
        | Command::RevokeKey(_)
        | Command::Remove(_)
        | Command::CreateUser { .. }
        | Command::SetUserRoles { .. }
        | Command::SetPassword { .. }
        | Command::SetUserDisabled { .. }
        | Command::RemoveUser(_)
        | Command::RotateTokenKey { .. }
        | Command::RotateSecret { .. }
        | Command::RevealSecret { .. }
        | Command::RotateStampKey
        | Command::SetSetting { .. }
        | Command::EnsureSubscriptions { .. } => None,
    }
}

/// Noun and name of an object, as changes name it.
pub(super) fn words(target: &Target) -> (&'static str, String) {
    match target {
        Target::Subscriber(id) => ("subscriber", id.clone()),
        Target::EventType(uri) => ("event_type", uri.to_string()),
        Target::Source(name) => ("source", name.clone()),
        Target::Backoff(target, direction) => ("backoff", format!("{target} {direction}")),
        Target::Subscription(name) => ("subscription", name.clone()),
        Target::Schema(uri) => ("schema", uri.to_string()),
    }
}

//! Who may change what: the one place that holds a changeset against what its sender may do.

use crate::{
    Error, ErrorCode, Result,
    access::{Access, Actor, Noun, Principal},
    command::{Changeset, Command, Target},
    rules::Rules,
};

/// What a whole manifest may touch: pruning removes what it does not name.
const PRUNED: [Noun; 4] = [Noun::Subscriptions, Noun::Sources, Noun::Schemas, Noun::Backoffs];

/// `permission_denied` unless `principal` may carry out all of `changes`. They come back bound to
/// the subscriber of a key that has one; which subscriptions are that subscriber's is for those
/// who decide to say, since it may change until then.
pub fn permit(principal: &Principal, changes: Changeset, rules: &Rules) -> Result<Changeset> {
    if changes.prune {
        PRUNED.iter().try_for_each(|noun| principal.require(*noun, Access::Write))?;
    }
    for command in &changes.commands {
        principal.require(noun(command), Access::Write)?;
        match command {
            Command::IssueKey { roles, subscriber, .. } => {
                principal.may_give(roles, subscriber.as_deref())?;
            }
            Command::CreateUser { roles, subscriber, .. } => {
                principal.may_give(roles, subscriber.as_deref())?;
            }
            Command::SetUserRoles { name, roles } => {
                let held = rules.user_named(name);
                let subscriber = held.and_then(|user| user.subscriber.as_deref());
                principal.may_give(roles, subscriber)?;
                above(principal, rules, name)?;
            }
            // Whoever holds a key may give it up.
            Command::RevokeKey(id) if principal.actor == Actor::Key(*id) => {}
            Command::RevokeKey(id) => {
                let key = rules.keys.values().find(|key| key.id == *id);
                key.map_or(Ok(()), |key| {
                    principal.may_give(&key.roles, key.subscriber.as_deref())
                })?;
            }
            // Who sets a password can be whose it is.
            Command::SetPassword { name, .. }
            | Command::SetUserDisabled { name, .. }
            | Command::RemoveUser(name) => above(principal, rules, name)?,
            Command::PublishSchema(version) => {
                // Only the registry knows that the version compiles and that its bundle is stored.
                let uri = &version.uri;
                return Err(denied(format!("{uri} is published through the schema registry")));
            }
            Command::Remove(Target::Schema(uri)) if uri.is_own() => {
                return Err(denied(format!("{uri} is a type of the server's own")));
            }
            _ => {}
        }
    }
    let Some(subscriber) = &principal.subscriber else { return Ok(changes) };
    if changes.managed || changes.prune || !changes.commands.iter().all(scoped) {
        let title = principal.title();
        return Err(denied(format!("{title} changes subscriptions of `{subscriber}` only")));
    }
    Ok(Changeset { acting_for: Some(subscriber.clone()), ..changes })
}

/// `permission_denied` if the user of that name may do something that `principal` may not.
fn above(principal: &Principal, rules: &Rules, name: &str) -> Result<()> {
    let user = rules.user_named(name);
    user.map_or(Ok(()), |user| principal.may_give(&user.roles, user.subscriber.as_deref()))
}

/// What a command is about.
const fn noun(command: &Command) -> Noun {
    match command {
        Command::PutSubscriber(_)
        | Command::PutSubscription { .. }
        | Command::SetSubscriptionStatus { .. }
        | Command::ResumeSkipping { .. }
        | Command::RotateSecret { .. }
        | Command::RevealSecret { .. }
        | Command::EnsureSubscriptions { .. }
        | Command::Remove(Target::Subscriber(_) | Target::Subscription(_)) => Noun::Subscriptions,
        Command::PutEventType(_)
        | Command::PublishSchema(_)
        | Command::Remove(Target::EventType(_) | Target::Schema(_)) => Noun::Schemas,
        Command::PutSource { .. } | Command::Remove(Target::Source(_)) => Noun::Sources,
        Command::PutBackoff(_) | Command::Remove(Target::Backoff(..)) => Noun::Backoffs,
        Command::IssueKey { .. } | Command::RevokeKey(_) | Command::RotateTokenKey { .. } => {
            Noun::Keys
        }
        Command::CreateUser { .. }
        | Command::SetUserRoles { .. }
        | Command::SetPassword { .. }
        | Command::SetUserDisabled { .. }
        | Command::RemoveUser(_) => Noun::Users,
        Command::RotateStampKey | Command::SetSetting { .. } => Noun::Config,
    }
}

/// Is it about subscriptions alone?
const fn scoped(command: &Command) -> bool {
    matches!(
        command,
        Command::PutSubscription { .. }
            | Command::SetSubscriptionStatus { .. }
            | Command::ResumeSkipping { .. }
            | Command::RotateSecret { .. }
            | Command::RevealSecret { .. }
            | Command::EnsureSubscriptions { .. }
            | Command::Remove(Target::Subscription(_))
    )
}

fn denied(message: String) -> Error {
    Error::new(ErrorCode::PermissionDenied, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        access::{ApiKey, Roles, User},
        id::{KeyId, SecretId, UserId},
        secret::Secret,
        subscription::{SecretRef, SubscriptionSpec},
    };
    use std::sync::Arc;

    fn principal(roles: &[&str], subscriber: Option<&str>) -> Principal {
        Principal {
            actor: Actor::Key(KeyId::from_bytes([1; 16])),
            name: "test".into(),
            roles: Roles::parse(roles.iter().copied()).unwrap(),
            subscriber: subscriber.map(str::to_owned),
        }
    }

    /// As the table has it, where nobody logs in.
    fn permit(principal: &Principal, changes: Changeset) -> Result<Changeset> {
        super::permit(principal, changes, &Rules::default())
    }

    fn put(subscriber: Option<&str>) -> Changeset {
        let spec = SubscriptionSpec {
            name: "ci".into(),
            subscriber: subscriber.map(str::to_owned),
            url: "https://example.com".into(),
            events: vec!["github/1/*".parse().unwrap()],
            ..SubscriptionSpec::default()
        };
        let commands = vec![Command::PutSubscription { spec, secrets: Vec::new() }];
        Changeset { commands, ..Changeset::default() }
    }

    fn issue(roles: &[&str]) -> Changeset {
        let roles = Roles::parse(roles.iter().copied()).unwrap();
        let (name, subscriber, expires_at) = ("new".into(), None, None);
        let commands = vec![Command::IssueKey { name, roles, subscriber, expires_at }];
        Changeset { commands, ..Changeset::default() }
    }

    #[test]
    fn commands_need_the_role_of_their_noun() {
        assert!(permit(&principal(&["subscriptions:write"], None), put(None)).is_ok());
        assert!(permit(&principal(&["subscriptions:read"], None), put(None)).is_err());
        assert!(permit(&principal(&["sources:write"], None), put(None)).is_err());
        let prune = Changeset { prune: true, ..put(None) };
        assert!(permit(&principal(&["subscriptions:write"], None), prune.clone()).is_err());
        assert!(permit(&principal(&["admin"], None), prune).is_ok());
    }

    #[test]
    fn schemas_are_published_by_the_registry_alone() {
        let admin = principal(&["admin"], None);
        let only = |command| Changeset { commands: vec![command], ..Changeset::default() };
        let publish = Command::PublishSchema(crate::schema::SchemaVersion {
            uri: "shop/1/paid".parse().unwrap(),
            minor: 0,
            message: "Paid".into(),
            digest: [0; 32],
            unknown_fields: crate::schema::UnknownFields::Ignore,
            rulebook: crate::schema::Rulebook::Certes,
            published_at: crate::clock::Timestamp(0),
        });
        assert!(permit(&admin, only(publish)).is_err());
        let remove = |uri: &str| only(Command::Remove(Target::Schema(uri.parse().unwrap())));
        assert!(permit(&admin, remove("shop/1/paid")).is_ok());
        assert!(permit(&admin, remove("_certes/1/delivery_dead")).is_err());
        let reader = principal(&["schemas:read"], None);
        assert!(permit(&reader, remove("shop/1/paid")).is_err());
    }

    #[test]
    fn nobody_gives_away_more_than_they_have() {
        let keeper = principal(&["keys:write", "events:read"], None);
        assert!(permit(&keeper, issue(&["events:read"])).is_ok());
        assert!(permit(&keeper, issue(&["producer"])).is_err());
        assert!(permit(&keeper, issue(&["admin"])).is_err());
        assert!(permit(&principal(&["admin"], None), issue(&["admin"])).is_ok());
    }

    #[test]
    fn a_subscribers_key_changes_its_own_subscriptions_only() {
        let tenant = principal(&["admin"], Some("org_1"));
        let forged = Changeset { acting_for: Some("org_2".into()), ..put(Some("org_1")) };
        for changes in [put(Some("org_1")), forged] {
            let bound = permit(&tenant, changes).unwrap();
            assert_eq!(bound.acting_for.as_deref(), Some("org_1"));
        }
        assert!(permit(&tenant, issue(&["producer"])).is_err());
        let prune = Changeset { prune: true, ..put(Some("org_1")) };
        assert!(permit(&tenant, prune).is_err());
    }

    #[test]
    fn nobody_takes_over_a_user_who_may_do_more() {
        let stored = SecretRef {
            id: SecretId::from_bytes([4; 16]),
            fingerprint: String::new(),
            until: None,
            public_key: None,
        };
        let boss = User {
            id: UserId::from_bytes([3; 16]),
            name: "boss".into(),
            password: stored,
            roles: Roles::admin(),
            subscriber: None,
            disabled: false,
            epoch: 0,
            created_at: crate::clock::Timestamp(0),
        };
        let rules = Rules { users: [(boss.id, Arc::new(boss))].into(), ..Rules::default() };
        let (name, password) = (|| "boss".to_owned(), Secret::new("mine now"));
        let helpdesk = principal(&["users:write", "users:read"], None);
        let takings = [
            Command::SetPassword { name: name(), password },
            Command::SetUserDisabled { name: name(), disabled: true },
            Command::RemoveUser(name()),
            Command::SetUserRoles { name: name(), roles: Roles::parse(["users:read"]).unwrap() },
        ];
        for taking in takings {
            let changes = Changeset { commands: vec![taking], ..Changeset::default() };
            let refusal = super::permit(&helpdesk, changes.clone(), &rules).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::PermissionDenied, "{changes:?}");
            assert!(super::permit(&principal(&["admin"], None), changes, &rules).is_ok());
        }
    }

    #[test]
    fn nobody_revokes_a_key_that_may_do_more() {
        let held = |byte, roles: &[&str]| ApiKey {
            id: KeyId::from_bytes([byte; 16]),
            name: format!("key {byte}"),
            prefix: String::new(),
            token_sha256: format!("digest {byte}"),
            roles: Roles::parse(roles.iter().copied()).unwrap(),
            subscriber: None,
            created_at: crate::clock::Timestamp(0),
            expires_at: None,
        };
        let keys = [held(1, &["keys:write"]), held(2, &["admin"]), held(3, &["keys:write"])];
        let keys = keys.map(|key| (key.token_sha256.clone(), Arc::new(key)));
        let rules = Rules { keys: keys.into(), ..Rules::default() };
        let revoke = |principal: &Principal, byte| {
            let commands = vec![Command::RevokeKey(KeyId::from_bytes([byte; 16]))];
            super::permit(principal, Changeset { commands, ..Changeset::default() }, &rules)
        };
        // `principal` is the holder of the first key.
        let keeper = principal(&["keys:write"], None);
        let refusal = revoke(&keeper, 2).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::PermissionDenied);
        assert!(refusal.message.contains("lacks the role"), "{refusal}");
        for byte in [1, 3] {
            assert!(revoke(&keeper, byte).is_ok(), "its own, and one that may do no more: {byte}");
        }
        let admin = principal(&["admin"], None);
        assert!((1..=3).all(|byte| revoke(&admin, byte).is_ok()));
    }
}

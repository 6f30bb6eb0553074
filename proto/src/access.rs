//! Who may call what on the public port: one table, and what a changeset needs.

use contract::{
    Error, ErrorCode, Result,
    access::{Access, Noun, Principal, Role},
    command::{Changeset, Command, Target},
    rules::Rules,
};

/// An RPC of the public port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rpc {
    /// Its path, as in `/certes.v1.Events/Get`.
    pub path: &'static str,
    /// The role that it needs; None: its commands decide ([`permit`]).
    pub role: Option<Role>,
    /// May a key of one subscriber call it? It then gets to see that subscriber's share only.
    pub scoped: bool,
}

const fn rpc(path: &'static str, noun: Noun, access: Access, scoped: bool) -> Rpc {
    Rpc { path, role: Some(Role(noun, access)), scoped }
}

/// Every RPC of the public port that needs a key. What is not here is not served.
pub const TABLE: [Rpc; 24] = {
    use Access::{Read, Write};
    use Noun::{Backoffs, Events, Keys, Schemas, Sources, Subscriptions};
    [
        rpc("/certes.v1.EventBroker/HandleIncomingEvent", Events, Write, false),
        rpc("/certes.v1.EventBroker/SendOutgoingEvent", Events, Write, true),
        rpc("/certes.v1.EventBroker/Resubmit", Events, Write, false),
        rpc("/certes.v1.Events/Get", Events, Read, false),
        rpc("/certes.v1.Events/GetPayload", Events, Read, false),
        rpc("/certes.v1.Events/List", Events, Read, false),
        rpc("/certes.v1.Events/ListDeliveries", Subscriptions, Read, false),
        rpc("/certes.v1.Deliveries/Get", Subscriptions, Read, true),
        rpc("/certes.v1.Deliveries/List", Subscriptions, Read, true),
        rpc("/certes.v1.Deliveries/Resend", Subscriptions, Write, true),
        rpc("/certes.v1.Deliveries/GetStats", Events, Read, false),
        rpc("/certes.v1.SchemaRegistry/Get", Schemas, Read, false),
        rpc("/certes.v1.SchemaRegistry/List", Schemas, Read, false),
        rpc("/certes.v1.SchemaRegistry/Publish", Schemas, Write, false),
        rpc("/certes.v1.SchemaRegistry/Check", Schemas, Read, false),
        rpc("/certes.v1.SchemaRegistry/Ping", Schemas, Read, false),
        Rpc { path: "/certes.v1.Configuration/Execute", role: None, scoped: true },
        rpc("/certes.v1.Configuration/ListSources", Sources, Read, false),
        rpc("/certes.v1.Configuration/ListSubscriptions", Subscriptions, Read, true),
        rpc("/certes.v1.Configuration/ListSubscribers", Subscriptions, Read, false),
        rpc("/certes.v1.Configuration/ListEventTypes", Schemas, Read, false),
        rpc("/certes.v1.Configuration/ListBackoffs", Backoffs, Read, false),
        rpc("/certes.v1.Configuration/ListSchemas", Schemas, Read, false),
        rpc("/certes.v1.Configuration/ListKeys", Keys, Read, false),
    ]
};

impl Rpc {
    /// The RPC with this path.
    pub fn find(path: &str) -> Option<&'static Self> {
        TABLE.iter().find(|rpc| rpc.path == path)
    }

    /// `permission_denied` unless `principal` may call it.
    pub fn admit(&self, principal: &Principal) -> Result<()> {
        if let Some(Role(noun, access)) = self.role {
            principal.require(noun, access)?;
        }
        match &principal.subscriber {
            Some(subscriber) if !self.scoped => Err(denied(format!(
                "the key `{}` is for the subscriber `{subscriber}` only",
                principal.name
            ))),
            _ => Ok(()),
        }
    }
}

fn denied(message: String) -> Error {
    Error::new(ErrorCode::PermissionDenied, message)
}

/// What a whole manifest may touch: pruning removes what it does not name.
const PRUNED: [Noun; 4] = [Noun::Subscriptions, Noun::Sources, Noun::Schemas, Noun::Backoffs];

/// `permission_denied` unless `principal` may carry out all of `changes`.
pub fn permit(principal: &Principal, rules: &Rules, changes: &Changeset) -> Result<()> {
    if changes.prune {
        PRUNED.iter().try_for_each(|noun| principal.require(*noun, Access::Write))?;
    }
    for command in &changes.commands {
        principal.require(noun(command), Access::Write)?;
        if let Command::IssueKey { roles, .. } = command {
            grant(principal, &roles.names())?;
        }
    }
    let Some(subscriber) = &principal.subscriber else { return Ok(()) };
    let own = |command: &Command| is_own(command, subscriber, rules);
    if changes.managed || changes.prune || !changes.commands.iter().all(own) {
        let name = &principal.name;
        let message = format!("the key `{name}` changes subscriptions of `{subscriber}` only");
        return Err(denied(message));
    }
    Ok(())
}

/// What a command is about.
const fn noun(command: &Command) -> Noun {
    match command {
        Command::PutSubscriber(_)
        | Command::PutSubscription { .. }
        | Command::SetSubscriptionStatus { .. }
        | Command::Remove(Target::Subscriber(_) | Target::Subscription(_)) => Noun::Subscriptions,
        Command::PutEventType(_)
        | Command::PublishSchema(_)
        | Command::Remove(Target::EventType(_)) => Noun::Schemas,
        Command::PutSource { .. } | Command::Remove(Target::Source(_)) => Noun::Sources,
        Command::PutBackoff(_) | Command::Remove(Target::Backoff(..)) => Noun::Backoffs,
        Command::IssueKey { .. } | Command::RevokeKey(_) => Noun::Keys,
    }
}

/// Nobody gives away more than they have.
fn grant(principal: &Principal, roles: &[String]) -> Result<()> {
    for name in roles {
        let role: Role = name.parse().map_err(Error::internal)?;
        if !principal.roles.allow(role.0, role.1) {
            let own = &principal.name;
            return Err(denied(format!(
                "the key `{own}` cannot give the role {role}: it lacks it"
            )));
        }
    }
    Ok(())
}

/// Does a command touch nothing but subscriptions of `subscriber`?
fn is_own(command: &Command, subscriber: &str, rules: &Rules) -> bool {
    let belongs = |name: &str| match rules.subscription_named(name) {
        Some(subscription) => subscription.spec.subscriber.as_deref() == Some(subscriber),
        None => true,
    };
    match command {
        Command::PutSubscription { spec, .. } => {
            spec.subscriber.as_deref() == Some(subscriber) && belongs(&spec.name)
        }
        Command::SetSubscriptionStatus { name, .. }
        | Command::Remove(Target::Subscription(name)) => belongs(name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{access::Roles, id::KeyId, subscription::SubscriptionSpec};
    use prost::Message;
    use prost_types::FileDescriptorSet;
    use std::collections::BTreeSet;

    fn principal(roles: &[&str], subscriber: Option<&str>) -> Principal {
        Principal {
            key: KeyId::from_bytes([1; 16]),
            name: "test".into(),
            roles: Roles::parse(roles.iter().copied()).unwrap(),
            subscriber: subscriber.map(str::to_owned),
        }
    }

    fn put(subscriber: Option<&str>) -> Changeset {
        let spec = SubscriptionSpec {
            name: "ci".into(),
            subscriber: subscriber.map(str::to_owned),
            url: "https://example.com".into(),
            events: vec!["github/1/*".parse().unwrap()],
            priority: None,
            backoff: None,
            max_in_flight: None,
            timeout_ms: None,
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
    fn the_table_is_the_public_api() {
        let set = FileDescriptorSet::decode(crate::PUBLIC_DESCRIPTORS).unwrap();
        let mut paths = BTreeSet::new();
        for file in set.file.iter().filter(|file| file.package() == "certes.v1") {
            for service in &file.service {
                for method in &service.method {
                    paths.insert(format!("/certes.v1.{}/{}", service.name(), method.name()));
                }
            }
        }
        assert_eq!(paths, TABLE.iter().map(|rpc| rpc.path.to_owned()).collect());
    }

    #[test]
    fn commands_need_the_role_of_their_noun() {
        let rules = Rules::default();
        assert!(permit(&principal(&["subscriptions:write"], None), &rules, &put(None)).is_ok());
        assert!(permit(&principal(&["subscriptions:read"], None), &rules, &put(None)).is_err());
        assert!(permit(&principal(&["sources:write"], None), &rules, &put(None)).is_err());
        let prune = Changeset { prune: true, ..put(None) };
        assert!(permit(&principal(&["subscriptions:write"], None), &rules, &prune).is_err());
        assert!(permit(&principal(&["admin"], None), &rules, &prune).is_ok());
    }

    #[test]
    fn nobody_gives_away_more_than_they_have() {
        let (rules, keeper) = (Rules::default(), principal(&["keys:write", "events:read"], None));
        assert!(permit(&keeper, &rules, &issue(&["events:read"])).is_ok());
        assert!(permit(&keeper, &rules, &issue(&["producer"])).is_err());
        assert!(permit(&keeper, &rules, &issue(&["admin"])).is_err());
        assert!(permit(&principal(&["admin"], None), &rules, &issue(&["admin"])).is_ok());
    }

    #[test]
    fn a_subscribers_key_changes_its_own_subscriptions_only() {
        let rules = Rules::default();
        let tenant = principal(&["admin"], Some("org_1"));
        assert!(permit(&tenant, &rules, &put(Some("org_1"))).is_ok());
        assert!(permit(&tenant, &rules, &put(Some("org_2"))).is_err());
        assert!(permit(&tenant, &rules, &put(None)).is_err());
        assert!(permit(&tenant, &rules, &issue(&["producer"])).is_err());
        let prune = Changeset { prune: true, ..put(Some("org_1")) };
        assert!(permit(&tenant, &rules, &prune).is_err());
    }
}

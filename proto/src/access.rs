//! Who may call what on the public port: one table, and what a changeset needs.

use contract::{
    Error, ErrorCode, Result,
    access::{Access, Noun, Principal, Role},
    command::{Changeset, Command, Target},
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
pub const TABLE: [Rpc; 36] = {
    use Access::{Read, Write};
    use Noun::{Backoffs, Config, Events, Keys, Schemas, Sources, Subscriptions};
    [
        rpc("/certes.v1.EventBroker/HandleIncomingEvent", Events, Write, false),
        rpc("/certes.v1.EventBroker/SendOutgoingEvent", Events, Write, true),
        rpc("/certes.v1.EventBroker/Resubmit", Events, Write, false),
        rpc("/certes.v1.Events/Get", Events, Read, false),
        rpc("/certes.v1.Events/GetPayload", Events, Read, false),
        rpc("/certes.v1.Events/List", Events, Read, false),
        rpc("/certes.v1.Events/ListDeliveries", Subscriptions, Read, false),
        rpc("/certes.v1.Events/BatchGet", Events, Read, false),
        rpc("/certes.v1.Events/BatchListDeliveries", Subscriptions, Read, false),
        rpc("/certes.v1.Deliveries/Get", Subscriptions, Read, true),
        rpc("/certes.v1.Deliveries/List", Subscriptions, Read, true),
        rpc("/certes.v1.Deliveries/Resend", Subscriptions, Write, true),
        rpc("/certes.v1.Deliveries/GetStats", Events, Read, false),
        rpc("/certes.v1.SchemaRegistry/Get", Schemas, Read, false),
        rpc("/certes.v1.SchemaRegistry/List", Schemas, Read, false),
        rpc("/certes.v1.SchemaRegistry/Publish", Schemas, Write, false),
        rpc("/certes.v1.SchemaRegistry/Check", Schemas, Read, false),
        rpc("/certes.v1.SchemaRegistry/PublishAll", Schemas, Write, false),
        rpc("/certes.v1.SchemaRegistry/CheckAll", Schemas, Read, false),
        rpc("/certes.v1.SchemaRegistry/GetVersion", Schemas, Read, false),
        rpc("/certes.v1.SchemaRegistry/ListVersions", Schemas, Read, false),
        rpc("/certes.v1.SchemaRegistry/Diff", Schemas, Read, false),
        rpc("/certes.v1.SchemaRegistry/Delete", Schemas, Write, false),
        rpc("/certes.v1.SchemaRegistry/Announce", Schemas, Write, false),
        rpc("/certes.v1.SchemaRegistry/ListPeerMarks", Schemas, Read, false),
        rpc("/certes.v1.SchemaRegistry/Ping", Schemas, Read, false),
        Rpc { path: "/certes.v1.Configuration/Execute", role: None, scoped: true },
        rpc("/certes.v1.Configuration/ListSources", Sources, Read, false),
        rpc("/certes.v1.Configuration/ListSubscriptions", Subscriptions, Read, true),
        rpc("/certes.v1.Configuration/ListSubscribers", Subscriptions, Read, false),
        rpc("/certes.v1.Configuration/ListEventTypes", Schemas, Read, false),
        rpc("/certes.v1.Configuration/ListBackoffs", Backoffs, Read, false),
        rpc("/certes.v1.Configuration/ListSchemas", Schemas, Read, false),
        rpc("/certes.v1.Configuration/ListKeys", Keys, Read, false),
        rpc("/certes.v1.LogService/List", Config, Read, false),
        rpc("/certes.v1.LogService/GetHead", Config, Read, false),
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

/// `permission_denied` unless `principal` may carry out all of `changes`. They come back bound to
/// the subscriber of a key that has one; which subscriptions are that subscriber's is for those
/// who decide to say, since it may change until then.
pub fn permit(principal: &Principal, changes: Changeset) -> Result<Changeset> {
    if changes.prune {
        PRUNED.iter().try_for_each(|noun| principal.require(*noun, Access::Write))?;
    }
    for command in &changes.commands {
        principal.require(noun(command), Access::Write)?;
        match command {
            Command::IssueKey { roles, subscriber, .. } => {
                principal.may_give(roles, subscriber.as_deref())?;
            }
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
        let name = &principal.name;
        let message = format!("the key `{name}` changes subscriptions of `{subscriber}` only");
        return Err(denied(message));
    }
    Ok(Changeset { acting_for: Some(subscriber.clone()), ..changes })
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
        | Command::Remove(Target::EventType(_) | Target::Schema(_)) => Noun::Schemas,
        Command::PutSource { .. } | Command::Remove(Target::Source(_)) => Noun::Sources,
        Command::PutBackoff(_) | Command::Remove(Target::Backoff(..)) => Noun::Backoffs,
        Command::IssueKey { .. } | Command::RevokeKey(_) => Noun::Keys,
    }
}

/// Is it about subscriptions alone?
const fn scoped(command: &Command) -> bool {
    matches!(
        command,
        Command::PutSubscription { .. }
            | Command::SetSubscriptionStatus { .. }
            | Command::Remove(Target::Subscription(_))
    )
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
        let publish = Command::PublishSchema(contract::schema::SchemaVersion {
            uri: "shop/1/paid".parse().unwrap(),
            minor: 0,
            message: "Paid".into(),
            digest: [0; 32],
            unknown_fields: contract::schema::UnknownFields::Ignore,
            rulebook: contract::schema::Rulebook::Certes,
            published_at: contract::clock::Timestamp(0),
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
}

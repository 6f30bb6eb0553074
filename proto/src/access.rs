//! Who may call what on the public port: one table.

use contract::{
    Error, ErrorCode, Result,
    access::{Access, Noun, Principal, Role},
};

/// An RPC of the public port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rpc {
    /// Its path, as in `/certes.v1.Events/Get`.
    pub path: &'static str,
    /// The role that it needs; None: its commands decide ([`contract::permit`]).
    pub role: Option<Role>,
    /// May a key of one subscriber call it? It then gets to see that subscriber's share only.
    pub scoped: bool,
}

const fn rpc(path: &'static str, noun: Noun, access: Access, scoped: bool) -> Rpc {
    Rpc { path, role: Some(Role(noun, access)), scoped }
}

/// Every RPC of the public port that needs a key. What is not here is not served.
pub const TABLE: [Rpc; 58] = {
    use Access::{Read, Write};
    use Noun::{Backoffs, Config, Events, Keys, Schemas, Sources, Subscriptions, Users};
    [
        rpc("/certes.v1.EventBroker/HandleIncomingEvent", Events, Write, false),
        rpc("/certes.v1.EventBroker/SendOutgoingEvent", Events, Write, true),
        rpc("/certes.v1.EventBroker/Resubmit", Events, Write, false),
        rpc("/certes.v1.EventBroker/TestFire", Subscriptions, Write, true),
        rpc("/certes.v1.Events/Get", Events, Read, false),
        rpc("/certes.v1.Events/GetPayload", Events, Read, false),
        rpc("/certes.v1.Events/GetPayloadState", Events, Read, false),
        rpc("/certes.v1.Events/BatchGetPayloadStates", Events, Read, false),
        rpc("/certes.v1.Events/List", Events, Read, false),
        rpc("/certes.v1.Events/ListDeliveries", Subscriptions, Read, false),
        rpc("/certes.v1.Events/BatchGet", Events, Read, false),
        rpc("/certes.v1.Events/BatchListDeliveries", Subscriptions, Read, false),
        rpc("/certes.v1.Deliveries/Get", Subscriptions, Read, true),
        rpc("/certes.v1.Deliveries/GetExchanges", Subscriptions, Read, true),
        rpc("/certes.v1.Deliveries/List", Subscriptions, Read, true),
        // And the right to see them.
        rpc("/certes.v1.Deliveries/Resend", Subscriptions, Write, true),
        rpc("/certes.v1.Deliveries/GetStats", Events, Read, false),
        rpc("/certes.v1.Replays/Preview", Subscriptions, Read, false),
        rpc("/certes.v1.Replays/Start", Subscriptions, Write, false),
        rpc("/certes.v1.Replays/Cancel", Subscriptions, Write, false),
        rpc("/certes.v1.Replays/Get", Subscriptions, Read, false),
        rpc("/certes.v1.Replays/List", Subscriptions, Read, false),
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
        rpc("/certes.v1.Retention/GetPlan", Config, Read, false),
        rpc("/certes.v1.Retention/Run", Config, Write, false),
        rpc("/certes.v1.Retention/EraseEvent", Config, Write, false),
        rpc("/certes.v1.Retention/EraseSubscriber", Config, Write, false),
        Rpc { path: "/certes.v1.Configuration/Execute", role: None, scoped: true },
        rpc("/certes.v1.Configuration/EnsureSubscriptions", Subscriptions, Write, true),
        rpc("/certes.v1.Configuration/ListSources", Sources, Read, false),
        rpc("/certes.v1.Configuration/ListSubscriptions", Subscriptions, Read, true),
        rpc("/certes.v1.Configuration/ListSubscribers", Subscriptions, Read, false),
        rpc("/certes.v1.Configuration/ListEventTypes", Schemas, Read, false),
        rpc("/certes.v1.Configuration/ListBackoffs", Backoffs, Read, false),
        rpc("/certes.v1.Configuration/ListSchemas", Schemas, Read, false),
        rpc("/certes.v1.Configuration/ListSettings", Config, Read, false),
        rpc("/certes.v1.Configuration/ListKeys", Keys, Read, false),
        rpc("/certes.v1.LogService/List", Config, Read, false),
        rpc("/certes.v1.LogService/GetHead", Config, Read, false),
        rpc("/certes.v1.Live/FollowEvents", Events, Read, false),
        // And the right to see subscriptions.
        rpc("/certes.v1.Past/Why", Events, Read, false),
        rpc("/certes.v1.Past/GetStateAt", Config, Read, false),
        rpc("/certes.v1.Past/ListHistory", Config, Read, false),
        rpc("/certes.v1.Pull/Subscribe", Subscriptions, Write, true),
        rpc("/certes.v1.Configuration/ListUsers", Users, Read, false),
        rpc("/certes.v1.Configuration/RotateSecretKey", Config, Write, false),
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
            Some(subscriber) if !self.scoped => {
                let title = principal.title();
                let message = format!("{title} is for the subscriber `{subscriber}` only");
                Err(Error::new(ErrorCode::PermissionDenied, message))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;
    use prost_types::FileDescriptorSet;
    use std::collections::BTreeSet;

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
}

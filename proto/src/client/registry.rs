//! The schema registry, from a gateway, a broker or Master API.

use super::{
    Peers,
    call::{Call, unreadable},
};
use crate::{
    convert::{each, rulebook_as_wire},
    v1::{
        AnnounceRequest, CheckAllRequest, DeleteSchemaRequest, DiffSchemaRequest, GetSchemaRequest,
        GetSchemaVersionRequest, ListPeerMarksRequest, ListSchemaVersionsRequest,
        ListVersionsOfSchemaRequest, PingRequest, PublishAllRequest,
        schema_registry_client::SchemaRegistryClient,
    },
};
use async_trait::async_trait;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    registry::SchemaRegistry,
    rules::{Rules, RulesReceiver},
    schema::{
        Difference, Rulebook, SchemaBundle, SchemaSet, SchemaVerdict, SchemaVersion, VersionNumber,
    },
    uri::EventUri,
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::timeout;
use tonic::transport::Channel;

/// A [`SchemaRegistry`] over a channel.
#[derive(Clone)]
pub struct RemoteRegistry {
    peers: Peers,
    rules: RulesReceiver,
}

impl RemoteRegistry {
    /// The registry at `peers`, for a process that goes by `rules`.
    pub const fn new(peers: Peers, rules: RulesReceiver) -> Self {
        Self { peers, rules }
    }

    /// Waits until the rules of this process show what was done: whoever got the answer may send
    /// such an event at once.
    async fn shown(&self, done: &str, shows: impl Fn(&Rules) -> bool) -> Result<()> {
        let mut rules = self.rules.clone();
        let shown = rules.wait_for(|rules| shows(rules));
        match timeout(self.peers.config.deadline.0, shown).await {
            Ok(Ok(_rules)) => Ok(()),
            _ => {
                let message =
                    format!("it is {done}, but this process has not been told so in time");
                Err(Error::new(ErrorCode::DeadlineExceeded, message))
            }
        }
    }

    async fn fetch(&self, uri: &EventUri, refresh: bool) -> Result<Arc<SchemaBundle>> {
        let send = |request| {
            let mut client = self.client();
            async move { client.get(request).await }
        };
        let message = GetSchemaRequest { uri: uri.to_string(), refresh };
        let bundle = self.peers.call(Call::repeatable(), message, send).await?;
        bundle.try_into().map(Arc::new).map_err(unreadable)
    }

    fn client(&self) -> SchemaRegistryClient<Channel> {
        limited!(SchemaRegistryClient::new(self.peers.channel()))
    }
}

#[async_trait]
impl SchemaRegistry for RemoteRegistry {
    async fn get(&self, uri: &EventUri) -> Result<Arc<SchemaBundle>> {
        self.fetch(uri, false).await
    }

    async fn refresh(&self, uri: &EventUri) -> Result<Arc<SchemaBundle>> {
        self.fetch(uri, true).await
    }

    async fn list(&self) -> Result<Vec<SchemaVersion>> {
        let send = |request| {
            let mut client = self.client();
            async move { client.list(request).await }
        };
        let message = ListSchemaVersionsRequest {};
        let found = self.peers.call(Call::repeatable(), message, send).await?;
        each(found.schemas, "schemas", SchemaVersion::try_from).map_err(unreadable)
    }

    async fn publish_all(&self, actor: Actor, set: SchemaSet) -> Result<Vec<SchemaVerdict>> {
        let send = |request| {
            let mut client = self.client();
            async move { client.publish_all(request).await }
        };
        let message = PublishAllRequest { set: Some(set.into()) };
        let answer = self.peers.call(Call::acting(actor), message, send).await?;
        let verdicts = each(answer.verdicts, "verdicts", SchemaVerdict::try_from);
        let verdicts = verdicts.map_err(unreadable)?;
        if answer.done {
            let shows = |rules: &Rules| {
                verdicts.iter().filter_map(|verdict| verdict.published.as_ref()).all(|published| {
                    let shown = rules.schemas.get(&published.version.uri);
                    shown.is_some_and(|shown| shown.minor >= published.version.minor)
                })
            };
            self.shown("published", shows).await?;
        }
        Ok(verdicts)
    }

    async fn check_all(&self, set: SchemaSet) -> Result<Vec<SchemaVerdict>> {
        let send = |request| {
            let mut client = self.client();
            async move { client.check_all(request).await }
        };
        let message = CheckAllRequest { set: Some(set.into()) };
        let answer = self.peers.call(Call::repeatable(), message, send).await?;
        each(answer.verdicts, "verdicts", SchemaVerdict::try_from).map_err(unreadable)
    }

    async fn announce(&self, domain: &str) -> Result<()> {
        let send = |request| {
            let mut client = self.client();
            async move { client.announce(request).await }
        };
        let message = AnnounceRequest { domain: domain.to_owned() };
        self.peers.call(Call::repeatable(), message, send).await.map(|_told| ())
    }

    async fn peer_marks(&self) -> Result<BTreeMap<String, String>> {
        let send = |request| {
            let mut client = self.client();
            async move { client.list_peer_marks(request).await }
        };
        let found = self.peers.call(Call::repeatable(), ListPeerMarksRequest {}, send).await?;
        Ok(found.marks)
    }

    async fn ping(&self) -> Result<()> {
        let send = |request| {
            let mut client = self.client();
            async move { client.ping(request).await }
        };
        self.peers.call(Call::repeatable(), PingRequest {}, send).await.map(|_pong| ())
    }

    async fn version(&self, uri: &EventUri, number: VersionNumber) -> Result<Arc<SchemaBundle>> {
        let send = |request| {
            let mut client = self.client();
            async move { client.get_version(request).await }
        };
        let message = GetSchemaVersionRequest { uri: uri.to_string(), version: number.to_string() };
        let bundle = self.peers.call(Call::repeatable(), message, send).await?;
        bundle.try_into().map(Arc::new).map_err(unreadable)
    }

    async fn versions(&self, uri: &EventUri) -> Result<Vec<SchemaVersion>> {
        let send = |request| {
            let mut client = self.client();
            async move { client.list_versions(request).await }
        };
        let message = ListVersionsOfSchemaRequest { uri: uri.to_string() };
        let found = self.peers.call(Call::repeatable(), message, send).await?;
        each(found.schemas, "schemas", SchemaVersion::try_from).map_err(unreadable)
    }

    async fn diff(
        &self,
        uri: &EventUri,
        from: VersionNumber,
        to: VersionNumber,
        rulebook: Option<Rulebook>,
    ) -> Result<Vec<Difference>> {
        let send = |request| {
            let mut client = self.client();
            async move { client.diff(request).await }
        };
        let message = DiffSchemaRequest {
            uri: uri.to_string(),
            from: from.to_string(),
            to: to.to_string(),
            rulebook: rulebook_as_wire(rulebook),
        };
        let found = self.peers.call(Call::repeatable(), message, send).await?;
        each(found.differences, "differences", Difference::try_from).map_err(unreadable)
    }

    async fn delete(&self, actor: Actor, uri: &EventUri) -> Result<()> {
        let send = |request| {
            let mut client = self.client();
            async move { client.delete(request).await }
        };
        let message = DeleteSchemaRequest { uri: uri.to_string() };
        let before = self.rules.borrow().schemas.get(uri).map(Arc::clone);
        self.peers.call(Call::acting(actor), message, send).await?;
        let shows = |rules: &Rules| {
            let shown = rules.schemas.get(uri);
            shown.is_none() || shown != before.as_ref()
        };
        self.shown("deleted", shows).await
    }
}

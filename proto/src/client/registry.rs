//! The schema registry, from a gateway, a broker or Master API.

use super::{
    Peers,
    call::{Call, unreadable},
};
use crate::{
    convert::each,
    v1::{
        CheckRequest, GetSchemaRequest, ListSchemaVersionsRequest, PingRequest, PublishRequest,
        schema_registry_client::SchemaRegistryClient,
    },
};
use async_trait::async_trait;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    registry::SchemaRegistry,
    rules::{Rules, RulesReceiver},
    schema::{Published, SchemaBundle, SchemaSource, SchemaVersion},
    uri::EventUri,
};
use std::sync::Arc;
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

    /// Waits until the rules of this process show what was published: whoever got the answer may
    /// send such an event at once.
    async fn shown(&self, published: &Published) -> Result<()> {
        let Published { version, .. } = published;
        let shows = |rules: &Arc<Rules>| {
            let shown = rules.schemas.get(&version.uri);
            shown.is_some_and(|shown| shown.minor >= version.minor)
        };
        let mut rules = self.rules.clone();
        match timeout(self.peers.config.deadline.0, rules.wait_for(shows)).await {
            Ok(Ok(_rules)) => Ok(()),
            _ => {
                let message = "it is published, but this process has not been told so in time";
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

    async fn publish(&self, actor: Actor, source: SchemaSource) -> Result<Published> {
        let send = |request| {
            let mut client = self.client();
            async move { client.publish(request).await }
        };
        let message = PublishRequest { source: Some(source.into()) };
        let published = self.peers.call(Call::acting(actor), message, send).await?;
        let published = published.try_into().map_err(unreadable)?;
        self.shown(&published).await?;
        Ok(published)
    }

    async fn check(&self, source: SchemaSource) -> Result<Published> {
        let send = |request| {
            let mut client = self.client();
            async move { client.check(request).await }
        };
        let message = CheckRequest { source: Some(source.into()) };
        let published = self.peers.call(Call::repeatable(), message, send).await?;
        published.try_into().map_err(unreadable)
    }

    async fn ping(&self) -> Result<()> {
        let send = |request| {
            let mut client = self.client();
            async move { client.ping(request).await }
        };
        self.peers.call(Call::repeatable(), PingRequest {}, send).await.map(|_pong| ())
    }
}

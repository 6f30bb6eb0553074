//! Channels to the parts that run in other processes, made when they are needed.

use crate::config::PeersConfig;
use anyhow::{Context, Result, bail};
use contract::{
    broker::EventBroker, master_api::MasterApi, queue::MessageQueue, registry::SchemaRegistry,
    rules::RulesReceiver,
};
use proto::{
    client::{Peers, RemoteBroker, RemoteMasterApi, RemoteQueue, RemoteRegistry},
    config::ClientConfig,
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How long a process waits for Master API when it starts.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the other parts are.
pub struct Channels<'a>(pub &'a PeersConfig);

impl Channels<'_> {
    /// Master API, once its rules are here.
    pub async fn master_api(&self, stop: CancellationToken) -> Result<Arc<dyn MasterApi>> {
        let peers = self.to("master_api", &self.0.master_api)?;
        Ok(Arc::new(RemoteMasterApi::connect(peers, PATIENCE, stop).await?))
    }

    /// The queue.
    pub fn queue(&self) -> Result<Arc<dyn MessageQueue>> {
        Ok(Arc::new(RemoteQueue::new(self.to("queue", &self.0.queue)?)))
    }

    /// The schema registry.
    pub fn registry(&self, rules: RulesReceiver) -> Result<Arc<dyn SchemaRegistry>> {
        let addresses = &self.0.schema_registry;
        let peers = self.to("schema_registry", addresses)?.named("the schema registry", addresses);
        Ok(Arc::new(RemoteRegistry::new(peers, rules)))
    }

    /// The broker.
    pub fn broker(&self) -> Result<Arc<dyn EventBroker>> {
        Ok(Arc::new(RemoteBroker::new(self.to("broker", &self.0.broker)?)))
    }

    fn to(&self, part: &str, addresses: &[String]) -> Result<Peers> {
        if addresses.is_empty() {
            bail!("this process does not run {part}, and `peers.{part}` does not say where it is");
        }
        Peers::new(addresses, None, ClientConfig::default())
            .with_context(|| format!("`peers.{part}`"))
    }
}

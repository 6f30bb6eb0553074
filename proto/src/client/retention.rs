//! What is kept and what goes, from a gateway.

use super::{
    RemoteMasterApi,
    call::{Call, unreadable},
};
use crate::v1::{
    EraseEventRequest, EraseSubscriberRequest, GetRetentionPlanRequest, RunRetentionRequest,
    retention_client::RetentionClient,
};
use async_trait::async_trait;
use contract::{
    Result,
    access::Actor,
    retention::{Erased, ErasureTarget, Retained, Retention, RetentionPlan},
};
use std::time::Duration;
use tonic::transport::Channel;

/// How long the other side may take for what it does at once, on top of the deadline.
const PATIENCE: Duration = Duration::from_secs(20);

impl RemoteMasterApi {
    fn retention_client(&self) -> RetentionClient<Channel> {
        limited!(RetentionClient::new(self.peers.channel()))
    }
}

#[async_trait]
impl Retention for RemoteMasterApi {
    async fn retention_plan(&self) -> Result<RetentionPlan> {
        let send = |request| {
            let mut client = self.retention_client();
            async move { client.get_plan(request).await }
        };
        let plan = self.peers.call(Call::repeatable(), GetRetentionPlanRequest {}, send).await?;
        plan.try_into().map_err(unreadable)
    }

    async fn run_retention(&self, compact: bool) -> Result<Retained> {
        let send = |request| {
            let mut client = self.retention_client();
            async move { client.run(request).await }
        };
        let message = RunRetentionRequest { compact };
        Ok(self.peers.call(Call::waiting(PATIENCE), message, send).await?.into())
    }

    /// Made again if need be: what is gone is not erased twice.
    async fn erase(&self, actor: Actor, target: ErasureTarget) -> Result<Erased> {
        let call = Call::acting(actor).again().patient(PATIENCE);
        let erased = match target {
            ErasureTarget::Event(id) => {
                let send = |request| {
                    let mut client = self.retention_client();
                    async move { client.erase_event(request).await }
                };
                let message = EraseEventRequest { id: id.to_string() };
                self.peers.call(call, message, send).await?
            }
            ErasureTarget::Subscriber(id) => {
                let send = |request| {
                    let mut client = self.retention_client();
                    async move { client.erase_subscriber(request).await }
                };
                self.peers.call(call, EraseSubscriberRequest { id }, send).await?
            }
        };
        Ok(erased.into())
    }
}

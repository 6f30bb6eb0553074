//! The message queue, from a broker, a feeder or a consumer.

use super::{
    Peers,
    call::{Call, unreadable},
};
use crate::{
    convert::{duration, each, into_each, one_of},
    v1::internal::{
        self, DepthRequest, EnqueueRequest, LeaseForRequest, LeaseRequest, Leases, SettleRequest,
        VacanciesRequest, message_queue_client::MessageQueueClient,
    },
};
use async_trait::async_trait;
use contract::{
    Result,
    id::SubscriptionNumber,
    master_api::FeedItem,
    queue::{Enqueued, LaneDepth, Lease, MessageQueue, Settlement, Vacancy},
};
use std::time::Duration;
use tonic::transport::Channel;

/// A [`MessageQueue`] over a channel.
#[derive(Clone)]
pub struct RemoteQueue {
    peers: Peers,
}

impl RemoteQueue {
    /// The queue at `peers`.
    pub const fn new(peers: Peers) -> Self {
        Self { peers }
    }

    fn client(&self) -> MessageQueueClient<Channel> {
        limited!(MessageQueueClient::new(self.peers.channel()))
    }
}

fn leases(wire: Leases) -> Result<Vec<Lease>> {
    each(wire.leases, "leases", Lease::try_from).map_err(unreadable)
}

#[async_trait]
impl MessageQueue for RemoteQueue {
    /// Made again if need be: what is in already is held.
    async fn enqueue(&self, items: Vec<FeedItem>) -> Result<Vec<Enqueued>> {
        let send = |request| {
            let mut client = self.client();
            async move { client.enqueue(request).await }
        };
        let message = EnqueueRequest { items: into_each(items) };
        let answer = self.peers.call(Call::repeatable(), message, send).await?;
        let read = |outcome| one_of::<internal::Enqueued, _>(outcome, "");
        each(answer.outcomes, "outcomes", read).map_err(unreadable)
    }

    /// Made once: leases of which the answer was lost are held until they run out.
    async fn lease(&self, max: u32, wait: Duration) -> Result<Vec<Lease>> {
        let send = |request| {
            let mut client = self.client();
            async move { client.lease(request).await }
        };
        let message = LeaseRequest { max, wait: Some(duration(wait)) };
        leases(self.peers.call(Call::waiting(wait), message, send).await?)
    }

    /// Made once, likewise.
    async fn lease_for(
        &self,
        subscription: SubscriptionNumber,
        max: u32,
        wait: Duration,
    ) -> Result<Vec<Lease>> {
        let send = |request| {
            let mut client = self.client();
            async move { client.lease_for(request).await }
        };
        let subscription = subscription.0;
        let message = LeaseForRequest { subscription, max, wait: Some(duration(wait)) };
        leases(self.peers.call(Call::waiting(wait), message, send).await?)
    }

    async fn settle(&self, settlements: Vec<(Lease, Settlement)>) -> Result<()> {
        let send = |request| {
            let mut client = self.client();
            async move { client.settle(request).await }
        };
        let message = SettleRequest { settlements: into_each(settlements) };
        self.peers.call(Call::repeatable(), message, send).await.map(drop)
    }

    async fn extend(&self, held: Vec<Lease>) -> Result<Vec<Lease>> {
        let send = |request| {
            let mut client = self.client();
            async move { client.extend(request).await }
        };
        let message = Leases { leases: into_each(held) };
        leases(self.peers.call(Call::repeatable(), message, send).await?)
    }

    /// Made once: a vacancy is told to one caller.
    async fn vacancies(&self, wait: Duration) -> Result<Vec<Vacancy>> {
        let send = |request| {
            let mut client = self.client();
            async move { client.vacancies(request).await }
        };
        let message = VacanciesRequest { wait: Some(duration(wait)) };
        let answer = self.peers.call(Call::waiting(wait), message, send).await?;
        Ok(into_each(answer.vacancies))
    }

    async fn depth(&self) -> Result<Vec<LaneDepth>> {
        let send = |request| {
            let mut client = self.client();
            async move { client.depth(request).await }
        };
        let answer = self.peers.call(Call::repeatable(), DepthRequest {}, send).await?;
        each(answer.lanes, "lanes", LaneDepth::try_from).map_err(unreadable)
    }
}

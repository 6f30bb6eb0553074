//! The broker, from a gateway.

use super::{
    Peers,
    call::{Call, unreadable},
};
use crate::v1::{
    ResubmitRequest,
    internal::{AcceptRequest, TestFireRequest, broker_client::BrokerClient},
};
use async_trait::async_trait;
use contract::{
    Result,
    access::Actor,
    broker::{EventBroker, TestFire, TestFired},
    event::{Accepted, NewEvent},
    id::EventId,
    limits::TEST_WAIT_MAX,
};

/// An [`EventBroker`] over a channel.
#[derive(Clone)]
pub struct RemoteBroker {
    peers: Peers,
}

impl RemoteBroker {
    /// The broker at `peers`.
    pub const fn new(peers: Peers) -> Self {
        Self { peers }
    }
}

#[async_trait]
impl EventBroker for RemoteBroker {
    /// Made again only with an idempotency key, which makes one event of two calls.
    async fn accept(&self, event: NewEvent) -> Result<Accepted> {
        let call = Call::repeatable_if(event.idempotency_key.is_some());
        let message = AcceptRequest { event: Some(event.into()) };
        let send = |request| {
            let mut client = limited!(BrokerClient::new(self.peers.channel()));
            async move { client.accept(request).await }
        };
        self.peers.call(call, message, send).await?.try_into().map_err(unreadable)
    }

    /// Made once: each is a delivery of its own.
    async fn test_fire(&self, test: TestFire) -> Result<TestFired> {
        let call = Call::waiting(test.wait.min(TEST_WAIT_MAX));
        let message = TestFireRequest::from(test);
        let send = |request| {
            let mut client = limited!(BrokerClient::new(self.peers.channel()));
            async move { client.test_fire(request).await }
        };
        self.peers.call(call, message, send).await?.try_into().map_err(unreadable)
    }

    /// Made again if need be: an event is released once.
    async fn resubmit(&self, actor: Actor, id: EventId) -> Result<Accepted> {
        let message = ResubmitRequest { id: id.to_string() };
        let send = |request| {
            let mut client = limited!(BrokerClient::new(self.peers.channel()));
            async move { client.resubmit(request).await }
        };
        let call = Call::acting(actor).again();
        self.peers.call(call, message, send).await?.try_into().map_err(unreadable)
    }
}

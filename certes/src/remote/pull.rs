//! Deliveries taken over a stream.

use super::{Authorised, Remote, follow::lost, noun};
use anyhow::{Context, Result, bail};
use contract::{
    limits::GRPC_MESSAGE_BYTES_MAX,
    pull::{Ask, Handout},
};
use futures_util::stream;
use proto::{
    convert::duration,
    v1::{
        self, SubscribeRequest, pull_client::PullClient, subscribe_request,
        subscribe_response::Response,
    },
};
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Streaming;

/// What waits to be said; more waits where it arises.
const SAID_MAX: usize = 64;

impl Remote {
    fn pull_client(&self) -> PullClient<Authorised> {
        PullClient::new(self.channel.clone()).max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    /// Takes the deliveries of a subscription, `max_in_flight` at once, each for `lease` at most.
    /// Errors: [`super::Lost`] when it may be opened again.
    pub async fn pull(
        &self,
        subscription: &str,
        max_in_flight: u32,
        lease: Option<Duration>,
    ) -> Result<Pulling> {
        let open = subscribe_request::Open {
            subscription: subscription.to_owned(),
            max_in_flight: Some(max_in_flight),
            lease: lease.map(duration),
        };
        let (asks, said) = mpsc::channel(SAID_MAX);
        let first = SubscribeRequest { request: Some(subscribe_request::Request::Open(open)) };
        asks.send(first).await.context("nobody hears")?;
        let next = |mut said: mpsc::Receiver<SubscribeRequest>| async {
            let message = said.recv().await?;
            Some((message, said))
        };
        let opened = self.pull_client().subscribe(stream::unfold(said, next)).await;
        let told = opened.map_err(|status| lost(&status))?.into_inner();
        Ok(Pulling { asks, told })
    }
}

/// A stream of deliveries.
#[derive(Debug)]
pub struct Pulling {
    asks: mpsc::Sender<SubscribeRequest>,
    told: Streaming<v1::SubscribeResponse>,
}

/// What the server tells a receiver.
#[derive(Debug)]
pub enum Told {
    /// The stream is open.
    Opened,
    /// A delivery, to be answered for.
    Delivery(Box<Handout>),
    /// The lease of a delivery ended before its answer.
    Expired(u64),
}

/// Says what became of deliveries.
#[derive(Debug, Clone)]
pub struct Say(mpsc::Sender<SubscribeRequest>);

impl Say {
    /// Says something; nobody hears it when the stream has ended.
    pub async fn say(&self, ask: Ask) {
        drop(self.0.send(ask.into()).await);
    }
}

impl Pulling {
    /// To say what became of deliveries.
    pub fn say(&self) -> Say {
        Say(self.asks.clone())
    }

    /// The next message; None: the server ended the stream. Errors: [`super::Lost`] when it may be
    /// opened again.
    pub async fn next(&mut self) -> Result<Option<Told>> {
        let Some(message) = self.told.message().await.map_err(|status| lost(&status))? else {
            return Ok(None);
        };
        Ok(Some(match message.response {
            Some(Response::Opened(_)) => Told::Opened,
            Some(Response::Delivery(delivery)) => Told::Delivery(Box::new(noun(delivery)?)),
            Some(Response::Expired(ticket)) => Told::Expired(ticket),
            None => bail!("the server said nothing that is known here"),
        }))
    }
}

//! Port of receivers: those who take the deliveries of a subscription that has no URL, instead of
//! being sent them.
//!
//! A receiver holds what it was handed until it answers, or until its lease ends. Each handing over
//! is an attempt, and its answer is recorded as an endpoint's would be.

use crate::{
    Result,
    clock::Timestamp,
    event::Headers,
    id::{DeliveryId, SubscriptionNumber},
    uri::EventUri,
};
use async_trait::async_trait;
use bytes::Bytes;
use std::time::Duration;
use tokio::sync::mpsc;

/// What a receiver wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Whose deliveries.
    pub subscription: SubscriptionNumber,
    /// Most deliveries that it holds at once; 0: none for now.
    pub max_in_flight: u32,
    /// How long it may hold each.
    pub lease: Duration,
}

/// What a receiver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// From now on it holds so many at most; those it has it keeps.
    MaxInFlight(u32),
    /// What became of a delivery. One that it does not hold any more is passed over.
    Answer {
        /// Which.
        ticket: u64,
        /// What became of it.
        answer: Answer,
    },
    /// It needs a delivery for so long from now; None: for a whole lease.
    Extend {
        /// Which.
        ticket: u64,
        /// How long.
        by: Option<Duration>,
    },
    /// It takes nothing more, and leaves when it has answered for what it has.
    Drain,
}

/// What became of a delivery in a receiver's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was taken.
    Ack {
        /// The HTTP status, where the receiver passed it on.
        status: Option<u16>,
    },
    /// It was not.
    Nack {
        /// The HTTP status, where the receiver passed it on. It means what it means in the answer
        /// of an endpoint: 410 pauses the subscription.
        status: Option<u16>,
        /// When to try again, in the place of what the back-off says; what is left of tries and
        /// time it still says.
        delay: Option<Duration>,
        /// A sentence for a person.
        reason: String,
    },
}

/// What a receiver is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handed {
    /// A delivery, to be answered for.
    Delivery(Box<Handout>),
    /// The lease of a delivery ended before its answer; the attempt has failed.
    Expired {
        /// Which.
        ticket: u64,
    },
}

/// A delivery in a receiver's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handout {
    /// Names it on this stream.
    pub ticket: u64,
    /// Which delivery.
    pub delivery: DeliveryId,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The event type.
    pub event_uri: EventUri,
    /// The headers that a POST would have, signatures included.
    pub headers: Headers,
    /// The body that a POST would have.
    pub payload: Bytes,
    /// When the lease ends unless it is extended.
    pub deadline: Timestamp,
}

/// Both ends of a receiver's stream. It ends when either is dropped.
#[derive(Debug)]
pub struct Hands {
    /// To say something.
    pub asks: mpsc::Sender<Ask>,
    /// To be told something; an error is the last.
    pub handed: mpsc::Receiver<Result<Handed>>,
}

/// Hands deliveries to receivers. Several of one subscription share its deliveries.
#[async_trait]
pub trait Pull: Send + Sync {
    /// Opens a stream. Errors: `invalid_request` for bounds that are not kept, `conflict` when the
    /// subscription has a URL, `unavailable`.
    async fn open(&self, opening: Opening) -> Result<Hands>;
}

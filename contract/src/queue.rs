//! Port of the message queue: hop 3c. The queue is a cache of the log: ids, no payloads.

use crate::{
    Result,
    clock::Timestamp,
    id::{DeliveryId, LaneId, SubscriptionNumber},
    master_api::FeedItem,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What became of an item that was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enqueued {
    /// It is in.
    Queued,
    /// It was in already.
    Held,
    /// Its lane's window is full: offer it again when the lane has room.
    Full,
}

/// The right to work on a delivery until `deadline`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// Distinguishes this lease from every other of the same delivery (the fence).
    pub token: u64,
    /// When the right ends unless it is extended.
    pub deadline: Timestamp,
}

/// The end of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// The delivery is finished and leaves the queue.
    Ack,
    /// It is to be tried again at this time.
    Nack(Timestamp),
}

/// A lane that was full and has room now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vacancy {
    /// Which lane.
    pub lane: LaneId,
    /// For how many.
    pub room: u32,
}

/// How much a lane holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneDepth {
    /// Which lane.
    pub lane: LaneId,
    /// Its priority, 0 to 9.
    pub priority: u8,
    /// Due and waiting for a worker.
    pub ready: u32,
    /// Waiting for their time.
    pub delayed: u32,
    /// Leased.
    pub in_flight: u32,
    /// Due time of the oldest that is ready.
    pub oldest: Option<Timestamp>,
}

/// Deliveries in the order in which they are to be attempted.
///
/// Those of a subscription whose receivers take them (`pull`) wait for [`Self::lease_for`] and take
/// no part in the order of the others.
///
/// Priority 9 goes first; inside a priority, turns are taken per subscriber, then per
/// subscription; inside a lane, first in first out. The priority is the subscription's own as the
/// rules in force say, else that of the lane. Caps, rate limits, pauses and open breakers come from
/// the rules, too.
#[async_trait]
pub trait MessageQueue: Send + Sync {
    /// Puts deliveries in; one answer for each, in the same order.
    async fn enqueue(&self, items: Vec<FeedItem>) -> Result<Vec<Enqueued>>;
    /// Up to `max` leases, best first; waits up to `wait` for the first one.
    async fn lease(&self, max: u32, wait: Duration) -> Result<Vec<Lease>>;
    /// Up to `max` leases of a subscription whose receivers take its deliveries, best first; waits
    /// up to `wait` for the first one. None of a subscription that has a URL.
    async fn lease_for(
        &self,
        subscription: SubscriptionNumber,
        max: u32,
        wait: Duration,
    ) -> Result<Vec<Lease>>;
    /// Ends leases. One that has run out or is unknown is passed over.
    async fn settle(&self, settlements: Vec<(Lease, Settlement)>) -> Result<()>;
    /// Extends leases by the queue's lease time; gives those that are still held.
    async fn extend(&self, leases: Vec<Lease>) -> Result<Vec<Lease>>;
    /// Lanes that turned something away (`Full`) and have room again; waits up to `wait` for the
    /// first one.
    async fn vacancies(&self, wait: Duration) -> Result<Vec<Vacancy>>;
    /// What each lane holds, by lane.
    async fn depth(&self) -> Result<Vec<LaneDepth>>;
}

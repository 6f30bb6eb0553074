//! How long payloads and deliveries are kept, what goes when, and what is erased before.

use crate::{Result, access::Actor, clock::Timestamp, id::EventId};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// Whether the payload of an event is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadState {
    /// It is stored.
    Present,
    /// Its retention has passed.
    Expired,
    /// Somebody had it erased.
    Erased,
}

impl PayloadState {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Expired => "expired",
            Self::Erased => "erased",
        }
    }
}

impl fmt::Display for PayloadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose payloads are to be erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErasureTarget {
    /// One event's.
    Event(EventId),
    /// Those of all events that are addressed to a subscriber, by its id.
    Subscriber(String),
}

/// What became of an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Erased {
    /// Payloads that are gone.
    pub events: u64,
    /// Deliveries that waited, and are dead now with cause `erased`.
    pub deliveries: u64,
    /// All is gone. Otherwise there is much of it, and the rest follows by itself.
    pub done: bool,
}

/// What is kept, and what goes when.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RetentionPlan {
    /// How long payloads and finished deliveries are kept; a day goes when its last event is so
    /// old.
    pub age: Duration,
    /// How long an unfinished delivery keeps its payload.
    pub unfinished: Duration,
    /// Bytes of all tables above which the oldest days go before their time; 0: no such bound.
    pub size_bytes_max: u64,
    /// Bytes of the tables, roughly.
    pub bytes: StoreBytes,
    /// The days that are there, oldest first.
    pub days: Vec<DayPlan>,
    /// When retention last ran in this process.
    pub last_run: Option<Timestamp>,
    /// Days that are gone, ever.
    pub days_dropped: u64,
    /// Erasures that were ordered and are not done.
    pub erasures_waiting: u64,
}

/// Bytes of the tables, by what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StoreBytes {
    /// Configuration and the log's head: kept for ever.
    pub configuration: u64,
    /// Traffic facts.
    pub facts: u64,
    /// Payloads.
    pub payloads: u64,
    /// Idempotency keys.
    pub idempotency: u64,
    /// Deliveries and indices.
    pub indices: u64,
}

impl StoreBytes {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.configuration + self.facts + self.payloads + self.idempotency + self.indices
    }

    /// By name.
    pub const fn by_kind(&self) -> [(&'static str, u64); 5] {
        [
            ("configuration", self.configuration),
            ("facts", self.facts),
            ("payloads", self.payloads),
            ("idempotency", self.idempotency),
            ("indices", self.indices),
        ]
    }
}

/// A day of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayPlan {
    /// Its first moment, UTC.
    pub starts_at: Timestamp,
    /// Its facts.
    pub facts: u64,
    /// Bytes of its tables, roughly.
    pub bytes: u64,
    /// When it goes by its age.
    pub goes_at: Timestamp,
    /// It goes with the next run: by its age, or by size.
    pub due: bool,
}

/// What a run of retention did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Retained {
    /// Days that are gone now.
    pub days_dropped: u64,
    /// Unfinished deliveries that were carried out of them.
    pub deliveries_carried: u64,
    /// Deliveries that had waited too long and are dead now with cause `expired`.
    pub deliveries_expired: u64,
    /// Bytes of all tables before, roughly.
    pub bytes_before: u64,
    /// Bytes of all tables after.
    pub bytes_after: u64,
}

/// How long things are kept.
#[async_trait]
pub trait Retention: Send + Sync {
    /// What is kept, and what goes when.
    async fn retention_plan(&self) -> Result<RetentionPlan>;
    /// Has retention run now, to its end. With `compact`, also rewrites the tables of payloads, so
    /// that what was erased is in no file of the store any more.
    ///
    /// Errors: `unavailable`.
    async fn run_retention(&self, compact: bool) -> Result<Retained>;
    /// Erases payloads. Answers when they can be read no more; where that takes long, when it has
    /// begun. The facts stay, and the log still verifies.
    ///
    /// Errors: `not_found`; `unavailable`.
    async fn erase(&self, actor: Actor, target: ErasureTarget) -> Result<Erased>;
}

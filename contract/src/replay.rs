//! Replays: what was delivered, or could have been, is delivered once more; the order of an operator
//! and how far it is.

use crate::{
    Error, ErrorCode, Result,
    access::Actor,
    clock::Timestamp,
    id::{EventId, ReplayId},
    uri::EventPattern,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is to be delivered once more, to whom, and how fast. All given conditions hold together.
///
/// Without `subscription` and `to`, each of the events goes once more to every subscription that it
/// has a delivery for. With `subscription` alone, to that one what it has deliveries of. With `to`
/// alone, all events that its patterns select and that may be for it. With both, to the one what
/// the other has deliveries of, as far as it may be for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplaySpec {
    /// These events; empty: all, as far as the other conditions select them. At most
    /// [`crate::limits::REPLAY_EVENTS_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventId>,
    /// What this subscription has deliveries of, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<String>,
    /// Of this type, or of one that this pattern selects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<EventPattern>,
    /// Taken at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Taken before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Dead letters only. One that goes to the same subscription once more is dead no longer: it is
    /// cancelled, and the new delivery stands for it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dead: bool,
    /// To this subscription, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Deliveries made in a second; None: as fast as they are delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// The deliveries have a `webhook-id` of their own, so that a receiver that drops repeats takes
    /// them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub new_ids: bool,
}

/// How far a replay is. Of a preview: how far it would go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayProgress {
    /// Events or deliveries that were looked at.
    pub looked_at: u64,
    /// Deliveries that were made.
    pub made: u64,
    /// Passed over: the payload is gone, or goes with its day.
    pub skipped_expired: u64,
    /// Passed over: there is no subscription any more for which it may be.
    pub skipped_unwanted: u64,
    /// Passed over: the delivery that it has is still to be attempted.
    pub skipped_waiting: u64,
    /// Of those made: to be attempted.
    pub waiting: u64,
    /// Of those made: delivered.
    pub delivered: u64,
    /// Of those made: given up.
    pub dead: u64,
    /// Of those made: taken back.
    pub cancelled: u64,
    /// All was looked at.
    pub through: bool,
}

impl ReplayProgress {
    /// Those that were passed over, for whatever reason.
    pub const fn skipped(&self) -> u64 {
        self.skipped_expired + self.skipped_unwanted + self.skipped_waiting
    }

    /// Is nothing left to be made or delivered?
    pub const fn is_done(&self) -> bool {
        self.through && self.waiting == 0
    }
}

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// Deliveries are made, or wait.
    Running,
    /// It was cancelled, and what waits of it is being taken back.
    Cancelling,
    /// All was made, and nothing of it waits.
    Finished,
    /// It was cancelled, and nothing of it waits.
    Cancelled,
}

impl ReplayState {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
        }
    }

    /// Does nothing more come of it?
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Cancelled)
    }
}

impl fmt::Display for ReplayState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// What was ordered.
    pub spec: ReplaySpec,
    /// Where it stands.
    pub state: ReplayState,
    /// When it was ordered.
    pub started_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// How far it is.
    pub progress: ReplayProgress,
}

/// Replays of what is in the log. Where no log is kept: `unavailable`.
#[async_trait]
pub trait Replays: Send + Sync {
    /// What a replay would make, and changes nothing. It looks at
    /// [`crate::limits::REPLAY_PREVIEW_ROWS_MAX`] rows at most; `through` says whether that was
    /// all. Errors as of [`Self::start_replay`].
    async fn preview_replay(&self, _spec: ReplaySpec) -> Result<ReplayProgress> {
        Err(untold())
    }
    /// Starts a replay. It is durable: it goes on after a restart, and repeats nothing.
    ///
    /// Errors: `not_found` for a subscription that is not there; `invalid_request`; `conflict` when
    /// [`crate::limits::REPLAYS_RUNNING_MAX`] run; `unavailable`.
    async fn start_replay(&self, _actor: Actor, _spec: ReplaySpec) -> Result<Replay> {
        Err(untold())
    }
    /// Ends a replay; what waits of it is taken back. One that is over stays as it is.
    ///
    /// Errors: `not_found`.
    async fn cancel_replay(&self, _actor: Actor, _id: ReplayId) -> Result<Replay> {
        Err(untold())
    }
    /// A replay by id.
    async fn replay(&self, _id: ReplayId) -> Result<Option<Replay>> {
        Ok(None)
    }
    /// Those that are not over and the newest of the others, newest first; at most
    /// [`crate::limits::PAGE_MAX`].
    async fn replays(&self) -> Result<Vec<Replay>> {
        Ok(Vec::new())
    }
}

fn untold() -> Error {
    Error::new(ErrorCode::Unavailable, "no log is kept here")
}

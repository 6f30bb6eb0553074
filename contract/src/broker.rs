//! Port of the broker: hop 2.

use crate::{
    Error, ErrorCode, Result,
    access::Actor,
    delivery::Delivery,
    event::{Accepted, NewEvent},
    id::{EventId, KeyId, Sequence, SubscriptionNumber},
    uri::EventUri,
};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A delivery that somebody wants to see made, to one subscription alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestFire {
    /// Whose endpoint is tried.
    pub subscription: SubscriptionNumber,
    /// Who tries it: the producer of the event.
    pub by: KeyId,
    /// Of which type; None: the first type with a schema that its patterns select.
    pub uri: Option<EventUri>,
    /// Payload and media type; None: the example that was published with the schema, else one that
    /// is made from it.
    pub payload: Option<(Bytes, String)>,
    /// How long to wait for the first attempt, at most [`crate::limits::TEST_WAIT_MAX`].
    pub wait: Duration,
    /// Position of the rules that the door knew.
    pub rules: Sequence,
}

/// Where the payload of a test came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayloadOf {
    /// It was given.
    Given,
    /// It was published with the schema.
    Example,
    /// It was made from the schema.
    Skeleton,
}

impl PayloadOf {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Example => "example",
            Self::Skeleton => "skeleton",
        }
    }
}

/// What became of a test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestFired {
    /// The type of its event.
    pub uri: EventUri,
    /// Where its payload came from.
    pub payload_of: PayloadOf,
    /// Its delivery, with the first attempt if there was one in time.
    pub delivery: Delivery,
}

/// Takes events: checks, matches, stores, queues.
#[async_trait]
pub trait EventBroker: Send + Sync {
    /// Takes an event. When this returns `Ok`, the event and its deliveries are on stable
    /// storage.
    ///
    /// Errors: `unknown_event_type`, `contract_violation`, `malformed_payload`,
    /// `idempotency_conflict`, `too_many_hops`, `unavailable`.
    async fn accept(&self, event: NewEvent) -> Result<Accepted>;

    /// Checks an event anew that was kept aside, and accepts it under its id if it keeps its
    /// contract now. One that is accepted already is answered as a duplicate.
    ///
    /// Errors: `not_found`, also when its payload has expired; those of [`Self::accept`], and then
    /// it stays where it is.
    async fn resubmit(&self, actor: Actor, id: EventId) -> Result<Accepted>;

    /// Makes a delivery to one subscription as if an event had come, before all its others, and
    /// waits for the first attempt. The event is marked as a test and goes to nobody else.
    ///
    /// Errors: `not_found`; `invalid_request` when no type fits, or no payload can be made; those
    /// of [`Self::accept`].
    async fn test_fire(&self, _test: TestFire) -> Result<TestFired> {
        Err(Error::new(ErrorCode::Unavailable, "nothing is tested here"))
    }
}

//! Port of the broker: hop 2.

use crate::{
    Result,
    event::{Accepted, NewEvent},
};
use async_trait::async_trait;

/// Takes events: checks, matches, stores, queues.
#[async_trait]
pub trait EventBroker: Send + Sync {
    /// Takes an event. When this returns `Ok`, the event and its deliveries are on stable
    /// storage.
    ///
    /// Errors: `unknown_event_type`, `contract_violation`, `malformed_payload`,
    /// `idempotency_conflict`, `too_many_hops`, `unavailable`.
    async fn accept(&self, event: NewEvent) -> Result<Accepted>;
}

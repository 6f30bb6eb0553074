//! Port of the broker: hop 2.

use crate::{
    Result,
    access::Actor,
    event::{Accepted, NewEvent},
    id::EventId,
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

    /// Checks an event anew that was kept aside, and accepts it under its id if it keeps its
    /// contract now. One that is accepted already is answered as a duplicate.
    ///
    /// Errors: `not_found`, also when its payload has expired; those of [`Self::accept`], and then
    /// it stays where it is.
    async fn resubmit(&self, actor: Actor, id: EventId) -> Result<Accepted>;
}

//! An event as the log keeps it.

use super::Hash;
use contract::{
    clock::Timestamp,
    event::{Audience, Direction, Event, EventState, Headers, Origin, Trace},
    id::{EventId, LaneId, Sequence},
    stamp::Stamp,
    subscription::OrderingKey,
    uri::EventUri,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An event as its fact keeps it: all but the payload, which retention and erasure take away
/// before the fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredEvent {
    /// Its id.
    pub id: EventId,
    /// Its type.
    pub uri: EventUri,
    /// Which way.
    pub direction: Direction,
    /// Whose subscriptions it may match.
    pub audience: Audience,
    /// Where it came from.
    pub origin: Origin,
    /// Media type of the payload.
    pub content_type: String,
    /// Kept headers; credentials are already replaced.
    pub headers: Headers,
    /// Key against repeats.
    pub idempotency_key: Option<String>,
    /// When the gateway had it.
    pub received_at: Timestamp,
    /// The way here.
    pub trace: Trace,
    /// Proof that nothing was changed since the broker checked it.
    pub stamp: Stamp,
    /// Size of the payload in bytes.
    pub size: u64,
    /// SHA-256 of the payload's salt and the payload. Once both are erased, nothing can be
    /// guessed from it.
    pub payload_digest: Hash,
    /// Minor version of the schema it keeps; None: unchecked.
    pub schema_minor: Option<u32>,
    /// The lanes it was put into, in order.
    pub lanes: Vec<LaneId>,
    /// Its key in those lanes that keep an order by key. Since format 5.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<LaneId, OrderingKey>,
    /// Position of the rules it was matched by.
    pub rules: Sequence,
}

impl StoredEvent {
    /// The event as the ports show it. `reason`: why it was kept aside.
    pub fn into_event(self, sequence: Sequence, reason: Option<String>) -> Event {
        Event {
            id: self.id,
            sequence,
            uri: self.uri,
            state: reason.as_ref().map_or(EventState::Accepted, |_| EventState::Quarantined),
            reason,
            direction: self.direction,
            audience: self.audience,
            origin: self.origin,
            content_type: self.content_type,
            headers: self.headers,
            idempotency_key: self.idempotency_key,
            received_at: self.received_at,
            trace: self.trace,
            stamp: self.stamp,
            size: self.size,
            schema_minor: self.schema_minor,
            lanes: self.lanes,
            rules: self.rules,
        }
    }
}

//! An event that was kept aside, on its way back through the door.

use crate::snapshot::Snapshot;
use bytes::Bytes;
use contract::{
    Error, Result,
    event::{Disposition, Event, NewEvent},
    stamp::Stamped,
};

/// The event as it stood at the door. This time a breach is told, not kept aside.
pub(crate) fn as_new(event: &Event, payload: &Bytes) -> NewEvent {
    NewEvent {
        uri: event.uri.clone(),
        direction: event.direction,
        audience: event.audience.clone(),
        origin: event.origin.clone(),
        payload: payload.clone(),
        content_type: event.content_type.clone(),
        headers: event.headers.clone(),
        idempotency_key: event.idempotency_key.clone(),
        received_at: event.received_at,
        trace: event.trace.clone(),
        unvalidated: Disposition::Reject,
        invalid: Disposition::Reject,
        rules: event.rules,
    }
}

/// Was nothing changed while it lay there? Its stamp is kept, so deliveries would find out anyway.
pub(crate) fn verify(snapshot: &Snapshot, event: &Event, payload: &[u8]) -> Result<()> {
    let Event { id, uri, content_type, headers, stamp, .. } = event;
    let stamped = Stamped { id: *id, uri, content_type, headers, payload };
    if snapshot.stamp_keys.iter().any(|key| key.verify(stamp, stamped)) {
        return Ok(());
    }
    Err(Error::internal(format!("`{id}` is not what it was when it was kept aside")))
}

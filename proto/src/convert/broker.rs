//! Events at the door of the broker, and its answer.

use super::{
    Malformed,
    event::{headers, headers_from},
    message, moment, moment_from, one_of, parsed,
};
use crate::v1::{self, internal};
use contract::{
    event::{Accepted, Audience, NewEvent, Origin, Trace},
    id::Sequence,
};

impl From<NewEvent> for internal::NewEvent {
    fn from(event: NewEvent) -> Self {
        let NewEvent {
            uri,
            direction,
            audience,
            origin,
            payload,
            content_type,
            headers: kept,
            idempotency_key,
            received_at,
            trace,
            unvalidated,
            invalid,
            rules,
        } = event;
        Self {
            uri: uri.to_string(),
            direction: v1::Direction::from(direction).into(),
            audience: Some(audience.into()),
            origin: Some(origin.into()),
            payload,
            content_type,
            headers: headers(kept),
            idempotency_key,
            received_at: Some(moment(received_at)),
            trace: Some(trace.into()),
            unvalidated: v1::Disposition::from(unvalidated).into(),
            invalid: v1::Disposition::from(invalid).into(),
            rules: rules.0,
        }
    }
}

impl TryFrom<internal::NewEvent> for NewEvent {
    type Error = Malformed;
    fn try_from(wire: internal::NewEvent) -> Result<Self, Malformed> {
        Ok(Self {
            uri: parsed(&wire.uri, "uri")?,
            direction: one_of::<v1::Direction, _>(wire.direction, "direction")?,
            audience: message(wire.audience, "audience", Audience::try_from)?,
            origin: message(wire.origin, "origin", Origin::try_from)?,
            payload: wire.payload,
            content_type: wire.content_type,
            headers: headers_from(wire.headers)?,
            idempotency_key: wire.idempotency_key,
            received_at: message(wire.received_at, "received_at", moment_from)?,
            trace: message(wire.trace, "trace", Trace::try_from)?,
            unvalidated: one_of::<v1::Disposition, _>(wire.unvalidated, "unvalidated")?,
            invalid: one_of::<v1::Disposition, _>(wire.invalid, "invalid")?,
            rules: Sequence(wire.rules),
        })
    }
}

impl From<Accepted> for v1::EventResponse {
    fn from(accepted: Accepted) -> Self {
        let Accepted { id, deliveries, duplicate, quarantined } = accepted;
        Self { id: id.to_string(), deliveries, duplicate, quarantined }
    }
}

impl TryFrom<v1::EventResponse> for Accepted {
    type Error = Malformed;
    fn try_from(wire: v1::EventResponse) -> Result<Self, Malformed> {
        let v1::EventResponse { id, deliveries, duplicate, quarantined } = wire;
        Ok(Self { id: parsed(&id, "id")?, deliveries, duplicate, quarantined })
    }
}

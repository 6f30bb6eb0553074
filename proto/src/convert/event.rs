//! Events.

use super::{
    Malformed, each, message, moment, moment_from, narrow, one_of, parsed, required, text,
};
use crate::v1::{self, audience, origin};
use contract::{
    event::{Audience, Direction, Disposition, Event, EventState, Headers, Origin, Trace},
    id::{LaneId, Sequence},
    stamp::Stamp,
};

same_variants!(Direction, v1::Direction, [Incoming, Outgoing]);
same_variants!(Disposition, v1::Disposition, [Reject, Quarantine, Accept]);
same_variants!(EventState, v1::EventState, [Accepted, Quarantined]);

/// Headers as messages, in their order.
pub(super) fn headers(headers: Headers) -> Vec<v1::Header> {
    headers.0.into_iter().map(|(name, value)| v1::Header { name, value }).collect()
}

/// Headers out of messages, in their order.
pub(super) fn headers_from(headers: Vec<v1::Header>) -> Result<Headers, Malformed> {
    each(headers, "headers", |header| Ok((text(header.name, "name")?, header.value))).map(Headers)
}

impl From<Audience> for v1::Audience {
    fn from(audience: Audience) -> Self {
        let audience = match audience {
            Audience::Own => audience::Audience::Own(()),
            Audience::Subscriber(id) => audience::Audience::Subscriber(id),
            Audience::All => audience::Audience::All(()),
        };
        Self { audience: Some(audience) }
    }
}

impl TryFrom<v1::Audience> for Audience {
    type Error = Malformed;
    fn try_from(wire: v1::Audience) -> Result<Self, Malformed> {
        Ok(match required(wire.audience, "")? {
            audience::Audience::Own(()) => Self::Own,
            audience::Audience::Subscriber(id) => Self::Subscriber(text(id, "subscriber")?),
            audience::Audience::All(()) => Self::All,
        })
    }
}

impl From<Origin> for v1::Origin {
    fn from(origin: Origin) -> Self {
        let origin = match origin {
            Origin::Source(name) => origin::Origin::Source(name),
            Origin::Producer(key) => origin::Origin::Producer(key.to_string()),
            Origin::Server => origin::Origin::Server(()),
        };
        Self { origin: Some(origin) }
    }
}

impl TryFrom<v1::Origin> for Origin {
    type Error = Malformed;
    fn try_from(wire: v1::Origin) -> Result<Self, Malformed> {
        Ok(match required(wire.origin, "")? {
            origin::Origin::Source(name) => Self::Source(text(name, "source")?),
            origin::Origin::Producer(key) => Self::Producer(parsed(&key, "producer")?),
            origin::Origin::Server(()) => Self::Server,
        })
    }
}

impl From<Trace> for v1::Trace {
    fn from(trace: Trace) -> Self {
        let Trace { traceparent, trail, hops } = trace;
        Self { traceparent, trail, hops: hops.into() }
    }
}

impl TryFrom<v1::Trace> for Trace {
    type Error = Malformed;
    fn try_from(wire: v1::Trace) -> Result<Self, Malformed> {
        let v1::Trace { traceparent, trail, hops } = wire;
        Ok(Self { traceparent, trail, hops: narrow(hops, "hops")? })
    }
}

impl From<Stamp> for v1::Stamp {
    fn from(stamp: Stamp) -> Self {
        Self { key: stamp.key.to_string(), mac: stamp.mac.to_vec().into() }
    }
}

impl TryFrom<v1::Stamp> for Stamp {
    type Error = Malformed;
    fn try_from(wire: v1::Stamp) -> Result<Self, Malformed> {
        let mac = wire.mac.as_ref().try_into();
        let mac = mac.map_err(|_length| Malformed::invalid("mac", "it needs 32 bytes"))?;
        Ok(Self { key: parsed(&wire.key, "key")?, mac })
    }
}

/// Lanes by number.
pub(super) fn lanes(lanes: Vec<LaneId>) -> Vec<u32> {
    lanes.into_iter().map(|lane| lane.0).collect()
}

/// Lanes out of their numbers.
pub(super) fn lanes_from(lanes: Vec<u32>) -> Vec<LaneId> {
    lanes.into_iter().map(LaneId).collect()
}

impl From<Event> for v1::Event {
    fn from(event: Event) -> Self {
        let Event {
            id,
            sequence,
            uri,
            state,
            reason,
            direction,
            audience,
            origin,
            content_type,
            headers: kept,
            idempotency_key,
            received_at,
            trace,
            stamp,
            size,
            schema_minor,
            lanes: into,
            rules,
        } = event;
        Self {
            id: id.to_string(),
            sequence: sequence.0,
            uri: uri.to_string(),
            state: v1::EventState::from(state).into(),
            reason,
            direction: v1::Direction::from(direction).into(),
            audience: Some(audience.into()),
            origin: Some(origin.into()),
            content_type,
            headers: headers(kept),
            idempotency_key,
            received_at: Some(moment(received_at)),
            trace: Some(trace.into()),
            stamp: Some(stamp.into()),
            size,
            schema_minor,
            lanes: lanes(into),
            rules: rules.0,
        }
    }
}

impl TryFrom<v1::Event> for Event {
    type Error = Malformed;
    fn try_from(wire: v1::Event) -> Result<Self, Malformed> {
        Ok(Self {
            id: parsed(&wire.id, "id")?,
            sequence: Sequence(wire.sequence),
            uri: parsed(&wire.uri, "uri")?,
            state: one_of::<v1::EventState, _>(wire.state, "state")?,
            reason: wire.reason,
            direction: one_of::<v1::Direction, _>(wire.direction, "direction")?,
            audience: message(wire.audience, "audience", Audience::try_from)?,
            origin: message(wire.origin, "origin", Origin::try_from)?,
            content_type: wire.content_type,
            headers: headers_from(wire.headers)?,
            idempotency_key: wire.idempotency_key,
            received_at: message(wire.received_at, "received_at", moment_from)?,
            trace: message(wire.trace, "trace", Trace::try_from)?,
            stamp: message(wire.stamp, "stamp", Stamp::try_from)?,
            size: wire.size,
            schema_minor: wire.schema_minor,
            lanes: lanes_from(wire.lanes),
            rules: Sequence(wire.rules),
        })
    }
}

//! What Master API is asked and answers: storing, listings, work, lanes.

use super::{
    Malformed, each,
    event::{lanes, lanes_from},
    into_each, message, moment, moment_from, optional, optional_one_of, parsed, parsed_optional,
};
use crate::v1::{self, internal};
use contract::{
    delivery::Delivery,
    event::{Event, NewEvent},
    id::{LaneId, Sequence},
    master_api::{
        DeliveryFilter, EventFilter, FeedItem, FeedPage, LaneStatus, PageRequest, ReleaseEvent,
        Stats, StoreEvent, Stored, Work,
    },
    stamp::Stamp,
    subscription::OrderingKey,
};
use std::collections::BTreeMap;

impl From<StoreEvent> for internal::StoreEventRequest {
    fn from(store: StoreEvent) -> Self {
        let StoreEvent { id, event, stamp, schema_minor, quarantine, lanes: into, keys, rules } =
            store;
        Self {
            id: id.to_string(),
            event: Some(event.into()),
            stamp: Some(stamp.into()),
            schema_minor,
            quarantine,
            lanes: lanes(into),
            rules: rules.0,
            keys: keys_to(keys),
        }
    }
}

impl TryFrom<internal::StoreEventRequest> for StoreEvent {
    type Error = Malformed;
    fn try_from(wire: internal::StoreEventRequest) -> Result<Self, Malformed> {
        Ok(Self {
            id: parsed(&wire.id, "id")?,
            event: message(wire.event, "event", NewEvent::try_from)?,
            stamp: message(wire.stamp, "stamp", Stamp::try_from)?,
            schema_minor: wire.schema_minor,
            quarantine: wire.quarantine,
            lanes: lanes_from(wire.lanes),
            keys: keys_from(wire.keys),
            rules: Sequence(wire.rules),
        })
    }
}

impl From<ReleaseEvent> for internal::ReleaseEventRequest {
    fn from(release: ReleaseEvent) -> Self {
        let ReleaseEvent { id, schema_minor, lanes: into, keys, rules } = release;
        let (id, keys) = (id.to_string(), keys_to(keys));
        Self { id, schema_minor, lanes: lanes(into), rules: rules.0, keys }
    }
}

impl TryFrom<internal::ReleaseEventRequest> for ReleaseEvent {
    type Error = Malformed;
    fn try_from(wire: internal::ReleaseEventRequest) -> Result<Self, Malformed> {
        let internal::ReleaseEventRequest { id, schema_minor, lanes, rules, keys } = wire;
        let (id, lanes, keys) = (parsed(&id, "id")?, lanes_from(lanes), keys_from(keys));
        Ok(Self { id, schema_minor, lanes, keys, rules: Sequence(rules) })
    }
}

fn keys_to(keys: BTreeMap<LaneId, OrderingKey>) -> BTreeMap<u32, u64> {
    keys.into_iter().map(|(lane, key)| (lane.0, key.0)).collect()
}

fn keys_from(wire: BTreeMap<u32, u64>) -> BTreeMap<LaneId, OrderingKey> {
    wire.into_iter().map(|(lane, key)| (LaneId(lane), OrderingKey(key))).collect()
}

impl From<Stored> for internal::Stored {
    fn from(stored: Stored) -> Self {
        let Stored { id, sequence, lanes: into, duplicate, quarantined } = stored;
        Self {
            id: id.to_string(),
            sequence: sequence.0,
            lanes: lanes(into),
            duplicate,
            quarantined,
        }
    }
}

impl TryFrom<internal::Stored> for Stored {
    type Error = Malformed;
    fn try_from(wire: internal::Stored) -> Result<Self, Malformed> {
        let internal::Stored { id, sequence, lanes, duplicate, quarantined } = wire;
        let (id, sequence) = (parsed(&id, "id")?, Sequence(sequence));
        Ok(Self { id, sequence, lanes: lanes_from(lanes), duplicate, quarantined })
    }
}

impl From<PageRequest> for v1::PageRequest {
    fn from(page: PageRequest) -> Self {
        let PageRequest { first, after } = page;
        Self { first, after }
    }
}

impl From<v1::PageRequest> for PageRequest {
    fn from(wire: v1::PageRequest) -> Self {
        let v1::PageRequest { first, after } = wire;
        Self { first, after }
    }
}

impl From<(EventFilter, PageRequest)> for v1::ListEventsRequest {
    fn from((filter, page): (EventFilter, PageRequest)) -> Self {
        let EventFilter { uri, prefix, source, producer, subscriber, direction, .. } = filter;
        let EventFilter { state, since, until, idempotency_key, .. } = filter;
        Self {
            prefix,
            producer: producer.map(|id| id.to_string()),
            subscriber,
            direction: direction.map(|direction| v1::Direction::from(direction).into()),
            uri: uri.map(|uri| uri.to_string()),
            source,
            state: state.map(|state| v1::EventState::from(state).into()),
            since: since.map(moment),
            until: until.map(moment),
            idempotency_key,
            page: Some(page.into()),
        }
    }
}

impl TryFrom<v1::ListEventsRequest> for (EventFilter, PageRequest) {
    type Error = Malformed;
    fn try_from(wire: v1::ListEventsRequest) -> Result<Self, Malformed> {
        let filter = EventFilter {
            uri: parsed_optional(wire.uri, "uri")?,
            prefix: wire.prefix,
            producer: parsed_optional(wire.producer, "producer")?,
            subscriber: wire.subscriber,
            direction: optional_one_of::<v1::Direction, _>(wire.direction, "direction")?,
            source: wire.source,
            state: optional_one_of::<v1::EventState, _>(wire.state, "state")?,
            since: optional(wire.since, "since", moment_from)?,
            until: optional(wire.until, "until", moment_from)?,
            idempotency_key: wire.idempotency_key,
        };
        Ok((filter, wire.page.map(PageRequest::from).unwrap_or_default()))
    }
}

impl From<(DeliveryFilter, PageRequest)> for v1::ListDeliveriesRequest {
    fn from((filter, page): (DeliveryFilter, PageRequest)) -> Self {
        let DeliveryFilter { state, subscription, subscriber, uri, since, until } = filter;
        Self {
            subscriber,
            uri: uri.map(|uri| uri.to_string()),
            since: since.map(moment),
            until: until.map(moment),
            state: state.map(|state| v1::DeliveryState::from(state).into()),
            subscription: subscription.map(|id| id.to_string()),
            page: Some(page.into()),
        }
    }
}

impl TryFrom<v1::ListDeliveriesRequest> for (DeliveryFilter, PageRequest) {
    type Error = Malformed;
    fn try_from(wire: v1::ListDeliveriesRequest) -> Result<Self, Malformed> {
        let filter = DeliveryFilter {
            state: optional_one_of::<v1::DeliveryState, _>(wire.state, "state")?,
            subscription: parsed_optional(wire.subscription, "subscription")?,
            subscriber: wire.subscriber,
            uri: parsed_optional(wire.uri, "uri")?,
            since: optional(wire.since, "since", moment_from)?,
            until: optional(wire.until, "until", moment_from)?,
        };
        Ok((filter, wire.page.map(PageRequest::from).unwrap_or_default()))
    }
}

impl From<Stats> for v1::Stats {
    fn from(stats: Stats) -> Self {
        let Stats { accepted, quarantined, delivered, waiting, dead, cancelled } = stats;
        Self { accepted, quarantined, delivered, waiting, dead, cancelled }
    }
}

impl From<v1::Stats> for Stats {
    fn from(wire: v1::Stats) -> Self {
        let v1::Stats { accepted, quarantined, delivered, waiting, dead, cancelled } = wire;
        Self { accepted, quarantined, delivered, waiting, dead, cancelled }
    }
}

impl From<Work> for internal::Work {
    fn from(work: Work) -> Self {
        let Work { delivery, event, payload } = work;
        Self { delivery: Some(delivery.into()), event: Some(event.into()), payload }
    }
}

impl TryFrom<internal::Work> for Work {
    type Error = Malformed;
    fn try_from(wire: internal::Work) -> Result<Self, Malformed> {
        Ok(Self {
            delivery: message(wire.delivery, "delivery", Delivery::try_from)?,
            event: message(wire.event, "event", Event::try_from)?,
            payload: wire.payload,
        })
    }
}

impl From<LaneStatus> for internal::LaneStatus {
    fn from(status: LaneStatus) -> Self {
        let LaneStatus { lane, cursor, head, next_due } = status;
        Self { lane: lane.0, cursor: cursor.0, head: head.0, next_due: next_due.map(moment) }
    }
}

impl TryFrom<internal::LaneStatus> for LaneStatus {
    type Error = Malformed;
    fn try_from(wire: internal::LaneStatus) -> Result<Self, Malformed> {
        Ok(Self {
            lane: LaneId(wire.lane),
            cursor: Sequence(wire.cursor),
            head: Sequence(wire.head),
            next_due: optional(wire.next_due, "next_due", moment_from)?,
        })
    }
}

impl From<FeedItem> for internal::FeedItem {
    fn from(item: FeedItem) -> Self {
        let FeedItem { delivery, due, key } = item;
        let key = key.map(|key| key.0);
        Self { delivery: delivery.to_string(), due: Some(moment(due)), key }
    }
}

impl TryFrom<internal::FeedItem> for FeedItem {
    type Error = Malformed;
    fn try_from(wire: internal::FeedItem) -> Result<Self, Malformed> {
        Ok(Self {
            delivery: parsed(&wire.delivery, "delivery")?,
            due: message(wire.due, "due", moment_from)?,
            key: wire.key.map(OrderingKey),
        })
    }
}

impl From<FeedPage> for internal::FeedPage {
    fn from(page: FeedPage) -> Self {
        let FeedPage { fresh, due, read_to, more } = page;
        Self { fresh: into_each(fresh), due: into_each(due), read_to: read_to.0, more }
    }
}

impl TryFrom<internal::FeedPage> for FeedPage {
    type Error = Malformed;
    fn try_from(wire: internal::FeedPage) -> Result<Self, Malformed> {
        Ok(Self {
            fresh: each(wire.fresh, "fresh", FeedItem::try_from)?,
            due: each(wire.due, "due", FeedItem::try_from)?,
            read_to: Sequence(wire.read_to),
            more: wire.more,
        })
    }
}

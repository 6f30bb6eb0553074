//! Listing deliveries: from the newest event down, and of one event from the highest lane. Each
//! kind of question reads the table that lies best for it.

use super::super::{ROWS_LOOKED_AT_MAX, ROWS_PER_SCAN};
use crate::{
    fact::Bucket,
    log::{LogError, time_of},
    project::decode,
    search::{Query, Walked},
    shared::Shared,
    store::{Scan, Table},
    tables::{self, DeliveryRow, EventIdRow},
};
use contract::{
    Error, ErrorCode, Result,
    clock::Timestamp,
    delivery::{Delivery, DeliveryState},
    event::Audience,
    id::{DeliveryId, LaneId, Sequence, SubscriptionNumber},
    master_api::{DeliveryFilter, EventFilter, Page},
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

/// Waiting deliveries that are gathered from all lanes before they are put in order. With more of
/// them, all deliveries are gone through instead: then enough of those wait.
const GATHERED_MAX: usize = 10_000;
/// Rows that are read together.
const AT_ONCE: usize = 128;
/// What reading an event counts for, in rows.
const EVENT_COST: usize = 4;

/// Deliveries in the order of listings.
type NewestFirst = BTreeSet<Reverse<(Sequence, LaneId)>>;

/// The end of a page: the delivery that came last.
pub(super) fn cursor(text: &str) -> Result<DeliveryId> {
    text.parse().map_err(|_e| {
        let shown: String = text.chars().take(80).collect();
        Error::new(ErrorCode::InvalidRequest, format!("`{shown}` is no cursor of deliveries"))
    })
}

/// A page of the deliveries that fit.
pub(super) fn list(
    shared: &Shared,
    filter: DeliveryFilter,
    after: Option<DeliveryId>,
    size: usize,
) -> Result<Page<Delivery>, LogError> {
    let number = match filter.subscription {
        None => None,
        Some(id) => {
            let state = shared.state.load();
            let mut all = state.subscriptions.values();
            match all.find(|subscription| subscription.id == id) {
                Some(found) => Some(found.number),
                None => return Ok(Page { items: Vec::new(), next: None }),
            }
        }
    };
    let mut gathered = Gathered::new(shared, filter, after, size)?;
    let last = match (number, gathered.filter.state) {
        (Some(number), _) => gathered.of_subscription(number)?,
        (None, Some(DeliveryState::Dead)) => gathered.dead()?,
        (None, Some(DeliveryState::Waiting)) => match gathered.waiting()? {
            Some(waiting) => gathered.of(waiting)?,
            None => gathered.of_events()?,
        },
        (None, _) => gathered.of_events()?,
    };
    Ok(Page { items: gathered.items, next: last.map(|id| id.to_string()) })
}

/// A page in the making.
struct Gathered<'a> {
    shared: &'a Shared,
    filter: DeliveryFilter,
    /// The subscriptions that are wanted; None: all.
    numbers: Option<BTreeSet<SubscriptionNumber>>,
    after: Option<DeliveryId>,
    /// Where events lie that were carried on: it is there that listings by event come to them.
    moved: BTreeMap<Sequence, Sequence>,
    /// Positions in the log between which the wanted ones lie.
    from: Sequence,
    before: Sequence,
    size: usize,
    looked_at: usize,
    items: Vec<Delivery>,
}

impl<'a> Gathered<'a> {
    fn new(
        shared: &'a Shared,
        filter: DeliveryFilter,
        after: Option<DeliveryId>,
        size: usize,
    ) -> Result<Self, LogError> {
        let position = |time: Option<Timestamp>| time.map(|time| position_at(shared, time));
        let from = position(filter.since).transpose()?.unwrap_or_default();
        let before = position(filter.until).transpose()?.unwrap_or(Sequence(u64::MAX));
        let numbers = filter.subscriber.as_ref().map(|subscriber| {
            let state = shared.state.load();
            let all = state.subscriptions.values();
            let its = all.filter(|found| found.spec.subscriber.as_ref() == Some(subscriber));
            its.map(|found| found.number).collect()
        });
        let (moved, looked_at, items) = Default::default();
        Ok(Self { shared, filter, numbers, after, moved, from, before, size, looked_at, items })
    }

    /// Does it lie where wanted ones lie, and after the page before?
    fn within(&self, id: DeliveryId) -> bool {
        let at = self.position(id);
        let beyond = self.after.is_none_or(|after| order(at) < order(after));
        let wanted = self.numbers.as_ref();
        let its = wanted.is_none_or(|numbers| numbers.contains(&id.lane.subscription()));
        beyond && its && (self.from..self.before).contains(&id.sequence)
    }

    /// Where a delivery comes in the listing.
    fn position(&self, id: DeliveryId) -> DeliveryId {
        let moved = self.moved.get(&id.sequence).copied();
        DeliveryId { lane: id.lane, sequence: moved.unwrap_or(id.sequence) }
    }

    /// Takes a delivery if it is wanted; the cursor after it once the page is full.
    fn take(&mut self, delivery: Delivery) -> Option<DeliveryId> {
        let at = self.position(delivery.id);
        self.looked_at += 1;
        if self.filter.state.is_none_or(|wanted| delivery.state == wanted) {
            self.items.push(delivery);
        }
        let full = self.items.len() >= self.size || self.looked_at >= ROWS_LOOKED_AT_MAX;
        full.then_some(at)
    }

    /// Reads deliveries, in their order, and takes those that are wanted.
    fn look(&mut self, ids: &[DeliveryId]) -> Result<Option<DeliveryId>, LogError> {
        let ids: Vec<_> = ids.iter().copied().filter(|id| self.within(*id)).collect();
        let found = self.shared.deliveries_at(&ids)?.into_iter().flatten().collect();
        Ok(self.typed(found)?.into_iter().find_map(|delivery| self.take(delivery)))
    }

    /// Those whose event is of the wanted type.
    fn typed(&mut self, mut deliveries: Vec<Delivery>) -> Result<Vec<Delivery>, LogError> {
        let Some(pattern) = &self.filter.uri else { return Ok(deliveries) };
        let ids: Vec<_> = deliveries.iter().map(|delivery| delivery.event).collect();
        let places: Vec<_> =
            self.shared.event_ids(&ids)?.iter().flatten().map(EventIdRow::place).collect();
        let events = self.shared.events_at(&places)?.into_iter().flatten();
        let wanted: BTreeSet<_> =
            events.filter(|event| pattern.matches(&event.uri)).map(|event| event.id).collect();
        self.looked_at += EVENT_COST * deliveries.len();
        deliveries.retain(|delivery| wanted.contains(&delivery.event));
        Ok(deliveries)
    }

    /// By event; the index names those of the wanted type that may have gone to the subscriber.
    fn of_events(&mut self) -> Result<Option<DeliveryId>, LogError> {
        let shared = self.shared;
        let audiences = self.filter.subscriber.clone();
        let upto = self.after.map(|after| Sequence(after.sequence.0.saturating_add(1)));
        let mut query = Query {
            filter: EventFilter { uri: self.filter.uri.take(), ..EventFilter::default() },
            audiences: audiences.map(|id| vec![Audience::Subscriber(id), Audience::All]),
            before: upto,
            from: self.from,
            until: Some(self.before),
            rows_max: ROWS_LOOKED_AT_MAX,
        };
        loop {
            let mut places = Vec::new();
            let walked = shared.search(&query, &mut |found| {
                places.push(found);
                let full = places.len() == AT_ONCE;
                Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(EVENT_COST) })
            })?;
            self.looked_at += EVENT_COST * places.len();
            let mut ids = Vec::new();
            for (_, row) in shared.events_still_at(&places)? {
                let sequence = row.sequence;
                self.moved.extend(row.carried.map(|place| (sequence, place)));
                ids.extend(row.lanes.iter().rev().map(|lane| DeliveryId { lane: *lane, sequence }));
            }
            for ids in ids.chunks(AT_ONCE) {
                if let Some(cursor) = self.look(ids)? {
                    return Ok(Some(cursor));
                }
            }
            let Walked::Before(sequence) = walked else { return Ok(None) };
            if places.len() < AT_ONCE || self.looked_at >= ROWS_LOOKED_AT_MAX {
                // No lane comes before the first.
                return Ok(Some(DeliveryId { lane: LaneId(0), sequence }));
            }
            query.before = Some(sequence);
        }
    }

    /// Dead letters have an index of their own, by age.
    fn dead(&mut self) -> Result<Option<DeliveryId>, LogError> {
        let first = DeliveryId { lane: LaneId(0), sequence: self.from };
        let end = DeliveryId { lane: LaneId(0), sequence: self.before };
        let mut before = match self.after {
            Some(after) if order(after) < order(end) => tables::dead_key(after),
            _ => tables::dead_key(end),
        };
        loop {
            let scan = Scan::all(Table::Dead, AT_ONCE).from(&tables::dead_key(first));
            let rows = self.shared.store.scan(&scan.before(&before).reversed())?;
            let ids: Vec<_> = rows.iter().filter_map(|(key, _)| tables::dead_of(key)).collect();
            let (Some((key, _)), Some(last)) = (rows.last(), ids.last()) else { return Ok(None) };
            before = key.to_vec();
            self.looked_at += rows.len();
            if let Some(cursor) = self.look(&ids)? {
                return Ok(Some(cursor));
            }
            if self.looked_at >= ROWS_LOOKED_AT_MAX {
                return Ok(Some(*last));
            }
        }
    }

    /// All that wait, from every lane that has work; None: they are too many.
    fn waiting(&self) -> Result<Option<NewestFirst>, LogError> {
        let (mut found, store) = (NewestFirst::new(), &self.shared.store);
        let lanes = self.shared.lanes().with_work(Timestamp(i64::MAX));
        for status in lanes {
            let lane = tables::lane_key(status.lane);
            let mark = self.shared.lanes().due_mark(status.lane);
            if let Some(mark) = mark {
                let floor = tables::due_floor(status.lane, mark.floor);
                let scan = Scan::prefix(Table::Due, &lane, GATHERED_MAX).from(&floor);
                let rows = store.scan(&scan)?;
                let ids = rows.iter().filter_map(|(key, _)| Some(tables::due_of(key)?.0));
                found.extend(ids.map(|id| Reverse(order(id))));
            }
            let cursor = DeliveryId { lane: status.lane, sequence: status.cursor };
            let scan = Scan::prefix(Table::Deliveries, &lane, GATHERED_MAX);
            for (key, row) in store.scan(&scan.after(&cursor.to_bytes()))? {
                let row: DeliveryRow = decode("delivery", &row)?;
                let id = tables::delivery_of(&key).filter(|_| row.is_fresh());
                found.extend(id.map(|id| Reverse(order(id))));
            }
            if found.len() >= GATHERED_MAX {
                return Ok(None);
            }
        }
        Ok(Some(found))
    }

    fn of(&mut self, ids: NewestFirst) -> Result<Option<DeliveryId>, LogError> {
        let ids = ids.into_iter().map(|Reverse((sequence, lane))| DeliveryId { lane, sequence });
        for ids in ids.collect::<Vec<_>>().chunks(AT_ONCE) {
            if let Some(cursor) = self.look(ids)? {
                return Ok(Some(cursor));
            }
        }
        Ok(None)
    }

    /// The lanes of a subscription, merged from the newest down: it rarely has more than one.
    fn of_subscription(
        &mut self,
        number: SubscriptionNumber,
    ) -> Result<Option<DeliveryId>, LogError> {
        let mut position = self.after;
        let dropped = self.shared.state.load().dropped;
        loop {
            let mut newest = Vec::new();
            for priority in 0..16 {
                let lane = LaneId((number.0 << 4) | priority);
                let from = DeliveryId { lane, sequence: self.from };
                let scan = Scan::all(Table::Deliveries, ROWS_PER_SCAN).from(&from.to_bytes());
                let before = self.before_in(lane, position);
                newest.extend(self.shared.store.scan(&scan.before(&before).reversed())?);
            }
            let mut rows: Vec<_> = newest
                .into_iter()
                .filter_map(|(key, row)| Some((tables::delivery_of(&key)?, row)))
                .collect();
            if rows.is_empty() {
                return Ok(None);
            }
            rows.sort_unstable_by_key(|(id, _)| Reverse(order(*id)));
            // Beyond this many, a lane that had more to give may have newer ones.
            rows.truncate(ROWS_PER_SCAN);
            for rows in rows.chunks(AT_ONCE) {
                position = rows.last().map(|(id, _)| *id);
                let mut found = Vec::with_capacity(rows.len());
                for (id, row) in rows.iter().filter(|(id, _)| self.within(*id)) {
                    let row: DeliveryRow = decode("delivery", row)?;
                    if !dropped.delivery(id.sequence, row.carried) {
                        found.push(row.into_delivery(*id));
                    }
                }
                let mut typed = self.typed(found)?.into_iter();
                if let Some(cursor) = typed.find_map(|delivery| self.take(delivery)) {
                    return Ok(Some(cursor));
                }
                if self.looked_at >= ROWS_LOOKED_AT_MAX {
                    return Ok(position);
                }
            }
        }
    }

    /// The key in `lane` that a position of the merged order lies in front of.
    fn before_in(&self, lane: LaneId, position: Option<DeliveryId>) -> [u8; 12] {
        let sequence = match position {
            None => self.before,
            Some(at) if lane < at.lane => Sequence(at.sequence.0.saturating_add(1)),
            Some(at) => at.sequence,
        };
        DeliveryId { lane, sequence: sequence.min(self.before) }.to_bytes()
    }
}

/// The order of listings, upside down.
const fn order(id: DeliveryId) -> (Sequence, LaneId) {
    (id.sequence, id.lane)
}

/// The first position in the log whose fact is of `time` or later: facts never go back in time.
pub(crate) fn position_at(shared: &Shared, time: Timestamp) -> Result<Sequence, LogError> {
    let (newest, state) = (*shared.head(), shared.state.load());
    if time > newest.time {
        return Ok(Sequence(newest.sequence.0 + 1));
    }
    let bucket = Bucket::of(time);
    let earlier = state.buckets.range(..bucket).next_back().map(|(_, closed)| closed.last.0);
    let (mut low, mut high) = (earlier.unwrap_or(0) + 1, newest.sequence.0 + 1);
    if let Some(closed) = state.buckets.get(&bucket) {
        high = closed.last.0 + 1;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        let scan = Scan::all(Table::Traffic(bucket), 1);
        let scan = scan.from(&tables::sequence_key(Sequence(middle)));
        let rows = shared.store.scan(&scan.before(&tables::sequence_key(Sequence(high))))?;
        match rows
            .first()
            .map(|row| Ok::<_, LogError>((tables::sequence_of(&row.0), time_of(row)?)))
        {
            Some(found) => match found? {
                (Some(sequence), at) if at < time => low = sequence.0 + 1,
                _ => high = middle,
            },
            None => high = middle,
        }
    }
    Ok(Sequence(low))
}

//! By event: the named ones, or all by their facts. Each goes to the one subscription that is to get
//! it, or once more to all that have a delivery of it.

use super::{ROWS_PER_SCAN, Walk};
use crate::{
    decide::replay::{Candidate, Verdict, is_wanted},
    fact::{Bucket, FactBody},
    log::{LogError, read_fact},
    project::read_delivery,
    store::{Scan, Table},
    tables::{self, DeliveryRow, EventIdRow},
};
use bytes::Bytes;
use contract::{
    delivery::DeliveryState,
    event::Event,
    id::{DeliveryId, EventId, Sequence, SubscriptionNumber},
};
use std::collections::BTreeMap;

/// How far it is: all before this position, and at this position what goes to subscriptions up to
/// this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Place {
    position: u64,
    upto: SubscriptionNumber,
}

impl Place {
    fn of(cursor: &[u8]) -> Self {
        let Some((position, upto)) = cursor.split_first_chunk::<8>() else {
            return Self::default();
        };
        let upto = upto.try_into().map(u32::from_be_bytes).unwrap_or_default();
        let position = u64::from_be_bytes(*position);
        Self { position, upto: SubscriptionNumber(upto) }
    }

    fn cursor(self) -> Bytes {
        let (position, upto) = (self.position.to_be_bytes(), self.upto.0.to_be_bytes());
        Bytes::from([position.as_slice(), &upto].concat())
    }

    const fn after(position: u64) -> Self {
        Self { position: position + 1, upto: SubscriptionNumber(0) }
    }
}

impl Walk<'_> {
    /// The events that the order names, in its order.
    pub(super) fn named(&mut self) -> Result<(), LogError> {
        let mut place = Place::of(&self.page.cursor);
        while let Some(id) =
            usize::try_from(place.position).ok().and_then(|at| self.order.spec.events.get(at))
        {
            if self.is_full() {
                return Ok(());
            }
            self.page.rows += 1;
            match self.shared.event_id(*id)? {
                Some(row) => {
                    let event = self.shared.event_at(row.place())?;
                    if !self.event((*id, &row), event.as_ref(), &mut place)? {
                        return Ok(());
                    }
                }
                None => {
                    self.page.looked_at += 1;
                    self.pass_over(Verdict::Expired);
                }
            }
            place = Place::after(place.position);
            self.page.cursor = place.cursor();
        }
        self.page.through = true;
        Ok(())
    }

    /// All events, by their facts.
    pub(super) fn facts(&mut self) -> Result<(), LogError> {
        let mut place = Place::of(&self.page.cursor);
        if self.page.cursor.is_empty() {
            place.position = self.first()?.0;
        }
        for day in self.days(Sequence(place.position)) {
            loop {
                if self.is_full() {
                    return Ok(());
                }
                let from = tables::sequence_key(Sequence(place.position));
                let end = tables::sequence_key(Sequence(self.order.upto.0 + 1));
                let rows = ROWS_PER_SCAN.min(self.limits.rows);
                let scan = Scan::all(Table::Traffic(day), rows).from(&from).before(&end);
                let page = self.shared.store.scan(&scan)?;
                if page.is_empty() {
                    break;
                }
                for row in &page {
                    let fact = read_fact(row)?;
                    if fact.sequence.0 > place.position {
                        place = Place { position: fact.sequence.0, ..Place::default() };
                    }
                    self.page.rows += 1;
                    if !self.fact(day, (fact.sequence, fact.body), &mut place)? {
                        return Ok(());
                    }
                    place = Place::after(place.position);
                    self.page.cursor = place.cursor();
                    if self.is_full() {
                        return Ok(());
                    }
                }
            }
        }
        self.page.through = true;
        Ok(())
    }

    /// The days that are kept and may hold something from a position on, the oldest first.
    fn days(&self, from: Sequence) -> Vec<Bucket> {
        let closed = self.state.buckets.iter().filter(|(_, closed)| closed.last >= from);
        let mut days: Vec<_> = closed.map(|(day, _)| *day).chain(self.open).collect();
        days.retain(|day| !self.state.dropped.day(*day));
        days.dedup();
        days
    }

    /// False: the page is full before the event has been gone through.
    fn fact(
        &mut self,
        day: Bucket,
        (sequence, body): (Sequence, FactBody),
        place: &mut Place,
    ) -> Result<bool, LogError> {
        let (FactBody::EventAccepted { event }
        | FactBody::QuarantineReleased { event, .. }
        | FactBody::EventCarried { event, .. }) = body
        else {
            return Ok(true);
        };
        let id = event.id;
        let Some(row) = self.shared.event_id(id)? else { return Ok(true) };
        // One that was carried since the order is met where it lay by then.
        let moved_since = row.carried.is_some_and(|at| at > self.order.upto);
        if row.place() != (day, sequence) && !moved_since {
            return Ok(true);
        }
        let event = event.into_event(sequence, None);
        self.event((id, &row), Some(&event), place)
    }

    fn event(
        &mut self,
        (id, row): (EventId, &EventIdRow),
        event: Option<&Event>,
        place: &mut Place,
    ) -> Result<bool, LogError> {
        let meant = |event: &Event| self.is_in_time(event.received_at) && self.is_of_type(event);
        let Some(event) = event.filter(|event| meant(event)) else { return Ok(true) };
        if let (Some(to), None) = (self.order.to, self.order.from) {
            self.page.looked_at += 1;
            match is_wanted(&self.state, to, event) {
                true => self.page.candidates.push(Candidate { event: id, to, from: None }),
                false => self.pass_over(Verdict::Unwanted),
            }
            return Ok(true);
        }
        let newest = self.newest(id, row)?;
        for (number, (from, delivery)) in newest.range(SubscriptionNumber(place.upto.0 + 1)..) {
            if self.is_full() {
                self.page.cursor = place.cursor();
                return Ok(false);
            }
            place.upto = *number;
            if self.order.spec.dead && delivery.state != DeliveryState::Dead {
                continue;
            }
            let to = self.order.to.unwrap_or(*number);
            self.page.looked_at += 1;
            if to != *number && !is_wanted(&self.state, to, event) {
                self.pass_over(Verdict::Unwanted);
            } else {
                self.page.candidates.push(Candidate { event: id, to, from: Some(*from) });
            }
        }
        Ok(true)
    }

    /// The newest delivery of an event for each subscription that is meant.
    fn newest(
        &self,
        id: EventId,
        row: &EventIdRow,
    ) -> Result<BTreeMap<SubscriptionNumber, (DeliveryId, DeliveryRow)>, LogError> {
        let mut newest = BTreeMap::<_, DeliveryId>::new();
        for id in self.shared.delivery_ids(id, row)? {
            let number = id.lane.subscription();
            if self.order.from.is_none_or(|from| from == number) {
                let held = newest.entry(number).or_insert(id);
                *held = if id.sequence > held.sequence { id } else { *held };
            }
        }
        let mut found = BTreeMap::new();
        for (number, id) in newest {
            let delivery = read_delivery(self.shared.rows(), id)?;
            found.extend(delivery.map(|delivery| (number, (id, delivery))));
        }
        Ok(found)
    }
}

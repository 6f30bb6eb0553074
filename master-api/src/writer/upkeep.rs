//! Letting things go: the steps of retention and erasure, each one bounded and decided on what is
//! durable and in the batch, like everything else that is written.

use super::round::{Round, component};
use crate::{
    fact::{Bucket, FactBody, StoredEvent},
    log::{LogError, read_fact},
    project::decode,
    store::{Batch, Table},
    tables::{self, EventIdRow, IdempotencyRow},
};
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    clock::Timestamp,
    delivery::{Cause, DeliveryState},
    id::{DeliveryId, EventId, LaneId, Sequence},
    master_api::Stats,
    retention::ErasureTarget,
};

/// A step.
#[derive(Debug)]
pub enum Upkeep {
    /// A day that ended is about to go.
    Retire(Bucket),
    /// Carry these events of a retired day to today, as far as they are unfinished.
    Carry(Vec<EventId>),
    /// Give up what these events still have to deliver and was made before this.
    Expire(Vec<EventId>, Timestamp),
    /// A retired day is gone, with this.
    Drop(Bucket, Stats),
    /// Remove rows that a gone day left behind.
    Sweep(Batch),
    /// Note that an erasure is wanted.
    Order(ErasureTarget),
    /// Erase the payloads of these events.
    Erase(Vec<EventId>),
    /// Note that an erasure is done.
    Done(Sequence),
}

/// What a step did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Upkept {
    /// Events that it changed.
    pub events: u64,
    /// Deliveries that it changed.
    pub deliveries: u64,
    /// The last fact that it recorded.
    pub sequence: Sequence,
}

/// Where an event lies, and what is in its fact.
struct Found {
    row: EventIdRow,
    event: Box<StoredEvent>,
    /// All places where its payload lies or lay, the newest first.
    places: Vec<(Bucket, Sequence)>,
}

impl Round<'_> {
    /// Takes a step.
    pub fn upkeep(&mut self, actor: &Actor, upkeep: Upkeep) -> Result<Result<Upkept>, LogError> {
        let mut done = Upkept::default();
        let own = component("master-api");
        match upkeep {
            Upkeep::Retire(bucket) => {
                if let Err(refusal) = self.retire(bucket)? {
                    return Ok(Err(refusal));
                }
            }
            Upkeep::Carry(events) => {
                for event in events {
                    self.carry(event, &mut done)?;
                }
            }
            Upkeep::Expire(events, before) => {
                for event in events {
                    self.expire(event, before, &mut done)?;
                }
            }
            Upkeep::Drop(bucket, gone) => {
                if self.state.retired != Some(bucket) || self.state.dropped.day(bucket) {
                    return Ok(Err(refused(bucket, "it is not the one that is about to go")));
                }
                if gone.waiting > 0 {
                    return Ok(Err(refused(bucket, "it still has waiting deliveries")));
                }
                self.record(&own, &FactBody::BucketDropped { bucket, gone })?;
            }
            Upkeep::Sweep(batch) => self.projector.batch.0.extend(batch.0),
            Upkeep::Order(target) => {
                _ = self.record(actor, &FactBody::ErasureOrdered { target })?
            }
            Upkeep::Erase(events) => {
                for event in events {
                    self.erase(actor, event, &mut done)?;
                }
            }
            Upkeep::Done(ordered) if self.state.erasing.contains_key(&ordered) => {
                self.record(&own, &FactBody::ErasureDone { ordered })?;
            }
            Upkeep::Done(_) => {}
        }
        done.sequence = self.head.sequence;
        Ok(Ok(done))
    }

    /// Only the oldest day goes, and only when nobody writes into it or its idempotency keys.
    fn retire(&mut self, bucket: Bucket) -> Result<Result<()>, LogError> {
        if self.state.retired == Some(bucket) {
            return Ok(Ok(()));
        }
        if bucket.after() >= Bucket::of(self.now) {
            return Ok(Err(refused(bucket, "it ended less than a day ago")));
        }
        if self.head.bucket == Some(bucket) {
            self.close_bucket()?;
        }
        let dropped = self.state.dropped;
        let oldest = self.state.buckets.keys().find(|day| !dropped.day(**day));
        if oldest != Some(&bucket) {
            return Ok(Err(refused(bucket, "it is not the oldest")));
        }
        self.record(&component("master-api"), &FactBody::BucketRetired { bucket })?;
        Ok(Ok(()))
    }

    fn carry(&mut self, id: EventId, done: &mut Upkept) -> Result<(), LogError> {
        let Some(row) = self.event_by_id(id)? else { return Ok(()) };
        if self.state.retired.is_none_or(|retired| row.bucket > retired) {
            return Ok(());
        }
        let waiting = self.waiting(&row, None)?;
        if waiting.is_empty() {
            return Ok(());
        }
        let Some(found) = self.find(id, row)? else { return Ok(()) };
        let (bucket, from) = found.row.place();
        let payload = self.rows.get(Table::Payloads(bucket), &tables::sequence_key(from))?;
        let (place, today) = self.move_event(&found, waiting.clone())?;
        if let Some(payload) = payload {
            let key = tables::sequence_key(place);
            self.projector.batch.put(Table::Payloads(today), key, payload);
        }
        self.move_deliveries(found.row.sequence, &waiting, done)?;
        done.events += 1;
        Ok(())
    }

    /// A delivery that is given up moves to today, so that it can be seen for as long as any other
    /// dead letter.
    fn expire(
        &mut self,
        id: EventId,
        before: Timestamp,
        done: &mut Upkept,
    ) -> Result<(), LogError> {
        let Some(row) = self.event_by_id(id)? else { return Ok(()) };
        let waiting = self.waiting(&row, Some(before))?;
        if waiting.is_empty() {
            return Ok(());
        }
        let Some(found) = self.find(id, row)? else { return Ok(()) };
        self.abandon(found.row.sequence, &waiting, &component("master-api"), Cause::Expired)?;
        let lanes = found.row.lanes.clone();
        let (place, today) = self.move_event(&found, lanes)?;
        self.move_deliveries(found.row.sequence, &waiting, done)?;
        let places = [&[(today, place)], found.places.as_slice()].concat();
        self.remove_payload(id, &places, &component("master-api"), Cause::Expired)?;
        done.events += 1;
        Ok(())
    }

    fn erase(&mut self, actor: &Actor, id: EventId, done: &mut Upkept) -> Result<(), LogError> {
        let Some(row) = self.event_by_id(id)?.filter(|row| row.gone.is_none()) else {
            return Ok(());
        };
        let Some(found) = self.find(id, row)? else { return Ok(()) };
        let waiting = self.waiting(&found.row, None)?;
        self.abandon(found.row.sequence, &waiting, actor, Cause::Erased)?;
        self.remove_payload(id, &found.places, actor, Cause::Erased)?;
        self.forget_idempotency(id, &found.event)?;
        done.events += 1;
        done.deliveries += u64::try_from(waiting.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Lanes in which an event still waits, made before a time if one is given.
    fn waiting(
        &mut self,
        row: &EventIdRow,
        before: Option<Timestamp>,
    ) -> Result<Vec<LaneId>, LogError> {
        let mut lanes = Vec::new();
        for lane in &row.lanes {
            let id = DeliveryId { lane: *lane, sequence: row.sequence };
            let delivery = self.projector.delivery(id)?;
            let old = |made: Timestamp| before.is_none_or(|before| made < before);
            if delivery.is_some_and(|d| d.state == DeliveryState::Waiting && old(d.created_at)) {
                lanes.push(*lane);
            }
        }
        Ok(lanes)
    }

    fn abandon(
        &mut self,
        sequence: Sequence,
        lanes: &[LaneId],
        actor: &Actor,
        cause: Cause,
    ) -> Result<(), LogError> {
        for lane in lanes {
            let delivery = DeliveryId { lane: *lane, sequence };
            self.record(actor, &FactBody::DeliveryAbandoned { delivery, cause })?;
        }
        Ok(())
    }

    fn move_event(
        &mut self,
        found: &Found,
        lanes: Vec<LaneId>,
    ) -> Result<(Sequence, Bucket), LogError> {
        let (_, from) = found.row.place();
        let (event, sequence) = (found.event.clone(), found.row.sequence);
        let fact = FactBody::EventCarried { event, sequence, from, lanes };
        self.record(&component("master-api"), &fact)
    }

    fn move_deliveries(
        &mut self,
        sequence: Sequence,
        lanes: &[LaneId],
        done: &mut Upkept,
    ) -> Result<(), LogError> {
        for lane in lanes {
            let id = DeliveryId { lane: *lane, sequence };
            let Some(row) = self.projector.delivery(id)?.cloned() else { continue };
            let scheduled = row.scheduled;
            let delivery = Box::new(row.into_delivery(id));
            let fact = FactBody::DeliveryCarried { delivery, scheduled };
            self.record(&component("master-api"), &fact)?;
            done.deliveries += 1;
        }
        Ok(())
    }

    fn remove_payload(
        &mut self,
        event: EventId,
        places: &[(Bucket, Sequence)],
        actor: &Actor,
        cause: Cause,
    ) -> Result<(), LogError> {
        self.record(actor, &FactBody::PayloadRemoved { event, cause })?;
        for (bucket, sequence) in places {
            let table = Table::Payloads(*bucket);
            self.projector.batch.remove(table, tables::sequence_key(*sequence));
        }
        Ok(())
    }

    /// The row says what the payload hashes to, without salt.
    fn forget_idempotency(&mut self, id: EventId, event: &StoredEvent) -> Result<(), LogError> {
        let Some(key) = &event.idempotency_key else { return Ok(()) };
        let key = tables::idempotency_key(&event.origin, key);
        let today = Bucket::of(self.now);
        for table in [today, today.before()].map(Table::Idempotency) {
            let Some(row) = self.rows.get(table, &key)? else { continue };
            let row: IdempotencyRow = decode("idempotency key", &row)?;
            if row.event == id {
                self.projector.batch.remove(table, key.clone());
            }
        }
        Ok(())
    }

    /// Reads an event's fact, and follows it back through the places it had before; None: it was
    /// stored in this very batch.
    fn find(&self, id: EventId, row: EventIdRow) -> Result<Option<Found>, LogError> {
        let (mut bucket, mut sequence) = row.place();
        let (mut places, mut newest) = (Vec::new(), None);
        loop {
            places.push((bucket, sequence));
            let key = tables::sequence_key(sequence);
            let fact = self.rows.get(Table::Traffic(bucket), &key)?;
            let Some(fact) = fact else { break };
            let (event, before) = match read_fact(&(Bytes::copy_from_slice(&key), fact))?.body {
                FactBody::EventAccepted { event } | FactBody::EventQuarantined { event, .. } => {
                    (event, None)
                }
                FactBody::QuarantineReleased { event, from }
                | FactBody::EventCarried { event, from, .. } => (event, Some(from)),
                _ => break,
            };
            if event.id == id {
                newest.get_or_insert(event);
            }
            let Some(from) = before.filter(|from| *from < sequence) else { break };
            let Some(day) = self.state.closed_bucket_of(from).or(self.head.bucket) else { break };
            if self.state.dropped.day(day) {
                // Its tables go as a whole, and must not come back by a removal.
                break;
            }
            (bucket, sequence) = (day, from);
        }
        Ok(newest.map(|event| Found { row, event, places }))
    }
}

fn refused(bucket: Bucket, why: &str) -> Error {
    Error::new(ErrorCode::Conflict, format!("day {bucket} cannot go: {why}"))
}

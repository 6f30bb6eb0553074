//! Letting things go: the steps of retention and erasure, each one bounded and decided on what is
//! durable and in the batch, like everything else that is written.

use super::{
    replaying::ReplayStep,
    round::{Round, component},
};
use crate::{
    decide,
    fact::{Bucket, FactBody, StoredEvent},
    lifecycle::{self, Trigger},
    log::{LogError, read_fact},
    project::{decode, read_made},
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
use std::sync::Arc;

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
    /// Take away the secrets whose time has come to an end.
    EndSecrets,
    /// Note that an erasure is done.
    Done(Sequence),
    /// A step of a replay.
    Replay(Box<ReplayStep>),
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
                // By now nothing of that day waits, so nothing of it counts any more.
                self.repeat_replays()?;
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
            Upkeep::EndSecrets => {
                for fact in decide::end_secrets(&Arc::clone(&self.state), self.now) {
                    self.record(&own, &fact)?;
                }
            }
            Upkeep::Done(ordered) if self.state.erasing.contains_key(&ordered) => {
                self.record(&own, &FactBody::ErasureDone { ordered })?;
            }
            Upkeep::Done(_) => {}
            Upkeep::Replay(step) => {
                if let Err(refusal) = self.replay(actor, &step, &mut done)? {
                    return Ok(Err(refusal));
                }
            }
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
        let Some(retired) = self.state.retired else { return Ok(()) };
        let later = self.waiting_later((id, &row), None)?;
        if row.bucket <= retired {
            let waiting = self.waiting(&row, None)?;
            if waiting.is_empty() && later.is_empty() {
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
            self.move_deliveries(&of(found.row.sequence, &waiting), done)?;
            done.events += 1;
        }
        let going = later.into_iter().filter(|(_, day)| *day <= retired);
        self.move_deliveries(&going.map(|(id, _)| id).collect::<Vec<_>>(), done)
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
        let own = component("master-api");
        if waiting.is_empty() {
            // Those that were made later are no reason to take the payload from others.
            let later: Vec<_> = self
                .waiting_later((id, &row), Some(before))?
                .into_iter()
                .map(|(id, _)| id)
                .collect();
            self.abandon(&later, &own, Cause::Expired)?;
            return self.move_deliveries(&later, done);
        }
        let later: Vec<_> =
            self.waiting_later((id, &row), None)?.into_iter().map(|(id, _)| id).collect();
        let Some(found) = self.find(id, row)? else { return Ok(()) };
        let waiting = [of(found.row.sequence, &waiting), later].concat();
        self.abandon(&waiting, &own, Cause::Expired)?;
        let lanes = found.row.lanes.clone();
        let (place, today) = self.move_event(&found, lanes)?;
        self.move_deliveries(&waiting, done)?;
        let places = [&[(today, place)], found.places.as_slice()].concat();
        self.remove_exchanges(&found)?;
        self.remove_payload(id, &places, &component("master-api"), Cause::Expired)?;
        done.events += 1;
        Ok(())
    }

    fn erase(&mut self, actor: &Actor, id: EventId, done: &mut Upkept) -> Result<(), LogError> {
        let Some(row) = self.event_by_id(id)?.filter(|row| row.gone.is_none()) else {
            return Ok(());
        };
        let Some(found) = self.find(id, row)? else { return Ok(()) };
        let later =
            self.waiting_later((id, &found.row), None)?.into_iter().map(|(id, _)| id).collect();
        let waiting = [of(found.row.sequence, &self.waiting(&found.row, None)?), later].concat();
        self.abandon(&waiting, actor, Cause::Erased)?;
        self.remove_exchanges(&found)?;
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
            if delivery.is_some_and(|d| may_be_abandoned(d.state) && old(d.created_at)) {
                lanes.push(*lane);
            }
        }
        Ok(lanes)
    }

    /// Deliveries that were made after their event and still wait, each with the day that it goes
    /// with; made before a time if one is given.
    fn waiting_later(
        &mut self,
        (event, row): (EventId, &EventIdRow),
        before: Option<Timestamp>,
    ) -> Result<Vec<(DeliveryId, Bucket)>, LogError> {
        let mut found = Vec::new();
        for id in read_made(self.rows, (event, row), usize::MAX)? {
            let old = |made: Timestamp| before.is_none_or(|before| made < before);
            let delivery = self.projector.delivery(id)?;
            let waiting = delivery.filter(|d| may_be_abandoned(d.state) && old(d.created_at));
            found.extend(waiting.and_then(|delivery| Some((id, delivery.carried?))));
        }
        Ok(found)
    }

    fn abandon(
        &mut self,
        deliveries: &[DeliveryId],
        actor: &Actor,
        cause: Cause,
    ) -> Result<(), LogError> {
        for delivery in deliveries {
            let delivery = *delivery;
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
        let later = found.row.later;
        let fact = FactBody::EventCarried { event, sequence, from, lanes, later };
        self.record(&component("master-api"), &fact)
    }

    fn move_deliveries(
        &mut self,
        deliveries: &[DeliveryId],
        done: &mut Upkept,
    ) -> Result<(), LogError> {
        for id in deliveries {
            let id = *id;
            let Some(row) = self.projector.delivery(id)?.cloned() else { continue };
            let scheduled = row.scheduled;
            let mark = tables::made_key(row.event, id);
            let later = self.rows.get(Table::Replays, &mark)?.is_some();
            let delivery = Box::new(row.into_delivery(id));
            let fact = FactBody::DeliveryCarried { delivery, scheduled, later };
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

    /// What endpoints were sent and answered goes with the payload. An attempt names its delivery
    /// by where the event was taken, in each of the days where the event lay.
    fn remove_exchanges(&mut self, found: &Found) -> Result<(), LogError> {
        let own = of(found.row.sequence, &found.event.lanes);
        let later = read_made(self.rows, (found.event.id, &found.row), usize::MAX)?;
        for id in own.into_iter().chain(later) {
            let Some(row) = self.projector.delivery(id)? else { continue };
            let (attempts, day) = (row.attempts.len(), row.carried);
            for attempt in 1..=attempts {
                let attempt = u32::try_from(attempt).unwrap_or(u32::MAX);
                let key = tables::exchange_key(id, attempt);
                for day in found.places.iter().map(|(day, _)| *day).chain(day) {
                    self.projector.batch.remove(Table::Payloads(day), key);
                }
            }
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

fn may_be_abandoned(state: DeliveryState) -> bool {
    lifecycle::after(state, Trigger::Abandoned).is_some()
}

/// The deliveries of an event in these lanes, as they were made where it was taken.
fn of(sequence: Sequence, lanes: &[LaneId]) -> Vec<DeliveryId> {
    lanes.iter().map(|lane| DeliveryId { lane: *lane, sequence }).collect()
}

fn refused(bucket: Bucket, why: &str) -> Error {
    Error::new(ErrorCode::Conflict, format!("day {bucket} cannot go: {why}"))
}

//! The read models: what facts make of the indices, the deliveries and the counters. Pure but for
//! reading the rows before; used by the writer, and by whoever checks or rebuilds what it wrote.

mod deliveries;
mod rows;

pub use rows::{decode, encode, read_delivery, read_event, read_made, read_replay};

use deliveries::{Created, Touched, follow, take_back, wait_again};

use crate::{
    fact::{Bucket, FactBody, StoredEvent},
    log::LogError,
    search::{self, OpenBlock},
    state::Dropped,
    store::{Batch, Rows, Table},
    tables::{self, DeliveryRow, EventIdRow, ReplayRow},
};
use bytes::Bytes;
use contract::{
    clock::Timestamp,
    delivery::{Cause, Next},
    id::{DeliveryId, EventId, LaneId, ReplayId, Sequence},
    master_api::Stats,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Applies facts, one after the other, and gathers what becomes of the rows in one batch.
pub struct Projector<'a> {
    rows: &'a dyn Rows,
    dropped: Dropped,
    /// The format of the log by now.
    pub format: u32,
    events: HashMap<EventId, EventIdRow>,
    created: BTreeMap<Sequence, Created>,
    touched: HashMap<DeliveryId, Touched>,
    /// Replays that changed; None: one that is not running.
    replays: BTreeMap<ReplayId, Option<ReplayRow>>,
    /// Rows to write. [`Self::finish`] adds the deliveries.
    pub batch: Batch,
    /// The counters.
    pub stats: Stats,
    /// What the lanes gained.
    pub lanes: BTreeMap<LaneId, LaneGain>,
    /// The newest events, not yet in the rows of the index; None: the log has no index.
    pub block: Option<Arc<OpenBlock>>,
}

/// What facts added to a lane.
#[derive(Debug, Clone, Copy, Default)]
pub struct LaneGain {
    /// Its newest delivery.
    pub head: Option<Sequence>,
    /// The earliest due time among its new retries.
    pub due: Option<Timestamp>,
}

impl<'a> Projector<'a> {
    /// On top of `rows`, whose counters are `stats`, of a log of `format`, and the block that is
    /// open there. What is `dropped` counts as not there.
    pub fn new(
        rows: &'a dyn Rows,
        stats: Stats,
        dropped: Dropped,
        format: u32,
        block: Option<Arc<OpenBlock>>,
    ) -> Self {
        Self {
            rows,
            dropped,
            format,
            events: HashMap::new(),
            created: BTreeMap::new(),
            touched: HashMap::new(),
            replays: BTreeMap::new(),
            batch: Batch::default(),
            stats,
            lanes: BTreeMap::new(),
            block,
        }
    }

    /// An event as it lies after the facts so far.
    pub fn event(&self, id: EventId) -> Result<Option<EventIdRow>, LogError> {
        if let Some(row) = self.events.get(&id) {
            return Ok(Some(row.clone()));
        }
        let row = read_event(self.rows, id)?;
        Ok(row.filter(|row| !self.dropped.day(row.bucket)))
    }

    /// A day has ended, and its last block with it.
    pub fn end_day(&mut self, bucket: Bucket) -> Result<(), LogError> {
        match &mut self.block {
            Some(block) if block.ends_with(bucket) => std::mem::take(block).close(&mut self.batch),
            Some(_) | None => Ok(()),
        }
    }

    /// A day is gone: its deliveries are no longer there, and its counts are not of here.
    pub fn drop_day(&mut self, dropped: Dropped, gone: &Stats) {
        self.dropped = dropped;
        self.stats = self.stats.minus(gone);
    }

    /// A delivery as it stands after the facts so far.
    pub fn delivery(&mut self, id: DeliveryId) -> Result<Option<&DeliveryRow>, LogError> {
        if !self.touched.contains_key(&id)
            && let Some((before, after)) = self.find(id)?
        {
            self.touched.insert(id, Touched { before, after });
        }
        Ok(self.touched.get(&id).map(|touched| &touched.after))
    }

    /// Takes in a traffic fact of the day `bucket`; the configuration is no concern of it.
    #[expect(clippy::too_many_lines, reason = "a table: one arm for each kind, none for the rest")]
    pub fn apply(
        &mut self,
        (sequence, time, bucket): (Sequence, Timestamp, Bucket),
        body: &FactBody,
    ) -> Result<(), LogError> {
        self.index((sequence, bucket), body)?;
        if body.is_notable(self.format) {
            self.batch.put(Table::Notable, tables::sequence_key(sequence), Bytes::new());
        }
        match body {
            FactBody::EventAccepted { event } => {
                self.stats.accepted += 1;
                self.add_event((sequence, time, bucket), event, false)
            }
            FactBody::EventQuarantined { event, .. } => {
                self.stats.quarantined += 1;
                self.add_event((sequence, time, bucket), event, true)
            }
            FactBody::QuarantineReleased { event, from } => {
                self.stats.accepted += 1;
                if *from > self.dropped.last {
                    self.stats.quarantined = self.stats.quarantined.saturating_sub(1);
                }
                self.add_event((sequence, time, bucket), event, false)
            }
            FactBody::AttemptRecorded { delivery, attempt, next } => {
                self.change(*delivery, |row| {
                    row.attempts.push((**attempt).clone());
                    follow(row, *next);
                })
            }
            FactBody::DeliveryResent { delivery } => {
                self.change(*delivery, |row| wait_again(row, time))
            }
            FactBody::DeliveryCancelled { delivery, .. } => self.change(*delivery, take_back),
            FactBody::EventCarried { event, sequence: taken, from, lanes, later } => {
                let row = EventIdRow::new(*taken, bucket, lanes.clone());
                let row = EventIdRow { later: *later, ..row };
                self.carry_event(event.id, *from, EventIdRow { carried: Some(sequence), ..row })
            }
            FactBody::DeliveryCarried { delivery, scheduled, later } => {
                if *later {
                    // Where the day that made it is gone, its mark is, too.
                    self.mark_made(delivery.event, delivery.id);
                }
                self.carry(DeliveryRow::carried(delivery, *scheduled, bucket), delivery.id)
            }
            FactBody::DeliveryAbandoned { delivery, cause } => {
                self.change(*delivery, |row| follow(row, Next::Dead(*cause)))
            }
            FactBody::PayloadRemoved { event, cause } => self.remove_payload(*event, *cause),
            FactBody::DeliveriesMade { event, lanes, keys, replay, new_id, replaces } => {
                let (carried, replay, new_id) = (Some(bucket), *replay, *new_id);
                let row = DeliveryRow { carried, replay, new_id, ..DeliveryRow::new(*event, time) };
                if let Some(dead) = replaces {
                    self.change(*dead, take_back)?;
                }
                self.create_later(sequence, (lanes, keys), row)
            }
            FactBody::ReplayAdvanced { replay, cursor, progress, over } => {
                let (cursor, progress) = (cursor.clone(), *progress);
                self.replays.insert(*replay, (!over).then_some(ReplayRow { cursor, progress }));
                Ok(())
            }
            FactBody::FormatRaised { .. }
            | FactBody::BucketClosed { .. }
            | FactBody::SecretStored(_)
            | FactBody::SecretErased { .. }
            | FactBody::StampKeyCreated(_)
            | FactBody::KeyIssued(_)
            | FactBody::KeyRevoked { .. }
            | FactBody::SubscriberPut(_)
            | FactBody::SubscriberRemoved { .. }
            | FactBody::EventTypePut(_)
            | FactBody::EventTypeRemoved { .. }
            | FactBody::SourcePut(_)
            | FactBody::SourceRemoved { .. }
            | FactBody::BackoffPut(_)
            | FactBody::BackoffRemoved { .. }
            | FactBody::SchemaPublished(_)
            | FactBody::SubscriptionCreated(_)
            | FactBody::SubscriptionChanged { .. }
            | FactBody::SubscriptionStatusChanged { .. }
            | FactBody::SubscriptionRemoved { .. }
            | FactBody::SubscriptionCleared { .. }
            | FactBody::ObjectManaged(_)
            | FactBody::SchemaRemoved { .. }
            | FactBody::UserCreated(_)
            | FactBody::UserRolesSet { .. }
            | FactBody::UserPasswordSet { .. }
            | FactBody::UserDisabled { .. }
            | FactBody::UserRemoved { .. }
            | FactBody::TokenKeyCreated(_)
            | FactBody::TokenKeyForgotten { .. }
            | FactBody::SecretRevealed { .. }
            | FactBody::ConfigSet { .. }
            | FactBody::BreakerOpened { .. }
            | FactBody::BreakerClosed { .. }
            | FactBody::DeliveriesSkipped { .. }
            | FactBody::LossAccepted { .. }
            | FactBody::BucketRetired { .. }
            | FactBody::BucketDropped { .. }
            | FactBody::ErasureOrdered { .. }
            | FactBody::ErasureDone { .. }
            | FactBody::ReplayStarted(_)
            | FactBody::ReplayCancelled { .. }
            | FactBody::ReplayEnded { .. } => Ok(()),
        }
    }

    /// Writes the deliveries into the batch and settles the counters.
    pub fn finish(&mut self) -> Result<(), LogError> {
        for (sequence, created) in std::mem::take(&mut self.created) {
            for lane in &created.lanes {
                let id = DeliveryId { lane: *lane, sequence };
                if self.touched.is_empty() || !self.touched.contains_key(&id) {
                    self.batch.put(Table::Deliveries, id.to_bytes(), created.row(*lane)?);
                }
            }
        }
        for (id, touched) in std::mem::take(&mut self.touched) {
            self.settle(id, &touched)?;
        }
        for (id, row) in std::mem::take(&mut self.replays) {
            match row {
                Some(row) => {
                    let row = encode("replay", &row)?;
                    self.batch.put(Table::Replays, tables::replay_key(id), row);
                }
                None => self.batch.remove(Table::Replays, tables::replay_key(id)),
            }
        }
        self.events.clear();
        Ok(())
    }

    fn put_event(&mut self, id: EventId, row: EventIdRow) -> Result<(), LogError> {
        self.batch.put(Table::EventIds, id.to_bytes(), encode("event id", &row)?);
        self.events.insert(id, row);
        Ok(())
    }

    /// An event takes another place. It is a new one where the facts before are gone.
    fn carry_event(
        &mut self,
        id: EventId,
        from: Sequence,
        row: EventIdRow,
    ) -> Result<(), LogError> {
        if from <= self.dropped.last {
            self.stats.accepted += 1;
        }
        self.put_event(id, row)
    }

    fn remove_payload(&mut self, id: EventId, cause: Cause) -> Result<(), LogError> {
        match self.event(id)? {
            Some(row) => self.put_event(id, EventIdRow { gone: Some(cause), ..row }),
            None => Ok(()),
        }
    }

    /// A delivery takes the form it was carried in: the one it has, or, where the facts that led
    /// to it are gone, a new one.
    fn carry(&mut self, row: DeliveryRow, id: DeliveryId) -> Result<(), LogError> {
        if self.delivery(id)?.is_some() {
            return self.change(id, |held| *held = row);
        }
        *self.stats.of(row.state) += 1;
        self.touched.insert(id, Touched { before: None, after: row });
        Ok(())
    }

    /// Blocks are shared with those who search: they are touched only by what changes them.
    fn index(
        &mut self,
        (sequence, bucket): (Sequence, Bucket),
        body: &FactBody,
    ) -> Result<(), LogError> {
        let Some(block) = &mut self.block else { return Ok(()) };
        if search::is_indexed(body) {
            if let Some(ended) = Arc::make_mut(block).next(sequence, bucket, body) {
                ended.close(&mut self.batch)?;
            }
        } else if block.ends_before(sequence, bucket, body) {
            std::mem::take(block).close(&mut self.batch)?;
        }
        Ok(())
    }

    fn add_event(
        &mut self,
        (sequence, time, bucket): (Sequence, Timestamp, Bucket),
        event: &StoredEvent,
        quarantined: bool,
    ) -> Result<(), LogError> {
        let row = EventIdRow::new(sequence, bucket, event.lanes.clone());
        self.put_event(event.id, EventIdRow { quarantined, ..row })?;
        if event.lanes.is_empty() {
            return Ok(());
        }
        self.create(sequence, (&event.lanes, &event.keys), DeliveryRow::new(event.id, time))
    }
}

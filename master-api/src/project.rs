//! The read models: what facts make of the indices, the deliveries and the counters. Pure but for
//! reading the rows before; used by the writer, and by whoever checks or rebuilds what it wrote.

use crate::{
    codec,
    fact::{Bucket, FactBody, StoredEvent},
    log::LogError,
    search::OpenBlock,
    store::{Batch, Rows, Table},
    tables::{self, DeliveryRow, EventIdRow},
};
use bytes::Bytes;
use contract::{
    clock::Timestamp,
    delivery::{DeliveryState, Next},
    id::{DeliveryId, EventId, LaneId, Sequence},
    log::NOTABLE_SINCE_FORMAT,
    master_api::Stats,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Applies facts, one after the other, and gathers what becomes of the rows in one batch.
pub struct Projector<'a> {
    rows: &'a dyn Rows,
    /// The format of the log by now.
    pub format: u32,
    created: BTreeMap<Sequence, Created>,
    touched: HashMap<DeliveryId, Touched>,
    /// Rows to write. [`Self::finish`] adds the deliveries.
    pub batch: Batch,
    /// The counters.
    pub stats: Stats,
    /// What the lanes gained.
    pub lanes: BTreeMap<LaneId, LaneGain>,
    /// The newest events, not yet in the index.
    pub block: Arc<OpenBlock>,
}

/// What facts added to a lane.
#[derive(Debug, Clone, Copy, Default)]
pub struct LaneGain {
    /// Its newest delivery.
    pub head: Option<Sequence>,
    /// The earliest due time among its new retries.
    pub due: Option<Timestamp>,
}

/// Deliveries that an event made: the same row in each of its lanes.
struct Created {
    event: EventId,
    time: Timestamp,
    lanes: Vec<LaneId>,
    row: Bytes,
}

/// A delivery that changed. Only its first and last form matter: a batch names a key once.
struct Touched {
    before: Option<Standing>,
    after: DeliveryRow,
}

/// What indices and counters know of a delivery.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Standing {
    state: DeliveryState,
    scheduled: Option<Timestamp>,
}

impl Standing {
    fn of(row: &DeliveryRow) -> Self {
        let waiting = row.state == DeliveryState::Waiting && row.scheduled;
        Self { state: row.state, scheduled: row.due.filter(|_| waiting) }
    }
}

impl<'a> Projector<'a> {
    /// On top of `rows`, whose counters are `stats`, of a log of `format`, and the block that is
    /// open there.
    pub fn new(rows: &'a dyn Rows, stats: Stats, format: u32, block: Arc<OpenBlock>) -> Self {
        Self {
            rows,
            format,
            created: BTreeMap::new(),
            touched: HashMap::new(),
            batch: Batch::default(),
            stats,
            lanes: BTreeMap::new(),
            block,
        }
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
    pub fn apply(
        &mut self,
        (sequence, time, bucket): (Sequence, Timestamp, Bucket),
        body: &FactBody,
    ) -> Result<(), LogError> {
        if self.block.ends_before(sequence, bucket, body) {
            Arc::unwrap_or_clone(std::mem::take(&mut self.block)).close(&mut self.batch)?;
        }
        if self.format >= NOTABLE_SINCE_FORMAT && body.is_notable() {
            self.batch.put(Table::Notable, tables::sequence_key(sequence), Bytes::new());
        }
        match body {
            FactBody::EventAccepted { event } => {
                self.stats.accepted += 1;
                self.add_event((sequence, time, bucket), body, event)
            }
            FactBody::EventQuarantined { event, .. } => {
                self.stats.quarantined += 1;
                self.add_event((sequence, time, bucket), body, event)
            }
            FactBody::QuarantineReleased { event, .. } => {
                self.stats.accepted += 1;
                self.stats.quarantined = self.stats.quarantined.saturating_sub(1);
                self.add_event((sequence, time, bucket), body, event)
            }
            FactBody::AttemptRecorded { delivery, attempt, next } => {
                self.change(*delivery, |row| {
                    row.attempts.push((**attempt).clone());
                    follow(row, *next);
                })
            }
            FactBody::DeliveryResent { delivery } => self.change(*delivery, |row| {
                row.state = DeliveryState::Waiting;
                row.cause = None;
                row.due = Some(time);
                row.scheduled = true;
                row.attempts_before_resend = u32::try_from(row.attempts.len()).unwrap_or(u32::MAX);
            }),
            FactBody::DeliveryCancelled { delivery, .. } => self.change(*delivery, |row| {
                row.state = DeliveryState::Cancelled;
                row.due = None;
                row.scheduled = false;
            }),
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
            | FactBody::SecretRevealed { .. } => Ok(()),
        }
    }

    /// Writes the deliveries into the batch and settles the counters.
    pub fn finish(&mut self) -> Result<(), LogError> {
        for (sequence, created) in std::mem::take(&mut self.created) {
            for lane in created.lanes {
                let id = DeliveryId { lane, sequence };
                if self.touched.is_empty() || !self.touched.contains_key(&id) {
                    self.batch.put(Table::Deliveries, id.to_bytes(), created.row.clone());
                }
            }
        }
        for (id, touched) in std::mem::take(&mut self.touched) {
            self.settle(id, &touched)?;
        }
        Ok(())
    }

    fn add_event(
        &mut self,
        (sequence, time, bucket): (Sequence, Timestamp, Bucket),
        body: &FactBody,
        event: &StoredEvent,
    ) -> Result<(), LogError> {
        Arc::make_mut(&mut self.block).push(sequence, bucket, body);
        let quarantined = matches!(body, FactBody::EventQuarantined { .. });
        let row = EventIdRow { sequence, bucket, lanes: event.lanes.clone(), quarantined };
        self.batch.put(Table::EventIds, event.id.to_bytes(), encode("event id", &row)?);
        if event.lanes.is_empty() {
            return Ok(());
        }
        for lane in &event.lanes {
            self.lanes.entry(*lane).or_default().head = Some(sequence);
            self.stats.waiting += 1;
        }
        let row = Bytes::from(encode("delivery", &DeliveryRow::new(event.id, time))?);
        let created = Created { event: event.id, time, lanes: event.lanes.clone(), row };
        self.created.insert(sequence, created);
        Ok(())
    }

    fn change(
        &mut self,
        id: DeliveryId,
        change: impl FnOnce(&mut DeliveryRow),
    ) -> Result<(), LogError> {
        self.delivery(id)?;
        // A delivery that is not there was dropped by retention: nothing is left to change.
        if let Some(touched) = self.touched.get_mut(&id) {
            let earlier = Standing::of(&touched.after).state;
            change(&mut touched.after);
            let now = Standing::of(&touched.after);
            recount(&mut self.stats, earlier, now.state);
            if let Some(due) = now.scheduled {
                let gain = self.lanes.entry(id.lane).or_default();
                gain.due = Some(gain.due.map_or(due, |earliest| earliest.min(due)));
            }
        }
        Ok(())
    }

    fn find(&self, id: DeliveryId) -> Result<Option<(Option<Standing>, DeliveryRow)>, LogError> {
        if let Some(created) = self.created.get(&id.sequence)
            && created.lanes.contains(&id.lane)
        {
            return Ok(Some((None, DeliveryRow::new(created.event, created.time))));
        }
        let row = read_delivery(self.rows, id)?;
        Ok(row.map(|row| (Some(Standing::of(&row)), row)))
    }

    fn settle(&mut self, id: DeliveryId, touched: &Touched) -> Result<(), LogError> {
        let (before, after) = (touched.before, Standing::of(&touched.after));
        let row = encode("delivery", &touched.after)?;
        self.batch.put(Table::Deliveries, id.to_bytes(), row);
        let scheduled = before.and_then(|before| before.scheduled);
        if scheduled != after.scheduled {
            if let Some(due) = scheduled {
                self.batch.remove(Table::Due, tables::due_key(id, due));
            }
            if let Some(due) = after.scheduled {
                self.batch.put(Table::Due, tables::due_key(id, due), Bytes::new());
            }
        }
        let was_dead = before.is_some_and(|before| before.state == DeliveryState::Dead);
        match (was_dead, after.state == DeliveryState::Dead) {
            (false, true) => self.batch.put(Table::Dead, tables::dead_key(id), Bytes::new()),
            (true, false) => self.batch.remove(Table::Dead, tables::dead_key(id)),
            (false, false) | (true, true) => {}
        }
        Ok(())
    }
}

/// A delivery's row.
pub fn read_delivery(rows: &dyn Rows, id: DeliveryId) -> Result<Option<DeliveryRow>, LogError> {
    let row = rows.get(Table::Deliveries, &id.to_bytes())?;
    row.map(|row| decode("delivery", &row)).transpose()
}

/// Encodes a row; `what` names it in an error.
pub fn encode<T: serde::Serialize>(what: &str, row: &T) -> Result<Vec<u8>, LogError> {
    codec::encode(row).map_err(|source| LogError::Row { what: what.to_owned(), source })
}

/// Decodes a row; `what` names it in an error.
pub fn decode<T: serde::de::DeserializeOwned>(what: &str, row: &[u8]) -> Result<T, LogError> {
    codec::decode(row).map_err(|source| LogError::Row { what: what.to_owned(), source })
}

fn follow(row: &mut DeliveryRow, next: Next) {
    (row.state, row.cause, row.due) = match next {
        Next::Done => (DeliveryState::Delivered, None, None),
        Next::Retry(due) => (DeliveryState::Waiting, None, Some(due)),
        Next::Dead(cause) => (DeliveryState::Dead, Some(cause), None),
    };
    row.scheduled = row.due.is_some();
}

fn recount(stats: &mut Stats, before: DeliveryState, after: DeliveryState) {
    let mut count = |state, by: fn(u64, u64) -> u64| {
        let counter = match state {
            DeliveryState::Waiting => &mut stats.waiting,
            DeliveryState::Delivered => &mut stats.delivered,
            DeliveryState::Dead => &mut stats.dead,
            DeliveryState::Cancelled => &mut stats.cancelled,
        };
        *counter = by(*counter, 1);
    };
    count(before, u64::saturating_sub);
    count(after, u64::saturating_add);
}

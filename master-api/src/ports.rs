//! The ports of Master API, a noun a file.

mod events;
mod deliveries;
mod lanes;
mod configuration;
mod key_uses;
mod log;
mod past;
mod retention;
mod replays;

pub(crate) use deliveries::position_at;

use crate::{
    fact::{Bucket, FactBody},
    follow,
    log::{LogError, read_fact},
    project::{decode, read_delivery, read_event, read_made},
    search::{self, Query, Visit, Walked},
    service::MasterApi,
    shared::{Shared, unavailable},
    store::{Rows, StoreError, Table},
    tables::{self, DeliveryRow, EventIdRow, SALT_LENGTH},
};
use bytes::Bytes;
use contract::{
    Error, Result,
    delivery::Delivery,
    event::Event,
    id::{DeliveryId, EventId, Sequence},
    limits,
    master_api::PageRequest,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Rows that one request looks at before it answers with what it has: a page may be short, and
/// its cursor says that there is more.
const ROWS_LOOKED_AT_MAX: usize = 50_000;
/// Deliveries of an event, made after it, that are looked at together.
const DELIVERIES_SHOWN_MAX: usize = 10_000;
/// Rows read at once while looking.
const ROWS_PER_SCAN: usize = 512;

impl MasterApi {
    /// Does something that reads few rows: at once where they are in this process.
    async fn quick<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T> {
        match self.shared.store.replicated() {
            None => read(&self.shared).map_err(|error| failed(&error)),
            Some(_) => self.blocking(read).await,
        }
    }

    /// Does something that reads many rows where it keeps nobody waiting.
    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || read(&shared)).await;
        done.map_err(Error::internal)?.map_err(|error| failed(&error))
    }
}

impl Shared {
    /// The day that holds the traffic fact at `sequence`.
    fn bucket_of(&self, sequence: Sequence) -> Bucket {
        // The head first: a day that closes between the two looks is then found as closed.
        let open = self.head().bucket.unwrap_or_default();
        self.state.load().closed_bucket_of(sequence).unwrap_or(open)
    }

    /// Days that may hold the traffic fact at `sequence`, the likely one first. Beyond what was
    /// followed of other replicas, the store's own head knows of a day that this one does not.
    fn buckets_of(&self, sequence: Sequence) -> Result<Vec<Bucket>, LogError> {
        let mut buckets = vec![self.bucket_of(sequence)];
        if sequence > self.head().sequence {
            let stored = follow::stored_head(self.rows())?.bucket;
            buckets.extend(stored.filter(|stored| *stored != buckets[0]));
        }
        Ok(buckets)
    }

    pub(crate) fn event_id(&self, id: EventId) -> Result<Option<EventIdRow>, LogError> {
        let row = read_event(self.rows(), id)?;
        // What a gone day left behind is being swept away.
        Ok(row.filter(|row| !self.state.load().dropped.day(row.bucket)))
    }

    fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryRow>, LogError> {
        self.delivery_of(self.rows(), id)
    }

    /// The same, of rows that may have been read ahead.
    fn delivery_of(
        &self,
        rows: &dyn Rows,
        id: DeliveryId,
    ) -> Result<Option<DeliveryRow>, LogError> {
        let row = read_delivery(rows, id)?;
        Ok(row.filter(|row| !self.state.load().dropped.delivery(id.sequence, row.carried)))
    }

    /// The event whose fact lies there.
    pub(crate) fn event_at(
        &self,
        (bucket, sequence): (Bucket, Sequence),
    ) -> Result<Option<Event>, LogError> {
        let key = tables::sequence_key(sequence);
        let Some(row) = self.store.get(Table::Traffic(bucket), &key)? else { return Ok(None) };
        let fact = read_fact(&(Bytes::copy_from_slice(&key), row))?;
        Ok(event_of(fact.body, sequence))
    }

    /// Visits the events that fit, newest first.
    fn search(&self, query: &Query, visit: Visit<'_>) -> Result<Walked, LogError> {
        let open = self.block.load_full();
        let newest = self.head().bucket;
        let state = self.state.load();
        let days = state.buckets.keys().copied().filter(|day| Some(*day) != newest).chain(newest);
        let days = days.filter(|day| !state.dropped.day(*day));
        match open {
            Some(open) => search::walk(self.rows(), &open, days, query, visit),
            None => search::walk_facts(self.rows(), days, query, visit),
        }
    }

    /// Events by their places, in the same order; places of one day are read together.
    fn events_at(&self, places: &[(Bucket, Sequence)]) -> Result<Vec<Option<Event>>, LogError> {
        let days: BTreeSet<_> = places.iter().map(|(bucket, _)| *bucket).collect();
        let mut events = BTreeMap::new();
        for day in days {
            let of_day = places.iter().filter(|(bucket, _)| *bucket == day);
            let keys: Vec<_> = of_day.map(|(_, at)| tables::sequence_key(*at).to_vec()).collect();
            for row in self.store.get_many(Table::Traffic(day), &keys)? {
                let fact = read_fact(&row)?;
                events.extend(event_of(fact.body, fact.sequence).map(|e| (fact.sequence, e)));
            }
        }
        Ok(places.iter().map(|(_, sequence)| events.get(sequence).cloned()).collect())
    }

    /// The same with the rows of their ids, of those that have no other place by now: one that was
    /// released or carried on is found there.
    fn events_still_at(
        &self,
        places: &[(Bucket, Sequence)],
    ) -> Result<Vec<(Event, EventIdRow)>, LogError> {
        let events = places.iter().zip(self.events_at(places)?);
        let (places, events): (Vec<_>, Vec<_>) =
            events.filter_map(|(place, event)| Some((*place, event?))).unzip();
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        let rows = self.event_ids(&ids)?.into_iter().zip(places);
        let still = rows.map(|(row, place)| row.filter(|row| row.place() == place));
        Ok(events.into_iter().zip(still).filter_map(|(event, row)| Some((event, row?))).collect())
    }

    /// Where events lie, by id, in the same order.
    fn event_ids(&self, ids: &[EventId]) -> Result<Vec<Option<EventIdRow>>, LogError> {
        let keys: Vec<_> = ids.iter().map(|id| id.to_bytes().to_vec()).collect();
        let dropped = self.state.load().dropped;
        let read = |row: Option<Bytes>| {
            let row: Option<EventIdRow> = row.map(|row| decode("event id", &row)).transpose()?;
            Ok(row.filter(|row| !dropped.day(row.bucket)))
        };
        self.store.get_each(Table::EventIds, &keys)?.into_iter().map(read).collect()
    }

    /// Deliveries by id, in the same order.
    pub(crate) fn deliveries_at(
        &self,
        ids: &[DeliveryId],
    ) -> Result<Vec<Option<Delivery>>, LogError> {
        let keys: Vec<_> = ids.iter().map(|id| id.to_bytes().to_vec()).collect();
        let dropped = self.state.load().dropped;
        let read = |(id, row): (&DeliveryId, Option<Bytes>)| {
            let row: Option<DeliveryRow> = row.map(|row| decode("delivery", &row)).transpose()?;
            let row = row.filter(|row| !dropped.delivery(id.sequence, row.carried));
            Ok(row.map(|row| row.into_delivery(*id)))
        };
        ids.iter().zip(self.store.get_each(Table::Deliveries, &keys)?).map(read).collect()
    }

    fn payload_at(
        &self,
        (bucket, sequence): (Bucket, Sequence),
    ) -> Result<Option<Bytes>, StoreError> {
        let row = self.store.get(Table::Payloads(bucket), &tables::sequence_key(sequence))?;
        Ok(row.filter(|row| row.len() >= SALT_LENGTH).map(|row| row.slice(SALT_LENGTH..)))
    }
}

impl Shared {
    /// The deliveries of an event: those that were made with it, and those that were made later, up
    /// to a number of them.
    pub(crate) fn delivery_ids(
        &self,
        id: EventId,
        row: &EventIdRow,
    ) -> Result<Vec<DeliveryId>, LogError> {
        let sequence = row.sequence;
        let own = row.lanes.iter().map(|lane| DeliveryId { lane: *lane, sequence });
        let later = read_made(self.rows(), (id, row), DELIVERIES_SHOWN_MAX)?;
        Ok(own.chain(later).collect())
    }
}

impl Walked {
    fn cursor(self) -> Option<String> {
        match self {
            Self::Through => None,
            Self::Before(sequence) => Some(sequence.to_string()),
        }
    }
}

fn event_of(body: FactBody, sequence: Sequence) -> Option<Event> {
    match body {
        FactBody::EventAccepted { event } | FactBody::QuarantineReleased { event, .. } => {
            Some(event.into_event(sequence, None))
        }
        FactBody::EventCarried { event, sequence, .. } => Some(event.into_event(sequence, None)),
        FactBody::EventQuarantined { event, reason } => {
            Some(event.into_event(sequence, Some(reason)))
        }
        // No other kind makes an event; a new one that does adds its arm here.
        _ => None,
    }
}

/// The rows of a page that are wanted.
fn page_size(page: &PageRequest) -> usize {
    let rows = if page.first == 0 { limits::PAGE_DEFAULT } else { page.first };
    usize::try_from(rows.min(limits::PAGE_MAX)).unwrap_or(usize::MAX)
}

/// What the caller sees of a failure; operators see all of it in the log.
fn failed(error: &LogError) -> Error {
    tracing::error!(%error, "cannot read the log");
    match error {
        LogError::Store(StoreError::Unavailable(_)) => {
            unavailable("the state database does not answer")
        }
        _ => Error::internal("the log cannot be read"),
    }
}

//! The ports of Master API, a noun a file.

mod events;
mod deliveries;
mod lanes;
mod configuration;
mod log;
mod past;

use crate::{
    fact::{Bucket, FactBody},
    log::{LogError, read_fact},
    project::decode,
    search::{self, Found, Query, Walked},
    service::MasterApi,
    shared::Shared,
    store::{StoreError, Table},
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
    ops::ControlFlow,
    sync::Arc,
};

/// Rows that one request looks at before it answers with what it has: a page may be short, and
/// its cursor says that there is more.
const ROWS_LOOKED_AT_MAX: usize = 50_000;
/// Rows read at once while looking.
const ROWS_PER_SCAN: usize = 512;

impl MasterApi {
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

    fn event_id(&self, id: EventId) -> Result<Option<EventIdRow>, LogError> {
        let row = self.store.get(Table::EventIds, &id.to_bytes())?;
        row.map(|row| decode("event id", &row)).transpose()
    }

    fn event_at(&self, sequence: Sequence, bucket: Bucket) -> Result<Option<Event>, LogError> {
        let key = tables::sequence_key(sequence);
        let Some(row) = self.store.get(Table::Traffic(bucket), &key)? else { return Ok(None) };
        let fact = read_fact(&(Bytes::copy_from_slice(&key), row))?;
        Ok(event_of(fact.body, sequence))
    }

    /// Visits the events that fit, newest first.
    fn search(
        &self,
        query: &Query,
        visit: &mut dyn FnMut(Found) -> Result<ControlFlow<(), usize>, LogError>,
    ) -> Result<Walked, LogError> {
        let open = self.block.load_full();
        let newest = self.head().bucket;
        let state = self.state.load();
        let days = state.buckets.keys().copied().filter(|day| Some(*day) != newest).chain(newest);
        search::walk(self.rows(), &open, days, query, visit)
    }

    /// Events by their places, in the same order; places of one day are read together.
    fn events_at(&self, places: &[(Sequence, Bucket)]) -> Result<Vec<Option<Event>>, LogError> {
        let days: BTreeSet<_> = places.iter().map(|(_, bucket)| *bucket).collect();
        let mut events = BTreeMap::new();
        for day in days {
            let of_day = places.iter().filter(|(_, bucket)| *bucket == day);
            let keys: Vec<_> = of_day.map(|(at, _)| tables::sequence_key(*at).to_vec()).collect();
            let rows = self.store.get_many(Table::Traffic(day), &keys)?;
            for (key, row) in keys.into_iter().zip(rows) {
                let Some(row) = row else { continue };
                let fact = read_fact(&(key.into(), row))?;
                events.extend(event_of(fact.body, fact.sequence).map(|e| (fact.sequence, e)));
            }
        }
        Ok(places.iter().map(|(sequence, _)| events.get(sequence).cloned()).collect())
    }

    /// Where events lie, by id, in the same order.
    fn event_ids(&self, ids: &[EventId]) -> Result<Vec<Option<EventIdRow>>, LogError> {
        let keys: Vec<_> = ids.iter().map(|id| id.to_bytes().to_vec()).collect();
        let rows = self.store.get_many(Table::EventIds, &keys)?;
        rows.into_iter().map(|row| row.map(|row| decode("event id", &row)).transpose()).collect()
    }

    /// Deliveries by id, in the same order.
    fn deliveries_at(&self, ids: &[DeliveryId]) -> Result<Vec<Option<Delivery>>, LogError> {
        let keys: Vec<_> = ids.iter().map(|id| id.to_bytes().to_vec()).collect();
        let rows = self.store.get_many(Table::Deliveries, &keys)?;
        let read = |(id, row): (&DeliveryId, Option<Bytes>)| {
            let row: Option<DeliveryRow> = row.map(|row| decode("delivery", &row)).transpose()?;
            Ok(row.map(|row| row.into_delivery(*id)))
        };
        ids.iter().zip(rows).map(read).collect()
    }

    fn payload_at(&self, sequence: Sequence, bucket: Bucket) -> Result<Option<Bytes>, StoreError> {
        let row = self.store.get(Table::Payloads(bucket), &tables::sequence_key(sequence))?;
        Ok(row.filter(|row| row.len() >= SALT_LENGTH).map(|row| row.slice(SALT_LENGTH..)))
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
    Error::internal("the log cannot be read")
}

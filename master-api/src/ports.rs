//! The ports of Master API, a noun a file.

mod events;
mod deliveries;
mod lanes;
mod configuration;
mod key_uses;
mod log;
mod retention;

use crate::{
    fact::{Bucket, FactBody},
    follow,
    log::{LogError, read_fact},
    project::{read_delivery, read_event},
    service::MasterApi,
    shared::{Shared, unavailable},
    store::{Rows, StoreError, Table},
    tables::{self, DeliveryRow, EventIdRow, SALT_LENGTH},
};
use bytes::Bytes;
use contract::{
    Error, Result,
    event::Event,
    id::{DeliveryId, EventId, Sequence},
    limits,
    master_api::PageRequest,
};
use std::sync::Arc;

/// Rows that one request looks at before it answers with what it has: a page may be short, and
/// its cursor says that there is more.
const ROWS_LOOKED_AT_MAX: usize = 50_000;
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

    fn event_id(&self, id: EventId) -> Result<Option<EventIdRow>, LogError> {
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
    fn event_at(&self, (bucket, sequence): (Bucket, Sequence)) -> Result<Option<Event>, LogError> {
        let key = tables::sequence_key(sequence);
        let Some(row) = self.store.get(Table::Traffic(bucket), &key)? else { return Ok(None) };
        let fact = read_fact(&(Bytes::copy_from_slice(&key), row))?;
        Ok(event_of(fact.body, sequence))
    }

    fn payload_at(
        &self,
        (bucket, sequence): (Bucket, Sequence),
    ) -> Result<Option<Bytes>, StoreError> {
        let row = self.store.get(Table::Payloads(bucket), &tables::sequence_key(sequence))?;
        Ok(row.filter(|row| row.len() >= SALT_LENGTH).map(|row| row.slice(SALT_LENGTH..)))
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

//! The port [`Events`].

use super::{ROWS_LOOKED_AT_MAX, page_size};
use crate::{
    fact::{Bucket, FactBody, StoredEvent},
    log::{LogError, read_fact},
    prepare::Prepared,
    search::Query,
    service::MasterApi,
    shared::Shared,
    store::Table,
    tables::{self, EventIdRow},
    writer::Command,
};
use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    clock::Timestamp,
    delivery::{Cause, Delivery},
    event::Event,
    id::{EventId, Sequence},
    limits,
    master_api::{EventFilter, Events, Page, PageRequest, ReleaseEvent, StoreEvent, Stored},
    retention::PayloadState,
};
use std::{ops::ControlFlow, sync::Arc};

/// Largest payload that is hashed by the thread that serves others, too.
const PREPARED_HERE_BYTES_MAX: usize = 256 << 10;

#[async_trait]
impl Events for MasterApi {
    async fn store_event(&self, event: StoreEvent) -> Result<Stored> {
        self.require_space()?;
        let prepared = Arc::new(self.prepare(event).await?);
        let event = Arc::clone(&prepared);
        let stored = self.writer.ask(|reply| Command::Store(event, reply)).await?;
        if stored.id == prepared.id && !stored.lanes.is_empty() {
            self.shared.recent.put(stored.sequence, prepared);
        }
        Ok(stored)
    }

    async fn release_event(&self, actor: Actor, release: ReleaseEvent) -> Result<Stored> {
        self.require_space()?;
        let id = release.id;
        let found = self.blocking(move |shared| aside(shared, id)).await?;
        let (place, payload) = match found {
            Found::Aside { from, event, payload: Some(payload) } => ((from, *event), payload),
            Found::Taken(row) => {
                let EventIdRow { sequence, lanes, .. } = row;
                return Ok(Stored { id, sequence, lanes, duplicate: true, quarantined: false });
            }
            Found::Aside { payload: None, .. } | Found::Nothing => {
                let message = format!("there is no event `{id}` with its payload (any more)");
                return Err(Error::new(ErrorCode::NotFound, message));
            }
        };
        let prepared = Arc::new(Prepared::released(&actor, release, place, payload)?);
        let event = Arc::clone(&prepared);
        let stored = self.writer.ask(|reply| Command::Release(event, reply)).await?;
        if !stored.duplicate && !stored.lanes.is_empty() {
            self.shared.recent.put(stored.sequence, prepared);
        }
        Ok(stored)
    }

    async fn event(&self, id: EventId) -> Result<Option<Event>> {
        let read = move |shared: &Shared| match shared.event_id(id)? {
            Some(row) => shared.event_at(row.place()),
            None => Ok(None),
        };
        self.quick(read).await
    }

    async fn payload(&self, id: EventId) -> Result<Option<Bytes>> {
        let read = move |shared: &Shared| match shared.event_id(id)? {
            Some(row) => Ok(shared.payload_at(row.place())?),
            None => Ok(None),
        };
        self.quick(read).await
    }

    async fn payload_state(&self, id: EventId) -> Result<Option<PayloadState>> {
        self.quick(move |shared| Ok(payload_state(shared, id, shared.event_id(id)?.as_ref()))).await
    }

    async fn payload_states(&self, ids: Vec<EventId>) -> Result<Vec<Option<PayloadState>>> {
        require_page(ids.len())?;
        self.blocking(move |shared| {
            let rows = shared.event_ids(&ids)?;
            let each = ids.iter().zip(&rows);
            Ok(each.map(|(id, row)| payload_state(shared, *id, row.as_ref())).collect())
        })
        .await
    }

    async fn events(&self, filter: EventFilter, page: PageRequest) -> Result<Page<Event>> {
        let after = page.after.as_deref().map(cursor).transpose()?;
        let size = page_size(&page);
        self.blocking(move |shared| list(shared, filter, after, size)).await
    }

    async fn deliveries_of(&self, id: EventId) -> Result<Vec<Delivery>> {
        let mut found = self.deliveries_of_each(vec![id]).await?;
        Ok(found.pop().unwrap_or_default())
    }

    async fn events_by_id(&self, ids: Vec<EventId>) -> Result<Vec<Option<Event>>> {
        require_page(ids.len())?;
        self.blocking(move |shared| {
            let rows = shared.event_ids(&ids)?;
            let places: Vec<_> = rows.iter().flatten().map(EventIdRow::place).collect();
            let mut events = shared.events_at(&places)?.into_iter();
            Ok(rows.iter().map(|row| row.as_ref().and_then(|_| events.next().flatten())).collect())
        })
        .await
    }

    async fn deliveries_of_each(&self, ids: Vec<EventId>) -> Result<Vec<Vec<Delivery>>> {
        require_page(ids.len())?;
        self.blocking(move |shared| {
            let rows = shared.event_ids(&ids)?;
            let of = |(id, row): (&EventId, &Option<EventIdRow>)| match row {
                Some(row) => shared.delivery_ids(*id, row),
                None => Ok(Vec::new()),
            };
            let each: Vec<Vec<_>> =
                ids.iter().zip(&rows).map(of).collect::<Result<_, LogError>>()?;
            let mut found = shared.deliveries_at(&each.concat())?.into_iter();
            Ok(each.iter().map(|ids| found.by_ref().take(ids.len()).flatten().collect()).collect())
        })
        .await
    }
}

fn payload_state(shared: &Shared, id: EventId, row: Option<&EventIdRow>) -> Option<PayloadState> {
    if let Some(row) = row {
        return Some(match row.gone {
            None => PayloadState::Present,
            Some(Cause::Erased) => PayloadState::Erased,
            Some(_) => PayloadState::Expired,
        });
    }
    // Nothing is left of it but the time in its id.
    let dropped = shared.state.load().dropped;
    dropped.day(Bucket::of(made_at(id))).then_some(PayloadState::Expired)
}

impl MasterApi {
    /// Large payloads take long to hash: where nobody waits for this thread.
    async fn prepare(&self, event: StoreEvent) -> Result<Prepared> {
        let random = Arc::clone(&self.shared.around.random);
        if event.event.payload.len() <= PREPARED_HERE_BYTES_MAX {
            return Prepared::new(event, &*random);
        }
        let prepare = move || Prepared::new(event, &*random);
        tokio::task::spawn_blocking(prepare).await.map_err(Error::internal)?
    }
}

/// An event that is to be released.
enum Found {
    Nothing,
    /// It is taken already.
    Taken(EventIdRow),
    /// It lies aside, with its row of salt and payload.
    Aside {
        from: Sequence,
        event: Box<StoredEvent>,
        payload: Option<Bytes>,
    },
}

fn aside(shared: &Shared, id: EventId) -> Result<Found, LogError> {
    let Some(row) = shared.event_id(id)? else { return Ok(Found::Nothing) };
    if !row.quarantined {
        return Ok(Found::Taken(row));
    }
    let key = tables::sequence_key(row.sequence);
    let Some(fact) = shared.store.get(Table::Traffic(row.bucket), &key)? else {
        return Ok(Found::Nothing);
    };
    match read_fact(&(Bytes::copy_from_slice(&key), fact))?.body {
        FactBody::EventQuarantined { event, .. } => {
            let payload = shared.store.get(Table::Payloads(row.bucket), &key)?;
            Ok(Found::Aside { from: row.sequence, event, payload })
        }
        _ => Ok(Found::Nothing),
    }
}

fn require_page(ids: usize) -> Result<()> {
    let max = limits::PAGE_MAX;
    match u32::try_from(ids).is_ok_and(|ids| ids <= max) {
        true => Ok(()),
        false => Err(Error::new(ErrorCode::InvalidRequest, format!("at most {max} ids at once"))),
    }
}

fn cursor(text: &str) -> Result<Sequence> {
    text.parse().map(Sequence).map_err(|_e| {
        let shown: String = text.chars().take(80).collect();
        Error::new(ErrorCode::InvalidRequest, format!("`{shown}` is no cursor of events"))
    })
}

/// When an id was made: the first 48 bits of a UUIDv7 are milliseconds (RFC 9562, 5.7).
fn made_at(id: EventId) -> Timestamp {
    let [a, b, c, d, e, f, ..] = id.to_bytes();
    let millis = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    Timestamp(i64::try_from(millis).unwrap_or(0).saturating_mul(1000))
}

/// From the newest of the log down; the index names those that fit.
fn list(
    shared: &Shared,
    filter: EventFilter,
    before: Option<Sequence>,
    size: usize,
) -> Result<Page<Event>, LogError> {
    let query = Query { filter, before, rows_max: ROWS_LOOKED_AT_MAX, ..Query::default() };
    let mut places = Vec::new();
    let walked = shared.search(&query, &mut |found| {
        places.push(found);
        Ok(if places.len() == size { ControlFlow::Break(()) } else { ControlFlow::Continue(1) })
    })?;
    let events = shared.events_still_at(&places)?.into_iter().map(|(event, _)| event);
    // Two keys may look the same to the index.
    let wanted = query.filter.idempotency_key.as_ref();
    let items = events
        .filter(|event| wanted.is_none_or(|key| event.idempotency_key.as_ref() == Some(key)))
        .collect();
    Ok(Page { items, next: walked.cursor() })
}

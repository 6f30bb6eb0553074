//! The port [`Events`].

use super::{ROWS_LOOKED_AT_MAX, ROWS_PER_SCAN, page_size};
use crate::{
    fact::{Bucket, FactBody, StoredEvent},
    log::{LogError, read_fact},
    prepare::Prepared,
    project::decode,
    service::MasterApi,
    shared::Shared,
    store::{Scan, Table},
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
    event::{Event, EventState, Origin},
    id::{DeliveryId, EventId, Sequence},
    master_api::{EventFilter, Events, Page, PageRequest, ReleaseEvent, StoreEvent, Stored},
    retention::PayloadState,
};
use std::{sync::Arc, time::Duration};

/// Ids are made some time after the gateway had the event: how much later at most, with clocks
/// that differ. Bounds on `received_at` become bounds on ids only with this to spare.
const ID_LAG_MAX: Duration = Duration::from_secs(3600);

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
        self.quick(move |shared| payload_state(shared, id)).await
    }

    async fn events(&self, filter: EventFilter, page: PageRequest) -> Result<Page<Event>> {
        let after = page.after.as_deref().map(cursor).transpose()?;
        let size = page_size(&page);
        self.blocking(move |shared| list(shared, &filter, after, size)).await
    }

    async fn deliveries_of(&self, id: EventId) -> Result<Vec<Delivery>> {
        self.blocking(move |shared| {
            let Some(event) = shared.event_id(id)? else { return Ok(Vec::new()) };
            let mut deliveries = Vec::with_capacity(event.lanes.len());
            for lane in event.lanes {
                let id = DeliveryId { lane, sequence: event.sequence };
                let row = shared.delivery(id)?;
                deliveries.extend(row.map(|row| row.into_delivery(id)));
            }
            Ok(deliveries)
        })
        .await
    }
}

fn payload_state(shared: &Shared, id: EventId) -> Result<Option<PayloadState>, LogError> {
    let state = |row: &EventIdRow| match row.gone {
        None => PayloadState::Present,
        Some(Cause::Erased) => PayloadState::Erased,
        Some(_) => PayloadState::Expired,
    };
    if let Some(row) = shared.event_id(id)? {
        return Ok(Some(state(&row)));
    }
    // Nothing is left of it but the time in its id.
    let dropped = shared.state.load().dropped;
    Ok(dropped.day(Bucket::of(made_at(id))).then_some(PayloadState::Expired))
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

fn cursor(text: &str) -> Result<EventId> {
    text.parse().map_err(|error: contract::id::InvalidId| {
        Error::new(ErrorCode::InvalidRequest, format!("the cursor {error}"))
    })
}

/// Goes through the ids from the newest down, which is by time.
fn list(
    shared: &Shared,
    filter: &EventFilter,
    after: Option<EventId>,
    size: usize,
) -> Result<Page<Event>, LogError> {
    let mut before = match (after, filter.until) {
        (Some(after), _) => after.to_bytes(),
        (None, Some(until)) => first_id_at(until.after(ID_LAG_MAX)),
        (None, None) => [u8::MAX; 16],
    };
    let lowest = filter.since.map_or([0; 16], |since| first_id_at(since.before(ID_LAG_MAX)));
    let (mut items, mut looked_at) = (Vec::new(), 0);
    loop {
        let scan = Scan::all(Table::EventIds, ROWS_PER_SCAN);
        let rows = shared.store.scan(&scan.from(&lowest).before(&before).reversed())?;
        if rows.is_empty() {
            return Ok(Page { items, next: None });
        }
        for (key, row) in rows {
            before = key.as_ref().try_into().unwrap_or(before);
            looked_at += 1;
            let row: EventIdRow = decode("event id", &row)?;
            let gone = shared.state.load().dropped.day(row.bucket);
            // The row tells the state: the facts of the others need not be read.
            let aside = filter.state.map(|state| state == EventState::Quarantined);
            if !gone && aside.is_none_or(|aside| aside == row.quarantined) {
                let event = shared.event_at(row.place())?;
                items.extend(event.filter(|event| matches(event, filter)));
            }
            if items.len() == size || looked_at == ROWS_LOOKED_AT_MAX {
                let next = Some(EventId::from_bytes(before).to_string());
                return Ok(Page { items, next });
            }
        }
    }
}

fn matches(event: &Event, filter: &EventFilter) -> bool {
    let EventFilter { uri, source, state, since, until, idempotency_key } = filter;
    uri.as_ref().is_none_or(|uri| event.uri == *uri)
        && source
            .as_ref()
            .is_none_or(|name| matches!(&event.origin, Origin::Source(n) if n == name))
        && state.is_none_or(|state| event.state == state)
        && since.is_none_or(|since| event.received_at >= since)
        && until.is_none_or(|until| event.received_at < until)
        && (idempotency_key.is_none() || event.idempotency_key == *idempotency_key)
}

/// When an id was made: the first 48 bits of a UUIDv7 are milliseconds (RFC 9562, 5.7).
fn made_at(id: EventId) -> Timestamp {
    let [a, b, c, d, e, f, ..] = id.to_bytes();
    let millis = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    Timestamp(i64::try_from(millis).unwrap_or(0).saturating_mul(1000))
}

/// The lowest id that a UUIDv7 of this time can be (RFC 9562, 5.7: 48 bits of milliseconds).
fn first_id_at(time: Timestamp) -> [u8; 16] {
    let millis = u64::try_from(time.0 / 1000).unwrap_or(0);
    let [_, _, time @ ..] = millis.to_be_bytes();
    let mut id = [0; 16];
    id[..6].copy_from_slice(&time);
    id
}

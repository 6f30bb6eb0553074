//! The port [`Deliveries`].

use super::{ROWS_LOOKED_AT_MAX, ROWS_PER_SCAN, page_size};
use crate::{
    log::LogError,
    project::decode,
    service::MasterApi,
    shared::Shared,
    store::{Ahead, Rows, Scan, Table},
    tables::{self, DeliveryRow, EventIdRow},
    writer::Command,
};
use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    delivery::{AttemptReport, Delivery, DeliveryState},
    event::Event,
    exchange::{Exchange, ExchangeRecord, usual_headers},
    id::{DeliveryId, EventId, LaneId, Sequence, SubscriptionNumber},
    master_api::{Deliveries, DeliveryFilter, Page, PageRequest, Stats, Work},
};

#[async_trait]
impl Deliveries for MasterApi {
    async fn work(&self, deliveries: Vec<DeliveryId>) -> Result<Vec<Option<Work>>> {
        // Point reads of what was just written: where the store is here, they are in memory.
        self.quick(move |shared| {
            let mut rows = Ahead::of(shared.rows());
            if shared.store.replicated().is_some() {
                let keys: Vec<_> = deliveries.iter().map(|id| id.to_bytes().to_vec()).collect();
                rows.fetch(Table::Deliveries, &keys)?;
            }
            deliveries.iter().map(|id| work_of(shared, &rows, *id)).collect()
        })
        .await
    }

    async fn record_attempts(&self, reports: Vec<AttemptReport>) -> Result<Vec<bool>> {
        self.writer.report(reports).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>> {
        let row = self.quick(move |shared| shared.delivery(id)).await?;
        Ok(row.map(|row| row.into_delivery(id)))
    }

    async fn exchanges(&self, id: DeliveryId) -> Result<Vec<Exchange>> {
        self.blocking(move |shared| exchanges_of(shared, id)).await
    }

    async fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: PageRequest,
    ) -> Result<Page<Delivery>> {
        let after = page.after.as_deref().map(Cursor::parse).transpose()?;
        let size = page_size(&page);
        self.blocking(move |shared| list(shared, &filter, after, size)).await
    }

    async fn resend(&self, actor: Actor, id: DeliveryId) -> Result<Delivery> {
        self.writer.ask(|reply| Command::Resend(actor, id, reply)).await
    }

    async fn stats(&self) -> Result<Stats> {
        // What was done stays done when its day goes; what can be looked at is what is kept.
        let gone = self.shared.state.load().gone;
        let Stats { accepted, delivered, cancelled, .. } = gone;
        let kept = self.shared.head().stats;
        Ok(kept.plus(&Stats { accepted, delivered, cancelled, ..Stats::default() }))
    }
}

fn work_of(shared: &Shared, rows: &dyn Rows, id: DeliveryId) -> Result<Option<Work>, LogError> {
    let row = shared.delivery_of(rows, id)?;
    let Some(row) = row.filter(|row| row.state == DeliveryState::Waiting) else {
        return Ok(None);
    };
    let Some((event, payload)) = event_with_payload(shared, id.sequence, &row)? else {
        return Ok(None);
    };
    Ok(Some(Work { delivery: row.into_delivery(id), event, payload }))
}

fn event_with_payload(
    shared: &Shared,
    sequence: Sequence,
    row: &DeliveryRow,
) -> Result<Option<(Event, Option<Bytes>)>, LogError> {
    if let Some((event, payload)) = shared.recent.get(sequence) {
        return Ok(Some((event, Some(payload))));
    }
    let places: Vec<_> = match row.carried {
        None => {
            let buckets = shared.buckets_of(sequence)?.into_iter();
            buckets.map(|bucket| (bucket, sequence)).collect()
        }
        Some(_) => shared.event_id(row.event)?.map(|row| row.place()).into_iter().collect(),
    };
    for place in places {
        if let Some(event) = shared.event_at(place)? {
            return Ok(Some((event, shared.payload_at(place)?)));
        }
    }
    Ok(None)
}

/// Attempts that went over the wire, put together with what is usual for them.
fn exchanges_of(shared: &Shared, id: DeliveryId) -> Result<Vec<Exchange>, LogError> {
    let Some(row) = shared.delivery_of(shared.rows(), id)? else { return Ok(Vec::new()) };
    let days = match row.carried {
        Some(day) => vec![day],
        None => shared.buckets_of(id.sequence)?,
    };
    let mut found = Vec::new();
    for day in days {
        let prefix = tables::exchanges_prefix(id);
        let scan = Scan::prefix(Table::Payloads(day), &prefix, row.attempts.len());
        found = shared.store.scan(&scan)?;
        if !found.is_empty() {
            break;
        }
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let Some((event, _)) = event_with_payload(shared, id.sequence, &row)? else {
        return Ok(Vec::new());
    };
    let mut exchanges = Vec::with_capacity(found.len());
    for (key, record) in found {
        let named = tables::exchange_of(&key).map(|(_, number)| number);
        let attempt = row.attempts.iter().find(|attempt| Some(attempt.number) == named);
        let Some(attempt) = attempt else { continue };
        let record: ExchangeRecord = decode("exchange", &record)?;
        let usual = usual_headers(&event, id, attempt.number, attempt.started_at);
        exchanges.push(record.into_exchange(attempt.number, usual));
    }
    Ok(exchanges)
}

/// Where a page ended: an event, and the lane of its delivery that came last.
#[derive(Clone, Copy)]
struct Cursor {
    event: EventId,
    delivery: DeliveryId,
}

impl Cursor {
    fn parse(text: &str) -> Result<Self> {
        let parts = text.split_once('.');
        let parsed = parts.and_then(|(event, delivery)| {
            Some(Self { event: event.parse().ok()?, delivery: delivery.parse().ok()? })
        });
        parsed.ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            Error::new(ErrorCode::InvalidRequest, format!("`{shown}` is no cursor of deliveries"))
        })
    }

    fn of(delivery: &Delivery) -> Self {
        Self { event: delivery.event, delivery: delivery.id }
    }

    fn text(self) -> String {
        format!("{}.{}", self.event, self.delivery)
    }
}

/// Each kind of listing reads the table that lies best for it.
fn list(
    shared: &Shared,
    filter: &DeliveryFilter,
    after: Option<Cursor>,
    size: usize,
) -> Result<Page<Delivery>, LogError> {
    let number = match filter.subscription {
        None => None,
        Some(id) => {
            let state = shared.state.load();
            let found = state.subscriptions.values().find(|subscription| subscription.id == id);
            match found {
                Some(subscription) => Some(subscription.number),
                None => return Ok(Page { items: Vec::new(), next: None }),
            }
        }
    };
    let mut gathered = Gathered { wanted: filter.state, size, looked_at: 0, items: Vec::new() };
    let last = match (number, filter.state) {
        (Some(number), _) => of_subscription(shared, number, after, &mut gathered)?,
        (None, Some(DeliveryState::Dead)) => dead(shared, after, &mut gathered)?,
        (None, _) => of_events(shared, after, &mut gathered)?,
    };
    Ok(Page { items: gathered.items, next: last.map(Cursor::text) })
}

/// A page in the making.
struct Gathered {
    wanted: Option<DeliveryState>,
    size: usize,
    looked_at: usize,
    items: Vec<Delivery>,
}

impl Gathered {
    /// Takes a delivery if it is wanted; the cursor after it once the page is full.
    fn take(&mut self, delivery: Delivery) -> Option<Cursor> {
        let cursor = Cursor::of(&delivery);
        self.looked_at += 1;
        if self.wanted.is_none_or(|wanted| delivery.state == wanted) {
            self.items.push(delivery);
        }
        let full = self.items.len() >= self.size || self.looked_at >= ROWS_LOOKED_AT_MAX;
        full.then_some(cursor)
    }
}

/// All deliveries, by event from the newest down, then by lane from the highest.
fn of_events(
    shared: &Shared,
    after: Option<Cursor>,
    gathered: &mut Gathered,
) -> Result<Option<Cursor>, LogError> {
    let mut rest = match after {
        Some(after) => shared.event_id(after.event)?.map(|row| (row, Some(after.delivery.lane))),
        None => None,
    };
    let mut before = after.map_or([u8::MAX; 16], |after| after.event.to_bytes());
    loop {
        let scan = Scan::all(Table::EventIds, ROWS_PER_SCAN).before(&before).reversed();
        let mut rows = Vec::from_iter(rest.take());
        for (key, row) in shared.store.scan(&scan)? {
            before = key.as_ref().try_into().unwrap_or(before);
            rows.push((decode::<EventIdRow>("event id", &row)?, None));
        }
        if rows.is_empty() {
            return Ok(None);
        }
        for (row, below) in rows {
            gathered.looked_at += 1;
            let lanes = row.lanes.iter().rev().copied();
            for lane in lanes.filter(|lane| below.is_none_or(|below| *lane < below)) {
                let id = DeliveryId { lane, sequence: row.sequence };
                if let Some(delivery) = shared.delivery(id)?
                    && let Some(cursor) = gathered.take(delivery.into_delivery(id))
                {
                    return Ok(Some(cursor));
                }
            }
        }
    }
}

/// Dead letters have an index of their own, by age.
fn dead(
    shared: &Shared,
    after: Option<Cursor>,
    gathered: &mut Gathered,
) -> Result<Option<Cursor>, LogError> {
    let mut before = after.map_or(vec![u8::MAX; 12], |after| tables::dead_key(after.delivery));
    loop {
        let scan = Scan::all(Table::Dead, ROWS_PER_SCAN).before(&before).reversed();
        let rows = shared.store.scan(&scan)?;
        if rows.is_empty() {
            return Ok(None);
        }
        for (key, _) in rows {
            let Some(id) = tables::dead_of(&key) else { continue };
            if let Some(delivery) = shared.delivery(id)?
                && let Some(cursor) = gathered.take(delivery.into_delivery(id))
            {
                return Ok(Some(cursor));
            }
            before = key.to_vec();
        }
    }
}

/// The lanes of a subscription, merged from the newest down: it rarely has more than one.
fn of_subscription(
    shared: &Shared,
    number: SubscriptionNumber,
    after: Option<Cursor>,
    gathered: &mut Gathered,
) -> Result<Option<Cursor>, LogError> {
    let mut position = after.map(|after| (after.delivery.sequence, after.delivery.lane));
    let dropped = shared.state.load().dropped;
    loop {
        let mut newest = Vec::new();
        for priority in 0..16 {
            let lane = LaneId((number.0 << 4) | priority);
            let before = before_in(lane, position);
            let scan = Scan::prefix(Table::Deliveries, &tables::lane_key(lane), ROWS_PER_SCAN);
            newest.extend(shared.store.scan(&scan.before(&before).reversed())?);
        }
        let mut rows: Vec<_> = newest
            .into_iter()
            .filter_map(|(key, row)| Some((tables::delivery_of(&key)?, row)))
            .collect();
        if rows.is_empty() {
            return Ok(None);
        }
        rows.sort_unstable_by_key(|(id, _)| std::cmp::Reverse((id.sequence, id.lane)));
        // Beyond this many, a lane that had more to give may have newer ones.
        rows.truncate(ROWS_PER_SCAN);
        for (id, row) in rows {
            position = Some((id.sequence, id.lane));
            let row: DeliveryRow = decode("delivery", &row)?;
            if dropped.delivery(id.sequence, row.carried) {
                continue;
            }
            if let Some(cursor) = gathered.take(row.into_delivery(id)) {
                return Ok(Some(cursor));
            }
        }
    }
}

/// The key in `lane` that a position of the merged order lies in front of.
fn before_in(lane: LaneId, position: Option<(Sequence, LaneId)>) -> [u8; 12] {
    let sequence = match position {
        None => Sequence(u64::MAX),
        Some((sequence, at)) if lane < at => Sequence(sequence.0.saturating_add(1)),
        Some((sequence, _)) => sequence,
    };
    DeliveryId { lane, sequence }.to_bytes()
}

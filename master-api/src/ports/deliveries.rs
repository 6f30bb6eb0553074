//! The port [`Deliveries`].

mod exchanges;
mod list;

pub(crate) use list::position_at;

use super::page_size;
use crate::{
    log::LogError,
    service::MasterApi,
    shared::Shared,
    store::{Ahead, Rows, Table},
    tables::DeliveryRow,
    writer::Command,
};
use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    delivery::{AttemptReport, Delivery, DeliveryState},
    event::Event,
    exchange::Exchange,
    id::{DeliveryId, Sequence},
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

    async fn exchanges(&self, id: DeliveryId, page: PageRequest) -> Result<Page<Exchange>> {
        let malformed = |_number| Error::new(ErrorCode::InvalidRequest, "`after` is no cursor");
        let after = page.after.as_deref().map_or(Ok(0), str::parse).map_err(malformed)?;
        let rows = page_size(&page);
        self.blocking(move |shared| exchanges::of(shared, id, after, rows)).await
    }

    async fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: PageRequest,
    ) -> Result<Page<Delivery>> {
        let after = page.after.as_deref().map(list::cursor).transpose()?;
        let size = page_size(&page);
        self.blocking(move |shared| list::list(shared, filter, after, size)).await
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
        Some(_) => {
            let event = shared.event_id(row.event)?;
            // One that goes to many is read once for all of them.
            let recent = event.as_ref().and_then(|event| shared.recent.get(event.sequence));
            if let Some((event, payload)) = recent {
                return Ok(Some((event, Some(payload))));
            }
            event.map(|row| row.place()).into_iter().collect()
        }
    };
    for place in places {
        if let Some(event) = shared.event_at(place)? {
            return Ok(Some((event, shared.payload_at(place)?)));
        }
    }
    Ok(None)
}

//! The port [`Deliveries`].

mod list;

use super::{failed, page_size};
use crate::{
    log::LogError, project::read_delivery, service::MasterApi, shared::Shared, writer::Command,
};
use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Result,
    access::Actor,
    delivery::{AttemptReport, Delivery, DeliveryState},
    event::Event,
    id::{DeliveryId, Sequence},
    master_api::{Deliveries, DeliveryFilter, Page, PageRequest, Stats, Work},
};

#[async_trait]
impl Deliveries for MasterApi {
    async fn work(&self, deliveries: Vec<DeliveryId>) -> Result<Vec<Option<Work>>> {
        // Point reads of what was just written: they are in memory, so no thread is changed.
        let work = |id: &DeliveryId| work_of(&self.shared, *id);
        let work: Result<_, LogError> = deliveries.iter().map(work).collect();
        work.map_err(|error| failed(&error))
    }

    async fn record_attempts(&self, reports: Vec<AttemptReport>) -> Result<Vec<bool>> {
        self.writer.report(reports).await
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>> {
        let row = read_delivery(self.shared.rows(), id).map_err(|error| failed(&error))?;
        Ok(row.map(|row| row.into_delivery(id)))
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
        Ok(self.shared.head().stats)
    }
}

fn work_of(shared: &Shared, id: DeliveryId) -> Result<Option<Work>, LogError> {
    let row = read_delivery(shared.rows(), id)?;
    let Some(row) = row.filter(|row| row.state == DeliveryState::Waiting) else {
        return Ok(None);
    };
    let Some((event, payload)) = event_with_payload(shared, id.sequence)? else {
        return Ok(None);
    };
    Ok(Some(Work { delivery: row.into_delivery(id), event, payload }))
}

fn event_with_payload(
    shared: &Shared,
    sequence: Sequence,
) -> Result<Option<(Event, Option<Bytes>)>, LogError> {
    if let Some((event, payload)) = shared.recent.get(sequence) {
        return Ok(Some((event, Some(payload))));
    }
    let bucket = shared.bucket_of(sequence);
    let Some(event) = shared.event_at(sequence, bucket)? else { return Ok(None) };
    Ok(Some((event, shared.payload_at(sequence, bucket)?)))
}

//! The port [`Lanes`]: the log as the feeder sees it.

use crate::{
    log::LogError,
    project::decode,
    service::MasterApi,
    shared::Shared,
    store::{Scan, Table},
    tables::{self, DeliveryRow},
};
use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Result,
    clock::Timestamp,
    id::{DeliveryId, LaneId, Sequence},
    master_api::{FeedItem, FeedPage, Fence, LaneStatus, Lanes},
};

/// Rows of one feed that are looked at for fresh ones; finished ones may lie between.
const ROWS_PER_FEED_MAX: usize = 4096;
/// Rows read at once while looking.
const ROWS_PER_SCAN: usize = 256;

#[async_trait]
impl Lanes for MasterApi {
    async fn lead(&self, feeder: &str) -> Result<Option<Fence>> {
        let feeder = feeder.to_owned();
        let lead = move |shared: &Shared| match shared.store.replicated() {
            Some(replicated) => Ok(replicated.lead_feeding(&feeder)?.map(Fence)),
            None => Ok(shared.feeding().lead(&feeder, shared.around.clock.now())),
        };
        self.blocking(lead).await
    }

    async fn step_down(&self, feeder: &str) -> Result<()> {
        let feeder = feeder.to_owned();
        let step_down = move |shared: &Shared| match shared.store.replicated() {
            Some(replicated) => Ok(replicated.end_feeding(&feeder)?),
            None => {
                shared.feeding().step_down(&feeder);
                Ok(())
            }
        };
        self.blocking(step_down).await
    }

    async fn lanes(&self, until: Timestamp) -> Result<Vec<LaneStatus>> {
        Ok(self.shared.lanes().with_work(until))
    }

    async fn feed(
        &self,
        lane: LaneId,
        after: Sequence,
        until: Timestamp,
        limit: u32,
    ) -> Result<FeedPage> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.blocking(move |shared| {
            let mut page = fresh(shared, lane, after, limit)?;
            page.due = due(shared, lane, until, limit)?;
            Ok(page)
        })
        .await
    }

    async fn advance(&self, fence: Fence, cursors: Vec<(LaneId, Sequence)>) -> Result<()> {
        self.shared.feeding().check(fence)?;
        let mut lanes = self.shared.lanes();
        for (lane, cursor) in cursors {
            lanes.advance(lane, cursor);
        }
        Ok(())
    }
}

fn fresh(
    shared: &Shared,
    lane: LaneId,
    after: Sequence,
    limit: usize,
) -> Result<FeedPage, LogError> {
    // Before the scan: what is added while it goes on lies after this.
    let head = shared.lanes().head(lane).unwrap_or_default();
    let mut page = FeedPage { read_to: after, ..FeedPage::default() };
    let mut looked_at = 0;
    while page.fresh.len() < limit && looked_at < ROWS_PER_FEED_MAX {
        let position = DeliveryId { lane, sequence: page.read_to };
        let scan = Scan::prefix(Table::Deliveries, &tables::lane_key(lane), ROWS_PER_SCAN);
        let rows = shared.store.scan(&scan.after(&position.to_bytes()))?;
        let read = rows.len();
        for (key, row) in rows {
            let Some(delivery) = tables::delivery_of(&key) else { continue };
            let row: DeliveryRow = decode("delivery", &row)?;
            if row.is_fresh() {
                let due = row.due.unwrap_or(row.created_at);
                page.fresh.push(FeedItem { delivery, due, key: row.key });
            }
            page.read_to = delivery.sequence;
            if page.fresh.len() == limit {
                break;
            }
        }
        looked_at += read;
        if read < ROWS_PER_SCAN && page.fresh.len() < limit {
            // Where the newest ones are gone with their day, nothing is left to be read.
            page.read_to = page.read_to.max(head);
            return Ok(page);
        }
    }
    page.more = true;
    Ok(page)
}

/// Starts where the last scan saw that nothing lies before, not at the lane's first key: there
/// lie the tombstones of all retries that were made.
fn due(
    shared: &Shared,
    lane: LaneId,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<FeedItem>, LogError> {
    let mark = shared.lanes().due_mark(lane);
    let Some(mark) = mark.filter(|mark| mark.floor <= until) else { return Ok(Vec::new()) };
    let scan = Scan::prefix(Table::Due, &tables::lane_key(lane), limit.max(1));
    let rows = shared.store.scan(&scan.from(&tables::due_floor(lane, mark.floor)))?;
    let retry = |(key, row): &(Bytes, Bytes)| {
        let (delivery, due) = tables::due_of(key)?;
        Some(FeedItem { delivery, due, key: tables::due_row_key(row) })
    };
    let retries: Vec<_> = rows.iter().filter_map(retry).collect();
    shared.lanes().raise_floor(lane, mark, retries.first().map(|item| item.due));
    Ok(retries.into_iter().filter(|item| item.due <= until).take(limit).collect())
}

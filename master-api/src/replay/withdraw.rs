//! What waits of a replay that was cancelled is taken back, from the first lane to the last.

use super::{ROWS_PER_STEP, Replayer, failed};
use crate::{
    fact::ReplayOrder,
    log::LogError,
    project::decode,
    shared::Shared,
    store::{Scan, Table},
    tables::{self, DeliveryRow, ReplayRow},
    writer::ReplayStep,
};
use contract::{
    Result,
    clock::Timestamp,
    delivery::DeliveryState,
    id::{DeliveryId, LaneId, Sequence},
};

/// Before all deliveries.
const FIRST: DeliveryId = DeliveryId { lane: LaneId(0), sequence: Sequence(0) };

impl Replayer {
    pub(super) fn withdraw(&mut self, order: &ReplayOrder, row: &ReplayRow) -> Result<bool> {
        let id = order.id;
        if row.progress.waiting == 0 {
            return self.take(ReplayStep::End(id)).map(|_done| true);
        }
        let after = self.withdrawn.get(&id).copied().unwrap_or(FIRST);
        let found = waiting(&self.shared, order, after).map_err(failed)?;
        let Some((deliveries, last)) = found else {
            // Something may have been made while it was gone through.
            self.withdrawn.remove(&id);
            return Ok(false);
        };
        self.take(ReplayStep::Withdraw(id, deliveries))?;
        self.withdrawn.insert(id, last);
        Ok(true)
    }
}

/// Some deliveries of a replay that wait, and how far it was looked; None: that were all.
fn waiting(
    shared: &Shared,
    order: &ReplayOrder,
    after: DeliveryId,
) -> Result<Option<(Vec<DeliveryId>, DeliveryId)>, LogError> {
    let with_work = shared.lanes().with_work(Timestamp(i64::MAX));
    let behind = with_work.iter().map(|status| status.lane).filter(|lane| lane.is_behind());
    for lane in behind.filter(|lane| *lane >= after.lane) {
        let first = DeliveryId { lane, sequence: order.upto };
        let scan = Scan::prefix(Table::Deliveries, &tables::lane_key(lane), ROWS_PER_STEP);
        let page = shared.store.scan(&scan.after(&first.max(after).to_bytes()))?;
        let Some(last) = page.last().and_then(|(key, _)| tables::delivery_of(key)) else {
            continue;
        };
        let mut found = Vec::new();
        for (key, row) in &page {
            let row: DeliveryRow = decode("delivery", row)?;
            let its = row.replay == Some(order.id) && row.state == DeliveryState::Waiting;
            found.extend(tables::delivery_of(key).filter(|_| its));
        }
        return Ok(Some((found, last)));
    }
    Ok(None)
}

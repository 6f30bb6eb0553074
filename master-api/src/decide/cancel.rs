//! Takes back the waiting deliveries of a removed subscription, a stretch at a time.

use crate::{
    fact::FactBody,
    log::LogError,
    project::decode,
    store::{Rows, Scan, Table},
    tables::{self, DeliveryRow},
};
use contract::id::{DeliveryId, LaneId, Sequence, SubscriptionNumber};
use std::collections::BTreeSet;

/// How far the cancelling of a subscription came.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Whose deliveries.
    pub number: SubscriptionNumber,
    /// The last delivery that was looked at; None: none yet.
    after: Option<DeliveryId>,
}

impl Progress {
    /// From the start.
    pub const fn new(number: SubscriptionNumber) -> Self {
        Self { number, after: None }
    }
}

/// Facts for up to `limit` deliveries, and how far it came; None: that were all.
pub fn cancel(
    rows: &dyn Rows,
    progress: Progress,
    limit: usize,
) -> Result<(Vec<FactBody>, Option<Progress>), LogError> {
    let number = progress.number;
    let mut waiting = BTreeSet::new();
    let due = Scan::all(Table::Due, limit)
        .from(&tables::lane_key(LaneId(number.0 << 4)))
        .before(&tables::lane_key(LaneId((number.0 + 1) << 4)));
    waiting.extend(rows.scan(&due)?.iter().filter_map(|(key, _)| tables::due_of(key)?.0.into()));
    let mut next = (!waiting.is_empty()).then_some(progress);
    if waiting.is_empty() {
        let page = rows.scan(&fresh(rows, progress, limit)?)?;
        for (key, row) in &page {
            let Some(id) = tables::delivery_of(key) else { continue };
            match decode::<DeliveryRow>("delivery", row) {
                Ok(row) if row.is_fresh() => _ = waiting.insert(id),
                Ok(_) => {}
                // One row that does not read must not keep the others waiting for ever.
                Err(error) => tracing::error!(%id, %error, "cannot cancel a delivery"),
            }
            next = Some(Progress { number, after: Some(id) });
        }
        if page.is_empty() {
            next = next_lane(number, progress.after);
        }
    }
    let reason = || "the subscription was removed".to_owned();
    let fact = |delivery| FactBody::DeliveryCancelled { delivery, reason: reason() };
    Ok((waiting.into_iter().map(fact).collect(), next))
}

/// Deliveries of one lane that may wait for their first attempt: those after its cursor.
fn fresh(rows: &dyn Rows, progress: Progress, limit: usize) -> Result<Scan, LogError> {
    let first = DeliveryId { lane: LaneId(progress.number.0 << 4), sequence: Sequence(0) };
    let mut after = progress.after.unwrap_or(first);
    let cursor = rows.get(Table::Cursors, &tables::lane_key(after.lane))?;
    let cursor = cursor.and_then(|row| tables::sequence_of(&row)).unwrap_or_default();
    after.sequence = after.sequence.max(cursor);
    let lane = tables::lane_key(after.lane);
    Ok(Scan::prefix(Table::Deliveries, &lane, limit).after(&after.to_bytes()))
}

fn next_lane(number: SubscriptionNumber, after: Option<DeliveryId>) -> Option<Progress> {
    let lane = LaneId(after.map_or(number.0 << 4, |id| id.lane.0) + 1);
    let id = DeliveryId { lane, sequence: Sequence(0) };
    let within = lane.subscription() == number;
    within.then_some(Progress { number, after: Some(id) })
}

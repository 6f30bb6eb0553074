//! Takes back the waiting deliveries of a subscription that was removed, or that skips them, a
//! stretch at a time.

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
    /// Only those before this position, which are skipped; None: all.
    pub until: Option<Sequence>,
    /// The last delivery that was looked at; None: none yet.
    after: Option<DeliveryId>,
}

impl Progress {
    /// From the start.
    pub const fn new(number: SubscriptionNumber, until: Option<Sequence>) -> Self {
        Self { number, until, after: None }
    }

    /// Is it about the same deliveries?
    pub fn is_of(&self, other: &Self) -> bool {
        (self.number, self.until) == (other.number, other.until)
    }

    fn is_wanted(&self, id: DeliveryId) -> bool {
        self.until.is_none_or(|until| id.sequence < until)
    }

    fn at(self, id: DeliveryId) -> Self {
        Self { after: Some(id), ..self }
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
    let due = rows.scan(&due)?;
    let due = due.iter().filter_map(|(key, _)| Some(tables::due_of(key)?.0));
    waiting.extend(due.filter(|id| progress.is_wanted(*id)));
    let mut next = (!waiting.is_empty()).then_some(progress);
    if waiting.is_empty() {
        let page = rows.scan(&fresh(rows, progress, limit)?)?;
        for (key, row) in &page {
            let Some(id) = tables::delivery_of(key) else { continue };
            match decode::<DeliveryRow>("delivery", row) {
                Ok(row) if row.is_fresh() && progress.is_wanted(id) => _ = waiting.insert(id),
                Ok(_) => {}
                // One row that does not read must not keep the others waiting for ever.
                Err(error) => tracing::error!(%id, %error, "cannot cancel a delivery"),
            }
            next = Some(progress.at(id));
        }
        if page.is_empty() {
            next = next_lane(progress);
        }
    }
    let reason = || match progress.until {
        None => "the subscription was removed".to_owned(),
        Some(_) => "skipped when the subscription was resumed".to_owned(),
    };
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

fn next_lane(progress: Progress) -> Option<Progress> {
    let lane = LaneId(progress.after.map_or(progress.number.0 << 4, |id| id.lane.0) + 1);
    let id = DeliveryId { lane, sequence: Sequence(0) };
    let within = lane.subscription() == progress.number;
    within.then_some(progress.at(id))
}

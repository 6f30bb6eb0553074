//! What is kept, what goes, and when.

use super::{Retention, in_force, now};
use crate::{
    fact::Bucket,
    log::LogError,
    shared::Shared,
    store::{StateStore, Table},
};
use contract::{
    clock::Timestamp,
    retention::{DayPlan, RetentionPlan, StoreBytes},
};
use std::sync::PoisonError;

impl Retention {
    /// What is kept, and what goes when.
    pub fn plan(&self) -> Result<RetentionPlan, LogError> {
        let shared = &*self.shared;
        let config = in_force(shared);
        let state = shared.state.load_full();
        let last_run = *self.last_run.lock().unwrap_or_else(PoisonError::into_inner);
        let days = days(shared)?;
        let gone = state.buckets.keys().filter(|day| state.dropped.day(**day)).count();
        Ok(RetentionPlan {
            age: config.age.0,
            unfinished: config.unfinished.0,
            size_bytes_max: config.size,
            bytes: bytes(&*shared.store)?,
            days: days.into_iter().map(|(_, day)| day).collect(),
            last_run,
            days_dropped: u64::try_from(gone).unwrap_or(u64::MAX),
            erasures_waiting: u64::try_from(state.erasing.len()).unwrap_or(u64::MAX),
        })
    }
}

/// The oldest day, if it is due.
pub(super) fn next_due(shared: &Shared) -> Result<Option<Bucket>, LogError> {
    let state = shared.state.load();
    if let Some(begun) = state.retired.filter(|day| !state.dropped.day(*day)) {
        return Ok(Some(begun));
    }
    drop(state);
    Ok(days(shared)?.first().filter(|(_, day)| day.due).map(|(bucket, _)| *bucket))
}

/// The days that are there, oldest first.
fn days(shared: &Shared) -> Result<Vec<(Bucket, DayPlan)>, LogError> {
    let config = in_force(shared);
    let (now, head) = (now(shared), *shared.head());
    let state = shared.state.load_full();
    let closed = state.buckets.iter().map(|(day, closed)| (*day, closed.count));
    let open = head.bucket.map(|day| (day, head.bucket_count));
    let kept = closed.chain(open).filter(|(day, _)| !state.dropped.day(*day));
    let mut total = bytes(&*shared.store)?.total();
    let mut plans = Vec::new();
    for (day, facts) in kept {
        let bytes = Table::of_day(day)
            .into_iter()
            .try_fold(0, |sum, table| Ok::<u64, LogError>(sum + shared.store.bytes(table)?))?;
        let goes_at = day.end().after(config.age.0);
        let too_much = config.size > 0 && total > config.size;
        // The day before today may still be asked for idempotency keys.
        let due = (now >= goes_at || too_much) && day.after() < Bucket::of(now);
        if due {
            total = total.saturating_sub(bytes);
        }
        let starts_at = Timestamp(day.before().end().0);
        plans.push((day, DayPlan { starts_at, facts, bytes, goes_at, due }));
    }
    Ok(plans)
}

/// Bytes of all tables, by what is in them.
pub(super) fn bytes(store: &dyn StateStore) -> Result<StoreBytes, LogError> {
    let mut bytes = StoreBytes::default();
    for table in store.tables() {
        let kind = match table {
            Table::Meta | Table::Configuration | Table::Secrets => &mut bytes.configuration,
            Table::Traffic(_) => &mut bytes.facts,
            Table::Payloads(_) => &mut bytes.payloads,
            Table::Idempotency(_) => &mut bytes.idempotency,
            Table::Search(_)
            | Table::EventIds
            | Table::Deliveries
            | Table::Due
            | Table::Dead
            | Table::Notable
            | Table::Replays
            | Table::Cursors => &mut bytes.indices,
        };
        *kind += store.bytes(table)?;
    }
    Ok(bytes)
}

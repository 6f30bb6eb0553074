//! The open block as the facts give it, and the blocks of a log that was written without them.

use super::OpenBlock;
use crate::{
    fact::Bucket,
    log::{Loaded, LogError, read_fact},
    state::State,
    store::{Batch, Row, Rows, Scan, StateStore, StoreError, Table},
    tables::{self, Head},
};
use contract::id::Sequence;

/// Facts that are read at once.
const FACTS_PER_SCAN: usize = 1024;

/// The block that is open where a log ends, which is at `head`.
pub fn load(rows: &dyn Rows, head: &Head) -> Result<OpenBlock, LogError> {
    let mut block = OpenBlock::default();
    let Some(bucket) = head.bucket.filter(|_| head.open_block > Sequence(0)) else {
        return Ok(block);
    };
    let mut after = Sequence(head.open_block.0 - 1);
    loop {
        let page = facts(rows, bucket, after, head.sequence)?;
        if page.is_empty() {
            return Ok(block);
        }
        for row in &page {
            let fact = read_fact(row)?;
            after = fact.sequence;
            block.next(fact.sequence, bucket, &fact.body);
        }
    }
}

/// Writes the blocks of a log that has none yet, and gives the one that stays open.
pub fn backfill(store: &dyn StateStore, loaded: &Loaded) -> Result<OpenBlock, LogError> {
    let mut backfill = Backfill::default();
    loop {
        let mut batch = Batch::default();
        let done = backfill.step(store, (&loaded.state, &loaded.head), &mut batch)?;
        store.commit(batch)?;
        if done {
            return Ok(backfill.block);
        }
    }
}

/// Makes the blocks of a log that has none, a page of facts at a time. Whoever fails to write what
/// a step gave begins anew: the same facts lead to the same rows.
#[derive(Debug, Default)]
pub struct Backfill {
    /// The block that is open after the last step.
    pub block: OpenBlock,
    day: Bucket,
    after: Sequence,
}

impl Backfill {
    /// Goes on with the log as it is at `head`; true: all of it is done.
    pub fn step(
        &mut self,
        rows: &(impl Rows + ?Sized),
        (state, head): (&State, &Head),
        batch: &mut Batch,
    ) -> Result<bool, LogError> {
        if state.dropped.day(self.block.bucket()) {
            self.block = OpenBlock::default();
        }
        let begun = self.day;
        let days = state.buckets.keys().copied().chain(head.bucket);
        for day in days.filter(|day| *day >= begun && !state.dropped.day(*day)) {
            self.day = day;
            let page = facts(rows, day, self.after, head.sequence)?;
            for row in &page {
                let fact = read_fact(row)?;
                self.after = fact.sequence;
                if let Some(ended) = self.block.next(fact.sequence, day, &fact.body) {
                    ended.close(batch)?;
                }
            }
            if !page.is_empty() {
                return Ok(false);
            }
            if state.buckets.contains_key(&day) && self.block.ends_with(day) {
                std::mem::take(&mut self.block).close(batch)?;
            }
        }
        Ok(true)
    }
}

/// A page of the traffic facts of a day after `after`, up to `last`.
fn facts(
    rows: &(impl Rows + ?Sized),
    day: Bucket,
    after: Sequence,
    last: Sequence,
) -> Result<Vec<Row>, StoreError> {
    let end = tables::sequence_key(Sequence(last.0.saturating_add(1)));
    let scan = Scan::all(Table::Traffic(day), FACTS_PER_SCAN);
    rows.scan(&scan.after(&tables::sequence_key(after)).before(&end))
}

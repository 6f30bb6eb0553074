//! The open block as the facts give it, and the blocks of a log that was written without them.

use super::OpenBlock;
use crate::{
    fact::Bucket,
    log::{Loaded, LogError, read_fact},
    store::{Batch, Rows, Scan, StateStore, Table},
    tables,
};
use contract::id::Sequence;

/// Facts that are read at once.
const FACTS_PER_SCAN: usize = 1024;

/// The block that is open where the log ends.
pub fn load(rows: &dyn Rows, loaded: &Loaded) -> Result<OpenBlock, LogError> {
    let mut block = OpenBlock::default();
    let (Some(bucket), first) = (loaded.head.bucket, loaded.head.open_block) else {
        return Ok(block);
    };
    if first != Sequence(0) {
        read(rows, (bucket, first), &mut block, &mut |_closed| Ok(()))?;
    }
    Ok(block)
}

/// Writes the blocks of a log that has none yet, and gives the one that stays open.
pub fn backfill(store: &dyn StateStore, loaded: &Loaded) -> Result<OpenBlock, LogError> {
    let rows: &dyn Rows = store;
    let mut block = OpenBlock::default();
    for bucket in loaded.state.buckets.keys().copied().chain(loaded.head.bucket) {
        let mut commit = |batch| Ok(store.commit(batch)?);
        read(rows, (bucket, Sequence(0)), &mut block, &mut commit)?;
    }
    Ok(block)
}

/// Takes in the traffic facts of a day from `first` on; `write` gets the rows of closed blocks.
fn read(
    rows: &dyn Rows,
    (bucket, first): (Bucket, Sequence),
    block: &mut OpenBlock,
    write: &mut dyn FnMut(Batch) -> Result<(), LogError>,
) -> Result<(), LogError> {
    let table = Table::Traffic(bucket);
    let mut scan = Scan::all(table, FACTS_PER_SCAN).from(&tables::sequence_key(first));
    loop {
        let (page, mut batch) = (rows.scan(&scan)?, Batch::default());
        for row in &page {
            let fact = read_fact(row)?;
            if block.ends_before(fact.sequence, bucket, &fact.body) {
                std::mem::take(block).close(&mut batch)?;
            }
            block.push(fact.sequence, bucket, &fact.body);
        }
        write(batch)?;
        let Some((key, _)) = page.last() else { return Ok(()) };
        scan = Scan::all(table, FACTS_PER_SCAN).after(key);
    }
}

//! Whether stored rows are those that the facts lead to, without a second store that has them all.
//!
//! What the facts lead to is compared with what is stored piece by piece, while they are gone
//! through. A row that is the same on both sides is not kept: its hash goes into a sum, and whoever
//! asks for it later gets the stored one. A row that is not, as more will happen to it, is kept until
//! it is. In the end none may be left, and the sum has to be that of all stored rows: so each was
//! met, and nothing beside them is there. The hashes are made with a number that nobody knows before.
//!
//! A stored row says nothing of whether the facts have led to it yet. Where that matters, because the
//! first facts of it are gone, it is kept to the end.

use super::{
    pages::{each_of, try_each},
    walk::Sink,
};
use crate::store::{Batch, Change, Row, Rows, Scan, StateStore, StoreError, Table};
use bytes::Bytes;
use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

/// Memory for rows that differ; more of them go to a store.
const KEPT_BYTES_MAX: usize = 64 << 20;
/// What a kept row takes beside its bytes, roughly.
const ROW_BYTES: usize = 128;

/// A sum of hashes of rows, which says which rows they are in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Sum(u128);

/// How rows are hashed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed(u64);

impl Seed {
    /// One that nobody knows.
    pub(super) fn new() -> Self {
        Self(RandomState::new().hash_one(0_u64))
    }

    fn hash(self, key: &[u8], row: &[u8]) -> u128 {
        xxh3_128_with_seed(row, xxh3_64_with_seed(key, self.0))
    }
}

impl Sum {
    /// Adds a row.
    pub(super) fn add_row(&mut self, seed: Seed, key: &[u8], row: &[u8]) {
        self.add(seed.hash(key, row));
    }

    const fn add(&mut self, hash: u128) {
        self.0 = self.0.wrapping_add(hash);
    }

    const fn subtract(&mut self, hash: u128) {
        self.0 = self.0.wrapping_sub(hash);
    }
}

/// What has to be known of the rows that are compared.
pub(super) trait Compared: Sync {
    /// Is the table one of those?
    fn concerns(&self, table: Table) -> bool;
    /// Have the facts led to such a row before anybody asks for it?
    fn is_made_here(&self, table: Table, key: &[u8], row: &[u8]) -> bool;
}

/// The rows that differ.
pub(super) struct Differences<'a> {
    rows: &'a dyn Rows,
    spill: &'a dyn StateStore,
    compared: &'a dyn Compared,
    seed: Seed,
    kept_bytes_max: usize,
    kept: Mutex<Kept>,
}

/// Keys and their rows; None: removed.
type Changes = Vec<(Vec<u8>, Option<Bytes>)>;

#[derive(Default)]
struct Kept {
    /// Rows that the facts lead to so far, and that are stored otherwise or not at all.
    rows: HashMap<Table, HashMap<Vec<u8>, Bytes>>,
    bytes: usize,
    /// Such rows in the spill.
    spilled: u64,
    /// Hashes of stored rows that were asked for since the last batch.
    lent: HashMap<Table, HashMap<Vec<u8>, u128>>,
    /// Of the rows that are the same on both sides.
    same: BTreeMap<Table, Sum>,
}

impl<'a> Differences<'a> {
    /// From `rows`. Of many differences some go into `spill`, which is empty.
    pub(super) fn new(
        rows: &'a dyn Rows,
        spill: &'a dyn StateStore,
        compared: &'a dyn Compared,
    ) -> Self {
        let (seed, kept) = (Seed::new(), Mutex::default());
        Self { rows, spill, compared, seed, kept_bytes_max: KEPT_BYTES_MAX, kept }
    }

    /// What rows are hashed with.
    pub(super) const fn seed(&self) -> Seed {
        self.seed
    }

    /// The rows of each table, if all are the same on both sides; None: some are not.
    pub(super) fn same(&self) -> Result<Option<BTreeMap<Table, Sum>>, StoreError> {
        let mut kept = self.kept();
        let mut left = Batch::default();
        kept.spill(&mut left);
        let mut same = std::mem::take(&mut kept.same);
        let mut is_same = true;
        let mut compare = |table, key: &[u8], row: &[u8]| {
            is_same &= self.rows.get(table, key)?.as_deref() == Some(row);
            same.entry(table).or_default().add(self.seed.hash(key, row));
            Ok::<_, StoreError>(())
        };
        for Change { table, key, value } in left.0 {
            compare(table, &key, &value.unwrap_or_default())?;
        }
        for table in self.spill.tables() {
            try_each(self.spill, Scan::all(table, 0), |key, row| compare(table, key, row))?;
        }
        Ok(is_same.then_some(same))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the last changes of one table, whose keys ascend.
    fn compare(
        &self,
        kept: &mut Kept,
        table: Table,
        changes: Changes,
        spill: &mut Batch,
    ) -> Result<(), StoreError> {
        let (keys, values): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
        // The hash of each stored row, and whether it need not be kept.
        let mut stored = Vec::with_capacity(keys.len());
        let mut expected = keys.iter().zip(&values);
        each_of(self.rows, table, &keys, |row| {
            let Some((key, value)) = expected.next() else { return };
            let same = row.is_some_and(|row| {
                Some(row) == value.as_deref() && self.compared.is_made_here(table, key, row)
            });
            stored.push((row.map(|row| self.seed.hash(key, row)), same));
        })?;
        let lent = kept.lent.remove(&table).unwrap_or_default();
        let mut sum = kept.same.remove(&table).unwrap_or_default();
        for ((key, value), (hash, same)) in keys.into_iter().zip(values).zip(stored) {
            let was_kept = kept.take(table, &key);
            let was_spilled =
                !was_kept && kept.spilled > 0 && self.spill.get(table, &key)?.is_some();
            // Nobody removes or reads what was not there: it was the same on both sides by now.
            let was_same = lent
                .get(&key)
                .copied()
                .or_else(|| hash.filter(|_| value.is_none() && !was_kept && !was_spilled));
            if let Some(hash) = was_same {
                sum.subtract(hash);
            }
            match (value, hash) {
                (Some(_), Some(hash)) if same => {
                    sum.add(hash);
                    if was_spilled {
                        kept.spilled -= 1;
                        spill.remove(table, key);
                    }
                }
                (Some(value), _) if was_spilled => spill.put(table, key, value),
                (Some(value), _) => kept.put(table, key, value),
                (None, _) if was_spilled => {
                    kept.spilled -= 1;
                    spill.remove(table, key);
                }
                (None, _) => {}
            }
        }
        kept.same.insert(table, sum);
        Ok(())
    }
}

impl Kept {
    fn put(&mut self, table: Table, key: Vec<u8>, row: Bytes) {
        self.bytes += key.len() + row.len() + ROW_BYTES;
        self.rows.entry(table).or_default().insert(key, row);
    }

    /// Takes a row away, if it is here.
    fn take(&mut self, table: Table, key: &[u8]) -> bool {
        let taken = self.rows.get_mut(&table).and_then(|rows| rows.remove(key));
        if let Some(row) = &taken {
            self.bytes -= key.len() + row.len() + ROW_BYTES;
        }
        taken.is_some()
    }

    /// Makes room.
    fn spill(&mut self, spill: &mut Batch) {
        self.bytes = 0;
        for (table, rows) in self.rows.drain() {
            for (key, row) in rows {
                self.spilled += 1;
                spill.put(table, key, row);
            }
        }
    }
}

impl Rows for Differences<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let mut kept = self.kept();
        if let Some(row) = kept.rows.get(&table).and_then(|rows| rows.get(key)) {
            return Ok(Some(row.clone()));
        }
        if kept.spilled > 0
            && let Some(row) = self.spill.get(table, key)?
        {
            return Ok(Some(row));
        }
        let row = self.rows.get(table, key)?;
        let row = row.filter(|row| self.compared.is_made_here(table, key, row));
        if let Some(row) = &row {
            let hash = self.seed.hash(key, row);
            kept.lent.entry(table).or_default().insert(key.to_vec(), hash);
        }
        Ok(row)
    }

    /// Nobody goes through what the facts lead to before it is whole.
    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        Err(StoreError::Failed(format!("{:?} is not built to be read", scan.table)))
    }
}

impl Sink for Differences<'_> {
    fn take(&self, batch: Batch) -> Result<(), StoreError> {
        let mut tables: BTreeMap<Table, Changes> = BTreeMap::new();
        for Change { table, key, value } in batch.0 {
            if self.compared.concerns(table) {
                tables.entry(table).or_default().push((key, value));
            }
        }
        let (mut kept, mut spill) = (self.kept(), Batch::default());
        for (table, mut changes) in tables {
            // Of two for one key the later one holds.
            changes.reverse();
            changes.sort_by(|(one, _), (other, _)| one.cmp(other));
            changes.dedup_by(|(later, _), (kept, _)| later == kept);
            self.compare(&mut kept, table, changes, &mut spill)?;
        }
        kept.lent.clear();
        if kept.bytes > self.kept_bytes_max {
            kept.spill(&mut spill);
        }
        match spill.0.is_empty() {
            true => Ok(()),
            false => self.spill.commit(spill),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;
    use proptest::prelude::*;

    struct All {
        /// Keys below it were made by facts that are gone.
        gone: u8,
    }

    impl Compared for All {
        fn concerns(&self, table: Table) -> bool {
            table != Table::Cursors
        }
        fn is_made_here(&self, _table: Table, key: &[u8], _row: &[u8]) -> bool {
            key[0] >= self.gone
        }
    }

    /// Rows of one table by key, and what becomes of them in one batch; None: it is read first.
    type Change = (u8, Option<Option<u8>>);

    fn commit(store: &Memory, rows: &BTreeMap<u8, u8>) {
        let mut batch = Batch::default();
        for (key, row) in rows {
            batch.put(Table::Due, [*key], vec![*row; 9]);
        }
        store.commit(batch).unwrap();
    }

    fn is_same(stored: &Memory, batches: &[Vec<Change>], (gone, limit): (u8, usize)) -> bool {
        let (spill, all) = (Memory::default(), All { gone });
        let mut differences = Differences::new(stored, &spill, &all);
        differences.kept_bytes_max = limit;
        let mut model = BTreeMap::new();
        for changes in batches {
            let mut batch = Batch::default();
            for (key, change) in changes {
                // Only what is there is read, changed and removed.
                if let Some(row) = model.get(key).filter(|_| *change != Some(None)) {
                    let found = differences.get(Table::Due, &[*key]).unwrap();
                    assert_eq!(found.as_deref(), Some(&[*row; 9][..]));
                }
                match change {
                    None => {}
                    Some(Some(row)) => {
                        model.insert(*key, *row);
                        batch.put(Table::Due, [*key], vec![*row; 9]);
                    }
                    Some(None) if model.remove(key).is_some() => {
                        batch.remove(Table::Due, [*key]);
                    }
                    Some(None) => {}
                }
            }
            batch.put(Table::Cursors, [1], vec![1]);
            differences.take(batch).unwrap();
        }
        let mut wanted = Sum::default();
        for (key, row) in stored.scan(&Scan::all(Table::Due, 1000)).unwrap() {
            wanted.add_row(differences.seed(), &key, &row);
        }
        let same = differences.same().unwrap();
        same.is_some_and(|same| same.get(&Table::Due).copied().unwrap_or_default() == wanted)
    }

    proptest! {
        #[test]
        fn the_same_rows_are_found_to_be_the_same_and_no_others(
            // A batch names a key once.
            batches in proptest::collection::vec(
                proptest::collection::btree_map(0_u8..24, any::<Option<Option<bool>>>(), 0..12),
                0..12,
            ),
            gone in 0_u8..8,
            limit in prop_oneof![Just(0_usize), Just(300), Just(1 << 20)],
            other in (0_u8..24, any::<Option<bool>>()),
        ) {
            let row = |row: bool| u8::from(row) + 1;
            let batches: Vec<Vec<Change>> = batches.into_iter().map(|batch| {
                batch.into_iter().map(|(key, change)| (key, change.map(|new| new.map(row)))).collect()
            }).collect();
            let mut model = BTreeMap::new();
            for (key, change) in batches.iter().flatten() {
                match change {
                    Some(Some(row)) => _ = model.insert(*key, *row),
                    Some(None) => _ = model.remove(key),
                    None => {}
                }
            }
            let stored = Memory::default();
            commit(&stored, &model);
            prop_assert!(is_same(&stored, &batches, (gone, limit)));
            // One row more, less, or other.
            let before = model.clone();
            match other {
                (key, Some(new)) => _ = model.insert(key, row(new)),
                (key, None) => _ = model.remove(&key),
            }
            let stored = Memory::default();
            commit(&stored, &model);
            prop_assert_eq!(is_same_or_panics(&stored, &batches, (gone, limit)), model == before);
        }
    }

    /// What is read is checked, too, where the stored rows are those that are wanted.
    fn is_same_or_panics(stored: &Memory, batches: &[Vec<Change>], how: (u8, usize)) -> bool {
        std::panic::catch_unwind(|| is_same(stored, batches, how)).unwrap_or(false)
    }
}

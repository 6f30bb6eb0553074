//! Rows in memory: for tests, and gone with the process.

use super::{Batch, Row, Rows, Scan, StateStore, StoreError, Table};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

#[derive(Debug, Clone, Default)]
struct Tables(BTreeMap<Table, BTreeMap<Bytes, Bytes>>);

/// A state database in memory.
#[derive(Debug, Default)]
pub struct Memory(RwLock<Tables>);

impl Memory {
    /// Another one with the same rows: what a crash would leave.
    #[cfg(test)]
    pub fn copy(&self) -> Self {
        Self(RwLock::new(self.read().clone()))
    }

    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows for Memory {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.read().get(table, key)
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        self.read().scan(scan)
    }
}

impl Rows for Tables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.0.get(&table).and_then(|rows| rows.get(key)).cloned())
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        let Some(rows) = self.0.get(&scan.table).filter(|_| !scan.is_empty()) else {
            return Ok(Vec::new());
        };
        let bound = |bound: &Bound<Vec<u8>>| bound.clone().map(Bytes::from);
        let range = rows.range((bound(&scan.from), bound(&scan.to)));
        let owned = |(key, value): (&Bytes, &Bytes)| (key.clone(), value.clone());
        Ok(if scan.reverse {
            range.rev().take(scan.limit).map(owned).collect()
        } else {
            range.take(scan.limit).map(owned).collect()
        })
    }
}

impl StateStore for Memory {
    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut tables = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for change in batch.0 {
            if change.value.is_none() && !tables.0.contains_key(&change.table) {
                continue;
            }
            let rows = tables.0.entry(change.table).or_default();
            match change.value {
                Some(value) => _ = rows.insert(change.key.into(), value),
                None => _ = rows.remove(change.key.as_slice()),
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Box<dyn Rows> {
        Box::new(self.read().clone())
    }

    fn tables(&self) -> Vec<Table> {
        self.read().0.keys().copied().collect()
    }

    fn create(&self, tables: &[Table]) -> Result<(), StoreError> {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for table in tables {
            all.0.entry(*table).or_default();
        }
        Ok(())
    }

    fn bytes(&self, table: Table) -> Result<u64, StoreError> {
        let all = self.read();
        let rows = all.0.get(&table).into_iter().flatten();
        Ok(rows.map(|(key, row)| u64::try_from(key.len() + row.len()).unwrap_or(0)).sum())
    }

    /// What was removed is gone at once.
    fn compact(&self, _tables: &[Table]) -> Result<(), StoreError> {
        Ok(())
    }

    fn drop_table(&self, table: Table) -> Result<(), StoreError> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).0.remove(&table);
        Ok(())
    }
}

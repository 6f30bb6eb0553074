//! A store that notes a read that failed: the disk has lost or changed what was written, and whoever
//! asked is only one of those who are affected.

use super::{Batch, Replicated, Row, Rows, Scan, StateStore, StoreError, Table};
use bytes::Bytes;
use std::sync::Arc;

/// Is told of a read that failed, each time.
pub type Failed = Arc<dyn Fn(&StoreError) + Send + Sync>;

/// A store, or a snapshot of one, whose failed reads are noted.
pub struct Noting<S> {
    inner: S,
    failed: Failed,
}

impl<S> Noting<S> {
    /// `failed` is told of what is wrong with the rows; not of a server that does not answer.
    pub fn new(inner: S, failed: Failed) -> Self {
        Self { inner, failed }
    }

    fn note<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(error @ (StoreError::Damaged(_) | StoreError::Failed(_))) = &read {
            (self.failed)(error);
        }
        read
    }
}

impl<R: Rows + ?Sized, S: std::ops::Deref<Target = R> + Send + Sync> Rows for Noting<S> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.note(self.inner.get(table, key))
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        self.note(self.inner.scan(scan))
    }

    fn get_many(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Row>, StoreError> {
        self.note(self.inner.get_many(table, keys))
    }
}

impl StateStore for Noting<Arc<dyn StateStore>> {
    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.inner.commit(batch)
    }

    fn snapshot(&self) -> Box<dyn Rows> {
        Box::new(Noting::new(self.inner.snapshot(), Arc::clone(&self.failed)))
    }

    fn tables(&self) -> Vec<Table> {
        self.inner.tables()
    }

    fn create(&self, tables: &[Table]) -> Result<(), StoreError> {
        self.inner.create(tables)
    }

    fn drop_table(&self, table: Table) -> Result<(), StoreError> {
        self.inner.drop_table(table)
    }

    fn bytes(&self, table: Table) -> Result<u64, StoreError> {
        self.inner.bytes(table)
    }

    fn compact(&self, tables: &[Table]) -> Result<(), StoreError> {
        self.note(self.inner.compact(tables))
    }

    fn replicated(&self) -> Option<&dyn Replicated> {
        self.inner.replicated()
    }
}

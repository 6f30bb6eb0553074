//! Where rows are kept: ordered tables, read at will, written in atomic and durable batches.
//!
//! It is all that the log asks of a state database, so that a server-based one can take the place
//! of the embedded one.

mod embedded;
mod memory;

#[cfg(test)]
mod conformance;

pub use embedded::Embedded;
pub use memory::Memory;

use crate::fact::Bucket;
use bytes::Bytes;
use std::ops::Bound;

/// An ordered set of rows. Keys and rows are described in [`crate::tables`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// The log's head and the stored format.
    Meta,
    /// Configuration facts.
    Configuration,
    /// Traffic facts of a day.
    Traffic(Bucket),
    /// Payloads of a day, apart from the facts so that they can go first.
    Payloads(Bucket),
    /// Idempotency keys of a day.
    Idempotency(Bucket),
    /// The index that events of a day are searched by.
    Search(Bucket),
    /// Events by id, which is also by time.
    EventIds,
    /// Deliveries by lane and age.
    Deliveries,
    /// Retries by lane and due time.
    Due,
    /// Dead letters by age.
    Dead,
    /// Notable traffic facts, by age.
    Notable,
    /// The feeder's cursor of each lane, and those of the log's followers.
    Cursors,
    /// Sealed secrets.
    Secrets,
}

/// What went wrong below.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("the store at `{0}` is in use by another process")]
    InUse(String),
    /// The disk, or the engine.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// A row to write or to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub table: Table,
    /// Its key.
    pub key: Vec<u8>,
    /// The row; None removes it.
    pub value: Option<Bytes>,
}

/// Changes that become durable together or not at all; of two for one key the later one holds.
#[derive(Debug, Clone, Default)]
pub struct Batch(pub Vec<Change>);

impl Batch {
    /// Writes a row.
    pub fn put(&mut self, table: Table, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) {
        self.0.push(Change { table, key: key.into(), value: Some(value.into()) });
    }

    /// Removes a row.
    pub fn remove(&mut self, table: Table, key: impl Into<Vec<u8>>) {
        self.0.push(Change { table, key: key.into(), value: None });
    }
}

/// A key and its row.
pub type Row = (Bytes, Bytes);

/// A stretch of a table.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Which table.
    pub table: Table,
    /// The lowest key.
    pub from: Bound<Vec<u8>>,
    /// The highest key.
    pub to: Bound<Vec<u8>>,
    /// From the highest down.
    pub reverse: bool,
    /// Rows at most.
    pub limit: usize,
}

impl Scan {
    /// The whole table.
    pub const fn all(table: Table, limit: usize) -> Self {
        Self { table, from: Bound::Unbounded, to: Bound::Unbounded, reverse: false, limit }
    }

    /// Keys that start with `prefix`.
    pub fn prefix(table: Table, prefix: &[u8], limit: usize) -> Self {
        let mut end = prefix.to_vec();
        // The first key after all with this prefix: its last byte that can be raised is.
        while end.pop_if(|byte| *byte == u8::MAX).is_some() {}
        let to = match end.last_mut() {
            Some(last) => {
                *last += 1;
                Bound::Excluded(end)
            }
            None => Bound::Unbounded,
        };
        Self { table, from: Bound::Included(prefix.to_vec()), to, reverse: false, limit }
    }

    /// Only keys after `key`.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Self {
        self.from = Bound::Excluded(key.to_vec());
        self
    }

    /// Only keys from `key` on.
    #[must_use]
    pub fn from(mut self, key: &[u8]) -> Self {
        self.from = Bound::Included(key.to_vec());
        self
    }

    /// Only keys before `key`.
    #[must_use]
    pub fn before(mut self, key: &[u8]) -> Self {
        self.to = Bound::Excluded(key.to_vec());
        self
    }

    /// From the highest key down.
    #[must_use]
    pub const fn reversed(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// No key can lie in it: engines may refuse such ranges, so none is asked.
    fn is_empty(&self) -> bool {
        let (from, to) = (&self.from, &self.to);
        match (from, to) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
            | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => self.limit == 0,
        }
    }
}

/// Rows to read.
pub trait Rows: Send + Sync {
    /// A row by its key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError>;
    /// Rows by their keys, in the same order. Where each question has a price of its own, this is
    /// one question.
    fn get_many(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        keys.iter().map(|key| self.get(table, key)).collect()
    }
    /// Rows in order. A table that nothing was ever written to is empty.
    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError>;
}

/// A state database. Readers see a batch wholly or not at all, and only once it is durable.
pub trait StateStore: Rows {
    /// Makes a batch durable. After an error nothing is known about it, and the store must not be
    /// written to again.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;
    /// The rows as they are now, whatever is written later.
    fn snapshot(&self) -> Box<dyn Rows>;
    /// Tables that were written to.
    fn tables(&self) -> Vec<Table>;
    /// Drops a table with all its rows and gives its space back.
    fn drop_table(&self, table: Table) -> Result<(), StoreError>;
}

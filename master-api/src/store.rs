//! Where rows are kept: ordered tables, read at will, written in atomic and durable batches.
//!
//! It is all that the log asks of a state database, so that a server-based one can take the place
//! of the embedded one.

mod embedded;
pub mod journal;
mod memory;
pub(crate) mod postgres;
mod ahead;
mod noting;

#[cfg(test)]
mod conformance;

pub use ahead::Ahead;
pub use embedded::Embedded;
pub(crate) use embedded::{name_of, table_of};
pub use memory::Memory;
pub use noting::Noting;
pub use postgres::{Postgres, PostgresConfig, reach};

use crate::fact::Bucket;
use bytes::Bytes;
use std::{
    collections::HashMap,
    ops::{Bound, ControlFlow},
    sync::Arc,
};

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
    /// Deliveries that were made after their events, and how far replays are.
    Replays,
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
    /// A block in a finished file is not what was written.
    #[error(
        "the store is damaged: a block of a table does not read ({0}). `certes log repair` lists \
         what is lost by it; an index is built anew by `certes log rebuild`"
    )]
    Damaged(String),
    /// Of an engine that is not this one.
    #[error(
        "the store at `{0}` was written by another version of its engine: run the program that \
         wrote it, or a newer one"
    )]
    Version(String),
    /// Files that belong together are not all there, or not as they were.
    #[error(
        "a file of the store in {0} is missing or damaged: restore a backup into a new data \
         directory (`certes restore`); `certes log repair` cannot help, as the store does not open"
    )]
    Incomplete(String),
    /// The operating system refuses a file or directory.
    #[error("the store in {directory} does not open: {source}")]
    Unopened {
        /// Where it is.
        directory: String,
        /// What the operating system says.
        source: Arc<std::io::Error>,
    },
    /// There was no space left to write to.
    #[error("the disk is full: {0}")]
    Full(String),
    /// The disk, or the engine.
    #[error("the store failed: {0}")]
    Failed(String),
    /// A server did not do what it was asked, and may do it later. Nothing was written.
    #[error("the state database does not answer: {0}")]
    Unavailable(String),
    /// The connection went away in the middle of a commit: the batch is written, or it is not.
    #[error("the state database did not confirm a batch: {0}")]
    Uncertain(String),
    /// It was made by a newer program.
    #[error(
        "the tables of the state database have version {found}, and this program knows versions \
         up to {known}: run a newer one"
    )]
    Newer {
        /// The version of its tables.
        found: i32,
        /// The newest that is known here.
        known: i32,
    },
    /// What it is told to be cannot be.
    #[error("{0}")]
    Misconfigured(String),
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

impl Table {
    /// The tables of a day.
    pub const fn of_day(day: Bucket) -> [Self; 4] {
        [Self::Traffic(day), Self::Payloads(day), Self::Idempotency(day), Self::Search(day)]
    }

    /// The day whose rows it holds; None: of all days.
    pub const fn day(self) -> Option<Bucket> {
        match self {
            Self::Traffic(day)
            | Self::Payloads(day)
            | Self::Idempotency(day)
            | Self::Search(day) => Some(day),
            Self::Meta
            | Self::Configuration
            | Self::EventIds
            | Self::Deliveries
            | Self::Due
            | Self::Dead
            | Self::Cursors
            | Self::Secrets
            | Self::Notable
            | Self::Replays => None,
        }
    }
}

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
    /// No further row is read once the rows hold so many bytes. A store may read on.
    pub bytes: usize,
}

impl Scan {
    /// The whole table.
    pub const fn all(table: Table, limit: usize) -> Self {
        let (from, to) = (Bound::Unbounded, Bound::Unbounded);
        Self { table, from, to, reverse: false, limit, bytes: usize::MAX }
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
        Self { from: Bound::Included(prefix.to_vec()), to, ..Self::all(table, limit) }
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

    /// No further row once there are so many bytes of them; at least one.
    #[must_use]
    pub const fn at_most(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// From the highest key down.
    #[must_use]
    pub const fn reversed(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// What is left of it after `key` was met.
    #[must_use]
    pub fn beyond(self, key: &[u8]) -> Self {
        if self.reverse { self.before(key) } else { self.after(key) }
    }

    /// May there be more rows than these?
    pub fn is_full(&self, page: &[Row]) -> bool {
        let bytes = || page.iter().map(|(key, row)| key.len() + row.len()).sum::<usize>();
        page.len() >= self.limit || bytes() >= self.bytes
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

/// Looks at a key and its row, and says whether it wants more.
pub type Take<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Rows to read.
pub trait Rows: Send + Sync {
    /// A row by its key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError>;
    /// Rows in order. A table that nothing was ever written to is empty.
    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError>;
    /// Has `take` look at the rows in order, as long as it wants more, without making them its own:
    /// a whole table needs no more memory than the limits of the scan allow for a part of it. They
    /// do not end it.
    fn each(&self, scan: &Scan, take: &mut Take<'_>) -> Result<(), StoreError> {
        let mut scan = scan.clone();
        loop {
            let page = self.scan(&scan)?;
            if page.iter().any(|(key, row)| take(key, row).is_break()) || !scan.is_full(&page) {
                return Ok(());
            }
            let Some((last, _)) = page.last() else { return Ok(()) };
            scan = scan.beyond(last);
        }
    }
    /// Rows by their keys, those that are there, in any order. Where each look costs a way to a
    /// server, it is one way for all.
    fn get_many(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Row>, StoreError> {
        let found = keys.iter().filter_map(|key| {
            let row = self.get(table, key).transpose()?;
            Some(row.map(|row| (Bytes::copy_from_slice(key), row)))
        });
        found.collect()
    }
    /// The same, in the order of the keys.
    fn get_each(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let found: HashMap<_, _> = self.get_many(table, keys)?.into_iter().collect();
        Ok(keys.iter().map(|key| found.get(key.as_slice()).cloned()).collect())
    }
}

/// A state database. Readers see a batch wholly or not at all, and only once it is durable.
pub trait StateStore: Rows {
    /// Makes a batch durable. After an error nothing is known about it, and the store must not be
    /// written to again.
    fn commit(&self, batch: Batch) -> Result<(), StoreError>;
    /// The rows as they are now, whatever is written later.
    fn snapshot(&self) -> Box<dyn Rows>;
    /// Tables that were written to or made.
    fn tables(&self) -> Vec<Table>;
    /// Makes tables, so that the first row of each finds it there; those that are there stay.
    fn create(&self, tables: &[Table]) -> Result<(), StoreError>;
    /// Drops a table with all its rows and gives its space back.
    fn drop_table(&self, table: Table) -> Result<(), StoreError>;
    /// Bytes that a table takes on the disk, roughly; 0 for one that is not there.
    fn bytes(&self, table: Table) -> Result<u64, StoreError>;
    /// Rewrites these tables, so that what was removed from them is in no file of the store any
    /// more. Blocks until it is done.
    fn compact(&self, tables: &[Table]) -> Result<(), StoreError>;
    /// What there is to do where other processes write to it, too; None: nobody else does.
    fn replicated(&self) -> Option<&dyn Replicated> {
        None
    }
}

/// A state database that several processes, its replicas, write to. Each locks the log's head
/// before it decides anything, so commit order is log order, and what it decides on is all there
/// is.
pub trait Replicated: Send + Sync {
    /// Waits for the log's head and keeps the others from it until the next
    /// [`StateStore::commit`] or [`Replicated::let_go`].
    fn lock_head(&self) -> Result<HeadLock, StoreError>;
    /// Lets go of the head: nothing was to be written.
    fn let_go(&self);
    /// Makes this process known as one that reads facts up to `format`. Waits for the head: from
    /// then on, whoever has it knows of this process.
    fn join(&self, format: u32) -> Result<(), StoreError>;
    /// Says that this process lives, and asks for the leadership or keeps it.
    fn beat(&self) -> Result<(), StoreError>;
    /// Did it have the leadership at the last beat?
    fn leads(&self) -> bool;
    /// Gives a feeder the right to feed, or keeps it with it, for a lease; gives the fence of it,
    /// never 0. None: another feeder has it.
    fn lead_feeding(&self, feeder: &str) -> Result<Option<u64>, StoreError>;
    /// A feeder gives that right back.
    fn end_feeding(&self, feeder: &str) -> Result<(), StoreError>;
    /// The newest format that every living replica reads.
    fn format_of_all(&self) -> Result<u32, StoreError>;
    /// This process ends: others need not wait until that shows.
    fn leave(&self);
    /// How often to look for what others wrote.
    fn poll(&self) -> std::time::Duration;
}

/// The log's head, locked.
#[derive(Debug, Clone, Default)]
pub struct HeadLock {
    /// Its row; None: the log has not begun.
    pub head: Option<Bytes>,
    /// This process leads, and nobody else does until the head is free again.
    pub leads: bool,
    /// The fence of the right to feed, which is nobody else's until the head is free again; 0:
    /// nobody ever had it.
    pub feeding: u64,
}

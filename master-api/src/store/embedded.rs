//! Rows in a directory: the embedded engine (fjall), synced before every acknowledgement.
//!
//! Its conditions, each measured (docs/adr/0001): every batch names `SyncData`, because its
//! default does not sync; one thread of ours writes, because its back-pressure sleeps; no
//! key-value separation and no `clear()`; a table of a day is a keyspace of its own, so that
//! dropping it gives the space back.

use super::{Batch, Row, Rows, Scan, StateStore, StoreError, Table};
use crate::fact::Bucket;
use bytes::Bytes;
use fjall::{Database, Guard, Iter, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use std::{
    collections::HashMap,
    fs,
    io::ErrorKind,
    path::Path,
    sync::{PoisonError, RwLock},
};

/// A state database in a directory.
pub struct Embedded {
    database: Database,
    keyspaces: RwLock<HashMap<Table, Keyspace>>,
}

impl Embedded {
    /// Opens or creates the database in `directory`, with that much memory for cached blocks.
    pub fn open(directory: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let opened = Database::builder(directory).cache_size(cache_bytes).open();
        let database = opened.map_err(|error| match error {
            fjall::Error::Locked => StoreError::InUse(directory.display().to_string()),
            other => failed(&other),
        })?;
        let store = Self { database, keyspaces: RwLock::default() };
        for name in store.database.list_keyspace_names() {
            let table = table_of(&name).ok_or_else(|| {
                StoreError::Failed(format!("it has a table `{name}` that is not known here"))
            })?;
            store.keyspace(table)?;
        }
        Ok(store)
    }

    /// Makes way for a creation where an earlier one was cut short: the engine writes its version
    /// last, and refuses to begin again beside a journal. Nothing is touched where it got through.
    pub fn clear_unfinished(directory: &Path) -> Result<(), StoreError> {
        let version = directory.join("version");
        if version.metadata().is_ok_and(|version| version.len() > 0) {
            return Ok(());
        }
        for file in [directory.join("0.jnl"), version] {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(StoreError::Failed(format!("{}: {error}", file.display())));
                }
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// The keyspace of a table that was written to.
    fn existing(&self, table: Table) -> Option<Keyspace> {
        self.keyspaces.read().unwrap_or_else(PoisonError::into_inner).get(&table).cloned()
    }

    /// The keyspace of a table, created when there is none.
    fn keyspace(&self, table: Table) -> Result<Keyspace, StoreError> {
        if let Some(keyspace) = self.existing(table) {
            return Ok(keyspace);
        }
        let options = KeyspaceCreateOptions::default;
        let keyspace = self.database.keyspace(&name_of(table), options).map_err(|e| failed(&e))?;
        let mut keyspaces = self.keyspaces.write().unwrap_or_else(PoisonError::into_inner);
        Ok(keyspaces.entry(table).or_insert(keyspace).clone())
    }
}

impl Rows for Embedded {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let Some(keyspace) = self.existing(table) else { return Ok(None) };
        let value = keyspace.get(key).map_err(|e| failed(&e))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        let Some(keyspace) = self.existing(scan.table).filter(|_| !scan.is_empty()) else {
            return Ok(Vec::new());
        };
        collect(keyspace.range::<Vec<u8>, _>((scan.from.clone(), scan.to.clone())), scan)
    }
}

impl StateStore for Embedded {
    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut writes = self.database.batch().durability(Some(PersistMode::SyncData));
        for change in batch.0 {
            let keyspace = self.keyspace(change.table)?;
            match change.value {
                Some(value) => writes.insert(&keyspace, change.key, &*value),
                None => writes.remove(&keyspace, change.key),
            }
        }
        writes.commit().map_err(|e| failed(&e))
    }

    fn snapshot(&self) -> Box<dyn Rows> {
        let keyspaces = self.keyspaces.read().unwrap_or_else(PoisonError::into_inner).clone();
        Box::new(Snapshot { snapshot: self.database.snapshot(), keyspaces })
    }

    fn tables(&self) -> Vec<Table> {
        let keyspaces = self.keyspaces.read().unwrap_or_else(PoisonError::into_inner);
        let mut tables: Vec<_> = keyspaces.keys().copied().collect();
        tables.sort_unstable();
        tables
    }

    fn drop_table(&self, table: Table) -> Result<(), StoreError> {
        let mut keyspaces = self.keyspaces.write().unwrap_or_else(PoisonError::into_inner);
        match keyspaces.remove(&table) {
            Some(keyspace) => self.database.delete_keyspace(keyspace).map_err(|e| failed(&e)),
            None => Ok(()),
        }
    }
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

/// All tables as of one moment.
struct Snapshot {
    snapshot: fjall::Snapshot,
    keyspaces: HashMap<Table, Keyspace>,
}

impl Rows for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let Some(keyspace) = self.keyspaces.get(&table) else { return Ok(None) };
        let value = self.snapshot.get(keyspace, key).map_err(|e| failed(&e))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        let Some(keyspace) = self.keyspaces.get(&scan.table).filter(|_| !scan.is_empty()) else {
            return Ok(Vec::new());
        };
        let range = (scan.from.clone(), scan.to.clone());
        collect(self.snapshot.range::<Vec<u8>, _>(keyspace, range), scan)
    }
}

fn collect(rows: Iter, scan: &Scan) -> Result<Vec<Row>, StoreError> {
    let owned = |guard: Guard| {
        let (key, value) = guard.into_inner().map_err(|e| failed(&e))?;
        Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
    };
    if scan.reverse {
        rows.rev().take(scan.limit).map(owned).collect()
    } else {
        rows.take(scan.limit).map(owned).collect()
    }
}

fn failed(error: &fjall::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}

fn name_of(table: Table) -> String {
    match table {
        Table::Meta => "meta".into(),
        Table::Configuration => "configuration".into(),
        Table::Traffic(day) => format!("traffic-{day}"),
        Table::Payloads(day) => format!("payloads-{day}"),
        Table::Idempotency(day) => format!("idempotency-{day}"),
        Table::Search(day) => format!("search-{day}"),
        Table::EventIds => "event-ids".into(),
        Table::Deliveries => "deliveries".into(),
        Table::Due => "due".into(),
        Table::Dead => "dead".into(),
        Table::Notable => "notable".into(),
        Table::Cursors => "cursors".into(),
        Table::Secrets => "secrets".into(),
    }
}

fn table_of(name: &str) -> Option<Table> {
    let fixed = [
        Table::Meta,
        Table::Configuration,
        Table::EventIds,
        Table::Deliveries,
        Table::Due,
        Table::Dead,
        Table::Notable,
        Table::Cursors,
        Table::Secrets,
    ];
    if let Some(table) = fixed.into_iter().find(|table| name_of(*table) == name) {
        return Some(table);
    }
    let (kind, day) = name.rsplit_once('-')?;
    let day = Bucket(day.parse().ok()?);
    match kind {
        "traffic" => Some(Table::Traffic(day)),
        "payloads" => Some(Table::Payloads(day)),
        "idempotency" => Some(Table::Idempotency(day)),
        "search" => Some(Table::Search(day)),
        _ => None,
    }
}

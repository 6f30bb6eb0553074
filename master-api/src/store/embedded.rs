//! Rows in a directory: the embedded engine (fjall), synced before every acknowledgement.
//!
//! Its conditions, each measured (docs/adr/0001): every batch names `SyncData`, because its
//! default does not sync; one thread of ours writes, because its back-pressure sleeps; no
//! key-value separation and no `clear()`; a table of a day is a keyspace of its own, so that
//! dropping it gives the space back.

use super::{Batch, Row, Rows, Scan, StateStore, StoreError, Table, Take};
use crate::fact::Bucket;
use bytes::Bytes;
use fjall::{
    Database, Guard, Iter, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode, Readable,
};
use std::{
    collections::HashMap,
    fs::{self, DirBuilder, Permissions},
    io::ErrorKind,
    iter,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

/// A table of noise that is there only while journals are retired.
const FILLER: &str = "filler";
/// Size of a journal above which the engine begins a new one.
const JOURNAL_BYTES_MAX: usize = 64_000_000;
/// Bytes of noise that are written at once.
const FILLER_PIECE_BYTES: usize = 1 << 20;

/// Modes of a directory.
const OWNER_ONLY: u32 = 0o700;
const ANYBODY_ELSE: u32 = 0o077;

/// A state database in a directory.
pub struct Embedded {
    database: Database,
    keyspaces: RwLock<HashMap<Table, Keyspace>>,
    memtable_bytes: u64,
}

/// Memory of a table before its rows go into a file.
const MEMTABLE_BYTES: u64 = 64 << 20;

impl Embedded {
    /// Opens or creates the database in `directory`, with that much memory for cached blocks. Nobody
    /// but its owner may look into it.
    pub fn open(directory: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        close_to_others(directory)?;
        let opened = Database::builder(directory).cache_size(cache_bytes).open();
        let database = opened.map_err(|error| not_opened(directory, error))?;
        let keyspaces = RwLock::default();
        let store = Self { database, keyspaces, memtable_bytes: MEMTABLE_BYTES };
        for name in store.database.list_keyspace_names() {
            if &*name == FILLER {
                // A compaction was cut short.
                let options = KeyspaceCreateOptions::default;
                let filler = store.database.keyspace(FILLER, options).map_err(|e| failed(&e))?;
                store.database.delete_keyspace(filler).map_err(|e| failed(&e))?;
                continue;
            }
            let table = table_of(&name).ok_or_else(|| {
                StoreError::Failed(format!("it has a table `{name}` that is not known here"))
            })?;
            store.keyspace(table)?;
        }
        Ok(store)
    }

    /// The same, with other memory for each table that is made from now on.
    #[must_use]
    pub fn with_memtables_of(self, memtable_bytes: u64) -> Self {
        Self { memtable_bytes, ..self }
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

    /// Has the engine begin a new journal and remove the ones before it, which hold what was
    /// removed. It does so only for a journal that has grown large, so this one is made to.
    fn retire_journals(&self) -> Result<(), StoreError> {
        let options = KeyspaceCreateOptions::default;
        let filler = self.database.keyspace(FILLER, options).map_err(|e| failed(&e))?;
        let mut piece = vec![0; FILLER_PIECE_BYTES];
        let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
        for number in 0..=JOURNAL_BYTES_MAX.div_ceil(FILLER_PIECE_BYTES) {
            // The journal is compressed, so it has to be noise; any noise is good enough.
            for word in piece.as_chunks_mut::<8>().0 {
                noise ^= noise << 13;
                noise ^= noise >> 7;
                noise ^= noise << 17;
                *word = noise.to_le_bytes();
            }
            let mut writes = self.database.batch();
            writes.insert(&filler, number.to_be_bytes(), piece.as_slice());
            writes.commit().map_err(|e| failed(&e))?;
        }
        // The first of these flushes seals the large journal; with the last, all that it holds is
        // in tables, and it goes.
        let all = self.keyspaces.read().unwrap_or_else(PoisonError::into_inner).clone();
        for keyspace in iter::once(&filler).chain(all.values()) {
            keyspace.rotate_memtable_and_wait().map_err(|e| failed(&e))?;
        }
        self.database.delete_keyspace(filler).map_err(|e| failed(&e))
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
        let bytes = self.memtable_bytes;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(bytes);
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

    fn each(&self, scan: &Scan, take: &mut Take<'_>) -> Result<(), StoreError> {
        let Some(keyspace) = self.existing(scan.table).filter(|_| !scan.is_empty()) else {
            return Ok(());
        };
        let range = (scan.from.clone(), scan.to.clone());
        show(keyspace.range::<Vec<u8>, _>(range), scan.reverse, take)
    }
}

impl StateStore for Embedded {
    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        let mut writes = self.database.batch().durability(Some(PersistMode::SyncData));
        for change in batch.0 {
            // A removal makes no table.
            if change.value.is_none() && self.existing(change.table).is_none() {
                continue;
            }
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

    /// One after the other: while one is made, the engine lets no batch through.
    fn create(&self, tables: &[Table]) -> Result<(), StoreError> {
        tables.iter().try_for_each(|table| self.keyspace(*table).map(drop))
    }

    fn bytes(&self, table: Table) -> Result<u64, StoreError> {
        Ok(self.existing(table).map_or(0, |keyspace| keyspace.disk_space()))
    }

    fn compact(&self, tables: &[Table]) -> Result<(), StoreError> {
        self.retire_journals()?;
        for keyspace in tables.iter().filter_map(|table| self.existing(*table)) {
            keyspace.rotate_memtable_and_wait().map_err(|e| failed(&e))?;
            keyspace.major_compact().map_err(|e| failed(&e))?;
        }
        Ok(())
    }

    fn drop_table(&self, table: Table) -> Result<(), StoreError> {
        // Readers need not wait while the engine is at it.
        let held = self.keyspaces.write().unwrap_or_else(PoisonError::into_inner).remove(&table);
        match held {
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

    fn each(&self, scan: &Scan, take: &mut Take<'_>) -> Result<(), StoreError> {
        let Some(keyspace) = self.keyspaces.get(&scan.table).filter(|_| !scan.is_empty()) else {
            return Ok(());
        };
        let range = (scan.from.clone(), scan.to.clone());
        show(self.snapshot.range::<Vec<u8>, _>(keyspace, range), scan.reverse, take)
    }
}

fn collect(rows: Iter, scan: &Scan) -> Result<Vec<Row>, StoreError> {
    if scan.reverse { take(rows.rev(), scan) } else { take(rows, scan) }
}

fn take(rows: impl Iterator<Item = Guard>, scan: &Scan) -> Result<Vec<Row>, StoreError> {
    let (mut taken, mut bytes) = (Vec::new(), 0_usize);
    for guard in rows.take(scan.limit) {
        let (key, value) = guard.into_inner().map_err(|e| failed(&e))?;
        bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
        taken.push((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)));
        if bytes >= scan.bytes {
            break;
        }
    }
    Ok(taken)
}

/// The rows as the engine holds them.
fn show(rows: Iter, reverse: bool, take: &mut Take<'_>) -> Result<(), StoreError> {
    let rows: &mut dyn Iterator<Item = Guard> =
        if reverse { &mut rows.rev() } else { &mut { rows } };
    for guard in rows {
        let (key, value) = guard.into_inner().map_err(|e| failed(&e))?;
        if take(&key, &value).is_break() {
            break;
        }
    }
    Ok(())
}

/// Makes the directory, and has it be its owner's alone.
fn close_to_others(directory: &Path) -> Result<(), StoreError> {
    let unopened = |source| StoreError::Unopened {
        directory: directory.display().to_string(),
        source: Arc::new(source),
    };
    DirBuilder::new().recursive(true).mode(OWNER_ONLY).create(directory).map_err(unopened)?;
    let mode = fs::metadata(directory).map_err(unopened)?.permissions().mode();
    if mode & ANYBODY_ELSE != 0 {
        let closed = fs::set_permissions(directory, Permissions::from_mode(OWNER_ONLY));
        if let Err(error) = closed {
            // It may be on a file system that knows no modes, or be of another owner.
            let directory = directory.display();
            tracing::warn!(%directory, %error, "others than its owner may look into the store");
        }
    }
    Ok(())
}

fn not_opened(directory: &Path, error: fjall::Error) -> StoreError {
    let place = directory.display().to_string();
    match error {
        fjall::Error::Locked => StoreError::InUse(place),
        fjall::Error::InvalidVersion(_) => StoreError::Version(place),
        fjall::Error::Unrecoverable | fjall::Error::Storage(LsmError::Unrecoverable) => {
            StoreError::Incomplete(place)
        }
        fjall::Error::Io(source) | fjall::Error::Storage(LsmError::Io(source)) => {
            match source.kind() {
                ErrorKind::StorageFull => StoreError::Full(source.to_string()),
                ErrorKind::NotFound | ErrorKind::UnexpectedEof => StoreError::Incomplete(place),
                _ => StoreError::Unopened { directory: place, source: Arc::new(source) },
            }
        }
        other => failed(&other),
    }
}

fn failed(error: &fjall::Error) -> StoreError {
    let full = |error: &std::io::Error| error.kind() == ErrorKind::StorageFull;
    match error {
        fjall::Error::Io(source) if full(source) => StoreError::Full(source.to_string()),
        fjall::Error::Storage(
            LsmError::ChecksumMismatch { .. }
            | LsmError::InvalidHeader(_)
            | LsmError::InvalidTag(_)
            | LsmError::InvalidTrailer
            | LsmError::Decompress(_),
        ) => StoreError::Damaged(error.to_string()),
        other => StoreError::Failed(other.to_string()),
    }
}

/// The name of a table, for ever.
pub(crate) fn name_of(table: Table) -> String {
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
        Table::Replays => "replays".into(),
        Table::Cursors => "cursors".into(),
        Table::Secrets => "secrets".into(),
    }
}

/// The reverse of [`name_of`].
pub(crate) fn table_of(name: &str) -> Option<Table> {
    let fixed = [
        Table::Meta,
        Table::Configuration,
        Table::EventIds,
        Table::Deliveries,
        Table::Due,
        Table::Dead,
        Table::Notable,
        Table::Replays,
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

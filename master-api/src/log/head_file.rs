//! The head file: where the log had been, written beside the store, so that a log which lost its
//! end cannot pass for a whole one.

use super::{Loaded, LogError, hash_of, store_in, twin};
use crate::{
    fact::Hash,
    secrets::SECRET_KEY_FILE,
    state::State,
    store::{Embedded, Rows, Table},
    tables::{self, Head},
};
use contract::id::Sequence;
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

/// What the file says, as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadMark {
    /// Version of the file.
    pub version: u32,
    /// The last fact.
    pub sequence: Sequence,
    /// Hash of the last configuration fact.
    pub configuration: Hash,
    /// Hash of the last traffic fact.
    pub traffic: Hash,
}

const VERSION: u32 = 1;

impl HeadMark {
    /// Of a log that has not begun.
    pub const NONE: Self = Self {
        version: VERSION,
        sequence: Sequence(0),
        configuration: Hash([0; 32]),
        traffic: Hash([0; 32]),
    };
}

impl From<&Head> for HeadMark {
    fn from(head: &Head) -> Self {
        let Head { sequence, configuration, traffic, .. } = *head;
        Self { version: VERSION, sequence, configuration, traffic }
    }
}

/// The file in a data directory.
pub fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("head")
}

/// Writes it, wholly or not at all.
pub fn write(data_dir: &Path, mark: &HeadMark) -> Result<(), LogError> {
    let path = path_in(data_dir);
    let failed = |source| LogError::File { path: path.display().to_string(), source };
    let beside = path.with_extension("tmp");
    let text = serde_json::to_vec(mark).map_err(std::io::Error::other).map_err(failed)?;
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        sync_parent(&path)
    };
    write().map_err(failed)
}

/// What it says; None if there is none.
pub fn read(data_dir: &Path) -> Result<Option<HeadMark>, LogError> {
    let path = path_in(data_dir);
    let failed = |source| LogError::File { path: path.display().to_string(), source };
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let damaged = |source| LogError::HeadDamaged { path: path.display().to_string(), source };
    let mark: HeadMark = serde_json::from_slice(&text).map_err(damaged)?;
    match mark.version {
        VERSION => Ok(Some(mark)),
        found => Err(LogError::Format { found, known: VERSION }),
    }
}

/// Has a head file there before there can be a log, and refuses to begin a new one where one was:
/// in a data directory that has lost its store. A first start that was cut short may begin again.
pub fn require_store(data_dir: &Path) -> Result<(), LogError> {
    let (store, secret_key) = (store_in(data_dir), data_dir.join(SECRET_KEY_FILE));
    let mark = read(data_dir)?;
    let begun = mark.is_some_and(|mark| mark.sequence > Sequence(0));
    let witness = if begun { Some(path_in(data_dir)) } else { None };
    let witness = witness.or_else(|| secret_key.exists().then_some(secret_key));
    match (witness, store.is_dir()) {
        (Some(witness), false) => {
            let [path, witness] = [store, witness].map(|path| path.display().to_string());
            Err(LogError::StoreMissing { path, witness })
        }
        (None, true) if mark.is_some() => {
            let _lock = twin::lock(&store)?;
            Ok(Embedded::clear_unfinished(&store)?)
        }
        (None, false) if mark.is_none() => write(data_dir, &HeadMark::NONE),
        (Some(_), true) | (None, _) => Ok(()),
    }
}

/// Is the log what its head file says? Only a log that has not begun may have none.
pub fn vouch(data_dir: &Path, rows: &dyn Rows, loaded: &Loaded) -> Result<(), LogError> {
    let Loaded { head, state } = loaded;
    if let Some(mark) = read(data_dir)? {
        return check(rows, state, head, &mark);
    }
    if state.format > 0 || data_dir.join(SECRET_KEY_FILE).exists() {
        return Err(LogError::HeadMissing { path: path_in(data_dir).display().to_string() });
    }
    Ok(())
}

/// Is the log at least as long as the mark says, and the same up to there?
fn check(rows: &dyn Rows, state: &State, head: &Head, mark: &HeadMark) -> Result<(), LogError> {
    let HeadMark { sequence, configuration, traffic, .. } = *mark;
    if head.sequence < sequence {
        return Err(LogError::Shortened { found: head.sequence, reached: sequence });
    }
    if sequence == Sequence(0) {
        return Ok(());
    }
    let key = tables::sequence_key(sequence);
    let hash_in = |table| -> Result<Option<Hash>, LogError> {
        let row = rows.get(table, &key)?;
        row.map(|row| hash_of(&(key.to_vec().into(), row))).transpose()
    };
    let same = if let Some(hash) = hash_in(Table::Configuration)? {
        hash == configuration
    } else {
        let closed = state.closed_bucket_of(sequence);
        let bucket = closed.or(head.bucket).unwrap_or_default();
        // A day that retention has dropped is vouched for by its last hash.
        hash_in(Table::Traffic(bucket))?.map_or(closed.is_some(), |hash| hash == traffic)
    };
    if same { Ok(()) } else { Err(LogError::Changed { sequence }) }
}

/// Makes a rename or a new file durable.
pub fn sync_parent(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

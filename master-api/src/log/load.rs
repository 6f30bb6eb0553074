//! What is in memory of a log when it is opened: its head, and the configuration folded from it.

use super::{LogError, hash_of, read_fact};
use crate::{
    fact::{FORMAT, Hash},
    project::decode,
    state::State,
    store::{Rows, Scan, Table},
    tables::{self, Head},
};
use std::path::{Path, PathBuf};

/// A log that was opened.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Where it ends.
    pub head: Head,
    /// Its configuration.
    pub state: State,
}

/// Rows of one page when a whole table is read.
pub(super) const PAGE_ROWS: usize = 1024;
/// Bytes after which a page ends.
pub(super) const PAGE_BYTES: usize = 8 << 20;

/// Where the store lies in a data directory.
pub fn store_in(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

/// Reads the head and all configuration facts. Refuses a format that is not known here, and a
/// head that does not fit the facts.
pub fn load(rows: &dyn Rows) -> Result<Loaded, LogError> {
    let found = stored_format(rows)?;
    if found > FORMAT {
        return Err(LogError::Format { found, known: FORMAT });
    }
    let head = rows.get(Table::Meta, tables::HEAD)?;
    let head: Head = head.map(|row| decode("head", &row)).transpose()?.unwrap_or_default();
    let (state, last) = configuration(rows)?;
    if last != head.configuration {
        return Err(LogError::Changed { sequence: state.sequence });
    }
    check_traffic(rows, &head)?;
    Ok(Loaded { head, state })
}

/// What the configuration facts lead to.
pub(super) fn fold(rows: &dyn Rows) -> Result<State, LogError> {
    Ok(configuration(rows)?.0)
}

/// The same, with the hash of the last of them.
fn configuration(rows: &dyn Rows) -> Result<(State, Hash), LogError> {
    let mut state = State::default();
    let (mut last, mut after) = (Hash::default(), Vec::new());
    loop {
        let page = rows.scan(&Scan::all(Table::Configuration, PAGE_ROWS).after(&after))?;
        for row in &page {
            let fact = read_fact(row)?;
            state.apply(fact.sequence, &fact.body);
        }
        let Some(row) = page.last() else { return Ok((state, last)) };
        (last, after) = (hash_of(row)?, row.0.to_vec());
    }
}

/// The format that the store says it has; 0: none.
pub(super) fn stored_format(rows: &dyn Rows) -> Result<u32, LogError> {
    let row = rows.get(Table::Meta, tables::FORMAT)?;
    Ok(row.as_deref().and_then(|row| row.try_into().ok()).map_or(0, u32::from_be_bytes))
}

fn check_traffic(rows: &dyn Rows, head: &Head) -> Result<(), LogError> {
    let Some(bucket) = head.bucket else { return Ok(()) };
    let newest = rows.scan(&Scan::all(Table::Traffic(bucket), 1).reversed())?;
    let found = newest.first().and_then(|(key, _)| tables::sequence_of(key)).unwrap_or_default();
    if found != head.last_traffic {
        return Err(LogError::Shortened { found, reached: head.last_traffic });
    }
    match newest.first().map(hash_of).transpose()? {
        Some(hash) if hash == head.traffic => Ok(()),
        Some(_) | None => Err(LogError::Changed { sequence: found }),
    }
}

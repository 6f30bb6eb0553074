//! Writing a backup: the rows of one snapshot, table by table.

use super::{
    BackupError, Begin, Contents,
    block::{BlockWriter, Kind},
};
use crate::{
    log::{self, Progress, Twin, head_file, is_kept},
    store::{Rows, Scan, StateStore, Table, name_of},
    tables,
};
use bytes::Bytes;
use std::{io::Write, path::Path};

/// Rows of a block.
const BLOCK_ROWS: usize = 4096;
/// Bytes after which a block ends.
const BLOCK_BYTES: usize = 1 << 20;

/// The rows of a log as they are at one moment.
pub struct Source {
    rows: Box<dyn Rows>,
    tables: Vec<Table>,
}

impl Source {
    /// As of now, whatever is written later.
    pub fn of(store: &dyn StateStore) -> Self {
        let rows = store.snapshot();
        Self { rows, tables: store.tables() }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").finish_non_exhaustive()
    }
}

/// Writes a backup of the log in a data directory, whose server must not run.
pub fn of_stopped(
    data_dir: &Path,
    out: impl Write,
    progress: Progress<'_>,
) -> Result<(Begin, Contents), BackupError> {
    let twin = Twin::of(data_dir)?;
    let store = twin.store()?;
    head_file::vouch(data_dir, store, &log::load(store)?)?;
    write(&Source::of(store), out, progress)
}

/// Writes a backup, a block at a time: memory stays small. What `out` takes may be slow.
pub fn write(
    source: &Source,
    out: impl Write,
    progress: Progress<'_>,
) -> Result<(Begin, Contents), BackupError> {
    let loaded = log::load(&*source.rows)?;
    let begin = Begin {
        sequence: loaded.head.sequence,
        configuration: loaded.head.configuration,
        traffic: loaded.head.traffic,
        format: loaded.state.format,
    };
    let mut out = BlockWriter::new(out)?;
    out.block(Kind::Begin, &json(&begin)?)?;
    let mut contents = Contents::default();
    let dropped = loaded.state.dropped;
    for table in source.tables.iter().filter(|table| is_kept(**table, dropped)) {
        let mut after = Vec::new();
        loop {
            let scan = Scan::all(*table, BLOCK_ROWS).after(&after).at_most(BLOCK_BYTES);
            let rows = source.rows.scan(&scan)?;
            let Some((last, _)) = rows.last() else { break };
            after = last.to_vec();
            contents.count(*table, rows.iter().map(|(key, _)| key));
            out.block(Kind::Rows, &encode(*table, &rows)?)?;
            progress("copying", contents.facts, begin.sequence.0);
        }
    }
    out.block(Kind::End, &json(&contents)?)?;
    out.flush()?;
    Ok((begin, contents))
}

impl Contents {
    /// Takes note of the rows with these keys.
    pub(super) fn count<'a>(&mut self, table: Table, keys: impl Iterator<Item = &'a Bytes>) {
        let is_counted = |key: &&Bytes| match table {
            // What went over the wire lies beside the payloads.
            Table::Payloads(_) => tables::sequence_of(key).is_some(),
            _ => true,
        };
        let counter = match table {
            Table::Configuration | Table::Traffic(_) => &mut self.facts,
            Table::Payloads(_) => &mut self.payloads,
            Table::Secrets => &mut self.secrets,
            Table::Meta
            | Table::Idempotency(_)
            | Table::EventIds
            | Table::Deliveries
            | Table::Due
            | Table::Dead
            | Table::Notable
            | Table::Replays
            | Table::Search(_)
            | Table::Cursors => return,
        };
        *counter += u64::try_from(keys.filter(is_counted).count()).unwrap_or(u64::MAX);
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, BackupError> {
    Ok(serde_json::to_vec(value).map_err(std::io::Error::other)?)
}

/// The table's name and its rows, each with its length (4 bytes, big-endian) before it.
fn encode(table: Table, rows: &[(bytes::Bytes, bytes::Bytes)]) -> Result<Vec<u8>, BackupError> {
    let size: usize = rows.iter().map(|(key, row)| key.len() + row.len() + 8).sum();
    let mut body = Vec::with_capacity(size + 64);
    put(&mut body, name_of(table).as_bytes())?;
    for (key, row) in rows {
        put(&mut body, key)?;
        put(&mut body, row)?;
    }
    Ok(body)
}

fn put(body: &mut Vec<u8>, part: &[u8]) -> Result<(), BackupError> {
    let length = u32::try_from(part.len()).map_err(std::io::Error::other)?;
    body.extend(length.to_be_bytes());
    body.extend(part);
    Ok(())
}

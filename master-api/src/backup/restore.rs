//! Making a data directory from a backup, and proving that one could be made.

use super::{
    BackupError, Begin, Contents,
    block::{BlockReader, Kind},
};
use crate::{
    log::{
        Builder, Built, LogError, Progress,
        head_file::{self, HeadMark},
        require_whole, store_in,
    },
    state::Losses,
    store::{Table, table_of},
};
use bytes::{Buf, Bytes};
use contract::schema::SchemaVersion;
use std::{
    fs,
    io::{ErrorKind, Read},
    path::Path,
};

/// What was in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup is of.
    pub begin: Begin,
    /// How much is in it.
    pub contents: Contents,
    /// The contracts that it needs, whose bundles are kept elsewhere.
    pub schemas: Vec<SchemaVersion>,
}

/// Proves that `input` can be restored, by doing so in `scratch`, which is removed again.
pub fn check(
    input: impl Read,
    scratch: &Path,
    progress: Progress<'_>,
) -> Result<Restored, BackupError> {
    remove(scratch)?;
    fs::create_dir_all(scratch)?;
    let checked = build(input, &scratch.join("store"), progress).map(|(restored, built)| {
        drop(built);
        restored
    });
    remove(scratch)?;
    checked
}

/// Makes the data directory `data_dir` from a backup. It must not be there, or be empty. The store
/// takes its name only when it is whole: a restore that fails leaves nothing behind, and one that is
/// cut short a directory that a server refuses.
pub fn restore(
    input: impl Read,
    data_dir: &Path,
    progress: Progress<'_>,
) -> Result<Restored, BackupError> {
    let is_new = !data_dir.exists();
    fs::create_dir_all(data_dir)?;
    if fs::read_dir(data_dir)?.next().is_some() {
        return Err(BackupError::Occupied(data_dir.display().to_string()));
    }
    let unfinished = data_dir.join("restore.tmp");
    let (restored, built) = build(input, &unfinished, progress).inspect_err(|_failed| {
        let removed = remove(if is_new { data_dir } else { &unfinished });
        if let Err(error) = removed {
            tracing::warn!(%error, path = %unfinished.display(), "cannot remove what was begun");
        }
    })?;
    let Built { store, head, .. } = built;
    drop(store);
    // First the mark: with it and without a store, a server does not start.
    head_file::write(data_dir, &HeadMark::from(&head))?;
    let store = store_in(data_dir);
    fs::rename(&unfinished, &store)?;
    head_file::sync_parent(&store)?;
    Ok(restored)
}

fn build(
    input: impl Read,
    directory: &Path,
    progress: Progress<'_>,
) -> Result<(Restored, Built), BackupError> {
    let mut blocks = BlockReader::new(input)?;
    let begin: Begin = match blocks.read()? {
        (Kind::Begin, body) => json(&body)?,
        _ => return Err(BackupError::Odd("it does not begin with its description".into())),
    };
    if begin.format > crate::fact::FORMAT {
        let (found, known) = (begin.format, crate::fact::FORMAT);
        return Err(LogError::Format { found, known }.into());
    }
    let mut builder = Builder::create(directory)?;
    let mut contents = Contents::default();
    let said: Contents = loop {
        match blocks.read()? {
            (Kind::Rows, body) => {
                let (table, rows) = decode(body.into(), blocks.blocks)?;
                contents.count(table, rows.iter().map(|(key, _)| key));
                for (key, row) in rows {
                    builder.put(table, key, row)?;
                }
                progress("reading", contents.facts, begin.sequence.0);
            }
            (Kind::End, body) => break json(&body)?,
            (Kind::Begin, _) => return Err(BackupError::Odd("it begins twice".into())),
        }
    };
    blocks.finish()?;
    if said != contents {
        return Err(BackupError::Odd(format!("it says {said:?}, and holds {contents:?}")));
    }
    let erased = builder.erase()?;
    if erased > 0 {
        tracing::info!(erased, "payloads were left out, because the log says they are erased");
    }
    let mut built = builder.finish(Losses::default(), progress)?;
    require_whole(&mut built)?;
    let (head, mark) = (&built.head, &begin);
    if (head.sequence, head.configuration, head.traffic)
        != (mark.sequence, mark.configuration, mark.traffic)
    {
        let found = head.sequence;
        return Err(BackupError::Odd(format!("its facts lead to {found}, not to {mark:?}")));
    }
    let schemas =
        built.state.schema_versions.values().flat_map(|versions| versions.iter().cloned());
    Ok((Restored { begin, contents, schemas: schemas.collect() }, built))
}

fn json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, BackupError> {
    serde_json::from_slice(body).map_err(|error| BackupError::Odd(error.to_string()))
}

type Rows = Vec<(Bytes, Bytes)>;

fn decode(mut body: Bytes, block: u64) -> Result<(Table, Rows), BackupError> {
    let damaged = || BackupError::Damaged { block };
    let name = take(&mut body).ok_or_else(damaged)?;
    let name = String::from_utf8_lossy(&name);
    let table = table_of(&name).ok_or_else(|| {
        BackupError::Odd(format!("it has a table `{name}` that is not known here"))
    })?;
    let mut rows = Vec::new();
    while body.has_remaining() {
        let key = take(&mut body).ok_or_else(damaged)?;
        rows.push((key, take(&mut body).ok_or_else(damaged)?));
    }
    Ok((table, rows))
}

fn take(body: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(body.try_get_u32().ok()?).ok()?;
    (length <= body.len()).then(|| body.split_to(length))
}

fn remove(directory: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

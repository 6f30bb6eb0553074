//! A copy of a store to look at. Opening a store mends it, which cuts off whatever does not read
//! from there on; so whoever only looks opens a copy, and the bytes stay as they were found.

use super::{
    LogError,
    head_file::{self, HeadMark},
    load, store_in,
};
use crate::{
    project::decode,
    store::{
        Embedded, StoreError,
        journal::{self, Damage, Survey},
    },
    tables::{self, Head},
};
use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// An opened copy. Nobody else opens the store itself as long as it lives, and it is removed in
/// the end.
#[derive(Debug)]
pub struct Twin {
    store: Option<Embedded>,
    directory: PathBuf,
    /// The engine's own lock on the store.
    _lock: Option<File>,
}

/// Memory for cached blocks when a store is only looked through.
const CACHE_BYTES: u64 = 16 << 20;
/// Where the engine keeps files that are never written again once they are whole.
const TABLES_FOLDER: &str = "tables";
/// Unit of `Metadata::blocks`.
const BLOCK_BYTES: u64 = 512;
/// Bytes that are copied, or left out because they are zero, at a time.
const PIECE_BYTES: usize = 64 << 10;
static ZEROS: [u8; PIECE_BYTES] = [0; PIECE_BYTES];

impl Twin {
    /// Copies the store in a data directory and opens the copy. Finished tables are shared, so
    /// the space needed is that of the journals.
    ///
    /// Errors: `Damaged`.
    pub fn of(data_dir: &Path) -> Result<Self, LogError> {
        let (twin, survey) = Self::copy(data_dir)?;
        require_sound(&survey)?;
        twin.opened()
    }

    /// The same of a store that may be damaged: the copy is without what does not read, and
    /// without index rows that nobody can rely on.
    pub fn salvaged(data_dir: &Path) -> Result<(Self, Survey), LogError> {
        let (twin, survey) = Self::copy(data_dir)?;
        let copy = twin.beside("store");
        journal::excise(&survey.damages, &copy).map_err(|source| twin.failed(source))?;
        Ok((twin.opened()?, survey))
    }

    /// A copy that ends with the last whole write, not opened.
    fn copy(data_dir: &Path) -> Result<(Self, Survey), LogError> {
        let store = store_in(data_dir);
        let lock = lock(&store)?;
        let directory = data_dir.join("verify.tmp");
        let twin = Self { store: None, directory, _lock: lock };
        let survey = survey(&store)?;
        twin.remove().map_err(|source| twin.failed(source))?;
        let needed = bytes_to_copy(&store).map_err(|source| twin.failed(source))?;
        let left = space_left(data_dir)?;
        if needed > left {
            let path = twin.directory.display().to_string();
            return Err(LogError::Space { path, needed, left });
        }
        let copy = twin.beside("store");
        copy_directory(&store, &copy).map_err(|source| twin.failed(source))?;
        if let Some(torn) = &survey.torn {
            torn.cut(&copy).map_err(|source| twin.failed(source))?;
        }
        Ok((twin, survey))
    }

    fn opened(mut self) -> Result<Self, LogError> {
        let opened = Embedded::open(&self.beside("store"), CACHE_BYTES);
        self.store = Some(opened.map_err(|error| match error {
            // What the copy has not, the store has not.
            StoreError::Incomplete(_) => StoreError::Incomplete(self.original()),
            other => other,
        })?);
        Ok(self)
    }

    /// The directory that it is a copy of.
    fn original(&self) -> String {
        store_in(self.directory.parent().unwrap_or(&self.directory)).display().to_string()
    }

    /// The copy.
    pub fn store(&self) -> Result<&Embedded, LogError> {
        let gone = || StoreError::Failed("the copy is not open".to_owned());
        Ok(self.store.as_ref().ok_or_else(gone)?)
    }

    /// A place beside the copy that is removed with it.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn failed(&self, source: std::io::Error) -> LogError {
        LogError::File { path: self.directory.display().to_string(), source }
    }

    fn remove(&self) -> std::io::Result<()> {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        drop(self.store.take());
        if let Err(error) = self.remove() {
            let path = self.directory.display();
            tracing::warn!(%error, %path, "cannot remove the copy of the store");
        }
    }
}

/// Looks at a log before it is opened: opening cuts off what does not read, so what a start has to
/// refuse is refused before. A last write that a crash cut short, which nobody was told of, is cut
/// off here, as the engine may take it for damage.
pub fn before_open(data_dir: &Path) -> Result<(), LogError> {
    let store = store_in(data_dir);
    let lock = lock(&store)?;
    let survey = survey(&store)?;
    require_sound(&survey)?;
    let Some(torn) = &survey.torn else { return Ok(()) };
    // Only what comes after the head file's word can be lost unnoticed; and that, a torn last write
    // apart, is whole.
    let mark = head_file::read(data_dir)?.unwrap_or(HeadMark::NONE);
    let found = survey.found.as_deref().map(|row| decode::<Head>("head", row)).transpose()?;
    if found.is_none_or(|head| head.sequence < mark.sequence) {
        drop(lock);
        let twin = Twin::of(data_dir)?;
        head_file::vouch(data_dir, twin.store()?, &load(twin.store()?)?)?;
    }
    let failed = |source| LogError::File { path: torn.journal.display().to_string(), source };
    tracing::warn!(journal = %torn.journal.display(), at = torn.at, "cutting off a torn write");
    torn.cut(&store).map_err(failed)
}

fn survey(store: &Path) -> Result<Survey, LogError> {
    let failed = |source| LogError::File { path: store.display().to_string(), source };
    journal::survey(store, tables::HEAD).map_err(failed)
}

fn require_sound(survey: &Survey) -> Result<(), LogError> {
    if survey.damages.is_empty() {
        return Ok(());
    }
    let places = survey.damages.iter().map(Damage::place).collect();
    Err(LogError::Damaged { places })
}

/// Bytes that are free for us.
pub fn space_left(directory: &Path) -> Result<u64, LogError> {
    let found = rustix::fs::statvfs(directory).map_err(|error| LogError::File {
        path: directory.display().to_string(),
        source: error.into(),
    })?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Keeps the engine out of a store. None: there is no lock file, and no engine that has it.
pub(super) fn lock(store: &Path) -> Result<Option<File>, LogError> {
    let path = store.join("lock");
    let failed = |source| LogError::File { path: path.display().to_string(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(store.display().to_string()).into()),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Bytes of all files of a directory as they lie on the disk.
pub(super) fn bytes_in(directory: &Path) -> std::io::Result<u64> {
    sum_bytes(directory, &|_name| true)
}

/// The same without finished tables, which are shared.
fn bytes_to_copy(directory: &Path) -> std::io::Result<u64> {
    sum_bytes(directory, &|name| name != TABLES_FOLDER)
}

fn sum_bytes(directory: &Path, wanted: &dyn Fn(&OsStr) -> bool) -> std::io::Result<u64> {
    let mut sum = 0_u64;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let bytes = if !entry.file_type()?.is_dir() {
            entry.metadata()?.blocks().saturating_mul(BLOCK_BYTES)
        } else if wanted(&entry.file_name()) {
            sum_bytes(&entry.path(), wanted)?
        } else {
            0
        };
        sum = sum.saturating_add(bytes);
    }
    Ok(sum)
}

fn copy_directory(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    let shared = from.file_name().is_some_and(|name| name == TABLES_FOLDER);
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_directory(&from, &to)?;
        } else if !shared || fs::hard_link(&from, &to).is_err() {
            // Not every file system can share files.
            copy_file(&from, &to)?;
        }
    }
    Ok(())
}

/// Copies all but the zeros, of which a journal is full.
fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = match from.read(&mut piece) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            other => other?,
        };
        let read = piece.get(..length).unwrap_or_default();
        if read.is_empty() {
            break;
        }
        if ZEROS.starts_with(read) {
            to.seek(SeekFrom::Current(i64::try_from(length).map_err(std::io::Error::other)?))?;
        } else {
            to.write_all(read)?;
        }
    }
    to.set_len(from.stream_position()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copied_file_has_the_same_bytes_and_no_zeros_to_store() {
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        let mut bytes = vec![0; 40 * PIECE_BYTES + 7];
        (bytes[0], bytes[3 * PIECE_BYTES + 1]) = (1, 2);
        fs::write(&from, &bytes).unwrap();
        copy_file(&from, &to).unwrap();
        assert!(fs::read(&to).unwrap() == bytes);
        let used = |path| fs::metadata(path).unwrap().blocks();
        assert!(used(&to) < used(&from), "{} {}", used(&to), used(&from));
    }
}

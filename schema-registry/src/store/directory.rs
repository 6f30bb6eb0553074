//! Bundles in a directory: one file each, named by its SHA-256; and notes, named as they are.

use super::{BundleStore, verified};
use async_trait::async_trait;
use bytes::Bytes;
use contract::{Error, Result};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// How often a file is written anew whose temporary one was taken away: see [`sweep`].
const WRITES_MAX: usize = 3;

/// Keeps bundles in `DIR/<sha-256>.bundle` and notes in `DIR/<name>.note`. A file appears whole and
/// synced or not at all.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    dir: Arc<Path>,
    /// Numbers temporary files: no two writers of this process share one.
    written: Arc<AtomicU64>,
}

impl DirectoryStore {
    /// A store in `dir`, which is made if it is not there, and cleared of what a crash left
    /// unfinished. Errors: `unavailable`.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        let made = fs::create_dir_all(&dir).and_then(|()| sync_parent(&dir));
        made.and_then(|()| sweep(&dir)).map_err(|error| unavailable("make", &dir, &error))?;
        Ok(Self { dir: dir.into(), written: Arc::default() })
    }

    fn path(&self, digest: [u8; 32]) -> PathBuf {
        self.dir.join(format!("{}.bundle", hex::encode(digest)))
    }

    fn note_path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.note"))
    }

    fn bundle(&self, digest: [u8; 32]) -> Result<Option<Bytes>> {
        read(&self.path(digest))?.map(|bytes| verified(digest, bytes)).transpose()
    }

    fn put_bundle(&self, digest: [u8; 32], bytes: &[u8]) -> Result<()> {
        // A damaged file is written anew: the bytes at hand are known to be right.
        if matches!(self.bundle(digest), Ok(Some(_))) {
            return Ok(());
        }
        self.write(&self.path(digest), bytes)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut tries = 0;
        let written = loop {
            tries += 1;
            match self.try_write(path, bytes) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries < WRITES_MAX => {}
                written => break written,
            }
        };
        written.map_err(|error| unavailable("write", path, &error))
    }

    fn try_write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let name = format!("{TEMPORARY}{}.{number}", std::process::id());
        let temporary = self.dir.join(name);
        let written = write_synced(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, path))
            .and_then(|()| File::open(&self.dir)?.sync_all());
        if written.is_err() {
            // Best effort: the next start clears it otherwise.
            drop(fs::remove_file(&temporary));
        }
        written
    }
}

/// How the names of temporary files begin.
const TEMPORARY: &str = ".writing.";

/// Removes temporary files: whoever was writing them is gone. A process that does write at this
/// moment into the same directory notices, and writes again.
fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // As they were called before: `.<sha-256>.<process>.tmp`.
        if name.starts_with(TEMPORARY) || name.starts_with('.') && name.ends_with(".tmp") {
            match fs::remove_file(entry.path()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => tracing::info!(file = %name, "removed an unfinished file of the schema store"),
            }
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<Bytes>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unavailable("read", path, &error)),
    }
}

#[async_trait]
impl BundleStore for DirectoryStore {
    async fn put(&self, digest: [u8; 32], bytes: Bytes) -> Result<()> {
        let (store, bytes) = (self.clone(), verified(digest, bytes)?);
        blocking(move || store.put_bundle(digest, &bytes)).await
    }

    async fn get(&self, digest: [u8; 32]) -> Result<Option<Bytes>> {
        let store = self.clone();
        blocking(move || store.bundle(digest)).await
    }

    async fn put_note(&self, name: &str, bytes: Bytes) -> Result<()> {
        let (store, path) = (self.clone(), self.note_path(name));
        blocking(move || store.write(&path, &bytes)).await
    }

    async fn note(&self, name: &str) -> Result<Option<Bytes>> {
        let path = self.note_path(name);
        blocking(move || read(&path)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A new directory survives a power cut only once the one above it is synced.
fn sync_parent(dir: &Path) -> io::Result<()> {
    match dir.canonicalize()?.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn unavailable(doing: &str, path: &Path, error: &io::Error) -> Error {
    tracing::error!(path = %path.display(), %error, "schema store cannot {doing}");
    Error::new(
        contract::ErrorCode::Unavailable,
        format!("the schema store cannot {doing}: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bundle::digest, store::conformance};

    #[tokio::test]
    async fn conforms() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(dir.path().join("a/b")).unwrap();
        conformance::run(Arc::new(store)).await;
    }

    #[tokio::test]
    async fn another_process_finds_what_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = Bytes::from_static(b"kept");
        let address = digest(&bytes);
        DirectoryStore::open(dir.path()).unwrap().put(address, bytes.clone()).await.unwrap();
        let again = DirectoryStore::open(dir.path()).unwrap();
        assert_eq!(again.get(address).await, Ok(Some(bytes)));
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "no temporary file stays: {left:?}");
    }

    #[tokio::test]
    async fn damage_is_named_and_healed() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(dir.path()).unwrap();
        let bytes = Bytes::from_static(b"right");
        let address = digest(&bytes);
        store.put(address, bytes.clone()).await.unwrap();
        fs::write(store.path(address), b"wrong").unwrap();
        let error = store.get(address).await.unwrap_err();
        assert!(error.message.contains(&hex::encode(address)), "{error}");
        store.put(address, bytes.clone()).await.unwrap();
        assert_eq!(store.get(address).await, Ok(Some(bytes)));
    }

    #[tokio::test]
    async fn what_a_crash_left_behind_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = Bytes::from_static(b"a bundle");
        let address = digest(&bytes);
        let name = hex::encode(address);
        // Unfinished files, by today's names and by those of before; and a bundle torn in half, as
        // a file system without a journal could leave it.
        let torn = format!("{name}.bundle");
        for left in [".writing.1.7", &format!(".{name}.1.tmp"), &torn, "pin-1.note"] {
            fs::write(dir.path().join(left), b"a bu").unwrap();
        }
        let store = DirectoryStore::open(dir.path()).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [torn.as_str(), "pin-1.note"]);
        assert!(store.get(address).await.is_err(), "damage is named");
        store.put(address, bytes.clone()).await.unwrap();
        assert_eq!(store.get(address).await, Ok(Some(bytes)));
    }

    #[test]
    fn a_file_that_is_swept_away_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = DirectoryStore::open(dir.path()).unwrap();
        let bytes = vec![7; 100_000];
        let address = digest(&bytes);
        std::thread::scope(|scope| {
            let sweeping = scope.spawn(|| {
                for _ in 0..200 {
                    sweep(dir.path()).unwrap();
                }
            });
            let mut lost = 0;
            while !sweeping.is_finished() {
                fs::remove_file(store.path(address)).ok();
                lost += usize::from(store.put_bundle(address, &bytes).is_err());
            }
            // Three times in a row is more than a start does.
            assert!(lost < 200, "{lost}");
        });
        store.put_bundle(address, &bytes).unwrap();
        assert_eq!(store.bundle(address).unwrap().unwrap(), bytes);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = DirectoryStore::open(file.join("below")).unwrap_err();
        assert_eq!(error.code, contract::ErrorCode::Unavailable);
    }
}

//! Bundles in a directory: one file each, named by its SHA-256.

use super::{BundleStore, verified};
use async_trait::async_trait;
use bytes::Bytes;
use contract::{Error, Result};
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Keeps bundles in `DIR/<sha-256>.bundle`. A file appears whole and synced or not at all.
#[derive(Debug, Clone)]
pub struct DirectoryStore {
    dir: Arc<Path>,
    /// One writer at a time in this process; others use other temporary names.
    writing: Arc<Mutex<()>>,
}

impl DirectoryStore {
    /// A store in `dir`, which is made if it is not there. Errors: `unavailable`.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        let made = fs::create_dir_all(&dir).and_then(|()| sync_parent(&dir));
        made.map_err(|error| unavailable("make", &dir, &error))?;
        Ok(Self { dir: dir.into(), writing: Arc::default() })
    }

    fn path(&self, digest: [u8; 32]) -> PathBuf {
        self.dir.join(format!("{}.bundle", hex::encode(digest)))
    }

    fn read(&self, digest: [u8; 32]) -> Result<Option<Bytes>> {
        let path = self.path(digest);
        match fs::read(&path) {
            Ok(bytes) => verified(digest, bytes.into()).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable("read", &path, &error)),
        }
    }

    fn write(&self, digest: [u8; 32], bytes: &[u8]) -> Result<()> {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        // A damaged file is written anew: the bytes at hand are known to be right.
        if matches!(self.read(digest), Ok(Some(_))) {
            return Ok(());
        }
        let name = format!(".{}.{}.tmp", hex::encode(digest), std::process::id());
        let temporary = self.dir.join(name);
        let path = self.path(digest);
        let written = write_synced(&temporary, bytes)
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| File::open(&self.dir)?.sync_all());
        written.map_err(|error| unavailable("write", &path, &error))
    }
}

#[async_trait]
impl BundleStore for DirectoryStore {
    async fn put(&self, digest: [u8; 32], bytes: Bytes) -> Result<()> {
        let (store, bytes) = (self.clone(), verified(digest, bytes)?);
        blocking(move || store.write(digest, &bytes)).await
    }

    async fn get(&self, digest: [u8; 32]) -> Result<Option<Bytes>> {
        let store = self.clone();
        blocking(move || store.read(digest)).await
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

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = DirectoryStore::open(file.join("below")).unwrap_err();
        assert_eq!(error.code, contract::ErrorCode::Unavailable);
    }
}

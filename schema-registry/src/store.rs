//! Where bundles are kept: port and implementations.

mod directory;
mod memory;
mod s3;

pub use directory::DirectoryStore;
pub use memory::MemoryStore;
pub use s3::S3Store;

use crate::config::{Config, StoreKind};
use async_trait::async_trait;
use bytes::Bytes;
use contract::{Error, Result};
use std::{path::PathBuf, sync::Arc};

/// Keeps bundles under their SHA-256, which never change and are never removed, and beside them a
/// few small notes under names, of which the newest counts.
#[async_trait]
pub trait BundleStore: Send + Sync {
    /// Keeps `bytes`, whose SHA-256 is `digest`. When this returns `Ok` they are on stable
    /// storage, if the store has any. Keeping the same again changes nothing.
    async fn put(&self, digest: [u8; 32], bytes: Bytes) -> Result<()>;

    /// The bytes of that SHA-256, checked against it; None if they were never kept here.
    /// Errors: `internal` when they are damaged.
    async fn get(&self, digest: [u8; 32]) -> Result<Option<Bytes>>;

    /// Keeps a note instead of the one that had this name: lower-case letters, digits and `-`.
    async fn put_note(&self, name: &str, bytes: Bytes) -> Result<()>;

    /// The newest note of this name, whole; None if there was never one.
    async fn note(&self, name: &str) -> Result<Option<Bytes>>;
}

/// The store that is configured. `dir` is where it is if it is a directory; `variables` are the
/// `AWS_...` ones, for a bucket.
pub fn open(
    config: &Config,
    dir: PathBuf,
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<Arc<dyn BundleStore>> {
    Ok(match &config.store {
        StoreKind::Directory => Arc::new(DirectoryStore::open(dir)?),
        StoreKind::Memory => Arc::new(MemoryStore::new()),
        StoreKind::S3(bucket) => Arc::new(S3Store::new(bucket, &config.s3, variables)?),
    })
}

/// What every store does with what it has and with what it is given.
fn verified(digest: [u8; 32], bytes: Bytes) -> Result<Bytes> {
    if crate::bundle::digest(&bytes) == digest {
        return Ok(bytes);
    }
    Err(Error::internal(format!("the schema bundle {} is damaged", hex::encode(digest))))
}

/// What every store must do.
#[cfg(test)]
pub(crate) mod conformance {
    use super::*;
    use crate::bundle::digest;

    pub(crate) async fn run(store: Arc<dyn BundleStore>) {
        let bytes = Bytes::from_static(b"a bundle");
        let address = digest(&bytes);
        assert_eq!(store.get(address).await, Ok(None));
        store.put(address, bytes.clone()).await.unwrap();
        assert_eq!(store.get(address).await, Ok(Some(bytes.clone())));
        store.put(address, bytes.clone()).await.unwrap();
        assert_eq!(store.get(address).await, Ok(Some(bytes.clone())));

        assert!(store.put([7; 32], bytes.clone()).await.is_err(), "not its address");
        assert_eq!(store.get([7; 32]).await, Ok(None));

        let empty = Bytes::new();
        store.put(digest(&empty), empty.clone()).await.unwrap();
        assert_eq!(store.get(digest(&empty)).await, Ok(Some(empty)));

        let large = Bytes::from(vec![9; 1 << 20]);
        let at_once: Vec<_> = (0..8)
            .map(|_| {
                let (store, large) = (Arc::clone(&store), large.clone());
                tokio::spawn(async move { store.put(digest(&large), large).await })
            })
            .collect();
        for put in at_once {
            put.await.unwrap().unwrap();
        }
        assert_eq!(store.get(digest(&large)).await, Ok(Some(large)));
        assert_eq!(store.get(address).await, Ok(Some(bytes)));
        notes(&*store).await;
    }

    async fn notes(store: &dyn BundleStore) {
        assert_eq!(store.note("a-1").await, Ok(None));
        for text in ["first", "", "a third that is longer"] {
            store.put_note("a-1", text.into()).await.unwrap();
            assert_eq!(store.note("a-1").await, Ok(Some(text.into())));
        }
        store.put_note("a-2", "other".into()).await.unwrap();
        let third = "a third that is longer";
        assert_eq!(store.note("a-1").await, Ok(Some(third.into())));
    }
}

//! Bundles in memory: for tests, and where a restart may forget them.

use super::{BundleStore, verified};
use async_trait::async_trait;
use bytes::Bytes;
use contract::Result;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// Keeps bundles as long as the process lives.
#[derive(Debug, Default)]
pub struct MemoryStore {
    bundles: Mutex<BTreeMap<[u8; 32], Bytes>>,
    notes: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl BundleStore for MemoryStore {
    async fn put(&self, digest: [u8; 32], bytes: Bytes) -> Result<()> {
        let bytes = verified(digest, bytes)?;
        self.bundles.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, bytes);
        Ok(())
    }

    async fn get(&self, digest: [u8; 32]) -> Result<Option<Bytes>> {
        Ok(self.bundles.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned())
    }

    async fn put_note(&self, name: &str, bytes: Bytes) -> Result<()> {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(name.to_owned(), bytes);
        Ok(())
    }

    async fn note(&self, name: &str) -> Result<Option<Bytes>> {
        Ok(self.notes.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance;
    use std::sync::Arc;

    #[tokio::test]
    async fn conforms() {
        conformance::run(Arc::new(MemoryStore::new())).await;
    }
}

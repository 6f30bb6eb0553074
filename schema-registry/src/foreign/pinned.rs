//! What is kept of other deployments in the schema store, where every replica of the registry finds
//! it, also after a restart: the last good answer for each type, and a mark for each peer that
//! changes when it says that it has published.

use super::{ENTRY_BYTES, Foreign, Known, check_pins, size};
use crate::{bundle, config::PeerConfig};
use bytes::Bytes;
use contract::{
    Result,
    clock::Timestamp,
    schema::{SchemaBundle, SchemaVersion},
    uri::EventUri,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard, PoisonError},
};
use tokio::time::Instant;

/// The marks as they were read the last time: many validators ask for them.
pub(super) struct Marks {
    read: Instant,
    by_domain: BTreeMap<String, String>,
}

impl Foreign {
    /// What is known of a type, from memory or from the store.
    pub(super) async fn at_hand(&self, uri: &EventUri, peer: &PeerConfig) -> Option<Known> {
        let known = self.known().get(uri).cloned();
        if known.is_some() {
            return known;
        }
        let bundle = match self.recall(uri, peer).await {
            Ok(found) => Arc::new(found?),
            Err(error) => {
                tracing::warn!(%uri, %error, "cannot use a foreign contract of the schema store");
                return None;
            }
        };
        let bytes = size(&bundle) + ENTRY_BYTES;
        let (answer, pinned) = (Ok(Arc::clone(&bundle)), Some(bundle));
        let recalled = Known { answer, pinned, asked: Instant::now() };
        let mut known = self.known();
        // Somebody else may have asked meanwhile.
        if known.get(uri).is_none() {
            known.put(uri.clone(), recalled.clone(), bytes);
        }
        Some(known.get(uri).cloned().unwrap_or(recalled))
    }

    async fn recall(&self, uri: &EventUri, peer: &PeerConfig) -> Result<Option<SchemaBundle>> {
        let Some(note) = self.store.note(&pin_name(uri)).await? else { return Ok(None) };
        let unreadable = |error| contract::Error::internal(format!("its note: {error}"));
        let version: SchemaVersion = serde_json::from_slice(&note).map_err(unreadable)?;
        let Some(bytes) = self.store.get(version.digest).await? else { return Ok(None) };
        let bundle = bundle::decode(version, &bytes)?;
        let (_, local) = split(uri);
        check_pins(&bundle, peer.pins.get(local), None)?;
        Ok(Some(bundle))
    }

    /// Keeps an answer. Without the store it is kept in memory alone.
    pub(super) async fn pin(&self, bundle: &SchemaBundle) {
        let SchemaBundle { version, descriptor_set, files, example } = bundle;
        let kept = async {
            let bytes = bundle::encode(descriptor_set, files, example.as_deref())?;
            self.store.put(version.digest, bytes).await?;
            let note = serde_json::to_vec(version).map_err(contract::Error::internal)?;
            self.store.put_note(&pin_name(&version.uri), note.into()).await
        };
        if let Err(error) = kept.await {
            tracing::warn!(uri = %version.uri, %error, "cannot keep a foreign contract");
        }
    }

    /// Changes the mark of a peer.
    pub(crate) async fn announce(&self, domain: &str, now: Timestamp) -> Result<()> {
        if !self.peers.contains_key(domain) {
            return Ok(());
        }
        let mark = Bytes::from(now.0.to_string());
        self.store.put_note(&mark_name(domain), mark).await?;
        *self.last_marks() = None;
        Ok(())
    }

    /// The marks of all peers; of one that has said nothing yet, an empty one.
    pub(crate) async fn marks(&self) -> Result<BTreeMap<String, String>> {
        let fresh = self.config.news_interval.0 / 2;
        if let Some(marks) = self.last_marks().as_ref().filter(|marks| marks.read.elapsed() < fresh)
        {
            return Ok(marks.by_domain.clone());
        }
        let (read, mut by_domain) = (Instant::now(), BTreeMap::new());
        for domain in self.peers.keys() {
            let mark = self.store.note(&mark_name(domain)).await?.unwrap_or_default();
            by_domain.insert(domain.clone(), String::from_utf8_lossy(&mark).into_owned());
        }
        *self.last_marks() = Some(Marks { read, by_domain: by_domain.clone() });
        Ok(by_domain)
    }

    fn last_marks(&self) -> MutexGuard<'_, Option<Marks>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The domain of a foreign type, and its URI as its own deployment writes it.
pub(super) fn split(uri: &EventUri) -> (&str, &str) {
    let domain = uri.domain().unwrap_or_default();
    (domain, uri.as_str().get(domain.len() + 1..).unwrap_or_default())
}

/// Names of notes say nothing and are never too long.
fn pin_name(uri: &EventUri) -> String {
    format!("pin-{}", hex::encode(bundle::digest(uri.as_str().as_bytes())))
}

fn mark_name(domain: &str) -> String {
    format!("peer-{}", hex::encode(bundle::digest(domain.as_bytes())))
}

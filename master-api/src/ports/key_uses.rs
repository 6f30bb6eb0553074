//! When API keys were last used: a row for each, which is no fact and rides on the log's batches.

use crate::{
    log::LogError,
    service::MasterApi,
    shared::Shared,
    store::{Batch, Scan, Table},
    tables,
    writer::{Command, Upkeep},
};
use contract::{Result, access::Actor, clock::Timestamp, id::KeyId};
use std::{collections::BTreeMap, time::Duration};

/// Of a key whose row is younger than that, nothing is written.
const STEP: Duration = Duration::from_secs(55);

impl MasterApi {
    pub(super) async fn write_key_uses(&self, uses: BTreeMap<KeyId, Timestamp>) -> Result<()> {
        let batch = self.blocking(move |shared| changes(shared, &uses)).await?;
        if batch.0.is_empty() {
            return Ok(());
        }
        let actor = Actor::Component("master-api".to_owned());
        let wrote = self.writer.ask(|reply| Command::Upkeep(actor, Upkeep::Sweep(batch), reply));
        wrote.await.map(|_upkept| ())
    }

    pub(super) async fn read_key_uses(&self) -> Result<BTreeMap<KeyId, Timestamp>> {
        self.blocking(rows).await
    }
}

/// What is to be written: of keys that are known, and of those that are no more.
fn changes(shared: &Shared, uses: &BTreeMap<KeyId, Timestamp>) -> Result<Batch, LogError> {
    let (written, state) = (rows(shared)?, shared.state.load());
    let mut batch = Batch::default();
    for (key, at) in uses.iter().filter(|(key, _)| state.keys.contains_key(key)) {
        if written.get(key).is_none_or(|before| before.after(STEP) <= *at) {
            batch.put(Table::Cursors, tables::key_use_key(*key), at.0.to_be_bytes().to_vec());
        }
    }
    for key in written.keys().filter(|key| !state.keys.contains_key(key)) {
        batch.remove(Table::Cursors, tables::key_use_key(*key));
    }
    Ok(batch)
}

fn rows(shared: &Shared) -> Result<BTreeMap<KeyId, Timestamp>, LogError> {
    let scan = Scan::prefix(Table::Cursors, tables::KEY_USES, usize::MAX);
    let rows = shared.store.scan(&scan)?.into_iter();
    let rows = rows.filter_map(|(key, row)| {
        let at = i64::from_be_bytes(row.as_ref().try_into().ok()?);
        Some((tables::key_use_of(&key)?, Timestamp(at)))
    });
    Ok(rows.collect())
}

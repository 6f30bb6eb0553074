//! The port [`Configuration`].

use crate::{service::MasterApi, writer::Command};
use async_trait::async_trait;
use contract::{
    Result,
    access::{Actor, Session},
    clock::Timestamp,
    command::{Change, Changeset},
    id::KeyId,
    master_api::Configuration,
    rules::RulesReceiver,
    schema::SchemaVersion,
    secret::Secret,
    uri::EventUri,
};
use std::{collections::BTreeMap, net::IpAddr};

#[async_trait]
impl Configuration for MasterApi {
    fn rules(&self) -> RulesReceiver {
        self.shared.rules.subscribe()
    }

    async fn execute(&self, actor: Actor, changes: Changeset) -> Result<Vec<Change>> {
        // The writer answers after it has published the rules.
        let changes = Box::new(self.prepare_changes(&actor, changes).await?);
        self.writer.ask(|reply| Command::Execute(actor, changes, reply)).await
    }

    async fn log_in(
        &self,
        name: String,
        password: Secret,
        from: Option<IpAddr>,
    ) -> Result<Session> {
        self.let_in(&name, password, from).await
    }

    async fn renew_session(&self, token: Secret) -> Result<Session> {
        self.renew(&token).await
    }

    async fn note_key_uses(&self, uses: BTreeMap<KeyId, Timestamp>) -> Result<()> {
        self.write_key_uses(uses).await
    }

    async fn key_uses(&self) -> Result<BTreeMap<KeyId, Timestamp>> {
        self.read_key_uses().await
    }

    async fn rotate_secret_key(&self) -> Result<()> {
        self.seal_anew().await
    }

    async fn schema_versions(&self, uri: &EventUri) -> Result<Vec<SchemaVersion>> {
        let state = self.shared.state.load();
        Ok(state.schema_versions.get(uri).map(|versions| versions.to_vec()).unwrap_or_default())
    }
}

//! The port [`Configuration`].

use crate::{service::MasterApi, writer::Command};
use async_trait::async_trait;
use contract::{
    Result,
    access::Actor,
    command::{Change, Changeset},
    master_api::Configuration,
    rules::RulesReceiver,
    schema::SchemaVersion,
    uri::EventUri,
};

#[async_trait]
impl Configuration for MasterApi {
    fn rules(&self) -> RulesReceiver {
        self.shared.rules.subscribe()
    }

    async fn execute(&self, actor: Actor, changes: Changeset) -> Result<Vec<Change>> {
        // The writer answers after it has published the rules.
        self.writer.ask(|reply| Command::Execute(actor, changes, reply)).await
    }

    async fn schema_versions(&self, uri: &EventUri) -> Result<Vec<SchemaVersion>> {
        let state = self.shared.state.load();
        Ok(state.schema_versions.get(uri).map(|versions| versions.to_vec()).unwrap_or_default())
    }
}

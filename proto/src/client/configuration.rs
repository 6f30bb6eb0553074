//! The configuration, from all other parts.

use super::{
    RemoteMasterApi,
    call::{Call, unreadable},
};
use crate::{
    convert::each,
    v1::internal::{ExecuteRequest, ListVersionsRequest, rules_client::RulesClient},
};
use async_trait::async_trait;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    command::{Change, Changeset},
    master_api::Configuration,
    rules::RulesReceiver,
    schema::SchemaVersion,
    uri::EventUri,
};
use tokio::time::timeout;

#[async_trait]
impl Configuration for RemoteMasterApi {
    fn rules(&self) -> RulesReceiver {
        self.rules.clone()
    }

    /// Made once: what it reveals is shown once.
    async fn execute(&self, actor: Actor, changes: Changeset) -> Result<Vec<Change>> {
        let send = |request| {
            let mut client = limited!(RulesClient::new(self.peers.channel()));
            async move { client.execute(request).await }
        };
        let message = ExecuteRequest { changeset: Some(changes.into()) };
        let answer = self.peers.call(Call::acting(actor), message, send).await?;
        let mut rules = self.rules.clone();
        let shown = rules.wait_for(|rules| rules.sequence.0 >= answer.sequence);
        match timeout(self.peers.config.deadline.0, shown).await {
            Ok(Ok(_rules)) => {}
            _ => {
                let message = "it is done, but this process has not been told so in time";
                return Err(Error::new(ErrorCode::DeadlineExceeded, message));
            }
        }
        each(answer.changes, "changes", Change::try_from).map_err(unreadable)
    }

    async fn schema_versions(&self, uri: &EventUri) -> Result<Vec<SchemaVersion>> {
        let send = |request| {
            let mut client = limited!(RulesClient::new(self.peers.channel()));
            async move { client.list_schema_versions(request).await }
        };
        let message = ListVersionsRequest { uri: uri.to_string() };
        let answer = self.peers.call(Call::repeatable(), message, send).await?;
        each(answer.versions, "versions", SchemaVersion::try_from).map_err(unreadable)
    }
}

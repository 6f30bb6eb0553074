//! The configuration, from all other parts.

use super::{
    RemoteMasterApi,
    call::{Call, unreadable},
};
use crate::{
    convert::each,
    v1::internal::{
        ExecuteRequest, GetKeyUsesRequest, KeyUses, ListVersionsRequest, LogInRequest,
        RenewSessionRequest, RotateSecretKeyRequest, rules_client::RulesClient,
    },
};
use async_trait::async_trait;
use contract::{
    Error, ErrorCode, Result,
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

    async fn log_in(
        &self,
        name: String,
        password: Secret,
        from: Option<IpAddr>,
    ) -> Result<Session> {
        let send = |request| {
            let mut client = limited!(RulesClient::new(self.peers.channel()));
            async move { client.log_in(request).await }
        };
        let (password, from) = (password.expose().to_owned(), from.map(|from| from.to_string()));
        let message = LogInRequest { name, password, from };
        let answer = self.peers.call(Call::once(), message, send).await?;
        answer.try_into().map_err(unreadable)
    }

    async fn renew_session(&self, token: Secret) -> Result<Session> {
        let send = |request| {
            let mut client = limited!(RulesClient::new(self.peers.channel()));
            async move { client.renew_session(request).await }
        };
        let message = RenewSessionRequest { token: token.expose().to_owned() };
        let answer = self.peers.call(Call::repeatable(), message, send).await?;
        answer.try_into().map_err(unreadable)
    }

    async fn note_key_uses(&self, uses: BTreeMap<KeyId, Timestamp>) -> Result<()> {
        let send = |request| {
            let mut client = limited!(RulesClient::new(self.peers.channel()));
            async move { client.note_key_uses(request).await }
        };
        let message = KeyUses::from(uses);
        self.peers.call(Call::repeatable(), message, send).await.map(|_done| ())
    }

    async fn key_uses(&self) -> Result<BTreeMap<KeyId, Timestamp>> {
        let send = |request| {
            let mut client = limited!(RulesClient::new(self.peers.channel()));
            async move { client.get_key_uses(request).await }
        };
        let uses = self.peers.call(Call::repeatable(), GetKeyUsesRequest {}, send).await?;
        uses.try_into().map_err(unreadable)
    }

    async fn rotate_secret_key(&self) -> Result<()> {
        let send = |request| {
            let mut client = limited!(RulesClient::new(self.peers.channel()));
            async move { client.rotate_secret_key(request).await }
        };
        let message = RotateSecretKeyRequest {};
        self.peers.call(Call::once(), message, send).await.map(|_done| ())
    }
}

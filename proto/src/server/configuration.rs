//! The configuration, to be listed from the rules in force and changed by commands.

use crate::{
    convert::{into_each, message, moment},
    door::{Caller, Door},
    v1,
};
use contract::{
    Error, ErrorCode, Result,
    access::ApiKey,
    command::{Changeset, Command},
    master_api::MasterApi,
    permit::permit,
    rules::Rules,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Metadata by which changes are carried out once.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Serves `certes.v1.Configuration`.
pub(super) struct Service {
    pub(super) door: Door,
    pub(super) configuration: Arc<dyn MasterApi>,
}

impl Service {
    fn rules(&self) -> Arc<Rules> {
        self.configuration.rules().borrow().clone()
    }

    /// Carries out what the caller may.
    async fn carry_out(&self, caller: Caller, changes: Changeset) -> Result<Vec<v1::Change>> {
        let changes = match &caller {
            Caller::Key(principal, rules) => permit(principal, changes, rules)?,
            Caller::Peer(_actor) => changes,
        };
        let changes = self.configuration.execute(caller.actor()?, changes).await?;
        Ok(into_each(changes))
    }

    /// Answers with what `list` finds in the rules.
    async fn list<T>(&self, list: impl FnOnce(&Rules) -> T) -> Result<Response<T>, Status> {
        self.door.serve(async { Ok(list(&self.rules())) }).await
    }
}

/// The metadata under which the changes were sent.
fn key<T>(request: &Request<T>) -> Result<Option<String>> {
    let Some(value) = request.metadata().get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = value.to_str().map_err(|_not_ascii| {
        let message = format!("the metadata `{IDEMPOTENCY_KEY}` is not ASCII");
        Error::new(ErrorCode::InvalidRequest, message)
    })?;
    Ok(Some(text.to_owned()))
}

/// Shared nouns as messages.
fn all<'a, N: Clone + 'a, W: From<N>>(nouns: impl IntoIterator<Item = &'a Arc<N>>) -> Vec<W> {
    into_each(nouns.into_iter().map(|noun| N::clone(noun)))
}

#[tonic::async_trait]
impl v1::configuration_server::Configuration for Service {
    async fn execute(
        &self,
        request: Request<v1::ExecuteRequest>,
    ) -> Result<Response<v1::ExecuteResponse>, Status> {
        let work = async {
            let (caller, key) = (self.door.caller(&request)?, key(&request)?);
            let changes = request.into_inner().changeset;
            let mut changes = message(changes, "changeset", Changeset::try_from)?;
            changes.idempotency_key = changes.idempotency_key.or(key);
            Ok(v1::ExecuteResponse { changes: self.carry_out(caller, changes).await? })
        };
        self.door.serve(work).await
    }

    async fn ensure_subscriptions(
        &self,
        request: Request<v1::EnsureSubscriptionsRequest>,
    ) -> Result<Response<v1::EnsureSubscriptionsResponse>, Status> {
        let work = async {
            let (caller, idempotency_key) = (self.door.caller(&request)?, key(&request)?);
            let v1::EnsureSubscriptionsRequest { wanted, dry_run } = request.into_inner();
            let mut wanted = wanted.unwrap_or_default();
            if let Caller::Key(principal, _) = &caller
                && wanted.subscriber.is_none()
            {
                wanted.subscriber.clone_from(&principal.subscriber);
            }
            let command = message(Some(wanted), "wanted", Command::try_from)?;
            let commands = vec![command];
            let changes = Changeset { commands, dry_run, idempotency_key, ..Changeset::default() };
            let changes = self.carry_out(caller, changes).await?;
            Ok(v1::EnsureSubscriptionsResponse { changes })
        };
        self.door.serve(work).await
    }

    async fn list_sources(
        &self,
        _request: Request<v1::ListSourcesRequest>,
    ) -> Result<Response<v1::ListSourcesResponse>, Status> {
        let list = |rules: &Rules| v1::ListSourcesResponse { sources: all(rules.sources.values()) };
        self.list(list).await
    }

    async fn list_subscriptions(
        &self,
        request: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        let work = async {
            let (caller, rules) = (self.door.caller(&request)?, self.rules());
            let visible = rules.subscriptions.values().filter(|found| caller.sees(found));
            Ok(v1::ListSubscriptionsResponse { subscriptions: all(visible) })
        };
        self.door.serve(work).await
    }

    async fn list_subscribers(
        &self,
        _request: Request<v1::ListSubscribersRequest>,
    ) -> Result<Response<v1::ListSubscribersResponse>, Status> {
        let list = |rules: &Rules| {
            let subscribers = all(rules.subscribers.values());
            v1::ListSubscribersResponse { subscribers }
        };
        self.list(list).await
    }

    async fn list_event_types(
        &self,
        _request: Request<v1::ListEventTypesRequest>,
    ) -> Result<Response<v1::ListEventTypesResponse>, Status> {
        let list = |rules: &Rules| {
            let event_types = all(rules.event_types.values());
            v1::ListEventTypesResponse { event_types }
        };
        self.list(list).await
    }

    async fn list_backoffs(
        &self,
        _request: Request<v1::ListBackoffsRequest>,
    ) -> Result<Response<v1::ListBackoffsResponse>, Status> {
        let list = |rules: &Rules| v1::ListBackoffsResponse { backoffs: all(&rules.backoffs) };
        self.list(list).await
    }

    async fn list_schemas(
        &self,
        _request: Request<v1::ListSchemasRequest>,
    ) -> Result<Response<v1::ListSchemasResponse>, Status> {
        let list = |rules: &Rules| v1::ListSchemasResponse { schemas: all(rules.schemas.values()) };
        self.list(list).await
    }

    async fn list_keys(
        &self,
        _request: Request<v1::ListKeysRequest>,
    ) -> Result<Response<v1::ListKeysResponse>, Status> {
        let work = async {
            let uses = self.configuration.key_uses().await?;
            let rules = self.rules();
            let keys = rules.keys.values().map(|key| v1::ApiKey {
                last_used_at: uses.get(&key.id).copied().map(moment),
                ..ApiKey::clone(key).into()
            });
            Ok(v1::ListKeysResponse { keys: keys.collect() })
        };
        self.door.serve(work).await
    }

    async fn list_settings(
        &self,
        _request: Request<v1::ListSettingsRequest>,
    ) -> Result<Response<v1::ListSettingsResponse>, Status> {
        self.list(|rules| (&rules.settings).into()).await
    }

    async fn list_users(
        &self,
        _request: Request<v1::ListUsersRequest>,
    ) -> Result<Response<v1::ListUsersResponse>, Status> {
        let list = |rules: &Rules| v1::ListUsersResponse { users: all(rules.users.values()) };
        self.list(list).await
    }

    async fn rotate_secret_key(
        &self,
        _request: Request<v1::RotateSecretKeyRequest>,
    ) -> Result<Response<v1::RotateSecretKeyResponse>, Status> {
        let work = async {
            self.configuration.rotate_secret_key().await?;
            Ok(v1::RotateSecretKeyResponse {})
        };
        self.door.serve(work).await
    }
}

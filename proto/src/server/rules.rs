//! The rules in force, streamed to peers, and the commands that change them.

use crate::{
    convert::{into_each, message, parsed},
    door::Door,
    v1::internal,
};
use bytes::Bytes;
use contract::{
    Error, Result, command::Changeset, master_api::MasterApi, rules::Rules, secret::Secret,
};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::Arc;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// A snapshot is cut into pieces of this size, so that it may grow beyond a message.
const PART_BYTES: usize = 1024 * 1024;

/// Serves `certes.v1.internal.Rules`.
pub(super) struct Service {
    pub(super) configuration: Arc<dyn MasterApi>,
    pub(super) stop: CancellationToken,
}

#[tonic::async_trait]
impl internal::rules_server::Rules for Service {
    async fn execute(
        &self,
        request: Request<internal::ExecuteRequest>,
    ) -> Result<Response<internal::ExecuteResponse>, Status> {
        let work = async {
            let actor = Door::Internal.caller(&request)?.actor()?;
            let changes = request.into_inner().changeset;
            let changes = message(changes, "changeset", Changeset::try_from)?;
            let changes = into_each(self.configuration.execute(actor, changes).await?);
            let sequence = self.configuration.rules().borrow().sequence.0;
            Ok(internal::ExecuteResponse { changes, sequence })
        };
        Door::Internal.serve(work).await
    }

    async fn list_schema_versions(
        &self,
        request: Request<internal::ListVersionsRequest>,
    ) -> Result<Response<internal::ListVersionsResponse>, Status> {
        let work = async {
            let uri = parsed(&request.get_ref().uri, "uri")?;
            let versions = into_each(self.configuration.schema_versions(&uri).await?);
            Ok(internal::ListVersionsResponse { versions })
        };
        Door::Internal.serve(work).await
    }

    async fn log_in(
        &self,
        request: Request<internal::LogInRequest>,
    ) -> Result<Response<internal::Session>, Status> {
        let work = async {
            let internal::LogInRequest { name, password, from } = request.into_inner();
            let from = from.map(|from| parsed(&from, "from")).transpose()?;
            Ok(self.configuration.log_in(name, Secret::new(password), from).await?.into())
        };
        Door::Internal.serve(work).await
    }

    async fn renew_session(
        &self,
        request: Request<internal::RenewSessionRequest>,
    ) -> Result<Response<internal::Session>, Status> {
        let work = async {
            let token = Secret::new(request.into_inner().token);
            Ok(self.configuration.renew_session(token).await?.into())
        };
        Door::Internal.serve(work).await
    }

    async fn note_key_uses(
        &self,
        request: Request<internal::KeyUses>,
    ) -> Result<Response<internal::NoteKeyUsesResponse>, Status> {
        let work = async {
            let uses = request.into_inner().try_into()?;
            self.configuration.note_key_uses(uses).await?;
            Ok(internal::NoteKeyUsesResponse {})
        };
        Door::Internal.serve(work).await
    }

    async fn get_key_uses(
        &self,
        _request: Request<internal::GetKeyUsesRequest>,
    ) -> Result<Response<internal::KeyUses>, Status> {
        Door::Internal.serve(async { Ok(self.configuration.key_uses().await?.into()) }).await
    }

    async fn rotate_secret_key(
        &self,
        _request: Request<internal::RotateSecretKeyRequest>,
    ) -> Result<Response<internal::RotateSecretKeyResponse>, Status> {
        let work = async {
            self.configuration.rotate_secret_key().await?;
            Ok(internal::RotateSecretKeyResponse {})
        };
        Door::Internal.serve(work).await
    }

    type WatchStream = BoxStream<'static, Result<internal::RulesPart, Status>>;

    async fn watch(
        &self,
        _request: Request<internal::WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let snapshots = WatchStream::new(self.configuration.rules());
        let parts = snapshots.flat_map(|rules| stream::iter(parts(&rules)));
        let stop = self.stop.clone().cancelled_owned();
        Ok(Response::new(parts.take_until(stop).boxed()))
    }
}

/// A snapshot in pieces.
fn parts(rules: &Rules) -> Vec<Result<internal::RulesPart, Status>> {
    let json = match serde_json::to_vec(rules) {
        Ok(json) => Bytes::from(json),
        Err(error) => return vec![Err(crate::status::status(&Error::internal(error)))],
    };
    let starts = (0..json.len()).step_by(PART_BYTES);
    let part = |start: usize| {
        let end = json.len().min(start + PART_BYTES);
        Ok(internal::RulesPart { json: json.slice(start..end), more: end < json.len() })
    };
    starts.map(part).collect()
}

//! What is delivered once more.

use crate::{
    convert::{into_each, message, parsed},
    door::Door,
    v1,
};
use contract::{Error, ErrorCode, id::ReplayId, master_api::MasterApi, replay::ReplaySpec};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves `certes.v1.Replays`.
pub(super) struct Service {
    pub(super) door: Door,
    pub(super) replays: Arc<dyn MasterApi>,
}

#[tonic::async_trait]
impl v1::replays_server::Replays for Service {
    async fn preview(
        &self,
        request: Request<v1::PreviewReplayRequest>,
    ) -> Result<Response<v1::ReplayProgress>, Status> {
        let work = async {
            let spec = message(request.into_inner().spec, "spec", ReplaySpec::try_from)?;
            Ok(self.replays.preview_replay(spec).await?.into())
        };
        self.door.serve(work).await
    }

    async fn start(
        &self,
        request: Request<v1::StartReplayRequest>,
    ) -> Result<Response<v1::Replay>, Status> {
        let work = async {
            let actor = self.door.caller(&request)?.actor()?;
            let spec = message(request.into_inner().spec, "spec", ReplaySpec::try_from)?;
            Ok(self.replays.start_replay(actor, spec).await?.into())
        };
        self.door.serve(work).await
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelReplayRequest>,
    ) -> Result<Response<v1::Replay>, Status> {
        let work = async {
            let actor = self.door.caller(&request)?.actor()?;
            let id = parsed(&request.get_ref().id, "id")?;
            Ok(self.replays.cancel_replay(actor, id).await?.into())
        };
        self.door.serve(work).await
    }

    async fn get(
        &self,
        request: Request<v1::GetReplayRequest>,
    ) -> Result<Response<v1::Replay>, Status> {
        let work = async {
            let id: ReplayId = parsed(&request.get_ref().id, "id")?;
            let unknown = || Error::new(ErrorCode::NotFound, format!("no replay `{id}`"));
            Ok(self.replays.replay(id).await?.ok_or_else(unknown)?.into())
        };
        self.door.serve(work).await
    }

    async fn list(
        &self,
        _request: Request<v1::ListReplaysRequest>,
    ) -> Result<Response<v1::ListReplaysResponse>, Status> {
        let work = async {
            let replays = into_each(self.replays.replays().await?);
            Ok(v1::ListReplaysResponse { replays })
        };
        self.door.serve(work).await
    }
}

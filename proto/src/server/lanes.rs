//! The log lane by lane, for feeders.

use crate::{
    convert::{into_each, message, moment_from},
    door::Door,
    v1::internal,
};
use contract::{
    Result,
    id::{LaneId, Sequence},
    master_api::MasterApi,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves `certes.v1.internal.Lanes`.
pub(super) struct Service {
    pub(super) lanes: Arc<dyn MasterApi>,
}

#[tonic::async_trait]
impl internal::lanes_server::Lanes for Service {
    async fn list(
        &self,
        request: Request<internal::ListLanesRequest>,
    ) -> Result<Response<internal::ListLanesResponse>, Status> {
        let work = async {
            let until = message(request.into_inner().until, "until", moment_from)?;
            let lanes = into_each(self.lanes.lanes(until).await?);
            Ok(internal::ListLanesResponse { lanes })
        };
        Door::Internal.serve(work).await
    }

    async fn feed(
        &self,
        request: Request<internal::FeedRequest>,
    ) -> Result<Response<internal::FeedPage>, Status> {
        let work = async {
            let internal::FeedRequest { lane, after, until, limit } = request.into_inner();
            let until = message(until, "until", moment_from)?;
            Ok(self.lanes.feed(LaneId(lane), Sequence(after), until, limit).await?.into())
        };
        Door::Internal.serve(work).await
    }

    async fn advance(
        &self,
        request: Request<internal::AdvanceRequest>,
    ) -> Result<Response<internal::AdvanceResponse>, Status> {
        let work = async {
            let cursors = request.into_inner().cursors.into_iter();
            let cursors = cursors.map(|cursor| (LaneId(cursor.lane), Sequence(cursor.sequence)));
            self.lanes.advance(cursors.collect()).await?;
            Ok(internal::AdvanceResponse {})
        };
        Door::Internal.serve(work).await
    }
}

//! The log lane by lane, for feeders.

use crate::{
    convert::{into_each, message, moment_from},
    door::Door,
    v1::internal,
};
use contract::{
    Result,
    id::{LaneId, Sequence},
    master_api::{Fence, MasterApi},
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves `certes.v1.internal.Lanes`.
pub(super) struct Service {
    pub(super) lanes: Arc<dyn MasterApi>,
}

#[tonic::async_trait]
impl internal::lanes_server::Lanes for Service {
    async fn lead(
        &self,
        request: Request<internal::LeadRequest>,
    ) -> Result<Response<internal::LeadResponse>, Status> {
        let work = async {
            let Fence(fence) =
                self.lanes.lead(&request.into_inner().feeder).await?.unwrap_or_default();
            Ok(internal::LeadResponse { fence })
        };
        Door::Internal.serve(work).await
    }

    async fn step_down(
        &self,
        request: Request<internal::StepDownRequest>,
    ) -> Result<Response<internal::StepDownResponse>, Status> {
        let work = async {
            self.lanes.step_down(&request.into_inner().feeder).await?;
            Ok(internal::StepDownResponse {})
        };
        Door::Internal.serve(work).await
    }

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
            let internal::AdvanceRequest { cursors, fence } = request.into_inner();
            let cursors =
                cursors.into_iter().map(|cursor| (LaneId(cursor.lane), Sequence(cursor.sequence)));
            self.lanes.advance(Fence(fence), cursors.collect()).await?;
            Ok(internal::AdvanceResponse {})
        };
        Door::Internal.serve(work).await
    }
}

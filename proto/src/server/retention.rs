//! What is kept and what goes.

use crate::{convert::Malformed, door::Door, v1};
use contract::{
    Result,
    master_api::MasterApi,
    retention::{Erased, ErasureTarget},
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves `certes.v1.Retention`.
pub(super) struct Service {
    pub(super) door: Door,
    pub(super) retention: Arc<dyn MasterApi>,
}

impl Service {
    async fn erase<M>(&self, request: Request<M>) -> Result<Response<v1::Erased>, Status>
    where
        ErasureTarget: TryFrom<M, Error = Malformed>,
    {
        let work = async {
            let actor = self.door.caller(&request)?.actor()?;
            let target = request.into_inner().try_into()?;
            let erased: Erased = self.retention.erase(actor, target).await?;
            Ok(erased.into())
        };
        self.door.serve(work).await
    }
}

#[tonic::async_trait]
impl v1::retention_server::Retention for Service {
    async fn get_plan(
        &self,
        _request: Request<v1::GetRetentionPlanRequest>,
    ) -> Result<Response<v1::RetentionPlan>, Status> {
        self.door.serve(async { Ok(self.retention.retention_plan().await?.into()) }).await
    }

    async fn run(
        &self,
        request: Request<v1::RunRetentionRequest>,
    ) -> Result<Response<v1::Retained>, Status> {
        let compact = request.get_ref().compact;
        self.door.serve(async { Ok(self.retention.run_retention(compact).await?.into()) }).await
    }

    async fn erase_event(
        &self,
        request: Request<v1::EraseEventRequest>,
    ) -> Result<Response<v1::Erased>, Status> {
        self.erase(request).await
    }

    async fn erase_subscriber(
        &self,
        request: Request<v1::EraseSubscriberRequest>,
    ) -> Result<Response<v1::Erased>, Status> {
        self.erase(request).await
    }
}

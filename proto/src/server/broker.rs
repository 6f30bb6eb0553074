//! The broker, for gateways.

use crate::{
    convert::{message, parsed},
    door::Door,
    v1,
    v1::internal,
};
use contract::{
    Result,
    broker::{EventBroker, TestFire},
    event::NewEvent,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves `certes.v1.internal.Broker`.
pub(super) struct Service {
    pub(super) broker: Arc<dyn EventBroker>,
}

#[tonic::async_trait]
impl internal::broker_server::Broker for Service {
    async fn accept(
        &self,
        request: Request<internal::AcceptRequest>,
    ) -> Result<Response<v1::EventResponse>, Status> {
        let work = async {
            let event = message(request.into_inner().event, "event", NewEvent::try_from)?;
            Ok(self.broker.accept(event).await?.into())
        };
        Door::Internal.serve(work).await
    }

    async fn test_fire(
        &self,
        request: Request<internal::TestFireRequest>,
    ) -> Result<Response<v1::TestFireResponse>, Status> {
        let work = async {
            let test = TestFire::try_from(request.into_inner())?;
            Ok(self.broker.test_fire(test).await?.into())
        };
        Door::Internal.serve(work).await
    }

    async fn resubmit(
        &self,
        request: Request<v1::ResubmitRequest>,
    ) -> Result<Response<v1::EventResponse>, Status> {
        let work = async {
            let actor = Door::Internal.caller(&request)?.actor()?;
            let id = parsed(&request.get_ref().id, "id")?;
            Ok(self.broker.resubmit(actor, id).await?.into())
        };
        Door::Internal.serve(work).await
    }
}

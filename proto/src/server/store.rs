//! Master API's part in the way of an event, for brokers and consumers.

use crate::{
    convert::{each, parsed_each},
    door::Door,
    v1::internal,
};
use contract::{Result, delivery::AttemptReport, master_api::MasterApi};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves `certes.v1.internal.Store`.
pub(super) struct Service {
    pub(super) master_api: Arc<dyn MasterApi>,
}

#[tonic::async_trait]
impl internal::store_server::Store for Service {
    async fn store_event(
        &self,
        request: Request<internal::StoreEventRequest>,
    ) -> Result<Response<internal::Stored>, Status> {
        let work = async {
            let event = request.into_inner().try_into()?;
            Ok(self.master_api.store_event(event).await?.into())
        };
        Door::Internal.serve(work).await
    }

    async fn release_event(
        &self,
        request: Request<internal::ReleaseEventRequest>,
    ) -> Result<Response<internal::Stored>, Status> {
        let work = async {
            let actor = Door::Internal.caller(&request)?.actor()?;
            let release = request.into_inner().try_into()?;
            Ok(self.master_api.release_event(actor, release).await?.into())
        };
        Door::Internal.serve(work).await
    }

    /// A stream, because payloads of a batch together may be larger than one message.
    type WorkStream = BoxStream<'static, Result<internal::WorkItem, Status>>;

    async fn work(
        &self,
        request: Request<internal::WorkRequest>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let work = async {
            let ids = parsed_each(&request.get_ref().deliveries, "deliveries")?;
            let found = self.master_api.work(ids).await?;
            let item = |work: Option<_>| Ok(internal::WorkItem { work: work.map(Into::into) });
            Ok(stream::iter(found).map(item).boxed())
        };
        Door::Internal.serve(work).await
    }

    async fn record_attempts(
        &self,
        request: Request<internal::RecordAttemptsRequest>,
    ) -> Result<Response<internal::RecordAttemptsResponse>, Status> {
        let work = async {
            let reports = request.into_inner().reports;
            let reports = each(reports, "reports", AttemptReport::try_from)?;
            let recorded = self.master_api.record_attempts(reports).await?;
            Ok(internal::RecordAttemptsResponse { recorded })
        };
        Door::Internal.serve(work).await
    }
}

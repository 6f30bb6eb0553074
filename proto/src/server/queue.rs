//! The message queue, for brokers, feeders and consumers.

use crate::{
    convert::{duration_from, each, into_each, message},
    door::Door,
    v1::internal,
};
use contract::{
    Result,
    id::SubscriptionNumber,
    master_api::FeedItem,
    queue::{Lease, MessageQueue, Settlement},
};
use std::{sync::Arc, time::Duration};
use tonic::{Request, Response, Status};

/// No call waits longer, whatever it asks for.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Serves `certes.v1.internal.MessageQueue`.
pub(super) struct Service {
    pub(super) queue: Arc<dyn MessageQueue>,
}

fn wait(wire: Option<prost_types::Duration>) -> Result<Duration> {
    Ok(message(wire, "wait", duration_from)?.min(WAIT_MAX))
}

#[tonic::async_trait]
impl internal::message_queue_server::MessageQueue for Service {
    async fn enqueue(
        &self,
        request: Request<internal::EnqueueRequest>,
    ) -> Result<Response<internal::EnqueueResponse>, Status> {
        let work = async {
            let items = each(request.into_inner().items, "items", FeedItem::try_from)?;
            let outcomes = self.queue.enqueue(items).await?.into_iter();
            let outcomes = outcomes.map(|outcome| internal::Enqueued::from(outcome).into());
            Ok(internal::EnqueueResponse { outcomes: outcomes.collect() })
        };
        Door::Internal.serve(work).await
    }

    async fn lease(
        &self,
        request: Request<internal::LeaseRequest>,
    ) -> Result<Response<internal::Leases>, Status> {
        let work = async {
            let request = request.into_inner();
            let leases = self.queue.lease(request.max, wait(request.wait)?).await?;
            Ok(internal::Leases { leases: into_each(leases) })
        };
        Door::Internal.serve(work).await
    }

    async fn lease_for(
        &self,
        request: Request<internal::LeaseForRequest>,
    ) -> Result<Response<internal::Leases>, Status> {
        let work = async {
            let request = request.into_inner();
            let (subscription, wait) =
                (SubscriptionNumber(request.subscription), wait(request.wait)?);
            let leases = self.queue.lease_for(subscription, request.max, wait).await?;
            Ok(internal::Leases { leases: into_each(leases) })
        };
        Door::Internal.serve(work).await
    }

    async fn settle(
        &self,
        request: Request<internal::SettleRequest>,
    ) -> Result<Response<internal::SettleResponse>, Status> {
        let work = async {
            let settlements = request.into_inner().settlements;
            let read = <(Lease, Settlement)>::try_from;
            self.queue.settle(each(settlements, "settlements", read)?).await?;
            Ok(internal::SettleResponse {})
        };
        Door::Internal.serve(work).await
    }

    async fn extend(
        &self,
        request: Request<internal::Leases>,
    ) -> Result<Response<internal::Leases>, Status> {
        let work = async {
            let leases = each(request.into_inner().leases, "leases", Lease::try_from)?;
            Ok(internal::Leases { leases: into_each(self.queue.extend(leases).await?) })
        };
        Door::Internal.serve(work).await
    }

    async fn vacancies(
        &self,
        request: Request<internal::VacanciesRequest>,
    ) -> Result<Response<internal::VacanciesResponse>, Status> {
        let work = async {
            let vacancies = self.queue.vacancies(wait(request.into_inner().wait)?).await?;
            Ok(internal::VacanciesResponse { vacancies: into_each(vacancies) })
        };
        Door::Internal.serve(work).await
    }

    async fn depth(
        &self,
        _request: Request<internal::DepthRequest>,
    ) -> Result<Response<internal::DepthResponse>, Status> {
        let work = async {
            let lanes = into_each(self.queue.depth().await?);
            Ok(internal::DepthResponse { lanes })
        };
        Door::Internal.serve(work).await
    }
}

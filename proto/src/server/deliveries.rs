//! Deliveries, to be read and sent again.

use crate::{
    convert::{into_each, parsed},
    door::{Caller, Door},
    v1,
};
use contract::{
    Error, ErrorCode, Result,
    access::{Access, Noun},
    id::DeliveryId,
    limits::PAGE_MAX,
    master_api::{DeliveryFilter, MasterApi, Page, PageRequest},
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves `certes.v1.Deliveries`.
pub(super) struct Service {
    pub(super) door: Door,
    pub(super) deliveries: Arc<dyn MasterApi>,
}

/// Also for what the caller may not see: it is not told that it exists.
fn unknown(id: DeliveryId) -> Error {
    Error::new(ErrorCode::NotFound, format!("no delivery `{id}`"))
}

fn visible(caller: &Caller, id: DeliveryId) -> Result<()> {
    if caller.sees_number(id.lane.subscription()) { Ok(()) } else { Err(unknown(id)) }
}

/// A key of one subscriber lists what that subscriber has.
fn narrowed(caller: &Caller, filter: DeliveryFilter) -> Result<DeliveryFilter> {
    let Caller::Key(principal, rules) = caller else { return Ok(filter) };
    let Some(own) = &principal.subscriber else { return Ok(filter) };
    let subscription = filter.subscription.and_then(|id| {
        rules.subscriptions.values().find(|found| found.id == id && caller.sees(found))
    });
    let others = filter.subscriber.as_ref().is_some_and(|wanted| wanted != own);
    if others || filter.subscription.is_some() && subscription.is_none() {
        let message = format!("{} is for the subscriber `{own}` only", principal.title());
        return Err(Error::new(ErrorCode::PermissionDenied, message));
    }
    Ok(DeliveryFilter { subscriber: Some(own.clone()), ..filter })
}

#[tonic::async_trait]
impl v1::deliveries_server::Deliveries for Service {
    async fn get(
        &self,
        request: Request<v1::GetDeliveryRequest>,
    ) -> Result<Response<v1::Delivery>, Status> {
        let work = async {
            let id = parsed(&request.get_ref().id, "id")?;
            visible(&self.door.caller(&request)?, id)?;
            let delivery = self.deliveries.delivery(id).await?;
            Ok(delivery.ok_or_else(|| unknown(id))?.into())
        };
        self.door.serve(work).await
    }

    async fn get_exchanges(
        &self,
        request: Request<v1::GetExchangesRequest>,
    ) -> Result<Response<v1::GetExchangesResponse>, Status> {
        let work = async {
            let id = parsed(&request.get_ref().id, "id")?;
            visible(&self.door.caller(&request)?, id)?;
            let page = request.into_inner().page.map(PageRequest::from);
            let whole = PageRequest { first: PAGE_MAX, after: None };
            let Page { items, next } = self.deliveries.exchanges(id, page.unwrap_or(whole)).await?;
            if items.is_empty() && self.deliveries.delivery(id).await?.is_none() {
                return Err(unknown(id));
            }
            Ok(v1::GetExchangesResponse { exchanges: into_each(items), next })
        };
        self.door.serve(work).await
    }

    async fn list(
        &self,
        request: Request<v1::ListDeliveriesRequest>,
    ) -> Result<Response<v1::ListDeliveriesResponse>, Status> {
        let work = async {
            let caller = self.door.caller(&request)?;
            let (filter, page): (DeliveryFilter, PageRequest) = request.into_inner().try_into()?;
            let filter = narrowed(&caller, filter)?;
            let Page { items, next } = self.deliveries.deliveries(filter, page).await?;
            Ok(v1::ListDeliveriesResponse { deliveries: into_each(items), next })
        };
        self.door.serve(work).await
    }

    async fn resend(
        &self,
        request: Request<v1::ResendRequest>,
    ) -> Result<Response<v1::Delivery>, Status> {
        let work = async {
            let caller = self.door.caller(&request)?;
            if let Caller::Key(principal, _) = &caller {
                // The table asks for the right to change subscriptions; this shows a delivery, too.
                principal.require(Noun::Subscriptions, Access::Read)?;
            }
            let id = parsed(&request.get_ref().id, "id")?;
            visible(&caller, id)?;
            Ok(self.deliveries.resend(caller.actor()?, id).await?.into())
        };
        self.door.serve(work).await
    }

    async fn get_stats(
        &self,
        _request: Request<v1::GetStatsRequest>,
    ) -> Result<Response<v1::Stats>, Status> {
        self.door.serve(async { Ok(self.deliveries.stats().await?.into()) }).await
    }
}

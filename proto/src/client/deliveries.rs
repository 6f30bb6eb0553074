//! Deliveries and attempts, from a consumer or a gateway.

use super::{
    RemoteMasterApi,
    call::{Call, unreadable},
    events::found,
};
use crate::{
    convert::{each, into_each},
    v1::{
        GetDeliveryRequest, GetExchangesRequest, GetStatsRequest, ListDeliveriesRequest,
        ResendRequest,
        deliveries_client::DeliveriesClient,
        internal::{RecordAttemptsRequest, WorkRequest, store_client::StoreClient},
    },
};
use async_trait::async_trait;
use contract::{
    Error, Result,
    access::Actor,
    delivery::{AttemptReport, Delivery},
    exchange::Exchange,
    id::DeliveryId,
    master_api::{Deliveries, DeliveryFilter, Page, PageRequest, Stats, Work},
};
use tonic::{Response, transport::Channel};

impl RemoteMasterApi {
    fn deliveries_client(&self) -> DeliveriesClient<Channel> {
        limited!(DeliveriesClient::new(self.peers.channel()))
    }

    fn store_client(&self) -> StoreClient<Channel> {
        limited!(StoreClient::new(self.peers.channel()))
    }
}

#[async_trait]
impl Deliveries for RemoteMasterApi {
    async fn work(&self, deliveries: Vec<DeliveryId>) -> Result<Vec<Option<Work>>> {
        let asked = deliveries.len();
        let send = |request| {
            let mut client = self.store_client();
            async move {
                let mut items = client.work(request).await?.into_inner();
                let mut all = Vec::with_capacity(asked);
                while let Some(item) = items.message().await? {
                    all.push(item.work);
                }
                Ok(Response::new(all))
            }
        };
        let deliveries = deliveries.iter().map(ToString::to_string).collect();
        let message = WorkRequest { deliveries };
        let items = self.peers.call(Call::repeatable(), message, send).await?;
        if items.len() != asked {
            let found = items.len();
            return Err(Error::internal(format!("a peer answered {found} of {asked} deliveries")));
        }
        let read = |item: Option<_>| item.map(Work::try_from).transpose();
        each(items, "work", read).map_err(unreadable)
    }

    /// Made once: the second time, none of them would be the next one.
    async fn record_attempts(&self, reports: Vec<AttemptReport>) -> Result<Vec<bool>> {
        let send = |request| {
            let mut client = self.store_client();
            async move { client.record_attempts(request).await }
        };
        let message = RecordAttemptsRequest { reports: into_each(reports) };
        Ok(self.peers.call(Call::once(), message, send).await?.recorded)
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>> {
        let send = |request| {
            let mut client = self.deliveries_client();
            async move { client.get(request).await }
        };
        let message = GetDeliveryRequest { id: id.to_string() };
        let delivery = found(self.peers.call(Call::repeatable(), message, send).await)?;
        delivery.map(TryInto::try_into).transpose().map_err(unreadable)
    }

    async fn exchanges(&self, id: DeliveryId, page: PageRequest) -> Result<Page<Exchange>> {
        let send = |request| {
            let mut client = self.deliveries_client();
            async move { client.get_exchanges(request).await }
        };
        let message = GetExchangesRequest { id: id.to_string(), page: Some(page.into()) };
        let answer = found(self.peers.call(Call::repeatable(), message, send).await)?;
        let (exchanges, next) = answer.map(|it| (it.exchanges, it.next)).unwrap_or_default();
        let items = each(exchanges, "exchanges", Exchange::try_from);
        Ok(Page { items: items.map_err(unreadable)?, next })
    }

    async fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: PageRequest,
    ) -> Result<Page<Delivery>> {
        let send = |request| {
            let mut client = self.deliveries_client();
            async move { client.list(request).await }
        };
        let message = ListDeliveriesRequest::from((filter, page));
        let answer = self.peers.call(Call::repeatable(), message, send).await?;
        let items = each(answer.deliveries, "deliveries", Delivery::try_from);
        Ok(Page { items: items.map_err(unreadable)?, next: answer.next })
    }

    async fn resend(&self, actor: Actor, id: DeliveryId) -> Result<Delivery> {
        let send = |request| {
            let mut client = self.deliveries_client();
            async move { client.resend(request).await }
        };
        let message = ResendRequest { id: id.to_string() };
        let delivery = self.peers.call(Call::acting(actor), message, send).await?;
        delivery.try_into().map_err(unreadable)
    }

    async fn stats(&self) -> Result<Stats> {
        let send = |request| {
            let mut client = self.deliveries_client();
            async move { client.get_stats(request).await }
        };
        let stats = self.peers.call(Call::repeatable(), GetStatsRequest {}, send).await?;
        Ok(stats.into())
    }
}

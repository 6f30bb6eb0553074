//! Events and their deliveries.

use super::{Authorised, Remote, explain, found, noun, nouns, take};
use anyhow::Result;
use contract::{
    Error, ErrorCode,
    broker::TestFired,
    delivery::Delivery,
    event::{Accepted, Event},
    exchange::Exchange,
    id::{DeliveryId, EventId},
    limits::GRPC_MESSAGE_BYTES_MAX,
    master_api::{DeliveryFilter, EventFilter, Page, PageRequest, Stats},
    retention::PayloadState,
    uri::EventUri,
};
use proto::{
    status,
    v1::{
        self, deliveries_client::DeliveriesClient, event_broker_client::EventBrokerClient,
        events_client::EventsClient,
    },
};
use std::time::Duration;

impl Remote {
    fn events_client(&self) -> EventsClient<Authorised> {
        EventsClient::new(self.channel.clone()).max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    fn broker_client(&self) -> EventBrokerClient<Authorised> {
        EventBrokerClient::new(self.channel.clone())
    }

    fn deliveries_client(&self) -> DeliveriesClient<Authorised> {
        DeliveriesClient::new(self.channel.clone())
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    /// Events, newest first.
    pub async fn events(&self, filter: EventFilter, page: PageRequest) -> Result<Page<Event>> {
        let request = v1::ListEventsRequest::from((filter, page));
        let found = take(self.events_client().list(request).await)?;
        Ok(Page { items: nouns(found.events)?, next: found.next })
    }

    /// An event.
    pub async fn event(&self, id: EventId) -> Result<Option<Event>> {
        let request = v1::GetEventRequest { id: id.to_string() };
        found(self.events_client().get(request).await)?.map(noun).transpose()
    }

    /// A payload.
    pub async fn payload(&self, id: EventId) -> Result<Option<Vec<u8>>> {
        let request = v1::GetPayloadRequest { id: id.to_string() };
        let found = found(self.events_client().get_payload(request).await)?;
        Ok(found.map(|answer| answer.payload.to_vec()))
    }

    /// Whether the payload of an event is there; None: no such event is known.
    pub async fn payload_state(&self, id: EventId) -> Result<Option<PayloadState>> {
        let request = v1::GetPayloadStateRequest { id: id.to_string() };
        let answer = found(self.events_client().get_payload_state(request).await)?;
        answer.map(|answer| noun(v1::PayloadState::try_from(answer.state)?)).transpose()
    }

    /// The deliveries of an event.
    pub async fn deliveries_of(&self, id: EventId) -> Result<Vec<Delivery>> {
        let request = v1::ListEventDeliveriesRequest { id: id.to_string() };
        nouns(take(self.events_client().list_deliveries(request).await)?.deliveries)
    }

    /// Checks an event anew that was kept aside, and has it accepted if it keeps its contract now.
    pub async fn resubmit(&self, id: EventId) -> Result<Accepted> {
        self.try_resubmit(id).await?.map_err(|refusal| explain(&refusal))
    }

    /// As [`Self::resubmit`]; `Ok(Err(_))`: it stays aside, and this is why.
    pub async fn try_resubmit(&self, id: EventId) -> Result<Result<Accepted, Error>> {
        let request = v1::ResubmitRequest { id: id.to_string() };
        let refusal = match self.broker_client().resubmit(request).await {
            Ok(accepted) => return noun(accepted.into_inner()).map(Ok),
            Err(refusal) => status::error(&refusal),
        };
        let stays = [
            ErrorCode::ContractViolation,
            ErrorCode::MalformedPayload,
            ErrorCode::UnknownEventType,
            ErrorCode::UnsupportedMediaType,
        ];
        if stays.contains(&refusal.code) { Ok(Err(refusal)) } else { Err(explain(&refusal)) }
    }

    /// Tries the endpoint of a subscription, and waits for the first attempt.
    pub async fn test_fire(
        &self,
        name: &str,
        uri: Option<EventUri>,
        payload: Option<(Vec<u8>, String)>,
        wait: Duration,
    ) -> Result<TestFired> {
        let (payload, content_type) = payload.unzip();
        let request = v1::TestFireRequest {
            subscription: name.to_owned(),
            event_uri: uri.map(|uri| uri.to_string()),
            payload: payload.map(Into::into),
            content_type: content_type.unwrap_or_default(),
            wait: Some(proto::convert::duration(wait)),
        };
        noun(take(self.broker_client().test_fire(request).await)?)
    }

    /// A delivery.
    pub async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>> {
        let request = v1::GetDeliveryRequest { id: id.to_string() };
        found(self.deliveries_client().get(request).await)?.map(noun).transpose()
    }

    /// What went over the wire in the attempts of a delivery, oldest first.
    pub async fn exchanges(&self, id: DeliveryId, page: PageRequest) -> Result<Page<Exchange>> {
        let request = v1::GetExchangesRequest { id: id.to_string(), page: Some(page.into()) };
        let found = take(self.deliveries_client().get_exchanges(request).await)?;
        Ok(Page { items: nouns(found.exchanges)?, next: found.next })
    }

    /// Deliveries, newest first.
    pub async fn deliveries(
        &self,
        filter: DeliveryFilter,
        page: PageRequest,
    ) -> Result<Page<Delivery>> {
        let request = v1::ListDeliveriesRequest::from((filter, page));
        let found = take(self.deliveries_client().list(request).await)?;
        Ok(Page { items: nouns(found.deliveries)?, next: found.next })
    }

    /// Makes a finished delivery wait again.
    pub async fn resend(&self, id: DeliveryId) -> Result<Delivery> {
        let request = v1::ResendRequest { id: id.to_string() };
        noun(take(self.deliveries_client().resend(request).await)?)
    }

    /// Numbers of the whole deployment.
    pub async fn stats(&self) -> Result<Stats> {
        Ok(take(self.deliveries_client().get_stats(v1::GetStatsRequest {}).await)?.into())
    }
}

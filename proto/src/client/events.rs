//! Events in the log, from a broker or a gateway.

use super::{
    RemoteMasterApi,
    call::{Call, unreadable},
};
use crate::{
    convert::{each, one_of},
    v1::{
        self, BatchGetEventsRequest, BatchGetPayloadStatesRequest, BatchListDeliveriesRequest,
        GetEventRequest, GetPayloadRequest, GetPayloadStateRequest, GetPayloadStateResponse,
        ListEventDeliveriesRequest, ListEventDeliveriesResponse, ListEventsRequest,
        events_client::EventsClient,
        internal::{ReleaseEventRequest, StoreEventRequest, store_client::StoreClient},
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    delivery::Delivery,
    event::Event,
    id::EventId,
    master_api::{EventFilter, Events, Page, PageRequest, ReleaseEvent, StoreEvent, Stored},
    retention::PayloadState,
};
use std::collections::BTreeMap;
use tonic::transport::Channel;

/// What is not there is no error to a port.
pub(super) fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error { code: ErrorCode::NotFound, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl RemoteMasterApi {
    fn events_client(&self) -> EventsClient<Channel> {
        limited!(EventsClient::new(self.peers.channel()))
    }
}

#[async_trait]
impl Events for RemoteMasterApi {
    /// Made again if need be: the same id gets the first answer.
    async fn store_event(&self, event: StoreEvent) -> Result<Stored> {
        let send = |request| {
            let mut client = limited!(StoreClient::new(self.peers.channel()));
            async move { client.store_event(request).await }
        };
        let message = StoreEventRequest::from(event);
        let stored = self.peers.call(Call::repeatable(), message, send).await?;
        stored.try_into().map_err(unreadable)
    }

    /// Made again if need be: an event is released once.
    async fn release_event(&self, actor: Actor, release: ReleaseEvent) -> Result<Stored> {
        let send = |request| {
            let mut client = limited!(StoreClient::new(self.peers.channel()));
            async move { client.release_event(request).await }
        };
        let message = ReleaseEventRequest::from(release);
        let stored = self.peers.call(Call::acting(actor).again(), message, send).await?;
        stored.try_into().map_err(unreadable)
    }

    async fn event(&self, id: EventId) -> Result<Option<Event>> {
        let send = |request| {
            let mut client = self.events_client();
            async move { client.get(request).await }
        };
        let message = GetEventRequest { id: id.to_string() };
        let event = found(self.peers.call(Call::repeatable(), message, send).await)?;
        event.map(TryInto::try_into).transpose().map_err(unreadable)
    }

    async fn payload(&self, id: EventId) -> Result<Option<Bytes>> {
        let send = |request| {
            let mut client = self.events_client();
            async move { client.get_payload(request).await }
        };
        let message = GetPayloadRequest { id: id.to_string() };
        let answer = found(self.peers.call(Call::repeatable(), message, send).await)?;
        Ok(answer.map(|answer| answer.payload))
    }

    async fn payload_state(&self, id: EventId) -> Result<Option<PayloadState>> {
        let send = |request| {
            let mut client = self.events_client();
            async move { client.get_payload_state(request).await }
        };
        let message = GetPayloadStateRequest { id: id.to_string() };
        let answer = found(self.peers.call(Call::repeatable(), message, send).await)?;
        let state = |answer: GetPayloadStateResponse| {
            one_of::<v1::PayloadState, _>(answer.state, "state").map_err(unreadable)
        };
        answer.map(state).transpose()
    }

    async fn payload_states(&self, ids: Vec<EventId>) -> Result<Vec<Option<PayloadState>>> {
        let send = |request| {
            let mut client = self.events_client();
            async move { client.batch_get_payload_states(request).await }
        };
        let message = BatchGetPayloadStatesRequest { ids: texts(&ids) };
        let answer = self.peers.call(Call::repeatable(), message, send).await?;
        answered_all(&ids, &answer.states)?;
        let state = |state: i32| match state {
            0 => Ok(None),
            known => one_of::<v1::PayloadState, _>(known, "states").map(Some),
        };
        answer.states.into_iter().map(state).collect::<Result<_, _>>().map_err(unreadable)
    }

    async fn events(&self, filter: EventFilter, page: PageRequest) -> Result<Page<Event>> {
        let send = |request| {
            let mut client = self.events_client();
            async move { client.list(request).await }
        };
        let message = ListEventsRequest::from((filter, page));
        let answer = self.peers.call(Call::repeatable(), message, send).await?;
        let items = each(answer.events, "events", Event::try_from).map_err(unreadable)?;
        Ok(Page { items, next: answer.next })
    }

    async fn deliveries_of(&self, id: EventId) -> Result<Vec<Delivery>> {
        let send = |request| {
            let mut client = self.events_client();
            async move { client.list_deliveries(request).await }
        };
        let message = ListEventDeliveriesRequest { id: id.to_string() };
        let answer = self.peers.call(Call::repeatable(), message, send).await?;
        each(answer.deliveries, "deliveries", Delivery::try_from).map_err(unreadable)
    }

    async fn events_by_id(&self, ids: Vec<EventId>) -> Result<Vec<Option<Event>>> {
        let send = |request| {
            let mut client = self.events_client();
            async move { client.batch_get(request).await }
        };
        let message = BatchGetEventsRequest { ids: texts(&ids) };
        let answer = self.peers.call(Call::repeatable(), message, send).await?;
        let found = each(answer.events, "events", Event::try_from).map_err(unreadable)?;
        let found: BTreeMap<_, _> = found.into_iter().map(|event| (event.id, event)).collect();
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }

    async fn deliveries_of_each(&self, ids: Vec<EventId>) -> Result<Vec<Vec<Delivery>>> {
        let send = |request| {
            let mut client = self.events_client();
            async move { client.batch_list_deliveries(request).await }
        };
        let message = BatchListDeliveriesRequest { ids: texts(&ids) };
        let answer = self.peers.call(Call::repeatable(), message, send).await?;
        answered_all(&ids, &answer.events)?;
        let read = |of: ListEventDeliveriesResponse| {
            each(of.deliveries, "deliveries", Delivery::try_from).map_err(unreadable)
        };
        answer.events.into_iter().map(read).collect()
    }
}

fn answered_all<T>(asked: &[EventId], answers: &[T]) -> Result<()> {
    if asked.len() == answers.len() {
        return Ok(());
    }
    Err(Error::internal("Master API answered for other events than were asked"))
}

fn texts(ids: &[EventId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

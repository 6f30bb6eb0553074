//! Events in the log, to be read.

use crate::{
    convert::{into_each, parsed},
    door::Door,
    v1,
};
use contract::{
    Error, ErrorCode, Result,
    id::EventId,
    master_api::{MasterApi, Page},
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves `certes.v1.Events`.
pub(super) struct Service {
    pub(super) door: Door,
    pub(super) events: Arc<dyn MasterApi>,
}

fn unknown(what: &str, id: EventId) -> Error {
    Error::new(ErrorCode::NotFound, format!("no {what} `{id}`"))
}

fn ids(texts: &[String]) -> Result<Vec<EventId>> {
    texts.iter().map(|id| Ok(parsed(id, "ids")?)).collect()
}

#[tonic::async_trait]
impl v1::events_server::Events for Service {
    async fn get(
        &self,
        request: Request<v1::GetEventRequest>,
    ) -> Result<Response<v1::Event>, Status> {
        let work = async {
            let id = parsed(&request.get_ref().id, "id")?;
            let event = self.events.event(id).await?;
            Ok(event.ok_or_else(|| unknown("event", id))?.into())
        };
        self.door.serve(work).await
    }

    async fn get_payload(
        &self,
        request: Request<v1::GetPayloadRequest>,
    ) -> Result<Response<v1::GetPayloadResponse>, Status> {
        let work = async {
            let id = parsed(&request.get_ref().id, "id")?;
            let payload = self.events.payload(id).await?;
            let payload = payload.ok_or_else(|| unknown("payload of the event", id))?;
            Ok(v1::GetPayloadResponse { payload })
        };
        self.door.serve(work).await
    }

    async fn get_payload_state(
        &self,
        request: Request<v1::GetPayloadStateRequest>,
    ) -> Result<Response<v1::GetPayloadStateResponse>, Status> {
        let work = async {
            let id = parsed(&request.get_ref().id, "id")?;
            let state = self.events.payload_state(id).await?;
            let state = v1::PayloadState::from(state.ok_or_else(|| unknown("event", id))?);
            Ok(v1::GetPayloadStateResponse { state: state.into() })
        };
        self.door.serve(work).await
    }

    async fn batch_get_payload_states(
        &self,
        request: Request<v1::BatchGetPayloadStatesRequest>,
    ) -> Result<Response<v1::BatchGetPayloadStatesResponse>, Status> {
        let work = async {
            let states = self.events.payload_states(ids(&request.get_ref().ids)?).await?;
            let state = |state: Option<_>| state.map(v1::PayloadState::from).unwrap_or_default();
            let states = states.into_iter().map(|found| state(found).into()).collect();
            Ok(v1::BatchGetPayloadStatesResponse { states })
        };
        self.door.serve(work).await
    }

    async fn list(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<v1::ListEventsResponse>, Status> {
        let work = async {
            let (filter, page) = request.into_inner().try_into()?;
            let Page { items, next } = self.events.events(filter, page).await?;
            Ok(v1::ListEventsResponse { events: into_each(items), next })
        };
        self.door.serve(work).await
    }

    async fn list_deliveries(
        &self,
        request: Request<v1::ListEventDeliveriesRequest>,
    ) -> Result<Response<v1::ListEventDeliveriesResponse>, Status> {
        let work = async {
            let id = parsed(&request.get_ref().id, "id")?;
            let deliveries = into_each(self.events.deliveries_of(id).await?);
            Ok(v1::ListEventDeliveriesResponse { deliveries })
        };
        self.door.serve(work).await
    }

    async fn batch_get(
        &self,
        request: Request<v1::BatchGetEventsRequest>,
    ) -> Result<Response<v1::BatchGetEventsResponse>, Status> {
        let work = async {
            let events = self.events.events_by_id(ids(&request.get_ref().ids)?).await?;
            let events = into_each(events.into_iter().flatten());
            Ok(v1::BatchGetEventsResponse { events })
        };
        self.door.serve(work).await
    }

    async fn batch_list_deliveries(
        &self,
        request: Request<v1::BatchListDeliveriesRequest>,
    ) -> Result<Response<v1::BatchListDeliveriesResponse>, Status> {
        let work = async {
            let each = self.events.deliveries_of_each(ids(&request.get_ref().ids)?).await?;
            let deliveries = each.into_iter().map(into_each);
            let of = |deliveries| v1::ListEventDeliveriesResponse { deliveries };
            Ok(v1::BatchListDeliveriesResponse { events: deliveries.map(of).collect() })
        };
        self.door.serve(work).await
    }
}

//! What receivers say and are told.

use super::required;
use super::{Malformed, duration, duration_from, message, moment, moment_from, optional, parsed};
use crate::v1::{
    PulledDelivery, SubscribeRequest, SubscribeResponse, pulled_delivery,
    subscribe_request::{self, Request},
    subscribe_response::Response,
};
use contract::{
    event::Headers,
    pull::{Answer, Ask, Handed, Handout},
};

impl From<Ask> for SubscribeRequest {
    fn from(ask: Ask) -> Self {
        let request = match ask {
            Ask::MaxInFlight(max) => Request::MaxInFlight(max),
            Ask::Answer { ticket, answer: Answer::Ack { status } } => {
                Request::Ack(subscribe_request::Ack { ticket, status: status.map(Into::into) })
            }
            Ask::Answer { ticket, answer: Answer::Nack { status, delay, reason } } => {
                let (status, delay) = (status.map(Into::into), delay.map(duration));
                Request::Nack(subscribe_request::Nack { ticket, status, delay, reason })
            }
            Ask::Extend { ticket, by } => {
                Request::Extend(subscribe_request::Extend { ticket, by: by.map(duration) })
            }
            Ask::Drain => Request::Drain(subscribe_request::Drain {}),
        };
        Self { request: Some(request) }
    }
}

impl TryFrom<SubscribeRequest> for Ask {
    type Error = Malformed;
    fn try_from(wire: SubscribeRequest) -> Result<Self, Malformed> {
        let read = |status: Option<u32>| {
            let narrow = |status| u16::try_from(status).ok().filter(|s| (100..1000).contains(s));
            let refuse = || Malformed::invalid("status", "it is no status of HTTP");
            status.map(|status| narrow(status).ok_or_else(refuse)).transpose()
        };
        Ok(match required(wire.request, "request")? {
            Request::Open(_) => return Err(Malformed::invalid("open", "the stream is open")),
            Request::Ack(subscribe_request::Ack { ticket, status }) => {
                Self::Answer { ticket, answer: Answer::Ack { status: read(status)? } }
            }
            Request::Nack(subscribe_request::Nack { ticket, status, delay, reason }) => {
                let delay = optional(delay, "delay", duration_from)?;
                let answer = Answer::Nack { status: read(status)?, delay, reason };
                Self::Answer { ticket, answer }
            }
            Request::Extend(subscribe_request::Extend { ticket, by }) => {
                Self::Extend { ticket, by: optional(by, "by", duration_from)? }
            }
            Request::MaxInFlight(max) => Self::MaxInFlight(max),
            Request::Drain(subscribe_request::Drain {}) => Self::Drain,
        })
    }
}

impl From<Handed> for SubscribeResponse {
    fn from(handed: Handed) -> Self {
        let response = match handed {
            Handed::Delivery(handout) => Response::Delivery((*handout).into()),
            Handed::Expired { ticket } => Response::Expired(ticket),
        };
        Self { response: Some(response) }
    }
}

impl From<Handout> for PulledDelivery {
    fn from(handout: Handout) -> Self {
        let Handout { ticket, delivery, attempt, event_uri, headers, payload, deadline } = handout;
        let header = |(name, value)| pulled_delivery::Header { name, value };
        Self {
            ticket,
            id: delivery.to_string(),
            attempt,
            headers: headers.0.into_iter().map(header).collect(),
            payload,
            deadline: Some(moment(deadline)),
            event_uri: event_uri.to_string(),
        }
    }
}

impl TryFrom<PulledDelivery> for Handout {
    type Error = Malformed;
    fn try_from(wire: PulledDelivery) -> Result<Self, Malformed> {
        let headers = wire.headers.into_iter().map(|header| (header.name, header.value));
        Ok(Self {
            ticket: wire.ticket,
            delivery: parsed(&wire.id, "id")?,
            attempt: wire.attempt,
            event_uri: parsed(&wire.event_uri, "event_uri")?,
            headers: Headers(headers.collect()),
            payload: wire.payload,
            deadline: message(wire.deadline, "deadline", moment_from)?,
        })
    }
}

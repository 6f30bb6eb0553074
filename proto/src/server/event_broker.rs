//! The door for producers: a request and its key become an event at the door of the broker.

use super::{PublicPorts, trace};
use crate::{
    config::PublicConfig,
    convert::{Malformed, duration_from, optional, parsed, parsed_optional, text},
    door::{Door, principal},
    v1::{self, handle_incoming_event_request, send_outgoing_event_request},
};
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    access::{Access, Noun, Principal},
    broker::TestFire,
    event::{Audience, Direction, Headers, NewEvent, Origin, TEST_HEADER},
    limits::{HEADERS_KEPT_BYTES_MAX, HEADERS_KEPT_MAX, IDEMPOTENCY_KEY_LENGTH_MAX},
    uri::EventUri,
};
use http::{HeaderName, HeaderValue};
use prost_types::Any;
use std::{collections::BTreeMap, time::Duration};
use tonic::{Request, Response, Status, metadata::MetadataMap};

/// How long a test waits for the first attempt when nobody says otherwise.
const TEST_WAIT: Duration = Duration::from_secs(10);
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/protobuf";

/// Serves `certes.v1.EventBroker` to producers.
pub(super) struct Service {
    pub(super) door: Door,
    pub(super) ports: PublicPorts,
    pub(super) config: PublicConfig,
}

/// What both requests have in common.
struct Sent {
    event_uri: String,
    content: Option<Content>,
    content_type: String,
    headers: BTreeMap<String, String>,
    idempotency_key: Option<String>,
}

enum Content {
    Payload(Bytes),
    Message(Any),
}

/// Both requests have the same fields; their contents are of different generated types.
macro_rules! sent {
    ($message:expr, $request:ident) => {
        Sent {
            event_uri: $message.event_uri,
            content: $message.content.map(|content| match content {
                $request::Content::Payload(payload) => Content::Payload(payload),
                $request::Content::Message(message) => Content::Message(message),
            }),
            content_type: $message.content_type,
            headers: $message.headers,
            idempotency_key: $message.idempotency_key,
        }
    };
}

#[tonic::async_trait]
impl v1::event_broker_server::EventBroker for Service {
    async fn handle_incoming_event(
        &self,
        request: Request<v1::HandleIncomingEventRequest>,
    ) -> Result<Response<v1::EventResponse>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let work = async {
            let sent = sent!(message, handle_incoming_event_request);
            let event = self.event(&principal(&extensions)?, &metadata, sent)?;
            Ok(self.ports.broker.accept(event).await?.into())
        };
        self.door.serve(work).await
    }

    async fn send_outgoing_event(
        &self,
        request: Request<v1::SendOutgoingEventRequest>,
    ) -> Result<Response<v1::EventResponse>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let work = async {
            let principal = principal(&extensions)?;
            let audience = audience(&principal, message.subscriber)?;
            let sent = sent!(message, send_outgoing_event_request);
            let event = self.event(&principal, &metadata, sent)?;
            let event = NewEvent { direction: Direction::Outgoing, audience, ..event };
            Ok(self.ports.broker.accept(event).await?.into())
        };
        self.door.serve(work).await
    }

    async fn test_fire(
        &self,
        request: Request<v1::TestFireRequest>,
    ) -> Result<Response<v1::TestFireResponse>, Status> {
        let work = async {
            let (caller, by) = (self.door.caller(&request)?, principal(request.extensions())?);
            let wanted = request.into_inner();
            let rules = self.ports.master_api.rules().borrow().clone();
            let name = text(wanted.subscription, "subscription")?;
            // Also for what the caller may not see: it is not told that it exists.
            let found = rules.subscription_named(&name).filter(|found| caller.sees(found));
            let missing = || Error::new(ErrorCode::NotFound, format!("no subscription `{name}`"));
            let subscription = found.ok_or_else(missing)?.number;
            let raw = |payload| self.raw(payload, wanted.content_type);
            let payload = wanted.payload.map(raw).transpose()?;
            let test = TestFire {
                subscription,
                by: by.producer(),
                uri: parsed_optional(wanted.event_uri, "event_uri")?,
                payload,
                wait: optional(wanted.wait, "wait", duration_from)?.unwrap_or(TEST_WAIT),
                rules: rules.sequence,
            };
            let mut fired = self.ports.broker.test_fire(test).await?;
            if by.require(Noun::Subscriptions, Access::Read).is_err() {
                // The right to change shows how it went, and nothing of what came back.
                for attempt in &mut fired.delivery.attempts {
                    attempt.response_excerpt = None;
                }
            }
            Ok(fired.into())
        };
        self.door.serve(work).await
    }

    async fn resubmit(
        &self,
        request: Request<v1::ResubmitRequest>,
    ) -> Result<Response<v1::EventResponse>, Status> {
        let work = async {
            let actor = self.door.caller(&request)?.actor()?;
            let id = parsed(&request.get_ref().id, "id")?;
            Ok(self.ports.broker.resubmit(actor, id).await?.into())
        };
        self.door.serve(work).await
    }
}

/// Whom an outgoing event is for, if the key may send to them.
fn audience(principal: &Principal, subscriber: String) -> Result<Audience> {
    let subscriber = text(subscriber, "subscriber")?;
    if let Some(own) = principal.subscriber.as_ref().filter(|own| **own != subscriber) {
        let message = format!("the key `{}` sends to the subscriber `{own}` only", principal.name);
        return Err(Error::new(ErrorCode::PermissionDenied, message));
    }
    Ok(if subscriber == "*" { Audience::All } else { Audience::Subscriber(subscriber) })
}

impl Service {
    /// The event for our own subscriptions.
    fn event(&self, principal: &Principal, metadata: &MetadataMap, sent: Sent) -> Result<NewEvent> {
        let Sent { event_uri, content, content_type, headers, idempotency_key } = sent;
        let uri: EventUri = text(event_uri, "event_uri")?.parse()?;
        if uri.is_own() {
            let message = format!("`{uri}` is made by the server alone");
            return Err(Error::new(ErrorCode::PermissionDenied, message));
        }
        let (payload, content_type) = self.content(&uri, content, content_type)?;
        self.check_size(&payload)?;
        check_idempotency_key(idempotency_key.as_deref())?;
        let mut headers = kept(headers)?;
        headers.hide_credentials(&self.config.credential_headers);
        Ok(NewEvent {
            uri,
            direction: Direction::Incoming,
            audience: Audience::Own,
            origin: Origin::Producer(principal.producer()),
            payload,
            content_type,
            headers,
            idempotency_key,
            received_at: self.ports.clock.now(),
            trace: trace::taken(metadata, &*self.ports.random)?,
            unvalidated: self.config.unvalidated,
            invalid: self.config.invalid,
            rules: self.ports.master_api.rules().borrow().sequence,
        })
    }

    fn check_size(&self, payload: &Bytes) -> Result<()> {
        let (found, allowed) = (payload.len(), self.config.payload_bytes_max);
        if found <= allowed {
            return Ok(());
        }
        let message = format!("the payload has {found} bytes; {allowed} are allowed");
        Err(Error::new(ErrorCode::BodyTooLarge, message))
    }

    /// Bytes and their content type.
    fn raw(&self, payload: Bytes, content_type: String) -> Result<(Bytes, String)> {
        self.check_size(&payload)?;
        check_content_type(&content_type)?;
        let given = !content_type.is_empty();
        Ok((payload, if given { content_type } else { JSON.to_owned() }))
    }

    /// The payload and its content type.
    fn content(
        &self,
        uri: &EventUri,
        content: Option<Content>,
        content_type: String,
    ) -> Result<(Bytes, String)> {
        check_content_type(&content_type)?;
        match content.ok_or_else(|| Malformed::missing("payload"))? {
            Content::Payload(payload) if content_type.is_empty() => Ok((payload, JSON.to_owned())),
            Content::Payload(payload) => Ok((payload, content_type)),
            Content::Message(any) if content_type.is_empty() || content_type == PROTOBUF => {
                self.check_type_url(uri, &any.type_url)?;
                Ok((any.value.into(), PROTOBUF.to_owned()))
            }
            Content::Message(_) => {
                let message = format!("`{content_type}` is given, and a message is `{PROTOBUF}`");
                Err(Error::new(ErrorCode::UnsupportedMediaType, message))
            }
        }
    }

    /// An `Any` has to be of the message that the type's schema names.
    fn check_type_url(&self, uri: &EventUri, type_url: &str) -> Result<()> {
        let found = type_url.rsplit('/').next().unwrap_or_default();
        let rules = self.ports.master_api.rules();
        let rules = rules.borrow();
        match rules.schemas.get(uri) {
            Some(schema) if schema.message != found => {
                let why = format!("it is `{found}`, and `{uri}` is `{}`", schema.message);
                Err(Malformed::invalid("message.type_url", why).into())
            }
            _ => Ok(()),
        }
    }
}

fn check_content_type(content_type: &str) -> Result<()> {
    if HeaderValue::from_str(content_type).is_ok() {
        return Ok(());
    }
    let message = "the field `content_type` is not a media type";
    Err(Error::new(ErrorCode::UnsupportedMediaType, message))
}

fn check_idempotency_key(key: Option<&str>) -> Result<()> {
    let Some(key) = key else { return Ok(()) };
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_LENGTH_MAX {
        let why = format!("it needs 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} bytes");
        return Err(Malformed::invalid("idempotency_key", why).into());
    }
    Ok(())
}

/// The headers to keep, by name, within their bounds.
fn kept(headers: BTreeMap<String, String>) -> Result<Headers> {
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if headers.len() > HEADERS_KEPT_MAX || bytes > HEADERS_KEPT_BYTES_MAX {
        let why = format!("{HEADERS_KEPT_MAX} with {HEADERS_KEPT_BYTES_MAX} bytes are allowed");
        return Err(Malformed::invalid("headers", why).into());
    }
    let one = |(name, value): (String, String)| {
        let valid = HeaderName::try_from(name.as_str());
        match (valid, HeaderValue::from_str(&value)) {
            (Ok(name), Ok(_)) if name != TEST_HEADER => Ok((name.as_str().to_owned(), value)),
            _ => {
                let field = format!("headers[{}]", name.escape_debug());
                Err(Error::from(Malformed::invalid(&field, "it is no header of HTTP")))
            }
        }
    };
    headers.into_iter().map(one).collect::<Result<_>>().map(Headers)
}

//! `POST /events/...`: one event on its way from a request to the broker, and its answer back.

use crate::{
    body::Received,
    challenge,
    policy::Left,
    respond,
    service::Gateway,
    sources::Door,
    trace, typed,
    verify::Head,
    webhook::{self, Passed},
};
use axum::{
    body::Body,
    extract::{Path, Request, State, rejection::PathRejection},
    response::Response,
};
use contract::{
    Error, ErrorCode, Result,
    clock::Timestamp,
    event::{Accepted, NewEvent, Trace},
    limits::IDEMPOTENCY_KEY_LENGTH_MAX,
    source::StaticResponse,
    uri::EventUri,
};
use http::{Extensions, HeaderMap, HeaderValue, Method, Uri, header, request::Parts};
use std::sync::Arc;

/// A request whose body has not been read yet.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) received_at: Timestamp,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    pub(crate) trace: Trace,
}

/// An event that may go to the broker, and the body that it holds on to.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) event: NewEvent,
    /// Counts against the bodies in flight until the broker has answered.
    pub(crate) body: Received,
    /// What its source wants to say of it.
    pub(crate) response: Option<Box<StaticResponse>>,
}

/// Who calls, and when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'r> {
    pub(crate) extensions: &'r Extensions,
    pub(crate) headers: &'r HeaderMap,
    pub(crate) now: Timestamp,
}

/// What came of a request.
enum Outcome {
    /// An event; what its source wants to say of it.
    Accepted(Accepted, Option<Box<StaticResponse>>),
    /// An answer to a question.
    Answered(Response),
}

type EventPath = Result<Path<String>, PathRejection>;

/// One path segment names a source; more are an event URI.
pub(crate) async fn post(
    State(gateway): State<Arc<Gateway>>,
    path: EventPath,
    request: Request,
) -> Response {
    let received_at = gateway.clock.now();
    let mut left = None;
    let outcome = match path_of(path) {
        Ok(path) => take(&gateway, &path, received_at, request, &mut left).await,
        Err(error) => Err(error),
    };
    answer(&gateway, received_at, outcome, left)
}

/// What the third party of a source asks by GET.
pub(crate) async fn get(
    State(gateway): State<Arc<Gateway>>,
    path: EventPath,
    request: Request,
) -> Response {
    ask(&gateway, path, &request, |door| challenge::get(door, request.uri().query()))
}

/// The handshake of CloudEvents.
pub(crate) async fn options(
    State(gateway): State<Arc<Gateway>>,
    path: EventPath,
    request: Request,
) -> Response {
    ask(&gateway, path, &request, |door| challenge::handshake(door, request.headers()))
}

fn ask(
    gateway: &Gateway,
    path: EventPath,
    request: &Request,
    respond: impl FnOnce(&Door) -> Result<Response>,
) -> Response {
    let now = gateway.clock.now();
    let mut left = None;
    let caller = Caller { extensions: request.extensions(), headers: request.headers(), now };
    let outcome = path_of(path).and_then(|path| match path.contains('/') {
        true => Err(Error::new(ErrorCode::MethodNotAllowed, "events are posted")),
        false => respond(&*webhook::enter(gateway, &path, caller, &mut left)?),
    });
    answer(gateway, now, outcome.map(Outcome::Answered), left)
}

fn path_of(path: EventPath) -> Result<String> {
    path.map(|Path(path)| path).map_err(|_rejection| {
        let message = "the path is not UTF-8 after its percent-encoding is undone";
        Error::new(ErrorCode::InvalidEventUri, message)
    })
}

fn answer(
    gateway: &Gateway,
    received_at: Timestamp,
    outcome: Result<Outcome>,
    left: Option<Left>,
) -> Response {
    let name = match &outcome {
        Ok(Outcome::Answered(_)) => "challenge",
        Ok(Outcome::Accepted(accepted, _)) if accepted.quarantined => "quarantined",
        Ok(Outcome::Accepted(accepted, _)) if accepted.duplicate => "duplicate",
        Ok(Outcome::Accepted(..)) => "accepted",
        Err(error) => error.code.as_str(),
    };
    gateway.metrics.answered(name, gateway.clock.now().since(received_at));
    let mut response = match outcome {
        Ok(Outcome::Accepted(_, Some(response))) => respond::fixed(&response),
        Ok(Outcome::Accepted(accepted, None)) => respond::accepted(&accepted),
        Ok(Outcome::Answered(response)) => response,
        Err(error) => {
            let mut response = respond::problem(&error);
            if error.code == ErrorCode::MethodNotAllowed {
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            response
        }
    };
    if let Some(left) = left {
        left.show(response.headers_mut());
    }
    response
}

async fn take(
    gateway: &Gateway,
    path: &str,
    received_at: Timestamp,
    request: Request,
    left: &mut Option<Left>,
) -> Result<Outcome> {
    let (head, body) = request.into_parts();
    let Parts { method, uri, headers, extensions, .. } = head;
    let door = match path.contains('/') {
        false => {
            let caller = Caller { extensions: &extensions, headers: &headers, now: received_at };
            Some(webhook::enter(gateway, path, caller, left)?)
        }
        true => None,
    };
    let trace = trace::of(&headers, gateway.random.as_ref())?;
    let arrival = Arrival { received_at, method, uri, headers, body, trace };
    let admitted = match door {
        Some(door) => match webhook::admit(gateway, &door, arrival).await? {
            Passed::Event(admitted) => *admitted,
            Passed::Answer(response) => return Ok(Outcome::Answered(response)),
        },
        None => typed::admit(gateway, path, arrival).await?,
    };
    let Admitted { event, body, response } = admitted;
    let limit = gateway.config.accept_timeout.0;
    let answer = tokio::time::timeout(limit, gateway.broker.accept(event)).await;
    drop(body);
    let accepted = answer.unwrap_or_else(|_elapsed| {
        let message = "the event could not be stored in time; send it again with the same key";
        Err(Error::new(ErrorCode::DeadlineExceeded, message))
    })?;
    Ok(Outcome::Accepted(accepted, response))
}

impl Arrival {
    /// What is known before the body.
    pub(crate) fn head(&self) -> Head<'_> {
        let Self { method, uri, headers, received_at, .. } = self;
        Head { method, query: uri.query(), headers, now: *received_at }
    }

    /// Value of a header, if it is there and readable.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type as received. Bytes of unknown kind when it is not given (RFC 9110, 8.3).
    pub(crate) fn content_type(&self) -> &str {
        let given = self.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        given.unwrap_or("application/octet-stream")
    }
}

/// `invalid_request` when the key against repeats is empty or too long.
pub(crate) fn check_idempotency_key(key: &str) -> Result<()> {
    if (1..=IDEMPOTENCY_KEY_LENGTH_MAX).contains(&key.len()) {
        return Ok(());
    }
    let (found, max) = (key.len(), IDEMPOTENCY_KEY_LENGTH_MAX);
    let message = format!("the idempotency key has {found} bytes; allowed are 1 to {max}");
    Err(Error::new(ErrorCode::InvalidRequest, message))
}

/// `permission_denied` for types that only the server itself makes.
pub(crate) fn check_not_own(uri: &EventUri) -> Result<()> {
    if !uri.is_own() {
        return Ok(());
    }
    let message = format!("`{uri}` is made by the server alone; `_certes` is not for others");
    Err(Error::new(ErrorCode::PermissionDenied, message))
}

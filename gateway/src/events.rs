//! `POST /events/...`: one event on its way from a request to the broker, and its answer back.

use crate::{body::Received, respond, service::Gateway, trace, typed, verify::Head, webhook};
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
    uri::EventUri,
};
use http::{HeaderMap, Method, Uri, header, request::Parts};
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
}

/// One path segment names a source; more are an event URI.
pub(crate) async fn post(
    State(gateway): State<Arc<Gateway>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let received_at = gateway.clock.now();
    let outcome = match path {
        Ok(Path(path)) => take(&gateway, &path, received_at, request).await,
        Err(_) => {
            let message = "the path is not UTF-8 after its percent-encoding is undone";
            Err(Error::new(ErrorCode::InvalidEventUri, message))
        }
    };
    let name = match &outcome {
        Ok(accepted) if accepted.quarantined => "quarantined",
        Ok(accepted) if accepted.duplicate => "duplicate",
        Ok(_) => "accepted",
        Err(error) => error.code.as_str(),
    };
    gateway.metrics.answered(name, gateway.clock.now().since(received_at));
    match outcome {
        Ok(accepted) => respond::accepted(&accepted),
        Err(error) => respond::problem(&error),
    }
}

async fn take(
    gateway: &Gateway,
    path: &str,
    received_at: Timestamp,
    request: Request,
) -> Result<Accepted> {
    let (head, body) = request.into_parts();
    let trace = trace::of(&head.headers, gateway.random.as_ref())?;
    let Parts { method, uri, headers, .. } = head;
    let arrival = Arrival { received_at, method, uri, headers, body, trace };
    let Admitted { event, body } = match path.contains('/') {
        false => webhook::admit(gateway, path, arrival).await?,
        true => typed::admit(gateway, path, arrival).await?,
    };
    let limit = gateway.config.accept_timeout.0;
    let answer = tokio::time::timeout(limit, gateway.broker.accept(event)).await;
    drop(body);
    answer.unwrap_or_else(|_elapsed| {
        let message = "the event could not be stored in time; send it again with the same key";
        Err(Error::new(ErrorCode::DeadlineExceeded, message))
    })
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

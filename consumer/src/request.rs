//! The HTTP request of an attempt.

use crate::{form::Body, headers, prepared::Prepared};
use bytes::Bytes;
use contract::{
    clock::Timestamp,
    delivery::Delivery,
    event::{Event, TEST_HEADER},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::Full;

/// How the consumer introduces itself.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("certes/", env!("CARGO_PKG_VERSION")));

/// A POST of `body`, signed at `now`. `shown`: the header that proves who sends.
#[expect(clippy::too_many_arguments, reason = "one for each thing that a request is made of")]
pub(crate) fn build(
    prepared: &Prepared,
    shown: Option<&(HeaderName, HeaderValue)>,
    delivery: &Delivery,
    event: &Event,
    body: Body,
    now: Timestamp,
) -> Request<Full<Bytes>> {
    let mut headers = HeaderMap::with_capacity(16 + event.headers.0.len());
    headers::pass_on(&event.headers, &mut headers);
    if body.is_cloud_event {
        headers::drop_attributes(&mut headers);
        headers.extend(body.attributes);
    }
    headers.insert(header::USER_AGENT, USER_AGENT);
    // In the place of what came with the event under the same name.
    for (name, value) in prepared.headers.iter().chain(shown.map(|(name, value)| (name, value))) {
        headers.insert(name, value.clone());
    }
    let id = delivery.webhook_id();
    let timestamp = now.unix_seconds().to_string();
    let signatures = prepared.signer.sign(&id, now, &body.bytes);
    if let Some(signature) = signatures.webhook_signature() {
        headers.insert("webhook-signature", signature);
    }
    for signature in signatures.hmac_sig() {
        headers.append("hmac-sig", signature);
    }
    let values = [
        (header::CONTENT_TYPE, body.content_type),
        (HeaderName::from_static("webhook-id"), id),
        (HeaderName::from_static("webhook-timestamp"), timestamp),
        (HeaderName::from_static("certes-delivery"), delivery.id.to_string()),
        (HeaderName::from_static("certes-event-type"), event.uri.to_string()),
        (HeaderName::from_static("certes-attempt"), delivery.next_attempt().to_string()),
        (HeaderName::from_static("certes-hops"), event.trace.hops.saturating_add(1).to_string()),
        (HeaderName::from_static("traceparent"), event.trace.traceparent.clone()),
    ];
    if event.is_test() {
        headers.insert(TEST_HEADER, HeaderValue::from_static("true"));
    }
    for (name, value) in values {
        match HeaderValue::try_from(value) {
            Ok(value) if !value.is_empty() => drop(headers.insert(name, value)),
            // A content type or trace that is no header value came in by another door than HTTP.
            _ => {}
        }
    }
    let mut request = Request::new(Full::new(body.bytes));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = prepared.uri.clone();
    *request.headers_mut() = headers;
    request
}

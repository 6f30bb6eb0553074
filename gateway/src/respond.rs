//! The one place that turns outcomes into HTTP answers: 202, or `application/problem+json`.

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
};
use contract::{
    Error, ErrorCode, event::Accepted, id::EventId, schema::Violation, source::StaticResponse,
};
use http::{HeaderValue, StatusCode, Uri, header};
use serde::Serialize;
use std::time::Duration;

/// Media type of problem details (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What `Retry-After` says with 429 and 503 where nobody knows better.
const RETRY_AFTER_DEFAULT: Duration = Duration::from_secs(1);

/// Problem details (RFC 9457), with a stable `code` and each field that broke a contract.
#[derive(Debug, Serialize)]
struct Problem<'a> {
    /// `about:blank`: the status says what kind of problem it is, and `code` says it exactly.
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Violation],
}

/// The body of a 202.
#[derive(Debug, Serialize)]
struct Answer {
    id: EventId,
    deliveries: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    quarantined: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

/// The answer to an event that is on stable storage.
pub fn accepted(accepted: &Accepted) -> Response {
    let Accepted { id, deliveries, duplicate, quarantined } = *accepted;
    let answer = Answer { id, deliveries, quarantined, duplicate };
    let mut response = json(StatusCode::ACCEPTED, "application/json", &answer);
    if duplicate {
        response.headers_mut().insert("certes-duplicate", HeaderValue::from_static("true"));
    }
    response
}

/// The answer of a source that says what its provider wants to hear.
pub(crate) fn fixed(response: &StaticResponse) -> Response {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::OK);
    plain(status, &response.content_type, response.body.clone())
}

/// A text that nobody may take for anything else.
pub(crate) fn plain(status: StatusCode, media_type: &str, text: String) -> Response {
    let mut response = (status, text).into_response();
    let headers = response.headers_mut();
    if let Ok(media_type) = HeaderValue::from_str(media_type) {
        headers.insert(header::CONTENT_TYPE, media_type);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The answer to a request that is refused. What went wrong inside goes to the log; the client
/// gets a sentence that gives nothing away.
pub fn problem(error: &Error) -> Response {
    let status =
        StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let detail = if error.code == ErrorCode::Internal {
        tracing::error!(error = %error.message, "request failed");
        "the server failed to handle the request; its log says why"
    } else {
        tracing::debug!(code = %error.code, error = %error.message, "request refused");
        &error.message
    };
    let problem = Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail,
        code: error.code.as_str(),
        errors: &error.violations,
    };
    let mut response = json(status, PROBLEM_JSON, &problem);
    let passes = matches!(error.code, ErrorCode::Unavailable | ErrorCode::RateLimited);
    if let Some(after) = error.retry_after.or(passes.then_some(RETRY_AFTER_DEFAULT)) {
        // Whole seconds (RFC 9110, 10.2.3), rounded up so that nobody comes too early.
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    if error.code == ErrorCode::Unauthenticated {
        let challenge = HeaderValue::from_static("Bearer realm=\"certes\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Answers unknown paths with 404 and wrong methods with 405, both as problems.
pub(crate) fn with_fallbacks(router: Router) -> Router {
    router.method_not_allowed_fallback(wrong_method).fallback(unknown_route)
}

async fn unknown_route(uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    problem(&Error::new(ErrorCode::NotFound, format!("there is nothing at `{path}`")))
}

async fn wrong_method(method: http::Method, uri: Uri) -> Response {
    let path: String = uri.path().chars().take(200).collect();
    let message = format!("`{path}` does not take {method}; the header `allow` says what it takes");
    problem(&Error::new(ErrorCode::MethodNotAllowed, message))
}

pub(crate) fn json(
    status: StatusCode,
    media_type: &'static str,
    body: &impl Serialize,
) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            (status, [(header::CONTENT_TYPE, media_type)], Body::from(bytes)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "answer cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

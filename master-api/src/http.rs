//! Routes of Master API over HTTP: GraphQL, also over a WebSocket, and a page about it.

mod socket;

use crate::graphql::{ApiSchema, answer, code, refusal};
use async_graphql::{Request, ServerError};
use async_graphql_axum::GraphQLResponse;
use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{self, DefaultBodyLimit, State, rejection::BytesRejection},
    http::{StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use contract::{ErrorCode, access::Principal, authenticate::Authenticate};
use std::sync::Arc;

/// The largest request: a query and its variables.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What the page says. It loads nothing from elsewhere, and holds no data.
const PAGE: &str = include_str!("http/page.html");

/// What the handlers share.
#[derive(Clone)]
struct Api {
    schema: ApiSchema,
    sockets: socket::Sockets,
}

/// `/graphql`, to be mounted below `/api`. Whoever mounts it puts a [`Principal`] into the
/// request's extensions, or refuses the request; GET shows a page to everybody, or opens a
/// WebSocket, whose first message may name the token instead: `who` says whose it is.
pub fn router(schema: ApiSchema, who: Arc<dyn Authenticate>) -> Router {
    let api = Api { schema, sockets: socket::Sockets::new(who) };
    let graphql = get(look).post(execute).layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    Router::new().route("/graphql", graphql).with_state(api)
}

async fn look(State(Api { schema, sockets }): State<Api>, request: extract::Request) -> Response {
    if request.headers().contains_key(header::UPGRADE) {
        return sockets.open(schema, request).await;
    }
    Html(PAGE).into_response()
}

async fn execute(
    State(Api { schema, .. }): State<Api>,
    principal: Option<Extension<Principal>>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let request = match body {
        Ok(body) => read(&body),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let mut error = refusal(format!("a request has at most {BODY_BYTES_MAX} bytes"));
            code(&mut error, ErrorCode::BodyTooLarge);
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, &error);
        }
        Err(_cut) => Err(refusal("the body broke off")),
    };
    let principal = principal.map(|Extension(principal)| principal);
    let answered = match request {
        Ok(request) => answer(&schema, principal, request).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(response) => GraphQLResponse::from(response).into_response(),
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error),
    }
}

/// One request; a list of them is none. The refusal says nothing of what is in it.
fn read(body: &[u8]) -> Result<Request, ServerError> {
    let object = body.trim_ascii_start().starts_with(b"{");
    let request = if object { serde_json::from_slice(body).ok() } else { None };
    request.ok_or_else(|| {
        refusal("the body is not one JSON object with `query`, `variables` and `operationName`")
    })
}

fn refuse(status: StatusCode, error: &ServerError) -> Response {
    (status, Json(serde_json::json!({ "errors": [error] }))).into_response()
}

//! Routes of Master API over HTTP: GraphQL and its explorer.

use crate::graphql::{ApiSchema, answer, code, refusal};
use async_graphql::{Request, ServerError, http::GraphiQLSource};
use async_graphql_axum::GraphQLResponse;
use axum::{
    Extension, Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::StatusCode,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use contract::{ErrorCode, access::Principal};

/// The largest request: a query and its variables.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// `/graphql`, to be mounted below `/api`. Whoever mounts it puts a [`Principal`] into the request's extensions, or
/// refuses the request; GET shows an explorer to everybody.
pub fn router(schema: ApiSchema) -> Router {
    let graphql = get(explorer).post(execute).layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    Router::new().route("/graphql", graphql).with_state(schema)
}

async fn execute(
    State(schema): State<ApiSchema>,
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

async fn explorer() -> impl IntoResponse {
    Html(GraphiQLSource::build().endpoint("/api/graphql").finish())
}

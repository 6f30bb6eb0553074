//! Routes of Master API over HTTP: GraphQL and its explorer.

use crate::graphql::ApiSchema;
use async_graphql::http::GraphiQLSource;
use async_graphql_axum::{GraphQLRequest, GraphQLResponse};
use axum::{
    Extension, Router,
    extract::State,
    response::{Html, IntoResponse},
    routing::get,
};
use contract::access::Principal;

/// `/graphql`, to be mounted below `/api`. Whoever mounts it puts a [`Principal`] into the request's extensions, or
/// refuses the request; GET shows an explorer to everybody.
pub fn router(schema: ApiSchema) -> Router {
    Router::new().route("/graphql", get(explorer).post(execute)).with_state(schema)
}

async fn execute(
    State(schema): State<ApiSchema>,
    principal: Option<Extension<Principal>>,
    request: GraphQLRequest,
) -> GraphQLResponse {
    let mut request = request.into_inner();
    if let Some(Extension(principal)) = principal {
        request = request.data(principal);
    }
    schema.execute(request).await.into()
}

async fn explorer() -> impl IntoResponse {
    Html(GraphiQLSource::build().endpoint("/api/graphql").finish())
}

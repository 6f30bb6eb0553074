//! What the wiring mounts behind the same door: the API with its keys, and gRPC.

use super::world::{World, send};
use crate::{Config, Mounts};
use axum::{
    Extension, Json, Router,
    body::{Body, Bytes},
    response::Html,
    routing::{get, post},
};
use contract::access::Principal;
use http::{Request, request::Builder};
use std::sync::Arc;

async fn whoami(principal: Option<Extension<Principal>>) -> Json<serde_json::Value> {
    Json(serde_json::json!({"name": principal.map(|Extension(principal)| principal.name)}))
}

fn api(world: &World) -> Router {
    let api = Router::new()
        .route("/graphql", get(|| async { Html("<html></html>") }).post(whoami))
        .route("/echo", post(|body: Bytes| async move { Json(body.len()) }))
        .route("/panic", post(async || -> String { panic!("a handler with a bug") }));
    let mounts = Mounts { api: world.gateway.authenticator().guard(api), ..Mounts::default() };
    Arc::clone(&world.gateway).router(mounts)
}

fn keyed(request: Builder) -> Builder {
    request.header("authorization", "Bearer reader")
}

#[tokio::test]
async fn the_api_wants_a_key() {
    let world = World::new();
    let api = api(&world);
    let ask = |request: Builder| send(api.clone(), request.body(Body::empty()).unwrap());

    let answer = ask(keyed(Request::post("/api/graphql"))).await;
    assert_eq!((answer.status.as_u16(), &answer.json["name"]), (200, &"reader".into()));
    let answer = ask(Request::post("/api/graphql")).await;
    answer.refused(401, "unauthenticated");
    assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"certes\"");

    let page = || Request::get("/api/graphql").header("accept", "text/html,*/*");
    assert_eq!(ask(page()).await.status, 200);
    let wrong = page().header("authorization", "Bearer nobody");
    ask(wrong).await.refused(401, "unauthenticated");
    let query = Request::get("/api/graphql?query=x").header("accept", "text/html");
    ask(query).await.refused(401, "unauthenticated");
    ask(Request::get("/api/graphql")).await.refused(401, "unauthenticated");
    // The first message of a WebSocket names the key; a wrong one in a header is refused.
    assert_eq!(ask(page().header("upgrade", "websocket")).await.status, 200);
    let wrong = page().header("upgrade", "websocket").header("authorization", "Bearer nobody");
    ask(wrong).await.refused(401, "unauthenticated");

    ask(keyed(Request::post("/api/nothing"))).await.refused(404, "not_found");
    ask(keyed(Request::delete("/api/graphql"))).await.refused(405, "method_not_allowed");
    ask(keyed(Request::post("/api/panic"))).await.refused(500, "internal");
}

#[tokio::test]
async fn bodies_of_the_api_are_bounded() {
    let world = World::with(Config { api_body_bytes_max: 100, ..Config::default() });
    let api = api(&world);
    let echo = |body: Body, length: Option<&str>| {
        let request = keyed(Request::post("/api/echo"));
        let request = length.into_iter().fold(request, |r, l| r.header("content-length", l));
        send(api.clone(), request.body(body).unwrap())
    };
    assert_eq!(echo(Body::from("x".repeat(100)), Some("100")).await.json, 100);
    echo(Body::from("x".repeat(101)), Some("101")).await.refused(413, "body_too_large");
    // Without a length it is cut where it exceeds the bound.
    assert_eq!(echo(Body::from("x".repeat(101)), None).await.status, 413);
}

#[tokio::test]
async fn grpc_is_told_apart_by_its_content_type() {
    let world = World::new();
    let grpc = Router::new().fallback(async || "grpc");
    let mounts = Mounts { grpc: Some(grpc), ..Mounts::default() };
    let router = Arc::clone(&world.gateway).router(mounts);
    let ask = |content_type: &str| {
        let request = Request::post("/certes.v1.EventBroker/SendOutgoingEvent");
        let request = request.header("content-type", content_type).body(Body::empty()).unwrap();
        tower::ServiceExt::oneshot(router.clone(), request)
    };
    for content_type in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
        assert_eq!(ask(content_type).await.unwrap().status(), 200, "{content_type}");
    }
    for content_type in ["application/json", "application/grpc-web", "application/grpcx", ""] {
        assert_eq!(ask(content_type).await.unwrap().status(), 404, "{content_type}");
    }
}

//! How answers look: 202 in its kinds, every refusal of the broker, and what is not there.

use super::world::{World, send, unavailable};
use crate::{Config, admin, readiness::Readiness};
use axum::body::Body;
use contract::{Error, ErrorCode, backoff::Span, event::Accepted, id::EventId, schema::Violation};
use http::Request;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const EVENT: &str = r#"{"type": "x"}"#;

#[tokio::test]
async fn duplicates_and_quarantine_are_told() {
    let world = World::new();
    let id = EventId::from_bytes([9; 16]);
    let kind = |duplicate, quarantined| Accepted { id, deliveries: 0, duplicate, quarantined };

    world.broker.answer(Ok(kind(true, false)));
    let answer = world.post_open(EVENT).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["certes-duplicate"]),
        (202, &"true".parse().unwrap())
    );
    let expected = serde_json::json!({"id": id.to_string(), "deliveries": 0, "duplicate": true});
    assert_eq!(answer.json, expected);

    world.broker.answer(Ok(kind(false, true)));
    let answer = world.post_open(EVENT).await;
    assert!(!answer.headers.contains_key("certes-duplicate"));
    let expected = serde_json::json!({"id": id.to_string(), "deliveries": 0, "quarantined": true});
    assert_eq!(answer.json, expected);
}

#[tokio::test]
async fn every_code_has_its_answer() {
    let world = World::new();
    for code in ErrorCode::ALL {
        world.broker.answer(Err(Error::new(*code, "what only the log may say")));
        let answer = world.post_open(EVENT).await;
        let detail = answer.refused(code.http_status(), code.as_str());
        assert_eq!(detail.contains("only the log"), *code != ErrorCode::Internal, "{code}");
        assert!(answer.json.get("errors").is_none());
    }
}

#[tokio::test]
async fn a_broken_contract_lists_every_field() {
    let world = World::new();
    let violation = |path: &str| Violation {
        path: path.into(),
        expected: "int64".into(),
        found: "\"seven\"".into(),
        rule: "type".into(),
    };
    let violations = vec![violation("repository.id"), violation("commits[2].author")];
    world.broker.answer(Err(Error::violations("2 fields break the contract", violations)));
    let answer = world.post_open(EVENT).await;
    answer.refused(422, "contract_violation");
    let expected = serde_json::json!([
        {"path": "repository.id", "expected": "int64", "found": "\"seven\"", "rule": "type"},
        {"path": "commits[2].author", "expected": "int64", "found": "\"seven\"", "rule": "type"},
    ]);
    assert_eq!(answer.json["errors"], expected);
}

#[tokio::test]
async fn retry_after_is_in_whole_seconds_rounded_up() {
    let world = World::new();
    world.broker.answer(Err(unavailable()));
    assert_eq!(world.post_open(EVENT).await.headers["retry-after"], "1");
    for (millis, expected) in [(1, "1"), (1000, "1"), (1001, "2"), (0, "1")] {
        world.broker.answer(Err(unavailable().retry_after(Duration::from_millis(millis))));
        let answer = world.post_open(EVENT).await;
        answer.refused(503, "unavailable");
        assert_eq!(answer.headers["retry-after"], expected);
    }
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_not_waited_for_for_ever() {
    let accept_timeout = Span(Duration::from_millis(20));
    let world = World::with(Config { accept_timeout, ..Config::default() });
    world.broker.hold();
    world.post_open(EVENT).await.refused(504, "deadline_exceeded");
}

#[tokio::test]
async fn a_panic_is_one_failed_request() {
    let world = World::new();
    let answer = world.post_open(r#"{"type": "panic"}"#).await;
    assert!(!answer.refused(500, "internal").contains("bug"));
    assert_eq!(world.post_open(EVENT).await.status, 202);
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    let world = World::new();
    for path in ["/nothing", "/events", "/events/", "/api/graphql", "/metrics"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        send(world.router(), request).await.refused(404, "not_found");
    }
    let request = Request::get("/events/github").body(Body::empty()).unwrap();
    let answer = send(world.router(), request).await;
    answer.refused(405, "method_not_allowed");
    assert_eq!(answer.headers["allow"], "POST");
}

#[tokio::test]
async fn the_front_page_says_who_answers() {
    let world = World::new();
    let ready = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ready);
    let readiness = Readiness::new(move || match seen.load(Ordering::Relaxed) {
        true => Vec::new(),
        false => vec!["the store is opening".to_owned()],
    });
    let mounts = crate::Mounts { readiness: Some(readiness.clone()), ..Default::default() };
    let router = Arc::clone(&world.gateway).router(mounts);
    let admin = admin::router(Arc::new(world.registry), readiness);
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();

    for path in ["/", "/health"] {
        let answer = send(router.clone(), get(path)).await;
        assert_eq!((answer.status.as_u16(), &answer.json["name"]), (200, &"certes".into()));
        assert_eq!(answer.json["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(answer.json["ready"], false);
    }
    let answer = send(admin.clone(), get("/health/ready")).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json["reasons"][0], "the store is opening");
    assert_eq!(send(admin.clone(), get("/health/live")).await.status, 200);

    ready.store(true, Ordering::Relaxed);
    assert_eq!(send(router, get("/")).await.json["ready"], true);
    assert_eq!(send(admin.clone(), get("/health/ready")).await.status, 200);
    send(admin, get("/nothing")).await.refused(404, "not_found");
}

#[tokio::test]
async fn metrics_count_by_outcome() {
    let world = World::new();
    world.post_open(EVENT).await;
    world.post_open("{").await;
    world.broker.answer(Err(unavailable()));
    world.post_open(EVENT).await;
    let router = admin::router(Arc::new(world.registry), Readiness::new(Vec::new));
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(router, request).await.unwrap();
    let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert!(media_type.starts_with("application/openmetrics-text"));
    let page = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let page = String::from_utf8(page.to_vec()).unwrap();
    for line in [
        "certes_gateway_events_total{outcome=\"accepted\"} 1",
        "certes_gateway_events_total{outcome=\"malformed_payload\"} 1",
        "certes_gateway_events_total{outcome=\"unavailable\"} 1",
        "certes_gateway_answer_seconds_count 3",
        "certes_gateway_body_bytes 0",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

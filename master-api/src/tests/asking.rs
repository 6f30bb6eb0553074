//! GraphQL: who may ask what, how much, and how a refusal looks.

use super::harness::{Bench, principal, put_subscription};
use crate::{graphql, http::router};
use async_graphql::Request;
use axum::{
    body::{Body, to_bytes},
    extract::Request as HttpRequest,
};
use bytes::Bytes;
use contract::{
    access::Principal,
    authenticate::Keys,
    master_api::{Configuration, Events},
};
use serde_json::{Value, json};
use std::sync::Arc;
use tower::ServiceExt;

async fn ask(bench: &Bench, principal: Principal, query: &str) -> Value {
    let schema = graphql::schema(bench.api.clone(), None, None);
    match graphql::answer(&schema, Some(principal), Request::new(query)).await {
        Ok(response) => serde_json::to_value(response).unwrap(),
        Err(error) => json!({ "errors": [error] }),
    }
}

async fn ask_as(bench: &Bench, roles: &[&str], query: &str) -> Value {
    ask(bench, principal(roles, None), query).await
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("none")
}

#[tokio::test]
async fn nobody_gives_a_key_more_than_they_have() {
    let bench = Bench::memory();
    let create = |roles: &str| {
        format!(
            "mutation {{ createKey(name: \"k{}\", roles: [\"{roles}\"]) {{ token }} }}",
            roles.len()
        )
    };
    for more in ["admin", "producer", "keys:read"] {
        let answer = ask_as(&bench, &["keys:write"], &create(more)).await;
        assert_eq!(code(&answer), "permission_denied", "{more}");
    }
    assert_eq!(bench.api.shared.state.load().keys.len(), 1);
    let own = ask_as(&bench, &["keys:write"], &create("keys:write")).await;
    assert!(own["data"]["createKey"]["token"].is_string(), "{own}");
}

#[tokio::test]
async fn a_role_shows_its_own_noun_alone() {
    let bench = Bench::memory();
    let lane = bench.subscribe("ci").await;
    let id = bench.store(&[lane]).await.id;
    let deliveries =
        format!("{{ event(id: \"{id}\") {{ deliveries {{ subscription {{ url }} }} }} }}");
    assert_eq!(code(&ask_as(&bench, &["events:read"], &deliveries).await), "permission_denied");
    let both = ask_as(&bench, &["events:read", "subscriptions:read"], &deliveries).await;
    assert!(both["data"]["event"]["deliveries"][0]["subscription"]["url"].is_string(), "{both}");

    // Whether a name is taken is for those to know who may take it.
    let subscription = r#"input: {name: "ci", url: "http://127.0.0.1:9/", events: ["a/1/*"]}"#;
    let source = r#"input: {name: "s", verify: "none", eventType: "a/1/b"}"#;
    for change in [
        format!("createSubscription({subscription}) {{ secret }}"),
        format!("updateSubscription({subscription}) {{ secret }}"),
        format!("createSource({source}) {{ name }}"),
        format!("updateSource({source}) {{ name }}"),
    ] {
        let change = format!("mutation {{ {change} }}");
        assert_eq!(code(&ask_as(&bench, &["events:read"], &change).await), "permission_denied");
    }
    let create = format!("mutation {{ createSubscription({subscription}) {{ secret }} }}");
    assert_eq!(code(&ask_as(&bench, &["admin"], &create).await), "conflict");
}

#[tokio::test]
async fn a_tenant_reaches_its_own_subscriptions_alone() {
    let bench = Bench::memory();
    bench.execute(vec![put_subscription("ours")]).await.unwrap();
    let ours = r#"input: {name: "ours", url: "http://127.0.0.1:9/", events: ["a/1/*"]}"#;
    let table = [
        (format!("createSubscription({ours}) {{ secret }}"), "conflict"),
        (format!("updateSubscription({ours}) {{ secret }}"), "not_found"),
        (r#"pauseSubscription(name: "ours") { name }"#.into(), "not_found"),
        (r#"deleteSubscription(name: "ours")"#.into(), "not_found"),
    ];
    for (change, expected) in table {
        let tenant = principal(&["admin"], Some("org_1"));
        let answer = ask(&bench, tenant, &format!("mutation {{ {change} }}")).await;
        assert_eq!(code(&answer), expected, "{change}");
    }
}

#[tokio::test]
async fn an_answer_has_a_bound() {
    let bench = Bench::memory();
    let mut event = bench.event(&[]);
    event.event.payload = Bytes::from(vec![b' '; 5 * 1024 * 1024]);
    let id = bench.api.store_event(event).await.unwrap().id;
    let aliases = |count: usize| {
        let aliases: String = (0..count).map(|n| format!("a{n}: payload ")).collect();
        format!("{{ event(id: \"{id}\") {{ {aliases} }} }}")
    };
    let few = ask_as(&bench, &["events:read"], &aliases(6)).await;
    assert_eq!(few["data"]["event"]["a5"].as_str().unwrap().len(), 5 * 1024 * 1024);
    for count in [7, 1000] {
        let many = ask_as(&bench, &["events:read"], &aliases(count)).await;
        assert_eq!(code(&many), "invalid_request");
        assert!(many.to_string().len() < 33 * 1024 * 1024, "what fits is shown, and no more");
    }
    // A delivery's event leads no further.
    let cycle = "{ events { nodes { deliveries { event { deliveries { id } } } } } }";
    assert_eq!(code(&ask_as(&bench, &["admin"], cycle).await), "invalid_request");
    let payload = "{ events { nodes { deliveries { event { payload } } } } }";
    assert_eq!(code(&ask_as(&bench, &["admin"], payload).await), "invalid_request");
    let documented = "{ events { nodes { id type state payload deliveries { id state event { id } \
        subscription { name } attempts { number status cause error durationMs } } } } }";
    let answer = ask_as(&bench, &["admin"], documented).await;
    assert!(answer["errors"].is_null(), "{}", answer["errors"]);
}

#[tokio::test]
async fn every_refusal_has_a_code() {
    let bench = Bench::memory();
    for query in [
        "{ nothing }",
        "{ events(first: \"x\") { nodes { id } } }",
        "{ events(first: 99999999) { nodes { id type } } }",
        "query($x: Int!) { events(first: $x) { nodes { id } } }",
        "{ event { id } }",
        "query a { version } query b { version }",
        "{ ",
        "",
        "{ ...a } fragment a on Query { ...a }",
        "subscription { a }",
    ] {
        let answer = ask_as(&bench, &["admin"], query).await;
        let errors = answer["errors"].as_array().unwrap();
        assert!(!errors.is_empty(), "{query}");
        for error in errors {
            assert_eq!(error["extensions"]["code"], "invalid_request", "{query}: {error}");
        }
    }
    let misplaced = r#"mutation { createSource(input: {name: "s", verify: {secret: "hunter2"},
        eventType: "a/1/b"}) { name } }"#;
    let answer = ask_as(&bench, &["admin"], misplaced).await;
    assert_eq!(code(&answer), "invalid_request");
    assert!(!answer.to_string().contains("hunter2"), "{answer}");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_as_json() {
    let bench = Bench::memory();
    let table: [(&[u8], u16, &str); 8] = [
        (b"", 400, "invalid_request"),
        (b"hunter2", 400, "invalid_request"),
        (br#"{"query": hunter2}"#, 400, "invalid_request"),
        (br#"{"query": ["hunter2"]}"#, 400, "invalid_request"),
        (br#"[{"query": "{ hunter2 }"}]"#, 400, "invalid_request"),
        (br#"["{ hunter2 }"]"#, 400, "invalid_request"),
        (br#"{"query": "{ hunter2 "}"#, 400, "invalid_request"),
        (&[b' '; 1024 * 1024 + 1], 413, "body_too_large"),
    ];
    for (body, status, expected) in table {
        let who = Arc::new(Keys::new(bench.api.rules(), bench.clock.clone()));
        let router = router(graphql::schema(bench.api.clone(), None, None), who);
        let request = HttpRequest::post("/graphql").body(Body::from(body.to_vec())).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["content-type"], "application/json");
        let body = to_bytes(answer.into_body(), 1 << 16).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(code(&body), expected, "{body}");
        assert!(!body.to_string().contains("hunter2"), "{body}");
    }
}

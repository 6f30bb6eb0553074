//! Webhooks of third parties: proof, event type, and what is kept.

use super::world::{
    Given, SECRET, START_S, WEBHOOK_SECRET, World, github_signature, put_source, source,
};
use contract::{
    event::{Audience, Direction, Disposition, Origin},
    source::Scheme,
};
use standardwebhooks::Webhook;
use std::time::Duration;

#[tokio::test]
async fn a_signed_github_push_reaches_the_broker() {
    let world = World::new();
    let body = r#"{"ref": "refs/heads/main"}"#;
    let answer = world.post_github(SECRET, body).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.headers["content-type"], "application/json");
    let event = world.broker.last();
    assert_eq!(answer.json["id"], "evt_0w3ge1r70w3ge1r70w3ge1r70w");
    assert_eq!(answer.json["deliveries"], 2);
    assert_eq!(answer.json.as_object().unwrap().len(), 2);

    assert_eq!(event.uri.as_str(), "github/1/push");
    assert_eq!(event.payload, body);
    assert_eq!(event.content_type, "application/json");
    assert_eq!(event.origin, Origin::Source("github".into()));
    assert_eq!((event.direction, event.audience), (Direction::Incoming, Audience::Own));
    assert_eq!(event.idempotency_key.as_deref(), Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"));
    assert_eq!(event.received_at.unix_seconds(), START_S);
    assert_eq!(event.headers.get("x-github-event"), Some("push"));
    assert_eq!(event.trace.trail, [format!("gw.{}", &event.trace.traceparent[3..35])]);
}

#[tokio::test]
async fn every_valid_secret_verifies_and_a_change_counts_at_once() {
    let world = World::new();
    for secret in [SECRET, "the next secret"] {
        assert_eq!(world.post_github(secret, "{}").await.status, 202, "{secret}");
    }
    world.post_github("another secret", "{}").await.refused(401, "invalid_signature");

    world.change_rules(|rules| {
        let spec = rules.sources["github"].spec.clone();
        put_source(rules, spec, &["the next secret"]);
    });
    assert_eq!(world.post_github("the next secret", "{}").await.status, 202);
    world.post_github(SECRET, "{}").await.refused(401, "invalid_signature");

    world.change_rules(|rules| drop(rules.sources.remove("github")));
    world.post_github("the next secret", "{}").await.refused(404, "unknown_source");
    assert_eq!(world.broker.count(), 3);
}

#[tokio::test]
async fn what_a_webhook_gets_wrong_is_named_and_stored_nowhere() {
    let world = World::new();
    let signed = github_signature(SECRET, b"{}");
    let proof = ("x-hub-signature-256", signed.as_str());
    let push = ("x-github-event", "push");
    let other = github_signature(SECRET, b"{ }");
    let rows: &[(&str, Given<'_>, &str, u16, &str, &str)] = &[
        ("github", &[push], "{}", 401, "invalid_signature", "x-hub-signature-256"),
        ("github", &[push, ("x-hub-signature-256", &other)], "{}", 401, "invalid_signature", "fit"),
        ("nobody", &[], "{}", 404, "unknown_source", "nobody"),
        ("github", &[proof], "{}", 400, "invalid_request", "x-github-event"),
        ("github", &[proof, ("x-github-event", "a b")], "{}", 400, "invalid_event_uri", "a b"),
        ("github", &[proof, ("x-github-event", "a/2/b")], "{}", 400, "invalid_request", "`/`"),
        ("open", &[], "{", 422, "malformed_payload", "JSON"),
        ("open", &[], r#"{"kind": "x"}"#, 400, "invalid_request", "`type`"),
        (
            "tenant",
            &[],
            r#"{"uri": "_certes/1/delivery_dead"}"#,
            403,
            "permission_denied",
            "_certes",
        ),
        ("tenant", &[], r#"{"uri": "nothing"}"#, 400, "invalid_event_uri", "nothing"),
        (
            "open",
            &[("content-encoding", "gzip")],
            "{}",
            415,
            "unsupported_media_type",
            "compressed",
        ),
        ("open", &[("certes-hops", "9")], "{}", 422, "too_many_hops", "8"),
        ("broken", &[], "{}", 500, "internal", "log"),
    ];
    for (name, headers, body, status, code, text) in rows {
        let answer = world.post(&format!("/events/{name}"), headers, body.to_string()).await;
        let detail = answer.refused(*status, code);
        assert!(detail.contains(text), "{detail}");
        assert!(!detail.contains(&signed) && !detail.contains("broken"), "{detail}");
    }
    let long = format!(r#"{{"type": "x", "id": "{}"}}"#, "k".repeat(256));
    world.post("/events/open", &[], long).await.refused(400, "invalid_request");
    assert_eq!(world.broker.count(), 0);
    // Without a key against repeats an event is fine.
    assert_eq!(world.post("/events/open", &[], r#"{"type": "x", "id": ""}"#).await.status, 202);
    assert_eq!(world.broker.last().idempotency_key, None);
}

#[tokio::test]
async fn a_source_has_its_own_bounds_and_policies() {
    let world = World::new();
    let body = r#"{"uri": "shop/eu/2/order", "pad": ""}"#;
    assert_eq!(world.post("/events/tenant", &[], body).await.status, 202);
    let event = world.broker.last();
    assert_eq!(event.uri.as_str(), "shop/eu/2/order");
    assert_eq!(event.audience, Audience::Subscriber("org_1".into()));
    assert_eq!(event.direction, Direction::Incoming);
    assert_eq!((event.unvalidated, event.invalid), (Disposition::Accept, Disposition::Quarantine));
    assert_eq!(event.content_type, "application/octet-stream");
    assert_eq!(event.idempotency_key, None);

    let answer = world.post("/events/tenant", &[], "x".repeat(1001)).await;
    assert!(answer.refused(413, "body_too_large").contains("1000"));
    let fitting = format!("{{\"uri\": \"a/1/b\"{}}}", " ".repeat(984));
    assert_eq!(fitting.len(), 1000);
    assert_eq!(world.post("/events/tenant", &[], fitting).await.status, 202);
}

#[tokio::test]
async fn github_may_send_more_than_others() {
    let world = World::new();
    let body = "x".repeat(6 * 1024 * 1024);
    assert_eq!(world.post_github(SECRET, &body).await.status, 202);
    world.post("/events/open", &[], body).await.refused(413, "body_too_large");
}

/// Signs as the reference library of Standard Webhooks does.
fn standard(id: &str, timestamp: i64, body: &str) -> [(&'static str, String); 3] {
    let signature = Webhook::new(WEBHOOK_SECRET)
        .unwrap()
        .sign(id, timestamp, body.as_bytes())
        .expect("the reference library signs text");
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", timestamp.to_string()),
        ("webhook-signature", signature),
    ]
}

#[tokio::test]
async fn standard_webhooks_of_the_reference_library_verify_within_the_tolerance() {
    let world = World::new();
    let body = r#"{"type": "user.created"}"#;
    let post = async |timestamp: i64, prefix: &str| {
        let signed = standard("msg_1", timestamp, body);
        let named = signed.map(|(name, value)| (name.replace("webhook", prefix), value));
        let headers: Vec<_> = named.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        world.post("/events/standard", &headers, body).await
    };
    for timestamp in [START_S - 300, START_S, START_S + 300] {
        assert_eq!(post(timestamp, "webhook").await.status, 202);
        assert_eq!(post(timestamp, "svix").await.status, 202);
    }
    let event = world.broker.last();
    assert_eq!(event.uri.as_str(), "standard/1/user.created");
    assert_eq!(event.idempotency_key.as_deref(), Some("msg_1"));
    for timestamp in [START_S - 301, START_S + 301] {
        let answer = post(timestamp, "webhook").await;
        assert!(answer.refused(401, "invalid_signature").contains("300 s"));
    }
    world.clock.advance(Duration::from_secs(301));
    post(START_S, "webhook").await.refused(401, "invalid_signature");

    world.change_rules(|rules| {
        let mut spec = rules.sources["standard"].spec.clone();
        spec.tolerance_s = Some(600);
        put_source(rules, spec, &[WEBHOOK_SECRET]);
    });
    assert_eq!(post(START_S, "webhook").await.status, 202);
}

#[tokio::test]
async fn a_form_keeps_its_bytes_and_its_json_names_the_type() {
    let world = World::new();
    let form = "payload=%7B%22type%22%3A%22ping%22%2C%22id%22%3A+7%7D";
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(world.post("/events/open", &headers, form).await.status, 202);
    let event = world.broker.last();
    assert_eq!(event.payload, form);
    assert_eq!(event.content_type, "application/x-www-form-urlencoded");
    assert_eq!(event.uri.as_str(), "open/1/ping");
    assert_eq!(event.idempotency_key.as_deref(), Some("7"));
}

#[tokio::test]
async fn credentials_and_traces_of_a_request() {
    let world = World::new();
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = [
        ("traceparent", traceparent),
        ("certes-hops", "3"),
        ("x-gitlab-token", "hunter2"),
        ("cookie", "session=hunter2"),
    ];
    world.post("/events/open", &headers, r#"{"type": "x"}"#).await;
    let event = world.broker.last();
    assert_eq!(event.trace.traceparent, traceparent);
    assert_eq!(event.trace.trail, ["ext.gw.4bf92f3577b34da6a3ce929d0e0e4736"]);
    assert_eq!(event.trace.hops, 3);
    assert!(event.headers.get("x-gitlab-token").unwrap().starts_with("*** "));
    assert!(!format!("{event:?}").contains("hunter2"));
}

#[tokio::test]
async fn sources_are_found_under_their_percent_encoded_name() {
    let world = World::new();
    world.change_rules(|rules| {
        put_source(rules, source("my shop", Scheme::None, "shop/1/order"), &[]);
    });
    assert_eq!(world.post("/events/my%20shop", &[], "{}").await.status, 202);
    world.post("/events/%FF", &[], "{}").await.refused(400, "invalid_event_uri");
}

//! Questions of third parties: answered where they are ours to answer, and never an event.

use super::world::{Answer, Given, START_S, World, put_source, send, source};
use crate::sign::{Outgoing, sign};
use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{
    clock::Timestamp,
    secret::Secret,
    source::{Scheme, SourceSpec, StaticResponse},
};
use http::{Method, Request};
use ring::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};

const BODY: &str = r#"{"type": "x"}"#;

/// A world with one more source, which verifies so under these secrets.
fn with(scheme: Scheme, secrets: &[&str], change: impl FnOnce(&mut SourceSpec)) -> World {
    let world = World::new();
    let mut spec = source("party", scheme, "party/1/x");
    change(&mut spec);
    world.change_rules(|rules| put_source(rules, spec, secrets));
    world
}

async fn call(world: &World, method: Method, query: &str, headers: Given<'_>) -> Answer {
    let request = Request::builder().method(method).uri(format!("/events/party{query}"));
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    send(world.router(), request.body(Body::empty()).unwrap()).await
}

/// Posts a body that the third party of a scheme signs with this secret.
async fn post_signed(world: &World, scheme: Scheme, secret: &str, body: &'static str) -> Answer {
    let outgoing = Outgoing {
        id: "d1",
        event: "x",
        content_type: "application/json",
        body: body.as_bytes(),
        now: Timestamp(START_S * 1_000_000),
    };
    let spec = source("party", scheme, "party/1/x");
    let signed = sign(&spec, Some(&Secret::new(secret)), outgoing).await.unwrap();
    let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let headers: Vec<_> = signed.headers.iter().map(text).collect();
    let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    world.post("/events/party", &headers, body).await
}

fn mac(secret: &str, text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), text.as_bytes())
}

#[track_caller]
fn assert_text(answer: &Answer, text: &str) {
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, text));
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn slack_gets_its_challenge_back_when_it_is_signed() {
    let world = with(Scheme::Slack, &["hush"], |_| {});
    let body = r#"{"type": "url_verification", "challenge": "3eZbrw1aB", "token": "x"}"#;
    assert_text(&post_signed(&world, Scheme::Slack, "hush", body).await, "3eZbrw1aB");
    let refused = post_signed(&world, Scheme::Slack, "other", body).await;
    refused.refused(401, "invalid_signature");
    assert_eq!(world.broker.count(), 0);
    assert_eq!(post_signed(&world, Scheme::Slack, "hush", BODY).await.status, 202);
}

#[tokio::test]
async fn zoom_gets_a_mac_under_the_secret_that_signed() {
    let world = with(Scheme::Zoom, &["new", "old"], |_| {});
    let body = r#"{"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6"}}"#;
    for secret in ["new", "old"] {
        let answer = post_signed(&world, Scheme::Zoom, secret, body).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.json["plainToken"], "qgg8vlvZRS6");
        assert_eq!(answer.json["encryptedToken"], hex::encode(mac(secret, "qgg8vlvZRS6")));
    }
    post_signed(&world, Scheme::Zoom, "other", body).await.refused(401, "invalid_signature");
    let sly = r#"{"event": "endpoint.url_validation", "payload": {"plainToken": "v0:1:{}"}}"#;
    post_signed(&world, Scheme::Zoom, "new", sly).await.refused(400, "invalid_request");
    assert_eq!(world.broker.count(), 0);
}

#[tokio::test]
async fn discord_is_ponged_and_sees_that_bad_signatures_are_refused() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = hex::encode(pair.public_key());
    let world = with(Scheme::Discord, &[&public], |_| {});
    let time = START_S.to_string();
    for (body, status) in [(r#"{"type": 1}"#, 200), (r#"{"type": 2, "id": "i1"}"#, 202)] {
        let signature = hex::encode(pair.sign(format!("{time}{body}").as_bytes()));
        let headers =
            [("x-signature-timestamp", &*time), ("x-signature-ed25519", signature.as_str())];
        let answer = world.post("/events/party", &headers, body).await;
        assert_eq!(answer.status, status);
        if status == 200 {
            assert_eq!(answer.json, serde_json::json!({"type": 1}));
        }
        let answer = world.post("/events/party", &headers, r#"{"type": 1 }"#).await;
        answer.refused(401, "invalid_signature");
    }
    assert_eq!(world.broker.count(), 1);
}

#[tokio::test]
async fn x_gets_macs_of_tokens_and_of_nothing_that_could_be_a_webhook() {
    let world = with(Scheme::X, &["hush"], |_| {});
    let answer = call(&world, Method::GET, "?crc_token=9b4507b3-9040&nonce=1", &[]).await;
    assert_eq!(answer.status, 200);
    let expected = format!("sha256={}", STANDARD.encode(mac("hush", "9b4507b3-9040")));
    assert_eq!(answer.json["response_token"], expected);
    for query in ["?crc_token=%7B%7D", "?crc_token=", "", "?crc_token=%7B%22a%22%3A1%7D"] {
        call(&world, Method::GET, query, &[]).await.refused(400, "invalid_request");
    }
    // A token that was answered is no webhook, though its signature is known.
    let signature = format!("sha256={}", STANDARD.encode(mac("hush", "123")));
    let headers = [("x-twitter-webhooks-signature", signature.as_str())];
    let answer = world.post("/events/party", &headers, "123").await;
    answer.refused(401, "invalid_signature");
    assert_eq!(world.broker.count(), 0);
}

#[tokio::test]
async fn meta_gets_its_challenge_back_for_the_verify_token() {
    let world = with(Scheme::Meta, &["verify:app", "verify-old:app-old"], |_| {});
    for token in ["verify", "verify-old"] {
        let query =
            format!("?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=1158201444");
        assert_text(&call(&world, Method::GET, &query, &[]).await, "1158201444");
    }
    for query in [
        "?hub.mode=subscribe&hub.verify_token=app&hub.challenge=1",
        "?hub.mode=subscribe&hub.challenge=1",
        "?hub.verify_token=verify&hub.challenge=1",
        "",
    ] {
        call(&world, Method::GET, query, &[]).await.refused(401, "invalid_signature");
    }
    let sly = "?hub.mode=subscribe&hub.verify_token=verify&hub.challenge=%3Cb%3E";
    call(&world, Method::GET, sly, &[]).await.refused(400, "invalid_request");
    let signed = post_signed(&world, Scheme::Meta, "verify:app-old", BODY).await;
    assert_eq!(signed.status, 202);
}

#[tokio::test]
async fn graph_gets_its_token_back_and_shows_its_state_in_every_notification() {
    let world = with(Scheme::MicrosoftGraph, &["state"], |_| {});
    let token = "?validationToken=Validation%3A+Testing+client%20%3Cb%3E";
    let answer = call(&world, Method::POST, token, &[]).await;
    assert_text(&answer, "Validation: Testing client <b>");
    for (body, status) in [
        (r#"{"value": [{"clientState": "state"}, {"clientState": "st\u0061te"}]}"#, 202),
        (r#"{"value": [{"clientState": "state"}, {"clientState": "other"}]}"#, 401),
        (r#"{"value": [{"clientState": "state"}, {}]}"#, 401),
        (r#"{"value": []}"#, 401),
        ("[]", 401),
    ] {
        assert_eq!(world.post("/events/party", &[], body).await.status, status, "{body}");
    }
    assert_eq!(world.broker.count(), 1);
}

#[tokio::test]
async fn senders_of_cloudevents_may_deliver_where_they_are_known() {
    let change = |spec: &mut SourceSpec| {
        spec.origins = vec!["eventgrid.example.com".to_owned()];
        spec.limits.requests_per_second = Some(2);
    };
    let world = with(Scheme::ApiKey, &["k"], change);
    let ask = async |origin: &str| {
        call(&world, Method::OPTIONS, "", &[("webhook-request-origin", origin)]).await
    };
    let answer = ask("EventGrid.example.com").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["webhook-allowed-origin"], "EventGrid.example.com");
    assert_eq!(answer.headers["webhook-allowed-rate"], "120");
    assert_eq!(answer.headers["allow"], "POST");
    let answer = ask("other.example.com").await;
    answer.refused(403, "permission_denied");
    assert!(!answer.headers.contains_key("webhook-allowed-origin"));
    world.clock.advance(std::time::Duration::from_secs(10));
    call(&world, Method::OPTIONS, "", &[]).await.refused(400, "invalid_request");

    let closed = with(Scheme::ApiKey, &["k"], |_| {});
    let headers = [("webhook-request-origin", "eventgrid.example.com")];
    let answer = call(&closed, Method::OPTIONS, "", &headers).await;
    answer.refused(403, "permission_denied");
}

#[tokio::test]
async fn who_asks_nothing_by_get_is_told_so() {
    let world = with(Scheme::Github, &["hush"], |_| {});
    let answer = call(&world, Method::GET, "?crc_token=1&hub.mode=subscribe", &[]).await;
    answer.refused(405, "method_not_allowed");
    assert_eq!(answer.headers["allow"], "POST");
    let typed = Request::get("/events/a/1/b").body(Body::empty()).unwrap();
    send(world.router(), typed).await.refused(405, "method_not_allowed");
    let nobody = Request::get("/events/nobody").body(Body::empty()).unwrap();
    send(world.router(), nobody).await.refused(404, "unknown_source");
}

#[tokio::test]
async fn a_source_says_what_its_provider_wants_to_hear() {
    let response = StaticResponse {
        status: 200,
        content_type: "application/json".to_owned(),
        body: r#"{"type": 5}"#.to_owned(),
    };
    let world = with(Scheme::None, &[], |spec| spec.response = Some(Box::new(response)));
    let answer = world.post("/events/party", &[], BODY).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, r#"{"type": 5}"#));
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(world.broker.count(), 1);
    world.broker.answer(Err(super::world::unavailable()));
    world.post("/events/party", &[], BODY).await.refused(503, "unavailable");
}

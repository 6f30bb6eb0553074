//! Typed events of producers: key, address, media type.

use super::world::{Given, World};
use crate::Config;
use contract::{
    event::{Audience, Direction, Disposition, Origin},
    id::KeyId,
};
use std::time::Duration;

const JSON: (&str, &str) = ("content-type", "application/json");
const KEY: (&str, &str) = ("authorization", "Bearer producer");

#[tokio::test]
async fn a_typed_event_reaches_the_broker() {
    let world = World::new();
    let media_type = "application/json; charset=utf-8";
    let headers = [KEY, ("content-type", media_type), ("idempotency-key", "order-7")];
    let answer = world.post("/events/shop/eu/2/order.paid", &headers, "{}").await;
    assert_eq!(answer.status, 202);
    let event = world.broker.last();
    assert_eq!(event.uri.as_str(), "shop/eu/2/order.paid");
    assert_eq!(event.origin, Origin::Producer(KeyId::from_bytes([1; 16])));
    assert_eq!(event.content_type, media_type);
    assert_eq!(event.idempotency_key.as_deref(), Some("order-7"));
    assert_eq!((event.unvalidated, event.invalid), (Disposition::Reject, Disposition::Reject));
    assert!(event.headers.get("authorization").unwrap().starts_with("*** "));

    let headers = [("authorization", "jwt producer"), ("content-type", "application/protobuf")];
    let bytes: &[u8] = &[0, 255, 1];
    assert_eq!(world.post("/events/1/push", &headers, bytes).await.status, 202);
    let event = world.broker.last();
    assert_eq!((event.uri.as_str(), &event.payload[..]), ("_/1/push", bytes));

    let both = [KEY, JSON, ("webhook-id", "msg_1")];
    world.post("/events/1/push", &both, "{}").await;
    assert_eq!(world.broker.last().idempotency_key.as_deref(), Some("msg_1"));
}

/// Who may be addressed by which key.
#[tokio::test]
async fn the_address_decides_direction_and_audience() {
    use Direction::{Incoming, Outgoing};
    let world = World::new();
    let org_1 = || Audience::Subscriber("org_1".into());
    let org_2 = || Audience::Subscriber("org_2".into());
    let rows = [
        ("producer", None, Some((Incoming, Audience::Own))),
        ("producer", Some("org_1"), Some((Outgoing, org_1()))),
        ("producer", Some("org_2"), Some((Outgoing, org_2()))),
        ("producer", Some("*"), Some((Outgoing, Audience::All))),
        ("scoped", None, None),
        ("scoped", Some("org_1"), Some((Outgoing, org_1()))),
        ("scoped", Some("org_2"), None),
        ("scoped", Some("*"), None),
    ];
    for (key, subscriber, expected) in rows {
        let key = format!("Bearer {key}");
        let mut headers = vec![("authorization", key.as_str()), JSON];
        headers.extend(subscriber.map(|id| ("certes-subscriber", id)));
        let answer = world.post("/events/shop/1/order", &headers, "{}").await;
        match expected {
            Some(expected) => {
                assert_eq!(answer.status, 202, "{headers:?}");
                let event = world.broker.last();
                assert_eq!((event.direction, event.audience), expected, "{headers:?}");
            }
            None => assert!(answer.refused(403, "permission_denied").contains("org_1")),
        }
    }
}

#[tokio::test]
async fn what_a_producer_gets_wrong_is_named_and_stored_nowhere() {
    let world = World::new();
    let long = "k".repeat(256);
    let long_name = "n".repeat(129);
    let auth = |value| ("authorization", value);
    let rows: &[(&str, Given<'_>, u16, &str)] = &[
        ("shop/1/order", &[JSON], 401, "unauthenticated"),
        ("shop/1/order", &[JSON, auth("Bearer nobody")], 401, "unauthenticated"),
        ("shop/1/order", &[JSON, auth("Basic producer")], 401, "unauthenticated"),
        ("shop/1/order", &[JSON, auth("Bearer ")], 401, "unauthenticated"),
        ("shop/1/order", &[JSON, auth("producer")], 401, "unauthenticated"),
        ("shop/1/order", &[JSON, auth("Bearer reader")], 403, "permission_denied"),
        ("_certes/1/delivery_dead", &[JSON, KEY], 403, "permission_denied"),
        ("shop/order", &[JSON, KEY], 400, "invalid_event_uri"),
        ("shop/0/order", &[JSON, KEY], 400, "invalid_event_uri"),
        ("shop/1/", &[JSON, KEY], 400, "invalid_event_uri"),
        ("github/", &[JSON, KEY], 400, "invalid_event_uri"),
        ("shop/1/a%20b", &[JSON, KEY], 400, "invalid_event_uri"),
        ("shop/1/order", &[KEY], 415, "unsupported_media_type"),
        ("shop/1/order", &[KEY, ("content-type", "text/plain")], 415, "unsupported_media_type"),
        ("shop/1/order", &[JSON, KEY, ("certes-subscriber", "")], 400, "invalid_request"),
        ("shop/1/order", &[JSON, KEY, ("certes-subscriber", &long_name)], 400, "invalid_request"),
        ("shop/1/order", &[JSON, KEY, ("idempotency-key", "")], 400, "invalid_request"),
        ("shop/1/order", &[JSON, KEY, ("idempotency-key", &long)], 400, "invalid_request"),
    ];
    for (path, headers, status, code) in rows {
        let answer = world.post(&format!("/events/{path}"), headers, "{}").await;
        answer.refused(*status, code);
        assert_eq!(answer.headers.contains_key("www-authenticate"), *status == 401);
    }
    let body = "x".repeat(5 * 1024 * 1024 + 1);
    let answer = world.post("/events/shop/1/order", &[JSON, KEY], body).await;
    answer.refused(413, "body_too_large");
    assert_eq!(world.broker.count(), 0);
}

#[tokio::test]
async fn keys_expire_and_are_revoked() {
    let world = World::new();
    let post = async || world.post("/events/shop/1/order", &[JSON, KEY], "{}").await;
    assert_eq!(post().await.status, 202);
    world.clock.advance(Duration::from_secs(3600));
    post().await.refused(401, "unauthenticated");

    let world = World::new();
    let post = async || world.post("/events/shop/1/order", &[JSON, KEY], "{}").await;
    assert_eq!(post().await.status, 202);
    world.change_rules(|rules| rules.keys.clear());
    post().await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn the_setting_says_what_becomes_of_types_without_a_schema() {
    let config = Config { unvalidated: Disposition::Quarantine, ..Config::default() };
    let world = World::with(config);
    world.post("/events/shop/1/order", &[JSON, KEY], "{}").await;
    assert_eq!(world.broker.last().unvalidated, Disposition::Quarantine);
}

//! How event types are found, and how much a source may bring, from where, and of what.

use super::world::{World, put_source, send, source};
use axum::{body::Body, extract::ConnectInfo};
use contract::source::{Replay, Scheme, SourceLimits, SourceSpec};
use http::Request;
use std::{net::SocketAddr, time::Duration};

fn with(change: impl FnOnce(&mut SourceSpec)) -> World {
    let world = World::with(crate::Config {
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        ..crate::Config::default()
    });
    let mut spec = source("shop", Scheme::None, "{json:type}");
    change(&mut spec);
    world.change_rules(|rules| put_source(rules, spec, &[]));
    world
}

#[tokio::test]
async fn a_table_says_what_the_names_of_a_third_party_mean() {
    let world = with(|spec| {
        spec.event_types = [
            ("order/paid".to_owned(), "shop/1/paid".parse().unwrap()),
            ("order.void".to_owned(), "shop/2/void".parse().unwrap()),
        ]
        .into();
    });
    let post = async |body| world.post("/events/shop", &[], body).await;
    for (name, uri) in [("order/paid", "shop/1/paid"), ("order.void", "shop/2/void")] {
        assert_eq!(post(format!(r#"{{"type": "{name}"}}"#)).await.status, 202);
        assert_eq!(world.broker.last().uri.as_str(), uri);
    }
    let other = post(r#"{"type": "shop/1/paid"}"#.to_owned()).await;
    assert!(other.refused(400, "invalid_request").contains("event_types"));
}

#[tokio::test]
async fn what_fits_nothing_is_refused_or_gets_the_type_for_all_others() {
    let others = ["{}", r#"{"type": "not a uri"}"#, "no JSON", r#"{"type": 7}"#];
    let strict = with(|_| {});
    let open = with(|spec| spec.otherwise = Some("shop/1/other".parse().unwrap()));
    for body in others {
        let refused = strict.post("/events/shop", &[], body).await;
        assert!(matches!(refused.status.as_u16(), 400 | 422), "{refused:?}");
        assert_eq!(open.post("/events/shop", &[], body).await.status, 202);
        assert_eq!(open.broker.last().uri.as_str(), "shop/1/other");
    }
    assert_eq!(strict.broker.count(), 0);
    let own = r#"{"type": "_certes/1/delivery_dead"}"#;
    open.post("/events/shop", &[], own).await.refused(403, "permission_denied");
}

#[tokio::test]
async fn types_that_a_source_may_not_bring_are_refused() {
    let world = with(|spec| spec.limits.event_types = vec!["shop/1/*".parse().unwrap()]);
    let post = async |body| world.post("/events/shop", &[], body).await;
    assert_eq!(post(r#"{"type": "shop/1/paid"}"#).await.status, 202);
    let refused = post(r#"{"type": "bank/1/paid"}"#).await;
    assert!(refused.refused(403, "permission_denied").contains("bank/1/paid"));
    assert_eq!(world.broker.count(), 1);
}

#[tokio::test]
async fn a_rate_is_kept_and_shown() {
    let world = with(|spec| {
        spec.limits = SourceLimits {
            requests_per_second: Some(2),
            burst: Some(3),
            ..SourceLimits::default()
        };
    });
    let post = async || world.post("/events/shop", &[], r#"{"type": "shop/1/paid"}"#).await;
    for left in [2, 1, 0] {
        let answer = post().await;
        assert_eq!(answer.status, 202);
        assert_eq!(answer.headers["ratelimit-policy"], "\"source\";q=3;w=2");
        let shown = answer.headers["ratelimit"].to_str().unwrap().to_owned();
        assert!(shown.starts_with(&format!("\"source\";r={left};")), "{shown}");
    }
    let refused = post().await;
    refused.refused(429, "rate_limited");
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.headers["ratelimit"], "\"source\";r=0;t=2");
    world.clock.advance(Duration::from_millis(500));
    assert_eq!(post().await.status, 202);
    post().await.refused(429, "rate_limited");
    assert_eq!(world.broker.count(), 4);
    // Other sources go on.
    assert_eq!(world.post_open(r#"{"type": "x"}"#).await.status, 202);
}

#[tokio::test]
async fn callers_from_elsewhere_are_refused_whatever_they_say_of_themselves() {
    let world = with(|spec| {
        spec.limits.allowed_networks = vec!["192.0.2.0/24".parse().unwrap()];
    });
    let rows = [
        ("192.0.2.7", None, 202),
        ("198.51.100.7", None, 403),
        ("198.51.100.7", Some("192.0.2.7"), 403),
        ("10.0.0.1", Some("192.0.2.7"), 202),
        ("10.0.0.1", Some("192.0.2.7, 198.51.100.7"), 403),
    ];
    for (peer, forwarded, status) in rows {
        let mut request = Request::post("/events/shop");
        if let Some(forwarded) = forwarded {
            request = request.header("x-forwarded-for", forwarded);
        }
        let mut request = request.body(Body::from(r#"{"type": "shop/1/paid"}"#)).unwrap();
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = send(world.router(), request).await;
        assert_eq!(answer.status, status, "{peer} {forwarded:?}");
    }
}

#[tokio::test]
async fn a_signature_is_the_key_against_repeats_where_a_source_asks_for_it() {
    let world = World::new();
    world.change_rules(|rules| {
        let spec = rules.sources["github"].spec.clone();
        let spec = SourceSpec { replay: Replay::Signature, ..spec };
        put_source(rules, spec, &["new", "old"]);
    });
    let mut keys = Vec::new();
    for (secret, body) in [("new", "{}"), ("new", "{}"), ("new", "[]"), ("old", "{}")] {
        assert_eq!(world.post_github(secret, body).await.status, 202);
        keys.push(world.broker.last().idempotency_key.unwrap());
    }
    assert_eq!(keys[0], keys[1]);
    assert!(keys[0] != keys[2] && keys[0] != keys[3]);
    assert!(keys.iter().all(|key| key.starts_with("signature-")), "{keys:?}");
}

//! Deliveries that wait for each other.

use contract::{
    backoff::Span,
    command::Command,
    subscription::{Ordering, SubscriptionSpec},
};
use http::StatusCode;
use std::time::Duration;
use tests::{Deployment, Subscriber, Wiring, post, stories};

stories!(strict_order_outlives_failures, strict_order_outlives_a_restart);

async fn send(certes: &Deployment, uri: &str) {
    let bearer = format!("Bearer {}", certes.key.expose());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let answer = post(&format!("{}/events/{uri}", certes.http), &headers, "{}").await.unwrap();
    assert_eq!(answer.status, 202, "{:?}", answer.body);
}

fn adjust(config: &mut certes::config::Config) {
    config.gateway.unvalidated = contract::event::Disposition::Accept;
    // Each retry is far away: no queue holds it because it is near.
    config.queue.hold_delayed = Span(Duration::ZERO);
    config.broker.feeder.horizon = Span(Duration::ZERO);
}

async fn subscribe(certes: &Deployment, url: String, policy: &str) {
    let spec = SubscriptionSpec {
        name: "strict".to_owned(),
        url,
        events: vec!["x/1/*".parse().unwrap()],
        backoff: Some(serde_json::from_str(policy).unwrap()),
        ordering: Ordering::Strict,
        ..SubscriptionSpec::default()
    };
    let put = Command::PutSubscription { spec, secrets: Vec::new() };
    certes.remote().await.unwrap().execute_one(put).await.unwrap();
}

fn types(received: &[tests::Received]) -> Vec<&str> {
    received.iter().map(|got| got.header("certes-event-type")).collect()
}

async fn strict_order_outlives_failures(wiring: Wiring) {
    // Each event fails once.
    let fails =
        |n: usize| if n.is_multiple_of(2) { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
    let subscriber = Subscriber::behaving(fails).await.unwrap();
    let certes = Deployment::configured(wiring, adjust).await.unwrap();
    let quick = r#"{"kind": "constant", "base": "20ms", "jitter": "none", "max_retries": 5}"#;
    subscribe(&certes, subscriber.url(), quick).await;
    for n in 0..8 {
        send(&certes, &format!("x/1/e{n}")).await;
    }
    let received = subscriber.wait_for(16).await;
    let expected: Vec<_> = (0..8).flat_map(|n| vec![format!("x/1/e{n}"); 2]).collect();
    assert_eq!(types(&received), expected);
    certes.stop().await.unwrap();
}

async fn strict_order_outlives_a_restart(wiring: Wiring) {
    let fails_once = |n| if n == 0 { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
    let subscriber = Subscriber::behaving(fails_once).await.unwrap();
    let certes = Deployment::configured(wiring, adjust).await.unwrap();
    let slow = r#"{"kind": "constant", "base": "3s", "jitter": "none", "max_retries": 5}"#;
    subscribe(&certes, subscriber.url(), slow).await;
    send(&certes, "x/1/e0").await;
    subscriber.wait_for(1).await;
    for n in 1..4 {
        send(&certes, &format!("x/1/e{n}")).await;
    }
    let certes = certes.restart_configured(wiring, adjust).await.unwrap();
    send(&certes, "x/1/e4").await;
    let received = subscriber.wait_for(6).await;
    let expected = ["x/1/e0", "x/1/e0", "x/1/e1", "x/1/e2", "x/1/e3", "x/1/e4"];
    assert_eq!(types(&received), expected);
    certes.stop().await.unwrap();
}

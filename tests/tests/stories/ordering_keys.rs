//! Deliveries that wait for those with the same key, and for no others.

use http::StatusCode;
use serde_json::{Value, json};
use tests::{Deployment, Subscriber, Wiring, post, stories};

stories!(a_failing_key_parks_alone);

async fn send(certes: &Deployment, customer: &str, n: u32) {
    let bearer = format!("Bearer {}", certes.key.expose());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({"customer": customer, "n": n}).to_string();
    let answer =
        post(&format!("{}/events/shop/1/order", certes.http), &headers, body).await.unwrap();
    assert_eq!(answer.status, 202, "{:?}", answer.body);
}

fn adjust(config: &mut certes::config::Config) {
    config.gateway.unvalidated = contract::event::Disposition::Accept;
}

async fn a_failing_key_parks_alone(wiring: Wiring) {
    let fails_once = |n| if n == 0 { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
    let subscriber = Subscriber::behaving(fails_once).await.unwrap();
    let certes = Deployment::configured(wiring, adjust).await.unwrap();
    let manifest = format!(
        "subscriptions: [{{name: shop, url: '{}', events: ['shop/1/order'], \
         ordering: {{key: event.customer}}, \
         backoff: {{kind: constant, base: 3s, jitter: none, max_retries: 5}}}}]",
        subscriber.url()
    );
    certes.apply(&manifest).await.unwrap();
    send(&certes, "ada", 1).await;
    subscriber.wait_for(1).await;
    send(&certes, "ada", 2).await;
    send(&certes, "bob", 1).await;
    send(&certes, "bob", 2).await;
    let received = subscriber.wait_for(5).await;
    let said = |got: &tests::Received| {
        let body: Value = serde_json::from_slice(&got.body).unwrap();
        format!("{} {}", body["customer"].as_str().unwrap(), body["n"])
    };
    let said: Vec<_> = received.iter().map(said).collect();
    assert_eq!(said, ["ada 1", "bob 1", "bob 2", "ada 1", "ada 2"]);
    let shown = certes.graphql("{ subscriptions { ordering { strict key } } }").await.unwrap();
    let ordering = json!({"strict": false, "key": "event.customer"});
    assert_eq!(shown["subscriptions"][0]["ordering"], ordering);
    certes.stop().await.unwrap();
}

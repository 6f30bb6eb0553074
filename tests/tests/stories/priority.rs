//! Important first, and nobody in anybody's way.

use contract::{
    clock::{Clock, SystemClock},
    testing::ManualClock,
};
use http::StatusCode;
use std::{sync::Arc, time::Duration};
use tests::{Deployment, Subscriber, Wiring, post, stories};

stories!(
    the_important_goes_first,
    a_dead_endpoint_delays_only_itself,
    a_rate_limit_is_kept_and_delays_nobody_else,
);

async fn send(certes: &Deployment, uri: &str) -> String {
    let bearer = format!("Bearer {}", certes.key.expose());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let answer = post(&format!("{}/events/{uri}", certes.http), &headers, "{}").await.unwrap();
    assert_eq!(answer.status, 202, "{:?}", answer.body);
    answer.id()
}

async fn start(wiring: Wiring, slots: u32) -> Deployment {
    Deployment::configured(wiring, move |config| {
        config.gateway.unvalidated = contract::event::Disposition::Accept;
        config.consumer.max_in_flight = slots;
    })
    .await
    .unwrap()
}

async fn the_important_goes_first(wiring: Wiring) {
    // One slot, and an endpoint that holds the first request until all events are there.
    let gate = Arc::new(std::sync::Barrier::new(2));
    let held = gate.clone();
    let subscriber = Subscriber::behaving(move |n| {
        if n == 0 {
            held.wait();
        }
        StatusCode::OK
    });
    let subscriber = subscriber.await.unwrap();
    let certes = start(wiring, 1).await;
    let url = subscriber.url();
    let manifest = format!(
        r#"
event_types: [{{uri: "p/1/seven", priority: 7}}]
subscriptions:
  - {{name: zero, url: "{url}", events: ["p/1/zero"], priority: 0}}
  - {{name: usual, url: "{url}", events: ["p/1/usual", "p/1/seven"]}}
  - {{name: nine, url: "{url}", events: ["p/1/nine"], priority: 9}}
"#
    );
    certes.apply(&manifest).await.unwrap();
    send(&certes, "p/1/zero").await;
    for _n in 0..4 {
        for name in ["zero", "usual", "seven", "nine"] {
            send(&certes, &format!("p/1/{name}")).await;
        }
    }
    tokio::task::spawn_blocking(move || gate.wait()).await.unwrap();
    let received = subscriber.wait_for(17).await;
    let order: Vec<_> =
        received.iter().skip(1).map(|got| got.header("certes-event-type")).collect();
    // The guard against starvation may let a low one start early; with so few it must not.
    let expected: Vec<_> = ["nine", "seven", "usual", "zero"]
        .iter()
        .flat_map(|name| vec![format!("p/1/{name}"); 4])
        .collect();
    assert_eq!(order, expected);
    certes.stop().await.unwrap();
}

async fn a_dead_endpoint_delays_only_itself(wiring: Wiring) {
    let alive = Subscriber::start().await.unwrap();
    let certes = start(wiring, 64).await;
    // Nobody listens on port 9 (discard): each attempt fails.
    let manifest = format!(
        r#"
subscriptions:
  - {{name: dead, url: "http://127.0.0.1:9/", events: ["x/1/*"], priority: 9}}
  - {{name: alive, url: "{}", events: ["x/1/*"], priority: 1}}
"#,
        alive.url()
    );
    certes.apply(&manifest).await.unwrap();
    for n in 0..200 {
        send(&certes, &format!("x/1/e{n}")).await;
    }
    assert_eq!(alive.wait_for(200).await.len(), 200);
    let stats = certes.graphql("{ stats { waiting dead } }").await.unwrap();
    assert_eq!(stats["stats"]["dead"], 0, "back-off goes on");
    assert!(stats["stats"]["waiting"].as_u64().unwrap() >= 200);
    certes.stop().await.unwrap();
}

/// The clock moves in steps, so that nothing but the limit holds anything up.
async fn a_rate_limit_is_kept_and_delays_nobody_else(wiring: Wiring) {
    let (polite, other) = (Subscriber::start().await.unwrap(), Subscriber::start().await.unwrap());
    let clock = ManualClock::new(SystemClock.now());
    let certes = Deployment::configured_on(wiring, clock.clone(), |config| {
        config.gateway.unvalidated = contract::event::Disposition::Accept;
    })
    .await
    .unwrap();
    let manifest = format!(
        r#"
subscriptions:
  - {{name: polite, url: "{}", events: ["x/1/*"], priority: 9, rate_limit: {{per_second: 2, burst: 2}}}}
  - {{name: other, url: "{}", events: ["x/1/*"], priority: 1}}
"#,
        polite.url(),
        other.url()
    );
    certes.apply(&manifest).await.unwrap();
    for n in 0..6 {
        send(&certes, &format!("x/1/e{n}")).await;
    }
    assert_eq!(other.wait_for(6).await.len(), 6);
    assert_eq!(polite.wait_for(2).await.len(), 2, "the burst");
    for started in 3..=6 {
        clock.advance(Duration::from_millis(499));
        assert_eq!(polite.received().len(), started - 1, "an attempt came before its time");
        clock.advance(Duration::from_millis(1));
        assert_eq!(polite.wait_for(started).await.len(), started);
    }
    let order = polite.received();
    let order: Vec<_> = order.iter().map(|got| got.header("certes-event-type")).collect();
    assert_eq!(order[2..], ["x/1/e2", "x/1/e3", "x/1/e4", "x/1/e5"]);
    let query = "{ subscriptions { name rateLimit { perSecond burst } } }";
    let shown = certes.graphql(query).await.unwrap();
    let shown = shown["subscriptions"].as_array().unwrap();
    let limit = shown.iter().find(|one| one["name"] == "polite").map(|one| &one["rateLimit"]);
    assert_eq!(limit, Some(&serde_json::json!({"perSecond": 2.0, "burst": 2})));
    certes.stop().await.unwrap();
}

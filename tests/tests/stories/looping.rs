//! A deployment that delivers to itself, and comes to an end.

use contract::{
    delivery::{Delivery, DeliveryState},
    event::EventState,
    limits::HOPS_MAX,
    master_api::{EventFilter, PageRequest},
};
use serde_json::json;
use tests::{Deployment, Wiring, eventually, post, stories};

stories!(a_loop_ends_at_eight_hops);

const LOOP: &str = r#"
sources:
  - {name: self, verify: none, event_type: "loop/1/again", unvalidated: accept}
subscriptions:
  - name: self
    url: "URL/events/self"
    events: ["loop/1/again"]
    backoff: {kind: constant, base: 50ms, jitter: none, max_retries: 1}
"#;

async fn a_loop_ends_at_eight_hops(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&LOOP.replace("URL", &certes.http)).await.unwrap();
    let remote = certes.remote().await.unwrap();
    let headers = [("content-type", "application/json")];
    let body = json!({"round": "and round"}).to_string();
    let answer = post(&format!("{}/events/self", certes.http), &headers, body).await.unwrap();
    assert_eq!(answer.status, 202, "{:?}", answer.body);

    let all = async || -> anyhow::Result<Vec<(u8, Delivery)>> {
        let page = PageRequest { first: 50, after: None };
        let mut found = Vec::new();
        for event in remote.events(EventFilter::default(), page).await?.items {
            assert_eq!(event.state, EventState::Accepted);
            let deliveries = remote.deliveries_of(event.id).await?;
            found.extend(deliveries.into_iter().map(|delivery| (event.trace.hops, delivery)));
        }
        found.sort_by_key(|(hops, _)| *hops);
        Ok(found)
    };
    let found = eventually("the last one is given up", async || {
        let found = all().await.ok()?;
        let finished = found.iter().all(|(_, d)| d.state != DeliveryState::Waiting);
        let dead = found.iter().any(|(_, d)| d.state == DeliveryState::Dead);
        (finished && dead).then_some(found)
    })
    .await;
    let hops: Vec<u8> = found.iter().map(|(hops, _)| *hops).collect();
    assert_eq!(hops, (0..=HOPS_MAX).collect::<Vec<_>>(), "each passed one server more");
    let (last, before) = found.split_last().unwrap();
    assert!(before.iter().all(|(_, d)| d.state == DeliveryState::Delivered), "{before:?}");
    // The last one says why it went no further.
    let (_, last) = last;
    assert_eq!((last.state, last.attempts.len()), (DeliveryState::Dead, 2));
    assert_eq!(last.attempts[0].status, Some(422));
    let exchanges = remote.exchanges(last.id, PageRequest { first: 1, after: None }).await.unwrap();
    let said = String::from_utf8_lossy(&exchanges.items[0].response_body).into_owned();
    assert!(said.contains("too_many_hops") && said.contains("more than 8"), "{said}");
    certes.stop().await.unwrap();
}

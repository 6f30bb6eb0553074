//! An endpoint that is down is left alone, and finds all its deliveries when it is back.

use contract::{
    clock::{Clock, SystemClock},
    testing::ManualClock,
};
use http::StatusCode;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tests::{Deployment, Subscriber, Wiring, eventually, post, stories};

stories!(a_breaker_holds_probes_and_closes);

const PROBE_EVERY: Duration = Duration::from_secs(30);

async fn send(certes: &Deployment, uri: &str) -> String {
    let bearer = format!("Bearer {}", certes.key.expose());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let answer = post(&format!("{}/events/{uri}", certes.http), &headers, "{}").await.unwrap();
    assert_eq!(answer.status, 202, "{:?}", answer.body);
    answer.id()
}

/// The breaker of the subscription, as soon as it is open, or closed.
async fn breaker(certes: &Deployment, open: bool) -> Value {
    eventually(&format!("the breaker is open: {open}"), async || {
        let query = "{ subscriptions { name breaker { attempts failures probeEvery } } }";
        let found = certes.graphql(query).await.ok()?;
        let all = found["subscriptions"].as_array()?;
        let breaker = all.iter().find(|one| one["name"] == "down")?["breaker"].clone();
        (breaker.is_null() != open).then_some(breaker)
    })
    .await
}

/// Waits until the event's delivery to the endpoint is in `state` with that many attempts recorded.
async fn attempted(certes: &Deployment, event: &str, (state, attempts): (&str, usize)) {
    eventually(&format!("{event} is {state} after {attempts} attempts"), async || {
        let query = format!(
            "{{ event(id: \"{event}\") {{ deliveries {{ state subscription {{ name }} \
             attempts {{ number }} }} }} }}"
        );
        let found = certes.graphql(&query).await.ok()?;
        let deliveries = found["event"]["deliveries"].as_array()?;
        let delivery = deliveries.iter().find(|one| one["subscription"]["name"] == "down")?;
        let recorded = delivery["attempts"].as_array()?.len();
        (delivery["state"] == state && recorded == attempts).then_some(())
    })
    .await;
}

async fn a_breaker_holds_probes_and_closes(wiring: Wiring) {
    let is_up = Arc::new(AtomicBool::new(false));
    let answers = is_up.clone();
    let down = Subscriber::behaving(move |_n| match answers.load(Ordering::SeqCst) {
        true => StatusCode::OK,
        false => StatusCode::BAD_GATEWAY,
    });
    let down = down.await.unwrap();
    let (alive, ops) = (Subscriber::start().await.unwrap(), Subscriber::start().await.unwrap());
    let clock = ManualClock::new(SystemClock.now());
    let certes = Deployment::configured_on(wiring, clock.clone(), |config| {
        config.gateway.unvalidated = contract::event::Disposition::Accept;
    });
    let certes = certes.await.unwrap();
    let slow = "backoff: {kind: constant, base: 1h, jitter: none, max_retries: 1}";
    let manifest = format!(
        r#"
subscriptions:
  - {{name: down, url: "{}", events: ["x/1/*"], priority: 9, {slow}}}
  - {{name: ops, url: "{}", events: ["_certes/1/breaker_opened", "_certes/1/breaker_closed"]}}
"#,
        down.url(),
        ops.url()
    );
    certes.apply(&manifest).await.unwrap();
    for n in 0..20 {
        send(&certes, &format!("x/1/e{n}")).await;
    }
    let open = breaker(&certes, true).await;
    assert_eq!(open, json!({"attempts": 20, "failures": 20, "probeEvery": "30s"}));
    let told = ops.wait_for(1).await;
    assert_eq!(told[0].header("certes-event-type"), "_certes/1/breaker_opened");
    let payload: Value = serde_json::from_slice(&told[0].body).unwrap();
    assert_eq!((&payload["subscription_name"], &payload["failures"]), (&json!("down"), &json!(20)));

    // Whoever delivers to this one knows the rules that name it, and so those with the breaker.
    let more = format!(
        r#"
subscriptions:
  - {{name: alive, url: "{}", events: ["x/1/*", "y/1/*"], priority: 1}}
"#,
        alive.url()
    );
    certes.apply(&more).await.unwrap();
    send(&certes, "y/1/mark").await;
    alive.wait_for(1).await;
    let mut held = Vec::new();
    for n in 0..3 {
        held.push(send(&certes, &format!("x/1/held{n}")).await);
    }
    assert_eq!(alive.wait_for(4).await.len(), 4, "nobody else waits");
    assert_eq!(down.received().len(), 20, "the endpoint is left alone");

    clock.advance(PROBE_EVERY);
    down.wait_for(21).await;
    // The probe failed.
    attempted(&certes, &held[0], ("waiting", 1)).await;
    is_up.store(true, Ordering::SeqCst);
    assert_eq!(down.received().len(), 21);
    clock.advance(PROBE_EVERY);
    for event in &held[1..] {
        // No retry was used up.
        attempted(&certes, event, ("delivered", 1)).await;
    }
    breaker(&certes, false).await;
    assert_eq!(ops.wait_for(2).await[1].header("certes-event-type"), "_certes/1/breaker_closed");
    certes.stop().await.unwrap();
    assert_eq!(down.received().len(), 23);
}

//! Endpoints that fail: back-off, dead letters, restarts, draining.

use super::main_path::manifest;
use contract::{
    clock::{Clock, SystemClock},
    testing::ManualClock,
};
use http::StatusCode;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tests::{Deployment, Subscriber, Wiring, eventually, get, github, stories};

stories!(
    fails_twice_then_succeeds,
    dead_after_exactly_the_configured_attempts,
    a_gone_endpoint_pauses_its_subscription,
    resuming_delivers_or_skips_as_asked,
    a_restart_keeps_everything,
    a_stop_finishes_what_is_in_flight,
);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");
const QUICK: &str = ", backoff: {kind: constant, base: 50ms, jitter: none, max_retries: 10}";

async fn fails_twice_then_succeeds(wiring: Wiring) {
    let answer = |n| if n < 2 { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    let subscriber = Subscriber::behaving(answer).await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&subscriber.url(), QUICK)).await.unwrap();
    let event = github(&certes.http, "push", "d-1", PUSH).await.unwrap().id();

    let received = subscriber.wait_for(3).await;
    let numbers: Vec<_> = received.iter().map(|got| got.header("certes-attempt")).collect();
    assert_eq!(numbers, ["1", "2", "3"]);
    assert!(received.iter().all(|got| got.header("webhook-id") == event));
    let attempts = attempts_when(&certes, &event, "delivered").await;
    let statuses: Vec<_> = attempts.iter().map(|attempt| attempt["status"].clone()).collect();
    assert_eq!(statuses, [500, 500, 200]);
    certes.stop().await.unwrap();
    assert_eq!(subscriber.received().len(), 3);
}

async fn dead_after_exactly_the_configured_attempts(wiring: Wiring) {
    let subscriber = Subscriber::behaving(|_n| StatusCode::BAD_GATEWAY).await.unwrap();
    let clock = ManualClock::new(SystemClock.now());
    let certes = Deployment::on(wiring, clock.clone()).await.unwrap();
    let policy = ", backoff: {kind: linear, base: 10s, jitter: none, max_retries: 3}";
    certes.apply(&manifest(&subscriber.url(), policy)).await.unwrap();
    let event = github(&certes.http, "push", "d-1", PUSH).await.unwrap().id();

    // The clock moves in steps of half a second, and only when nothing is to happen before.
    for (attempt, delay_s) in [(1, 10), (2, 20), (3, 30)] {
        subscriber.wait_for(attempt).await;
        recorded(&certes, &event, attempt).await;
        for _step in 0..delay_s * 2 {
            assert_eq!(subscriber.received().len(), attempt, "an attempt came before its time");
            clock.advance(Duration::from_millis(500));
        }
    }
    let attempts = attempts_when(&certes, &event, "dead").await;
    assert_eq!(attempts.len(), 4);
    let starts: Vec<_> = attempts
        .iter()
        .map(|attempt| attempt["startedAt"].as_str().unwrap().parse().unwrap())
        .collect::<Vec<contract::clock::Timestamp>>();
    let gaps: Vec<_> = starts.windows(2).map(|pair| pair[1].since(pair[0]).as_secs()).collect();
    assert_eq!(gaps, [10, 20, 30]);
    clock.advance(Duration::from_secs(3600));
    let stats = certes.graphql("{ stats { dead waiting } }").await.unwrap();
    assert_eq!(stats["stats"], serde_json::json!({"dead": 1, "waiting": 0}));
    certes.stop().await.unwrap();
    assert_eq!(subscriber.received().len(), 4);
}

async fn a_gone_endpoint_pauses_its_subscription(wiring: Wiring) {
    let answer = |n| if n == 0 { StatusCode::GONE } else { StatusCode::OK };
    let subscriber = Subscriber::behaving(answer).await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&subscriber.url(), QUICK)).await.unwrap();
    github(&certes.http, "push", "d-1", PUSH).await.unwrap();
    eventually("the subscription is paused", async || {
        let data = certes.graphql("{ subscriptions { status } }").await.ok()?;
        (data["subscriptions"][0]["status"] == "paused").then_some(())
    })
    .await;
    let kept = github(&certes.http, "push", "d-2", PUSH).await.unwrap();
    assert_eq!(kept.json()["deliveries"], 1, "deliveries are kept, not dropped");
    certes.graphql("mutation { resumeSubscription(name: \"ci\") { status } }").await.unwrap();
    subscriber.wait_for(3).await;
    certes.stop().await.unwrap();
}

async fn resuming_delivers_or_skips_as_asked(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&subscriber.url(), QUICK)).await.unwrap();
    let mut ids = Vec::new();
    for (n, skip) in [("1", true), ("2", false)] {
        certes.graphql("mutation { pauseSubscription(name: \"ci\") { status } }").await.unwrap();
        let kept = github(&certes.http, "push", &format!("kept-{n}"), PUSH).await.unwrap().id();
        let resume =
            format!("mutation {{ resumeSubscription(name: \"ci\", skip: {skip}) {{ status }} }}");
        certes.graphql(&resume).await.unwrap();
        if skip {
            let query = format!("{{ event(id: \"{kept}\") {{ deliveries {{ state }} }} }}");
            eventually("it is skipped", async || {
                let found = certes.graphql(&query).await.ok()?;
                (found["event"]["deliveries"][0]["state"] == "cancelled").then_some(())
            })
            .await;
        } else {
            ids.push(kept);
        }
        ids.push(github(&certes.http, "push", &format!("new-{n}"), PUSH).await.unwrap().id());
        subscriber.wait_for(ids.len()).await;
    }
    certes.stop().await.unwrap();
    let mut received: Vec<_> =
        subscriber.received().iter().map(|got| got.header("webhook-id").to_owned()).collect();
    received.sort_unstable();
    ids.sort();
    assert_eq!(received, ids);
}

async fn a_restart_keeps_everything(wiring: Wiring) {
    let refused = Subscriber::behaving(|n| match n {
        0..3 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::OK,
    });
    let subscriber = refused.await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    let slow = ", backoff: {kind: constant, base: 3s, jitter: none, max_retries: 10}";
    certes.apply(&manifest(&subscriber.url(), slow)).await.unwrap();
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(github(&certes.http, "push", &format!("d-{n}"), PUSH).await.unwrap().id());
    }
    subscriber.wait_for(3).await;
    let certes = certes.restart(wiring).await.unwrap();
    let received = subscriber.wait_for(6).await;
    let mut again: Vec<_> = received[3..6].iter().map(|got| got.header("webhook-id")).collect();
    again.sort_unstable();
    ids.sort();
    assert_eq!(again, ids);
    certes.stop().await.unwrap();
}

async fn a_stop_finishes_what_is_in_flight(wiring: Wiring) {
    let (entered, mut seen) = tokio::sync::mpsc::channel(1);
    let gate = Arc::new(std::sync::Barrier::new(2));
    let held = gate.clone();
    let subscriber = Subscriber::behaving(move |_n| {
        entered.blocking_send(()).unwrap();
        held.wait();
        StatusCode::OK
    });
    let subscriber = subscriber.await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&subscriber.url(), "")).await.unwrap();
    let event = github(&certes.http, "push", "d-1", PUSH).await.unwrap().id();
    seen.recv().await.unwrap();
    // The endpoint holds its answer until the stop has begun and is told to those who balance.
    let ready = format!("{}/health/ready", certes.admin);
    let restarting = tokio::spawn(certes.restart(wiring));
    eventually("it is not ready any more", async || match get(&ready).await {
        Ok(answer) if answer.status == 200 => None,
        _ => Some(()),
    })
    .await;
    tokio::task::spawn_blocking(move || gate.wait()).await.unwrap();
    let certes = restarting.await.unwrap().unwrap();
    let attempts = attempts_when(&certes, &event, "delivered").await;
    assert_eq!(attempts.len(), 1, "its outcome was recorded before the stop");
    certes.stop().await.unwrap();
}

/// The attempts of the event's one delivery, as soon as it is in `state`.
async fn attempts_when(certes: &Deployment, event: &str, state: &str) -> Vec<Value> {
    eventually(&format!("{event} is {state}"), async || {
        let delivery = delivery(certes, event).await?;
        (delivery["state"] == state).then(|| delivery["attempts"].as_array().cloned())?
    })
    .await
}

/// Waits until so many attempts are recorded.
async fn recorded(certes: &Deployment, event: &str, attempts: usize) {
    eventually(&format!("{attempts} attempts are recorded"), async || {
        let delivery = delivery(certes, event).await?;
        (delivery["attempts"].as_array()?.len() == attempts).then_some(())
    })
    .await;
}

async fn delivery(certes: &Deployment, event: &str) -> Option<Value> {
    let query = format!(
        "{{ event(id: \"{event}\") {{ deliveries {{ state attempts {{ number status startedAt }} }} }} }}"
    );
    let data = certes.graphql(&query).await.ok()?;
    Some(data["event"]["deliveries"][0].clone())
}

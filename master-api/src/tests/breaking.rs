//! Endpoints that are left alone, come back, or are given up.

use super::harness::{Bench, DAY, now};
use crate::{state::State, tally::Tally};
use contract::{
    backoff::Span,
    command::Command,
    delivery::Next,
    id::{DeliveryId, LaneId, SubscriptionNumber},
    log::{LogFilter, LogQuery},
    master_api::{Configuration, Log},
    subscription::{Subscription, SubscriptionStatus},
};
use std::{sync::Arc, time::Duration};

async fn fails(bench: &Bench, lane: LaneId, times: u32) -> DeliveryId {
    let id = DeliveryId { lane, sequence: bench.store(&[lane]).await.sequence };
    for number in 1..=times {
        assert!(bench.attempt(id, number, Next::Retry(now(bench))).await);
    }
    id
}

async fn delivers(bench: &Bench, lane: LaneId) {
    let id = DeliveryId { lane, sequence: bench.store(&[lane]).await.sequence };
    assert!(bench.attempt(id, 1, Next::Done).await);
}

fn subscription(bench: &Bench, lane: LaneId) -> Arc<Subscription> {
    bench.api.rules().borrow().subscriptions[&lane.subscription()].clone()
}

/// The kinds of the facts about endpoints.
async fn told(bench: &Bench) -> Vec<String> {
    let kinds = ["breaker_opened", "breaker_closed", "subscription_status_changed"];
    let kinds = kinds.map(str::to_owned).to_vec();
    let filter = LogFilter { kinds, notable: true, ..LogFilter::default() };
    let found = bench.api.facts(LogQuery { filter, ..LogQuery::default() }).await.unwrap();
    found.facts.into_iter().map(|fact| fact.kind).collect()
}

#[tokio::test]
async fn a_breaker_opens_outlives_a_restart_and_closes_with_the_first_success() {
    let bench = Bench::embedded();
    let [lane, other] = [bench.subscribe("ci").await, bench.subscribe("other").await];
    fails(&bench, lane, 19).await;
    assert_eq!(subscription(&bench, lane).breaker, None);
    bench.clock.advance(Duration::from_secs(3));
    let opened_at = now(&bench);
    fails(&bench, lane, 1).await;
    let open = subscription(&bench, lane).breaker.unwrap();
    assert_eq!((open.since, open.attempts, open.failures), (opened_at, 20, 20));
    assert_eq!(open.probe_every, Span(Duration::from_secs(30)));
    assert_eq!(subscription(&bench, other).breaker, None);

    let bench = bench.reopen().await;
    assert_eq!(subscription(&bench, lane).breaker, Some(open));
    fails(&bench, lane, 1).await;
    assert_eq!(subscription(&bench, lane).breaker, Some(open), "a probe that failed");
    delivers(&bench, lane).await;
    assert_eq!(subscription(&bench, lane).breaker, None);
    fails(&bench, lane, 19).await;
    assert_eq!(subscription(&bench, lane).breaker, None, "what was before counts no more");
    assert_eq!(told(&bench).await, ["breaker_opened", "breaker_closed"]);
    assert_eq!(subscription(&bench, lane).status, SubscriptionStatus::Active);
    bench.assert_verified().await;
}

#[tokio::test]
async fn other_endpoints_and_resuming_begin_anew() {
    let bench = Bench::memory();
    let lane = bench.subscribe("ci").await;
    fails(&bench, lane, 20).await;
    let spec = subscription(&bench, lane).spec.clone();
    let put = |url: &str| {
        let spec = contract::subscription::SubscriptionSpec { url: url.into(), ..spec.clone() };
        Command::PutSubscription { spec, secrets: Vec::new() }
    };
    let elsewhere = "http://127.0.0.1:9001/hook";
    let renamed =
        contract::subscription::SubscriptionSpec { timeout_ms: Some(2000), ..spec.clone() };
    let same_url = Command::PutSubscription { spec: renamed, secrets: Vec::new() };
    bench.execute(vec![same_url]).await.unwrap();
    assert!(subscription(&bench, lane).breaker.is_some());
    bench.execute(vec![put(elsewhere)]).await.unwrap();
    assert_eq!(subscription(&bench, lane).breaker, None);

    fails(&bench, lane, 20).await;
    for (status, open) in [(SubscriptionStatus::Paused, true), (SubscriptionStatus::Active, false)]
    {
        let name = "ci".to_owned();
        let set = Command::SetSubscriptionStatus { name, status, reason: None };
        bench.execute(vec![set]).await.unwrap();
        assert_eq!(subscription(&bench, lane).breaker.is_some(), open, "{status}");
    }
    fails(&bench, lane, 19).await;
    assert_eq!(subscription(&bench, lane).breaker, None);
    fails(&bench, lane, 1).await;
    assert!(subscription(&bench, lane).breaker.is_some());
    let status = SubscriptionStatus::Active;
    let resume = Command::SetSubscriptionStatus { name: "ci".into(), status, reason: None };
    bench.execute(vec![resume]).await.unwrap();
    assert_eq!(subscription(&bench, lane).breaker, None, "it was active all the time");
}

#[tokio::test]
async fn what_fails_for_days_is_disabled_and_tried_again_when_it_is_resumed() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    fails(&bench, lane, 20).await;
    bench.clock.advance(DAY * 5 - Duration::from_secs(1));
    // Of the attempts so far, this process knows none.
    let bench = bench.reopen().await;
    let probe = fails(&bench, lane, 1).await;
    assert_eq!(subscription(&bench, lane).status, SubscriptionStatus::Active);
    bench.clock.advance(Duration::from_secs(1));
    assert!(bench.attempt(probe, 2, Next::Retry(now(&bench))).await);
    let disabled = subscription(&bench, lane);
    assert_eq!(disabled.status, SubscriptionStatus::Disabled);
    let reason = disabled.status_reason.as_deref();
    assert_eq!(reason, Some("every attempt has failed for 5d or longer"));
    assert!(bench.attempt(probe, 3, Next::Retry(now(&bench))).await, "deliveries are kept");

    let status = SubscriptionStatus::Active;
    let resume = Command::SetSubscriptionStatus { name: "ci".into(), status, reason: None };
    bench.execute(vec![resume]).await.unwrap();
    fails(&bench, lane, 19).await;
    assert_eq!(subscription(&bench, lane).status, SubscriptionStatus::Active);
    let kinds = ["breaker_opened", "subscription_status_changed", "subscription_status_changed"];
    assert_eq!(told(&bench).await, kinds);
    bench.assert_verified().await;
}

#[tokio::test]
async fn breakers_wait_for_older_replicas_and_can_be_off() {
    let bench = Bench::memory();
    let lane = bench.subscribe("ci").await;
    let state = State::clone(&bench.api.shared.state.load());
    bench.api.shared.state.store(Arc::new(State { format: 4, ..state }));
    fails(&bench, lane, 30).await;
    assert_eq!(told(&bench).await, Vec::<String>::new());

    let off = Bench::with_config(|config| config.breaker.enabled = false);
    let lane = off.subscribe("ci").await;
    fails(&off, lane, 100).await;
    assert_eq!(told(&off).await, Vec::<String>::new());
}

#[tokio::test]
async fn nothing_is_counted_of_what_is_gone() {
    let bench = Bench::memory();
    let lane = bench.subscribe("ci").await;
    fails(&bench, lane, 3).await;
    let counted = |number: SubscriptionNumber| bench.api.shared.tallies().get(&number).copied();
    assert_eq!(counted(lane.subscription()).map(|tally: Tally| tally.in_a_row()), Some(3));
    let target = contract::command::Target::Subscription("ci".into());
    bench.execute(vec![Command::Remove(target)]).await.unwrap();
    bench.cleared().await;
    assert_eq!(counted(lane.subscription()), None);
}

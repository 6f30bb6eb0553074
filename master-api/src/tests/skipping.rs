//! Resuming without what was kept.

use super::harness::{Bench, now};
use contract::{
    ErrorCode,
    command::{Command, Target},
    delivery::{DeliveryState, Next},
    id::{DeliveryId, LaneId},
    master_api::{Configuration, Deliveries},
    subscription::SubscriptionStatus,
};
use std::time::Duration;

async fn accept(bench: &Bench, lane: LaneId) -> DeliveryId {
    DeliveryId { lane, sequence: bench.store(&[lane]).await.sequence }
}

async fn state(bench: &Bench, id: DeliveryId) -> DeliveryState {
    bench.api.delivery(id).await.unwrap().unwrap().state
}

fn resume() -> Command {
    Command::ResumeSkipping { name: "ci".into() }
}

fn pause() -> Command {
    let status = SubscriptionStatus::Paused;
    Command::SetSubscriptionStatus { name: "ci".into(), status, reason: None }
}

async fn resumed(bench: &Bench, lane: LaneId) {
    let mut rules = bench.api.rules();
    let active = rules.wait_for(|rules| {
        let subscription = &rules.subscriptions[&lane.subscription()];
        subscription.status == SubscriptionStatus::Active
    });
    tokio::time::timeout(Duration::from_secs(20), active).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_waited_is_cancelled_and_what_comes_after_is_delivered() {
    let bench = Bench::embedded();
    let [lane, other] = [bench.subscribe("ci").await, bench.subscribe("other").await];
    let delivered = accept(&bench, lane).await;
    assert!(bench.attempt(delivered, 1, Next::Done).await);
    let retried = accept(&bench, lane).await;
    let later = now(&bench).after(Duration::from_secs(60));
    assert!(bench.attempt(retried, 1, Next::Retry(later)).await);
    let replayed = LaneId::behind(lane.subscription());
    // More than one batch of them.
    let mut waiting = vec![retried, accept(&bench, replayed).await];
    for _ in 0..600 {
        waiting.push(accept(&bench, lane).await);
    }
    let of_other = accept(&bench, other).await;
    assert_eq!(bench.execute(vec![resume()]).await.unwrap_err().code, ErrorCode::Conflict);

    bench.execute(vec![pause()]).await.unwrap();
    bench.execute(vec![resume()]).await.unwrap();
    let after = accept(&bench, lane).await;
    resumed(&bench, lane).await;
    for id in &waiting {
        assert_eq!(state(&bench, *id).await, DeliveryState::Cancelled, "{id}");
    }
    assert_eq!(state(&bench, delivered).await, DeliveryState::Delivered);
    assert_eq!(state(&bench, of_other).await, DeliveryState::Waiting);
    assert_eq!(state(&bench, after).await, DeliveryState::Waiting);
    assert!(bench.attempt(after, 1, Next::Done).await);
    bench.assert_verified().await;
    let bench = bench.reopen().await;
    assert!(bench.api.shared.state.load().skipping.is_empty());
    bench.assert_verified().await;
}

#[tokio::test]
async fn a_removal_ends_the_skipping() {
    let bench = Bench::memory();
    let lane = bench.subscribe("ci").await;
    let id = accept(&bench, lane).await;
    bench.execute(vec![pause()]).await.unwrap();
    let remove = Command::Remove(Target::Subscription("ci".into()));
    bench.execute(vec![resume(), remove]).await.unwrap();
    bench.cleared().await;
    assert_eq!(state(&bench, id).await, DeliveryState::Cancelled);
    assert!(bench.api.shared.state.load().skipping.is_empty());
    bench.assert_verified().await;
}

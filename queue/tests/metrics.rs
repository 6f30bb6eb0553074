//! What an operator sees of the queue.

use contract::{
    clock::{Clock, Timestamp},
    id::{DeliveryId, LaneId, Sequence, SubscriptionNumber},
    master_api::FeedItem,
    queue::MessageQueue,
    subscription::Priority,
    testing::{ManualClock, rules_with, subscription_spec},
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use queue::{Config, MemoryQueue, Metrics};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

#[tokio::test]
async fn counts_ages_and_expired_leases_are_shown() {
    let mut registry = Registry::default();
    let clock = ManualClock::new(Timestamp(1_795_224_556_000_000));
    let (_rules, receiver) = watch::channel(Arc::new(rules_with([subscription_spec("a")])));
    let metrics = Metrics::new(&mut registry);
    let config = Config { window: 3, ..Config::default() };
    let queue = MemoryQueue::new(config, receiver, clock.clone(), metrics).unwrap();

    let lane = LaneId::new(SubscriptionNumber(1), Priority::try_from(7).unwrap());
    let items = (1..=4).map(|sequence| {
        let wait = Duration::from_secs(if sequence == 3 { 3600 } else { 0 });
        let delivery = DeliveryId { lane, sequence: Sequence(sequence) };
        FeedItem { delivery, due: clock.now().after(wait), key: None }
    });
    queue.enqueue(items.collect()).await.unwrap();
    queue.lease(1, Duration::ZERO).await.unwrap();
    clock.advance(Duration::from_secs(2));
    queue.depth().await.unwrap();

    let shown = |registry: &Registry| {
        let mut text = String::new();
        encode(&mut text, registry).unwrap();
        text
    };
    let text = shown(&registry);
    for line in [
        r#"certes_queue_deliveries{priority="7",state="ready"} 1"#,
        r#"certes_queue_deliveries{priority="7",state="delayed"} 1"#,
        r#"certes_queue_deliveries{priority="7",state="in_flight"} 1"#,
        r#"certes_queue_deliveries{priority="9",state="ready"} 0"#,
        r#"certes_queue_oldest_age_seconds{priority="7"} 2.0"#,
        "certes_queue_leases_total 1",
        "certes_queue_leases_expired_total 0",
        "certes_queue_turned_away_total 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }

    clock.advance(Duration::from_secs(60));
    queue.depth().await.unwrap();
    let text = shown(&registry);
    assert!(text.contains("certes_queue_leases_expired_total 1"), "{text}");
    assert!(text.contains(r#"certes_queue_deliveries{priority="7",state="in_flight"} 0"#));
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let (_rules, receiver) = watch::channel(Arc::default());
    let metrics = Metrics::new(&mut Registry::default());
    let config = Config { minimum_share: 0.3, ..Config::default() };
    let clock = ManualClock::new(Timestamp(0));
    let refused = MemoryQueue::new(config, receiver, clock, metrics).map(drop).unwrap_err();
    assert!(refused.message.contains("`minimum_share` is 0.3"), "{refused}");
}

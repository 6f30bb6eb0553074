//! What a waiting delivery costs, measured: how much the process grows by half a million of them.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "it cannot measure without")]

use contract::{
    clock::{Clock, Timestamp},
    id::{DeliveryId, LaneId, Sequence, SubscriptionNumber},
    master_api::FeedItem,
    queue::{Enqueued, MessageQueue},
    subscription::{Ordering, OrderingKey, Priority, SubscriptionSpec},
    testing::{ManualClock, rules_with, subscription_spec},
};
use prometheus_client::registry::Registry;
use queue::{Config, MemoryQueue, Metrics};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

const LANES: u32 = 500;
const BYTES_MAX: u64 = 100;

/// Bytes of anonymous memory that are resident (proc(5), `/proc/pid/status`).
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// A queue full of deliveries due in a while, in lanes of this order, where a key is shared by so
/// many, and the bytes that each of them took.
async fn fill(due_in: Duration, order: Ordering, share: u64) -> (u64, Arc<MemoryQueue>) {
    let clock = ManualClock::new(Timestamp(1_795_224_556_000_000));
    let specs = (1..=LANES).map(|number| SubscriptionSpec {
        ordering: order.clone(),
        ..subscription_spec(&number.to_string())
    });
    let (_rules, receiver) = watch::channel(Arc::new(rules_with(specs)));
    let metrics = Metrics::new(&mut Registry::default());
    let config = Config::default();
    let window = u64::from(config.window);
    let queue = MemoryQueue::new(config, receiver, clock.clone(), metrics).unwrap();

    let before = resident_bytes();
    let due = clock.now().after(due_in);
    for sequence in 1..=window {
        let item = |number| {
            let lane = LaneId::new(SubscriptionNumber(number), Priority::default());
            let delivery = DeliveryId { lane, sequence: Sequence(sequence) };
            // Keys are hashes: they come in no order.
            let key = OrderingKey((sequence / share).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            FeedItem { delivery, due, key: Some(key) }
        };
        let answers = queue.enqueue((1..=LANES).map(item).collect()).await.unwrap();
        assert!(answers.iter().all(|answer| *answer == Enqueued::Queued));
    }
    let grown = resident_bytes().saturating_sub(before);
    (grown / (u64::from(LANES) * window), queue)
}

// One test, so that nothing else in the process grows meanwhile.
#[tokio::test]
async fn a_waiting_delivery_costs_at_most_a_hundred_bytes() {
    let none = || Ordering::None;
    let by_key = || Ordering::Key("event.id".to_owned());
    let soon = Duration::from_secs(30);
    let (ready, first) = fill(Duration::ZERO, none(), 1).await;
    let (delayed, second) = fill(soon, none(), 1).await;
    println!("{ready} bytes for a delivery that is ready, {delayed} for one that is delayed");
    let ordered = [
        ("in strict order", fill(Duration::ZERO, Ordering::Strict, 1).await),
        ("with a key of its own", fill(Duration::ZERO, by_key(), 1).await),
        ("with a key of its own, delayed", fill(soon, by_key(), 1).await),
        ("with a key that four share", fill(Duration::ZERO, by_key(), 4).await),
    ];
    for (what, (bytes, _)) in &ordered {
        println!("{bytes} bytes for one {what}");
        assert!((16..=BYTES_MAX).contains(bytes), "{bytes} bytes for one {what}");
    }
    // An id and a due time alone are 16 bytes: less means that nothing was measured.
    assert!((16..=BYTES_MAX).contains(&ready), "{ready} bytes for one that is ready");
    assert!((16..=BYTES_MAX).contains(&delayed), "{delayed} bytes for one that is delayed");
    drop((first, second, ordered));
}

//! The queue in memory does what every message queue must do.

use contract::{
    backoff::Span,
    clock::Timestamp,
    queue::MessageQueue,
    rules::Rules,
    testing::{
        ManualClock,
        queue_conformance::{Harness, SETTINGS},
    },
};
use prometheus_client::registry::Registry;
use queue::{Config, MemoryQueue, Metrics};
use std::sync::Arc;
use tokio::sync::watch;

struct InMemory {
    queue: Arc<MemoryQueue>,
    clock: Arc<ManualClock>,
    rules: watch::Sender<Arc<Rules>>,
}

#[async_trait::async_trait]
impl Harness for InMemory {
    fn queue(&self) -> Arc<dyn MessageQueue> {
        Arc::clone(&self.queue) as Arc<dyn MessageQueue>
    }

    fn clock(&self) -> Arc<ManualClock> {
        Arc::clone(&self.clock)
    }

    async fn set_rules(&self, rules: Rules) {
        self.rules.send_replace(Arc::new(rules));
    }
}

#[expect(clippy::expect_used, reason = "no case runs without a queue")]
fn harness() -> InMemory {
    let config = Config {
        max_in_flight: SETTINGS.max_in_flight,
        minimum_share: SETTINGS.minimum_share,
        window: SETTINGS.window,
        lease: Span(SETTINGS.lease),
        hold_delayed: Span(SETTINGS.hold_delayed),
        ..Config::default()
    };
    let clock = ManualClock::new(Timestamp(1_795_224_556_000_000));
    let (rules, receiver) = watch::channel(Arc::default());
    let metrics = Metrics::new(&mut Registry::default());
    let queue = MemoryQueue::new(config, receiver, clock.clone(), metrics).expect("good settings");
    InMemory { queue, clock, rules }
}

contract::queue_conformance!(harness());

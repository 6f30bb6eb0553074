//! Models of the log and the queue: small enough to be seen to be right, and strict about what
//! the feeder may do with them.

mod log;
mod queue;

use crate::{Feeder, FeederConfig, Metrics};
use contract::{
    Error, Result,
    clock::{Clock, Timestamp},
    id::{DeliveryId, LaneId, Sequence, SubscriptionNumber},
    rules::Rules,
    subscription::{Ordering, Priority, SubscriptionSpec},
    testing::{ManualClock, rules_with, subscription_spec},
};
pub use log::ModelLog;
use prometheus_client::registry::Registry;
pub use queue::ModelQueue;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;

/// A feeder between the two models, on a clock that stands still.
pub struct World {
    pub clock: Arc<ManualClock>,
    pub log: Arc<ModelLog>,
    pub queue: Arc<ModelQueue>,
    pub feeder: Arc<Feeder>,
}

impl World {
    /// Nobody attempts anything while the feeder works.
    pub fn new(window: usize, config: FeederConfig) -> Self {
        Self::with_queue(config, |log| ModelQueue::new(window, log, true))
    }

    /// Deliveries are attempted while the feeder works.
    pub fn busy(window: usize, config: FeederConfig) -> Self {
        Self::with_queue(config, |log| ModelQueue::new(window, log, false))
    }

    /// Like [`Self::new`], where the first subscription keeps an order.
    pub fn ruled(window: usize, config: FeederConfig, ordering: Ordering) -> Self {
        let queue = |log| ModelQueue::new(window, log, true);
        Self::with_rules(config, queue, Some(ordering))
    }

    /// Like [`Self::busy`], where the first subscription keeps an order.
    pub fn ruled_busy(window: usize, config: FeederConfig, ordering: Ordering) -> Self {
        let queue = |log| ModelQueue::new(window, log, false);
        Self::with_rules(config, queue, Some(ordering))
    }

    fn with_queue(
        config: FeederConfig,
        queue: impl FnOnce(Arc<ModelLog>) -> Arc<ModelQueue>,
    ) -> Self {
        Self::with_rules(config, queue, None)
    }

    fn with_rules(
        config: FeederConfig,
        queue: impl FnOnce(Arc<ModelLog>) -> Arc<ModelQueue>,
        ordering: Option<Ordering>,
    ) -> Self {
        let clock = ManualClock::new(Timestamp(1_000_000_000));
        let log = ModelLog::new(Rules::default());
        let queue = queue(Arc::clone(&log));
        let metrics = Metrics::new(&mut Registry::default());
        let mut feeder = Feeder::new(config, log.clone(), queue.clone(), clock.clone(), metrics);
        if let Some(ordering) = ordering {
            let rules = rules_with([SubscriptionSpec { ordering, ..subscription_spec("first") }]);
            feeder = feeder.ruled_by(watch::channel(Arc::new(rules)).1);
        }
        Self { clock, log, queue, feeder: Arc::new(feeder) }
    }

    /// Stores and offers an event with one delivery.
    pub fn send(&self, lane: LaneId) -> Sequence {
        let sequence = self.log.store(&[lane]);
        self.feeder.offer(sequence, &[lane]);
        sequence
    }

    /// What the feeder's loops do until they have nothing left to do; gives the rounds it took.
    pub async fn work(&self) -> usize {
        self.feeder.take_vacancies(Duration::ZERO).await.unwrap();
        self.feeder.pass_on().await;
        let mut rounds = 1;
        while self.feeder.run_once().await.unwrap().more {
            rounds += 1;
            assert!(rounds < 100_000, "the feeder does not come to rest");
        }
        self.feeder.pass_on().await;
        rounds
    }

    /// A second passes.
    pub async fn tick(&self) {
        self.clock.advance(Duration::from_secs(1));
        self.work().await;
    }

    /// A delivery of the queue is attempted. It is finished, or tried again at `retry`, and then
    /// stays in the queue if that is near.
    pub fn attempt(&self, delivery: DeliveryId, retry: Option<Duration>) {
        let due = retry.map(|after| self.clock.now().after(after));
        self.log.attempt(delivery, due);
        if retry.is_none_or(|after| after > Duration::from_secs(5)) {
            self.queue.remove(delivery);
        }
    }

    /// Everything in the queue is delivered.
    pub fn deliver_all(&self) {
        for item in self.queue.all() {
            self.attempt(item.delivery, None);
        }
    }
}

/// The lane of subscription `number` at the default priority.
pub fn lane(number: u32) -> LaneId {
    LaneId::new(SubscriptionNumber(number), Priority::default())
}

fn not_here<T>() -> Result<T> {
    Err(Error::internal("the model does not do that"))
}

/// Others may go on here, as they may while a real log or queue works.
async fn pause() {
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
}

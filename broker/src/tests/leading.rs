//! Several feeders on one log: one feeds.

use super::model::{ModelQueue, World, lane};
use crate::{Feeder, FeederConfig, Metrics};
use contract::id::Sequence;
use prometheus_client::registry::Registry;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

impl World {
    /// One more process with a feeder, on the same log and clock.
    fn beside(&self, name: &str, queue: Arc<ModelQueue>, own: bool) -> Self {
        let metrics = Metrics::new(&mut Registry::default());
        let (log, clock) = (self.log.clone(), self.clock.clone());
        let config = FeederConfig::default();
        let feeder = Feeder::new(config, log.clone(), queue.clone(), clock.clone(), metrics);
        let feeder = feeder.known_as(name.to_owned());
        let feeder = Arc::new(if own { feeder.with_own_queue() } else { feeder });
        Self { clock, log, queue, feeder }
    }

    fn beside_with_own_queue(&self, name: &str) -> Self {
        self.beside(name, ModelQueue::new(16, self.log.clone(), true), true)
    }
}

#[tokio::test]
async fn only_one_fills_its_queue_and_the_other_begins_where_it_ended() {
    let world = World::new(16, FeederConfig::default());
    let [first, second] = ["first", "second"].map(|name| world.beside_with_own_queue(name));
    first.work().await;
    second.work().await;
    // Whoever stores it: the one that leads brings it.
    let [at_first, at_second] = [first.send(lane(1)), second.send(lane(1))];
    for _ in 0..3 {
        first.work().await;
        first.deliver_all();
        second.tick().await;
    }
    assert_eq!(first.queue.fed(lane(1)), [at_first.0, at_second.0]);
    assert_eq!(second.queue.all(), []);
    first.deliver_all();
    first.tick().await;
    second.tick().await;
    assert_eq!(second.queue.all(), []);

    let left = first.send(lane(1));
    first.work().await;
    // The first is not heard of for as long as its lease; it does not know.
    first.log.let_lead("second");
    second.tick().await;
    assert_eq!(second.queue.fed(lane(1)), [left.0], "from the durable cursor on");
    first.tick().await;
    let later = first.send(lane(1));
    first.tick().await;
    assert_eq!(first.feeder.lanes_behind(), 0);
    for _ in 0..2 {
        second.deliver_all();
        second.tick().await;
    }
    assert_eq!(second.queue.fed(lane(1)), [left.0, later.0]);
    assert!(!first.queue.fed(lane(1)).contains(&later.0), "it knows by then");
}

#[tokio::test]
async fn a_queue_that_all_share_is_offered_what_each_stores() {
    let first = World::new(2, FeederConfig::default());
    let second = first.beside("second", first.queue.clone(), false);
    first.work().await;
    second.feeder.run_once().await.unwrap();
    let stored: Vec<Sequence> = (0..4).map(|_| second.send(lane(1))).collect();
    second.feeder.pass_on().await;
    assert_eq!(first.queue.fed(lane(1)), [stored[0].0, stored[1].0], "at once, as far as it goes");
    assert_eq!(second.feeder.lanes_behind(), 0, "what it refused is not its to bring");
    first.deliver_all();
    for _ in 0..3 {
        first.tick().await;
        first.deliver_all();
    }
    let fed: Vec<_> = stored.iter().map(|sequence| sequence.0).collect();
    assert_eq!(first.queue.fed(lane(1)), fed);
}

#[tokio::test]
async fn a_feeder_that_ends_is_not_waited_for() {
    let first = World::new(16, FeederConfig::default());
    let second = first.beside_with_own_queue("second");
    let stop = CancellationToken::new();
    let running = tokio::spawn(first.feeder.clone().run(stop.clone()));
    let sequence = first.send(lane(1));
    let fed = async {
        while first.queue.all().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), fed).await.unwrap();
    second.work().await;
    assert_eq!(second.queue.all(), []);
    stop.cancel();
    running.await.unwrap();
    second.tick().await;
    second.tick().await;
    assert_eq!(second.queue.fed(lane(1)), [sequence.0]);
}

//! The whole feeder with its loops, under real concurrency.

use super::model::{ModelLog, ModelQueue, lane};
use crate::{Feeder, FeederConfig, Metrics};
use contract::{
    backoff::Span,
    clock::{Clock, SystemClock, Timestamp},
    random::Random,
    rules::Rules,
    testing::SeededRandom,
};
use prometheus_client::registry::Registry;
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

const LANES: u32 = 4;
const PRODUCERS: u64 = 4;
const EVENTS: u32 = 500;

fn config() -> FeederConfig {
    FeederConfig {
        tick: Span(Duration::from_millis(20)),
        refeed_after: Span(Duration::from_millis(400)),
        page_rows: 32,
        ..FeederConfig::default()
    }
}

/// Stores events and offers most of them, some late.
async fn produce(log: Arc<ModelLog>, feeder: Arc<Feeder>, seed: u64) {
    let dice = SeededRandom::new(seed);
    let mut held_back = None;
    for number in 0..EVENTS {
        let lanes = [lane(number % LANES)];
        let sequence = log.store(&lanes);
        match dice.fraction() {
            lost if lost < 0.02 => {}
            late if late < 0.2 => held_back = Some((sequence, lanes)),
            _ => feeder.offer(sequence, &lanes),
        }
        if let Some((sequence, lanes)) = held_back.take_if(|_| dice.fraction() < 0.5) {
            feeder.offer(sequence, &lanes);
        }
        tokio::task::yield_now().await;
    }
}

/// Attempts what it finds, loses some, and lets some be tried again.
async fn consume(log: Arc<ModelLog>, queue: Arc<ModelQueue>, stop: CancellationToken) {
    let dice = SeededRandom::new(99);
    while !stop.is_cancelled() {
        for item in queue.all() {
            match dice.fraction() {
                lost if lost < 0.005 => queue.remove(item.delivery),
                again if again < 0.1 => {
                    let now = SystemClock.now();
                    log.attempt(item.delivery, Some(Timestamp(now.0 + 10_000)));
                    queue.remove(item.delivery);
                }
                _ => {
                    log.attempt(item.delivery, None);
                    queue.remove(item.delivery);
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_between_many_tasks_and_the_feeder_stops_when_told() {
    let log = ModelLog::new(Rules::default());
    let queue = ModelQueue::new(8, Arc::clone(&log), false);
    let metrics = Metrics::new(&mut Registry::default());
    let feeder = Feeder::new(config(), log.clone(), queue.clone(), Arc::new(SystemClock), metrics);
    let feeder = Arc::new(feeder);
    let stop = CancellationToken::new();
    let fed = tokio::spawn(Arc::clone(&feeder).run(stop.clone()));
    let consumed = tokio::spawn(consume(Arc::clone(&log), queue, stop.clone()));
    let mut producers = JoinSet::new();
    for seed in 0..PRODUCERS {
        producers.spawn(produce(Arc::clone(&log), Arc::clone(&feeder), seed));
    }
    timeout(Duration::from_secs(30), producers.join_all()).await.unwrap();
    let all_finished = async {
        loop {
            let changed = log.finished.notified();
            if (0..LANES).all(|number| log.unfinished(lane(number)) == 0) {
                return;
            }
            changed.await;
        }
    };
    timeout(Duration::from_secs(30), all_finished).await.unwrap();
    stop.cancel();
    timeout(Duration::from_secs(10), fed).await.unwrap().unwrap();
    timeout(Duration::from_secs(10), consumed).await.unwrap().unwrap();
}

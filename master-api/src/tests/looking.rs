//! The log as everybody may read it.

use super::harness::{Bench, DAY};
use contract::{
    delivery::{Cause, Next},
    id::{DeliveryId, Sequence},
    log::{LogFilter, LogQuery},
    master_api::{Log, MasterApi},
    testing::{ManualClock, log_conformance::Harness},
};
use std::sync::Arc;

impl Harness for Bench {
    fn master_api(&self) -> Arc<dyn MasterApi> {
        self.api.clone()
    }

    fn clock(&self) -> Arc<ManualClock> {
        self.clock.clone()
    }
}

mod in_memory {
    contract::log_conformance!(super::Bench::memory());
}

mod embedded {
    contract::log_conformance!(super::Bench::embedded());
}

/// Every fact from the first on, with few in a page.
async fn all(bench: &Bench, filter: LogFilter) -> Vec<Sequence> {
    let (mut found, mut after) = (Vec::new(), Sequence(0));
    loop {
        let filter = filter.clone();
        let query = LogQuery { after, first: 3, filter, ..LogQuery::default() };
        let page = bench.api.facts(query).await.unwrap();
        found.extend(page.facts.iter().map(|fact| fact.sequence));
        if !page.more {
            return found;
        }
        after = page.read_to;
    }
}

#[tokio::test]
async fn days_follow_each_other() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    let mut dead = Vec::new();
    for _ in 0..4 {
        for _ in 0..3 {
            let sequence = bench.store(&[lane]).await.sequence;
            let delivery = DeliveryId { lane, sequence };
            bench.attempt(delivery, 1, Next::Dead(Cause::Exhausted)).await;
            dead.push(bench.api.log_head().await.unwrap().sequence);
        }
        bench.clock.advance(DAY);
    }
    let head = bench.api.log_head().await.unwrap().sequence;
    let facts = all(&bench, LogFilter::default()).await;
    assert_eq!(facts, (1..=head.0).map(Sequence).collect::<Vec<_>>());
    let chain = Some(contract::log::Chain::Traffic);
    let notable = LogFilter { notable: true, chain, ..LogFilter::default() };
    assert_eq!(all(&bench, notable.clone()).await, dead);
    bench.assert_verified().await;
    let bench = bench.reopen().await;
    assert_eq!(all(&bench, notable).await, dead);
}

#[tokio::test]
async fn cursors_ride_on_the_next_batch() {
    let bench = Bench::embedded();
    bench.api.move_cursor("announcer", Sequence(4)).await.unwrap();
    let bench = bench.reopen().await;
    assert_eq!(bench.api.cursor("announcer").await.unwrap(), Some(Sequence(4)));
    assert_eq!(bench.api.cursor("another").await.unwrap(), None);
    // It is not lost on a later batch of others.
    bench.subscribe("ci").await;
    bench.api.move_cursor("announcer", Sequence(3)).await.unwrap();
    let bench = bench.reopen().await;
    assert_eq!(bench.api.cursor("announcer").await.unwrap(), Some(Sequence(4)));
}

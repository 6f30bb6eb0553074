//! What one replica stores, others find, and a log gets its index while replicas write to it.

use super::{Replica, Schema, assert_one_log, event, replica};
use crate::{
    fact::FORMAT,
    store::{Replicated, Scan, Table},
    tests::harness::{as_of_format, operator, put_subscription},
};
use contract::{
    command::Changeset,
    id::EventId,
    master_api::{Configuration, EventFilter, Events, PageRequest},
};
use std::time::Duration;

impl Replica {
    /// All that a search without a condition finds, newest first.
    pub(super) async fn found(&self) -> Vec<EventId> {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = PageRequest { first: 500, after };
            let page = self.api.events(EventFilter::default(), page).await.unwrap();
            ids.extend(page.items.iter().map(|event| event.id));
            after = page.next;
            if after.is_none() {
                return ids;
            }
        }
    }

    async fn stores(&self, count: usize) {
        for _ in 0..count {
            let command = event(self.new_id(), &[], self.rules());
            self.api.store_event(command).await.unwrap();
        }
    }
}

/// The events of the log by their places, newest first, without the index.
pub(super) async fn places_of(replica: &Replica) -> Vec<EventId> {
    let rows = tokio::task::block_in_place(|| {
        replica.api.shared.store.scan(&Scan::all(Table::EventIds, 10_000)).unwrap()
    });
    let ids: Vec<_> =
        rows.iter().map(|(key, _)| EventId::from_bytes(key.as_ref().try_into().unwrap())).collect();
    let mut events = Vec::new();
    for ids in ids.chunks(100) {
        events.extend(replica.api.events_by_id(ids.to_vec()).await.unwrap().into_iter().flatten());
    }
    events.sort_by_key(|event| std::cmp::Reverse(event.sequence));
    events.into_iter().map(|event| event.id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_goes_on_where_another_ended_goes_on_with_its_block() {
    let schema = Schema::new();
    let [one, two] = [replica(&schema, 21), replica(&schema, 22)];
    one.stores(30).await;
    two.follows(&one).await;
    assert_eq!(two.found().await, one.found().await);
    assert_eq!(two.found().await.len(), 30);
    one.api.close().await;
    two.stores(10).await;
    assert_eq!(two.found().await, places_of(&two).await);
    let three = replica(&schema, 23);
    assert_eq!(three.found().await, two.found().await);
    assert_eq!(three.api.shared.block.load_full(), two.api.shared.block.load_full());
    assert_one_log([&two, &three]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_index_comes_when_the_last_that_does_not_know_it_has_gone() {
    let schema = Schema::new();
    let first = replica(&schema, 31);
    first.stores(300).await;
    first.api.close().await;
    let older = tokio::task::block_in_place(|| {
        as_of_format(&schema.open(), 3);
        let older = schema.open_as("older");
        older.join(3).unwrap();
        older
    });
    let [one, two] = [replica(&schema, 32), replica(&schema, 33)];
    for replica in [&one, &two] {
        assert_eq!(replica.api.shared.state.load().format, 3);
        assert!(replica.api.shared.block.load().is_none());
        assert_eq!(replica.found().await.len(), 300);
    }
    one.stores(5).await;
    two.stores(5).await;
    // What the older one would read is what it knows.
    let head = tokio::task::block_in_place(|| crate::follow::stored_head(one.api.shared.rows()));
    assert_eq!(head.unwrap().open_block.0, 0);
    tokio::task::block_in_place(|| older.leave());
    for replica in [&one, &two] {
        let mut tip = replica.api.shared.tip.subscribe();
        let raised = tip.wait_for(|_| replica.api.shared.state.load().format == FORMAT);
        tokio::time::timeout(Duration::from_secs(20), raised).await.unwrap().unwrap();
    }
    one.stores(5).await;
    two.stores(5).await;
    let changes = Changeset { commands: vec![put_subscription("last")], ..Changeset::default() };
    one.api.execute(operator(), changes).await.unwrap();
    two.follows(&one).await;
    assert_eq!(one.found().await.len(), 320);
    assert_eq!(one.found().await, two.found().await);
    assert_eq!(one.api.shared.block.load_full(), two.api.shared.block.load_full());
    assert_one_log([&one, &two]).await;
}

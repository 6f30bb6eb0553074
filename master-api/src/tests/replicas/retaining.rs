//! What goes, where several replicas see it go.

use super::{Replica, Schema, assert_one_log, event, replica, replica_with};
use crate::{
    backup,
    fact::Bucket,
    store::{Batch, Rows, Scan, StateStore, StoreError, Table},
    tests::harness::{DAY, START, forgetful, operator, report},
};
use contract::{
    ErrorCode,
    delivery::{DeliveryState, Next},
    id::{DeliveryId, LaneId},
    master_api::{Deliveries, Events, Stored},
    retention::{ErasureTarget, PayloadState, Retention},
};
use std::time::{Duration, Instant};

impl Replica {
    async fn store(&self, lanes: &[LaneId]) -> Stored {
        self.api.store_event(event(self.new_id(), lanes, self.rules())).await.unwrap()
    }
}

fn delivery(lane: LaneId, stored: &Stored) -> DeliveryId {
    DeliveryId { lane, sequence: stored.sequence }
}

/// Has something done that waits for the database.
fn wait<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

async fn assert_verified(replica: &Replica) {
    let report = replica.api.verify().await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_lets_a_day_go_and_everybody_sees_it() {
    let schema = Schema::new();
    let [one, two] = [1, 2].map(|seed| replica_with(&schema, seed, forgetful));
    let lane = one.subscribe("ci").await;
    two.follows(&one).await;
    let (done, waiting) = (two.store(&[lane]).await, two.store(&[lane]).await);
    let report = report(delivery(lane, &done), 1, Next::Done);
    two.api.record_attempts(vec![report]).await.unwrap();
    one.follows(&two).await;
    let day = Bucket::of(START);
    for replica in [&one, &two] {
        replica.clock.advance(DAY * 3);
    }

    let refused = two.api.run_retention(false).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable, "{refused}");
    let retained = one.api.run_retention(true).await.unwrap();
    assert_eq!((retained.days_dropped, retained.deliveries_carried), (1, 1));
    assert!(retained.bytes_before > 0 && retained.bytes_after > 0, "{retained:?}");
    let tables = wait(|| one.api.shared.store.tables());
    assert!(tables.iter().all(|table| table.day() != Some(day)), "{tables:?}");

    // To write, the other one has to know first.
    let later = two.store(&[lane]).await;
    assert_eq!(two.api.delivery(delivery(lane, &done)).await.unwrap(), None);
    assert_eq!(two.api.event(done.id).await.unwrap(), None);
    let work = two.api.work(vec![delivery(lane, &waiting)]).await.unwrap().remove(0).unwrap();
    assert_eq!(work.delivery.state, DeliveryState::Waiting);
    assert_eq!(work.event.id, waiting.id);
    assert!(work.payload.is_some(), "carried with its event");
    assert_verified(&two).await;
    // One that is new.
    let three = replica_with(&schema, 3, forgetful);
    three.clock.advance(DAY * 3);
    for replica in [&one, &two, &three] {
        let id = delivery(lane, &later);
        assert!(replica.api.delivery(id).await.unwrap().is_some());
    }
    assert_eq!(*three.api.shared.state.load_full(), *two.api.shared.state.load_full());
    assert_verified(&three).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_slept_through_the_end_of_a_day_goes_on() {
    let schema = Schema::new();
    let [one, two] = [4, 5].map(|seed| replica_with(&schema, seed, forgetful));
    let lane = one.subscribe("ci").await;
    two.follows(&one).await;
    // What it has in memory is what it knew before the day.
    let before = (*two.api.shared.head(), two.api.shared.state.load_full());
    let (head, state) = before;
    one.store(&[lane]).await;
    one.clock.advance(DAY * 3);
    let kept = one.store(&[lane]).await;
    assert_eq!(one.api.run_retention(false).await.unwrap().days_dropped, 1);
    let shared = &two.api.shared;
    let stored = wait(|| crate::follow::stored_head(shared.rows())).unwrap();
    two.api.close().await;
    *shared.head() = head;
    shared.state.store(state);
    let followed = wait(|| crate::follow::follow(shared, &stored)).unwrap().unwrap();
    assert_eq!((followed.head, followed.notable), (stored, Some(stored.sequence)));
    let lanes = followed.reloaded.unwrap();
    assert_eq!(lanes.head(lane), Some(kept.sequence));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_erases_no_other_has_in_memory() {
    let schema = Schema::new();
    let [one, two] = [replica(&schema, 6), replica(&schema, 7)];
    let lane = one.subscribe("ci").await;
    two.follows(&one).await;
    let stored = two.store(&[lane]).await;
    assert!(two.api.shared.recent.get(stored.sequence).is_some());
    // Any replica erases.
    let erased = one.api.erase(operator(), ErasureTarget::Event(stored.id)).await.unwrap();
    assert_eq!((erased.events, erased.deliveries, erased.done), (1, 1, true));
    two.store(&[lane]).await;
    assert!(two.api.shared.recent.get(stored.sequence).is_none());
    assert_eq!(two.api.payload(stored.id).await.unwrap(), None);
    let state = two.api.payload_state(stored.id).await.unwrap();
    assert_eq!(state, Some(PayloadState::Erased));
    assert_one_log([&one, &two]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_is_taken_of_a_running_replica() {
    let schema = Schema::new();
    let at = replica(&schema, 8);
    let lane = at.subscribe("ci").await;
    for _ in 0..5 {
        at.store(&[lane]).await;
    }
    let head = at.api.shared.head().sequence;
    let quiet = |_what: &'static str, _done: u64, _all: u64| {};
    let mut copy = Vec::new();
    wait(|| {
        let source = backup::Source::of(&*at.api.shared.store);
        backup::write(&source, &mut copy, &quiet).unwrap();
    });
    let directory = tempfile::tempdir().unwrap();
    let restored = backup::restore(&*copy, directory.path(), &quiet).unwrap();
    assert_eq!((restored.begin.sequence, restored.contents.facts), (head, head.0));
    assert_eq!(restored.contents.payloads, 5);
}

#[test]
fn whoever_reads_a_table_keeps_it() {
    let schema = Schema::new();
    let store = schema.open();
    let table = Table::Traffic(Bucket(7));
    let put = |key: &str| {
        let mut batch = Batch::default();
        batch.put(table, key, vec![7; 1000]);
        store.commit(batch).unwrap();
    };
    ["a", "b", "c"].into_iter().for_each(put);
    let snapshot = store.snapshot();
    assert!(matches!(store.drop_table(table), Err(StoreError::Unavailable(_))));
    // Nobody waits for that, and nothing is lost by it.
    put("d");
    assert_eq!(snapshot.scan(&Scan::all(table, 9)).unwrap().len(), 3);
    drop(snapshot);
    let begun = Instant::now();
    while let Err(error) = store.drop_table(table) {
        assert!(begun.elapsed() < Duration::from_secs(10), "{error}");
    }
    assert_eq!(store.get(table, b"a").unwrap(), None);
    assert_eq!(store.bytes(table).unwrap(), 0);
    // A removal makes no table; a snapshot of what is gone is empty.
    let mut batch = Batch::default();
    batch.remove(table, "a");
    store.commit(batch).unwrap();
    assert_eq!(StateStore::tables(&store), []);
    assert!(store.snapshot().scan(&Scan::all(table, 9)).unwrap().is_empty());
    store.create(&[table, Table::Meta, table]).unwrap();
    assert_eq!(StateStore::tables(&store), [table]);
    assert!(store.bytes(table).unwrap() > 0);
}

#[test]
fn a_page_ends_with_its_bytes() {
    let schema = Schema::new();
    let store = schema.open();
    let mut batch = Batch::default();
    for key in ["a", "b", "c", "d"] {
        batch.put(Table::Secrets, key, vec![7; 99]);
        batch.put(Table::Payloads(Bucket(7)), key, vec![7; 99]);
    }
    store.commit(batch).unwrap();
    for table in [Table::Secrets, Table::Payloads(Bucket(7))] {
        let keys = |scan: Scan| -> Vec<_> {
            let rows = store.scan(&scan).unwrap();
            rows.into_iter().map(|(key, _)| String::from_utf8(key.to_vec()).unwrap()).collect()
        };
        let all = Scan::all(table, 10);
        assert_eq!(keys(all.clone().at_most(200)), ["a", "b"]);
        assert_eq!(keys(all.clone().at_most(201)), ["a", "b", "c"]);
        assert_eq!(keys(all.clone().at_most(1).after(b"a")), ["b"]);
        assert_eq!(keys(all.clone().at_most(150).reversed()), ["d", "c"]);
        assert_eq!(keys(all.at_most(10_000)).len(), 4);
        assert_eq!(keys(Scan::all(table, 2).at_most(10_000)), ["a", "b"]);
    }
}

//! What is old goes, what is unfinished stays, and the log verifies all the while.

use super::harness::{
    Bench, DAY, around, config, copy_directory, forgetful, now, open_at, operator,
};
use crate::{
    MasterApi,
    fact::Bucket,
    keeper::DayTables,
    log::{self, verify_rows},
    store::{Batch, Memory, Row, Rows, Scan, StateStore, StoreError, Table},
};
use bytes::Bytes;
use contract::{
    ErrorCode,
    clock::Clock,
    delivery::{Cause, DeliveryState, Next},
    id::{DeliveryId, LaneId, Sequence},
    master_api::{
        Deliveries, DeliveryFilter, EventFilter, Events, Lanes, PageRequest, Stats, Stored,
    },
    retention::{PayloadState, Retention},
};
use std::{
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

/// Sees the rows before a batch is written, with it, and afterwards.
type Watch = Box<dyn Fn(&Memory, Option<&Batch>) + Send + Sync>;

/// A store in memory that looks at what is done to it.
struct Watched {
    rows: Memory,
    watch: Watch,
}

impl Watched {
    fn new(watch: impl Fn(&Memory, Option<&Batch>) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { rows: Memory::default(), watch: Box::new(watch) })
    }
}

impl Rows for Watched {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.rows.get(table, key)
    }
    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        self.rows.scan(scan)
    }
}

impl StateStore for Watched {
    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        (self.watch)(&self.rows, Some(&batch));
        self.rows.commit(batch)?;
        (self.watch)(&self.rows, None);
        Ok(())
    }
    fn snapshot(&self) -> Box<dyn Rows> {
        self.rows.snapshot()
    }
    fn tables(&self) -> Vec<Table> {
        self.rows.tables()
    }
    fn create(&self, tables: &[Table]) -> Result<(), StoreError> {
        self.rows.create(tables)
    }
    fn drop_table(&self, table: Table) -> Result<(), StoreError> {
        self.rows.drop_table(table)?;
        (self.watch)(&self.rows, None);
        Ok(())
    }
    fn bytes(&self, table: Table) -> Result<u64, StoreError> {
        self.rows.bytes(table)
    }
    fn compact(&self, tables: &[Table]) -> Result<(), StoreError> {
        self.rows.compact(tables)
    }
}

fn delivery(lane: LaneId, stored: &Stored) -> DeliveryId {
    DeliveryId { lane, sequence: stored.sequence }
}

/// An event that is delivered, one that waits for its first attempt, one that waits for a retry.
async fn three(bench: &Bench, lane: LaneId) -> [Stored; 3] {
    let [done, fresh, retried] =
        [bench.store(&[lane]).await, bench.store(&[lane]).await, bench.store(&[lane]).await];
    assert!(bench.attempt(delivery(lane, &done), 1, Next::Done).await);
    let due = now(bench).after(DAY * 4);
    assert!(bench.attempt(delivery(lane, &retried), 1, Next::Retry(due)).await);
    [done, fresh, retried]
}

async fn state(bench: &Bench, id: DeliveryId) -> Option<DeliveryState> {
    bench.api.delivery(id).await.unwrap().map(|delivery| delivery.state)
}

async fn retain(bench: &Bench) -> contract::retention::Retained {
    bench.api.run_retention(false).await.unwrap()
}

#[tokio::test]
async fn the_first_event_of_a_day_makes_no_table() {
    let made = Arc::new(Mutex::new(Vec::new()));
    let watched = Arc::clone(&made);
    let store = Watched::new(move |rows, batch| {
        let tables = rows.tables();
        for change in batch.iter().flat_map(|batch| &batch.0) {
            if change.table.day().is_some() && !tables.contains(&change.table) {
                watched.lock().unwrap().push(change.table);
            }
        }
    });
    let bench = Bench::on(store.clone());
    let mut kept = DayTables::default();
    for _ in 0..3 {
        // The keeper ran some time on the day before, and then the day began.
        kept.keep(&bench.api.shared).unwrap();
        bench.clock.advance(DAY);
        let mut command = bench.event(&[]);
        command.event.idempotency_key = Some(command.id.to_string());
        bench.api.store_event(command).await.unwrap();
    }
    assert_eq!(*made.lock().unwrap(), []);
    // Days on which nothing happened leave no tables behind.
    bench.clock.advance(DAY * 3);
    kept.keep(&bench.api.shared).unwrap();
    bench.clock.advance(DAY * 3);
    kept.keep(&bench.api.shared).unwrap();
    let mut days: Vec<_> = store.tables().into_iter().filter_map(Table::day).collect();
    days.sort_unstable();
    days.dedup();
    let today = Bucket::of(now(&bench));
    let start = today.0 - 9;
    assert_eq!(days, [start + 1, start + 2, start + 3, start + 9, start + 10].map(Bucket));
    bench.assert_verified().await;
}

#[tokio::test]
async fn a_day_goes_and_takes_all_but_the_unfinished_with_it() {
    let bench = Bench::forgetful(Arc::new(Memory::default()), 7);
    let lane = bench.subscribe("ci").await;
    let [done, fresh, retried] = three(&bench, lane).await;
    let dead = bench.store(&[lane]).await;
    bench.attempt(delivery(lane, &dead), 1, Next::Dead(Cause::Exhausted)).await;
    let mut aside = bench.event(&[]);
    aside.quarantine = Some("odd".into());
    let aside = bench.api.store_event(aside).await.unwrap();
    bench.clock.advance(DAY * 2);
    assert_eq!(retain(&bench).await.days_dropped, 0);
    let plan = bench.api.retention_plan().await.unwrap();
    assert!(!plan.days[0].due && plan.days[0].facts > 7 && plan.days[0].bytes > 0);
    assert!(plan.days[0].goes_at > now(&bench));
    // Nothing comes any more: even so, the day ends.
    bench.clock.advance(DAY);
    assert!(bench.api.retention_plan().await.unwrap().days[0].due);
    let retained = retain(&bench).await;
    assert_eq!((retained.days_dropped, retained.deliveries_carried), (1, 2));
    bench.assert_verified().await;
    for gone in [&done, &dead, &aside] {
        assert_eq!(bench.api.event(gone.id).await.unwrap(), None);
        assert_eq!(bench.api.payload(gone.id).await.unwrap(), None);
        let state = bench.api.payload_state(gone.id).await.unwrap();
        assert_eq!(state, Some(PayloadState::Expired));
        assert_eq!(self::state(&bench, delivery(lane, gone)).await, None);
    }
    for kept in [&fresh, &retried] {
        let event = bench.api.event(kept.id).await.unwrap().unwrap();
        assert_eq!((event.sequence, &event.lanes), (kept.sequence, &vec![lane]));
        let work = bench.api.work(vec![delivery(lane, kept)]).await.unwrap().remove(0).unwrap();
        assert_eq!(work.payload.unwrap(), format!(r#"{{"id":"{}"}}"#, kept.id));
        assert_eq!(bench.api.deliveries_of(kept.id).await.unwrap().len(), 1);
    }
    let retry = bench.api.delivery(delivery(lane, &retried)).await.unwrap().unwrap();
    assert_eq!(retry.attempts.len(), 1);
    let page = bench.api.events(EventFilter::default(), PageRequest::default()).await.unwrap();
    assert_eq!(page.items.iter().map(|event| event.id).collect::<Vec<_>>(), [retried.id, fresh.id]);
    let filter = DeliveryFilter::default();
    let page = bench.api.deliveries(filter, PageRequest::default()).await.unwrap();
    assert_eq!(page.items.len(), 2);
    let stats = bench.api.stats().await.unwrap();
    let wanted = Stats { accepted: 4, delivered: 1, waiting: 2, ..Stats::default() };
    assert_eq!(stats, wanted, "what was done stays done");
    let feed = bench.api.feed(lane, Sequence(0), now(&bench).after(DAY * 9), 10).await.unwrap();
    assert_eq!(feed.fresh.len(), 1);
    assert_eq!(feed.due.len(), 1);
    assert!(bench.attempt(delivery(lane, &retried), 2, Next::Done).await);
    assert!(bench.attempt(delivery(lane, &fresh), 1, Next::Done).await);
    bench.assert_verified().await;
    // The day they were carried to goes in its turn.
    bench.clock.advance(DAY * 4);
    assert_eq!(retain(&bench).await.days_dropped, 1);
    assert_eq!(bench.api.event(fresh.id).await.unwrap(), None);
    bench.assert_verified().await;
    let left = bench.api.shared.store.scan(&Scan::all(Table::Deliveries, 9)).unwrap();
    assert!(left.is_empty(), "{left:?}");
    let feed = bench.api.feed(lane, Sequence(0), now(&bench), 10).await.unwrap();
    bench.api.advance(vec![(lane, feed.read_to)]).await.unwrap();
    assert!(bench.api.lanes(now(&bench)).await.unwrap().is_empty(), "no lane asks for nothing");
}

#[tokio::test]
async fn a_delivery_that_waits_too_long_is_dead_and_says_so() {
    let bench = Bench::forgetful(Arc::new(Memory::default()), 7);
    let lane = bench.subscribe("ci").await;
    let [_, fresh, retried] = three(&bench, lane).await;
    for _ in 0..6 {
        bench.clock.advance(DAY);
        bench.store(&[]).await;
        retain(&bench).await;
        bench.assert_verified().await;
    }
    for waited in [&fresh, &retried] {
        let dead = bench.api.delivery(delivery(lane, waited)).await.unwrap().unwrap();
        assert_eq!((dead.state, dead.cause), (DeliveryState::Dead, Some(Cause::Expired)));
        let state = bench.api.payload_state(waited.id).await.unwrap();
        assert_eq!(state, Some(PayloadState::Expired));
        assert!(bench.api.event(waited.id).await.unwrap().is_some());
        let refused = bench.api.resend(operator(), dead.id).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Conflict);
    }
    let dead = DeliveryFilter { state: Some(DeliveryState::Dead), ..DeliveryFilter::default() };
    let page = bench.api.deliveries(dead.clone(), PageRequest::default()).await.unwrap();
    assert_eq!(page.items.len(), 2);
    assert_eq!(bench.api.stats().await.unwrap().waiting, 0);
    // As a dead letter it is kept as long as any other.
    bench.clock.advance(DAY * 4);
    retain(&bench).await;
    let page = bench.api.deliveries(dead, PageRequest::default()).await.unwrap();
    assert!(page.items.is_empty());
    bench.assert_verified().await;
}

#[tokio::test]
async fn what_is_too_much_goes_oldest_first() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Memory::default());
    let mut config = config(directory.path());
    config.retention.size = 60_000;
    let clock = contract::testing::ManualClock::new(super::harness::START);
    let api = MasterApi::on(store, config, around(&clock, 7)).unwrap();
    let ids = contract::testing::seeded_ids(clock.clone(), 3);
    let mut stored = Vec::new();
    for _ in 0..6 {
        let id = contract::id::EventId::from_bytes(ids.uuid());
        let rules = contract::master_api::Configuration::rules(&*api).borrow().sequence;
        let mut command = super::harness::event(id, &[], rules);
        command.event.payload = vec![b'x'; 20_000].into();
        stored.push(api.store_event(command).await.unwrap());
        clock.advance(DAY);
    }
    let retained = api.run_retention(false).await.unwrap();
    assert!(retained.bytes_before > 120_000 && retained.bytes_after < 60_000, "{retained:?}");
    let mut there = Vec::new();
    for stored in &stored {
        there.push(api.event(stored.id).await.unwrap().is_some());
    }
    assert_eq!(there, [false, false, false, false, true, true]);
    assert_eq!(api.verify().await.unwrap().problems, Vec::<String>::new());
}

/// Whatever is durable at any moment verifies, and whoever opens it then comes to the same end.
#[tokio::test]
async fn every_step_can_be_the_last_one() {
    let left = Arc::new(Mutex::new(Vec::new()));
    let leave = Arc::clone(&left);
    let store = Watched::new(move |rows, batch| {
        if batch.is_none() {
            leave.lock().unwrap().push(rows.copy());
        }
    });
    let bench = Bench::forgetful(store.clone(), 7);
    let lane = bench.subscribe("ci").await;
    let other = bench.subscribe("other").await;
    let [_, fresh, retried] = three(&bench, lane).await;
    let both = bench.store(&[lane, other]).await;
    bench.attempt(delivery(other, &both), 1, Next::Done).await;
    bench.clock.advance(DAY);
    three(&bench, other).await;
    bench.clock.advance(DAY * 3);
    left.lock().unwrap().clear();
    retain(&bench).await;
    bench.clock.advance(DAY * 2);
    retain(&bench).await;
    let steps = std::mem::take(&mut *left.lock().unwrap());
    assert!(steps.len() > 8, "{}", steps.len());
    bench.assert_verified().await;
    let dead_now = bench.api.stats().await.unwrap();
    for rows in steps {
        let tables = rows.tables();
        let report = verify_rows(&rows, &tables, &Memory::default(), None).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        let directory = tempfile::tempdir().unwrap();
        let config = forgetful(config(directory.path()));
        std::fs::copy(
            bench.directory.path().join("secret.key"),
            directory.path().join("secret.key"),
        )
        .unwrap();
        let head = log::load(&rows).unwrap().head;
        log::head_file::write(directory.path(), &log::head_file::HeadMark::from(&head)).unwrap();
        let api = MasterApi::on(Arc::new(rows), config, around(&bench.clock, 9)).unwrap();
        // The thread may be at it already, for what was cut short.
        let retained = loop {
            match api.run_retention(false).await {
                Err(error) if error.message.contains("is running") => {
                    tokio::task::yield_now().await;
                }
                other => break other,
            }
        };
        retained.unwrap();
        assert_eq!(api.verify().await.unwrap().problems, Vec::<String>::new());
        assert_eq!(api.stats().await.unwrap(), dead_now);
        for waited in [&fresh, &retried, &both] {
            let delivery = api.delivery(delivery(lane, waited)).await.unwrap().unwrap();
            assert_eq!(delivery.cause, Some(Cause::Expired));
        }
        let today = Bucket::of(now(&bench));
        let gone = |table: &Table| table.day().is_some_and(|day| day.0 + 3 < today.0);
        assert!(!api.shared.store.tables().iter().any(gone));
    }
}

/// Bytes of the files in a directory, as the disk has them.
fn used(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => used(&entry.path()),
            false => entry.metadata().unwrap().blocks() * 512,
        })
        .sum()
}

#[tokio::test]
async fn the_space_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let clock = contract::testing::ManualClock::new(super::harness::START);
    let api = open_at(&clock, forgetful(config(directory.path()))).unwrap();
    let ids = contract::testing::seeded_ids(clock.clone(), 3);
    let mut noise = 1_u64;
    for day in 0..3 {
        for _ in 0..8 {
            let id = contract::id::EventId::from_bytes(ids.uuid());
            let rules = contract::master_api::Configuration::rules(&*api).borrow().sequence;
            let mut command = super::harness::event(id, &[], rules);
            let word = || {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                noise.to_be_bytes()
            };
            command.event.payload =
                std::iter::repeat_with(word).take(128 << 10).flatten().collect::<Vec<_>>().into();
            api.store_event(command).await.unwrap();
        }
        if day < 2 {
            clock.advance(DAY);
        }
    }
    // What is in journals and memory goes into tables, so that they can be compared.
    api.run_retention(true).await.unwrap();
    let before = used(directory.path());
    assert!(before > 24 << 20, "{before}");
    clock.advance(DAY * 9);
    let retained = api.run_retention(true).await.unwrap();
    assert!(retained.days_dropped > 0);
    let after = used(directory.path());
    assert!(after < 2 << 20, "{before} -> {after}");
    assert_eq!(api.verify().await.unwrap().problems, Vec::<String>::new());
    api.close().await;
    let crashed = tempfile::tempdir().unwrap();
    copy_directory(directory.path(), crashed.path());
    assert_eq!(log::verify(crashed.path()).unwrap().problems, Vec::<String>::new());
    drop(api);
    let api = open_at(&clock, forgetful(config(directory.path()))).unwrap();
    assert_eq!(api.verify().await.unwrap().problems, Vec::<String>::new());
    assert!(clock.now() > super::harness::START.after(Duration::from_secs(1)));
}

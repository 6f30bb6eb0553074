//! What is damaged is found and named, and nothing is acknowledged that is not durable.

use super::harness::{Bench, config, copy_directory, open_at, put_subscription};
use crate::{
    log,
    store::{Batch, Embedded, Memory, Row, Rows, Scan, StateStore, StoreError, Table},
    tables,
};
use bytes::Bytes;
use contract::{
    ErrorCode,
    id::{DeliveryId, Sequence},
    master_api::{Deliveries, Events},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A disk that can fail.
#[derive(Default)]
struct Failing {
    rows: Memory,
    broken: AtomicBool,
}

impl Rows for Failing {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.rows.get(table, key)
    }
    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        self.rows.scan(scan)
    }
}

impl StateStore for Failing {
    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        match self.broken.load(Ordering::SeqCst) {
            true => Err(StoreError::Failed("input/output error".into())),
            false => self.rows.commit(batch),
        }
    }
    fn snapshot(&self) -> Box<dyn Rows> {
        self.rows.snapshot()
    }
    fn tables(&self) -> Vec<Table> {
        self.rows.tables()
    }
    fn drop_table(&self, table: Table) -> Result<(), StoreError> {
        self.rows.drop_table(table)
    }
}

#[tokio::test]
async fn a_failed_write_is_never_acknowledged_and_ends_all_writing() {
    let store = Arc::new(Failing::default());
    let bench = Bench::on(store.clone());
    let lane = bench.subscribe("ci").await;
    let stored = bench.store(&[lane]).await;
    assert!(bench.api.ready());
    store.broken.store(true, Ordering::SeqCst);
    let refused = bench.event(&[lane]);
    let error = bench.api.store_event(refused.clone()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
    assert!(!bench.api.ready());
    // A disk that works again is not to be trusted: what it did with the batch is not known.
    store.broken.store(false, Ordering::SeqCst);
    let delivery = DeliveryId { lane, sequence: stored.sequence };
    let report = super::harness::report(delivery, 1, contract::delivery::Next::Done);
    let errors = [
        bench.api.store_event(bench.event(&[lane])).await.unwrap_err(),
        bench.api.record_attempts(vec![report]).await.unwrap_err(),
        bench.execute(vec![put_subscription("x")]).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code, ErrorCode::Unavailable);
    }
    assert!(bench.api.event(refused.id).await.unwrap().is_none());
    assert_eq!(bench.api.stats().await.unwrap().accepted, 1);
}

#[tokio::test]
async fn a_log_that_lost_its_end_is_not_served() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    let stored = bench.store(&[lane]).await;
    let (older, newer) = (tempfile::tempdir().unwrap(), bench.directory.path());
    copy_directory(newer, older.path());
    let last = bench.store(&[lane]).await;
    bench.api.close().await;
    // The store of before, the head file of after.
    std::fs::copy(newer.join("head"), older.path().join("head")).unwrap();
    let open = || open_at(&bench.clock, config(older.path()));
    let error = open().unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
    let (found, reached) = (stored.sequence, last.sequence);
    assert!(error.message.contains(&format!("ends at {found}")), "{error}");
    assert!(error.message.contains(&format!("reached {reached}")), "{error}");

    let loss = log::repair(older.path(), false).unwrap().unwrap();
    assert_eq!((loss.found, loss.reached, loss.accepted), (found, reached, false));
    assert!(open().is_err());
    assert!(!log::verify(older.path()).unwrap().problems.is_empty());
    let loss = log::repair(older.path(), true).unwrap().unwrap();
    assert_eq!((loss.facts(), loss.accepted), (1, true));
    assert!(log::repair(older.path(), false).unwrap().is_none());
    let api = open().unwrap();
    assert!(api.event(stored.id).await.unwrap().is_some());
    assert!(api.event(last.id).await.unwrap().is_none());
}

#[tokio::test]
async fn another_log_than_the_head_file_names_is_not_served() {
    let [one, other] = [Bench::embedded(), Bench::embedded()];
    for (bench, name) in [(&one, "a"), (&other, "b")] {
        bench.subscribe(name).await;
        bench.api.close().await;
    }
    let head = one.directory.path().join("head");
    std::fs::copy(&head, other.directory.path().join("head")).unwrap();
    let Bench { clock, directory, api, .. } = other;
    drop(api);
    let error = open_at(&clock, config(directory.path())).unwrap_err();
    assert!(error.message.contains("the log was changed"), "{error}");
}

#[tokio::test]
async fn a_whole_log_verifies_offline() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    for _ in 0..20 {
        let sequence = bench.store(&[lane]).await.sequence;
        bench.attempt(DeliveryId { lane, sequence }, 1, contract::delivery::Next::Done).await;
    }
    bench.api.close().await;
    drop(bench.api);
    let report = log::verify(bench.directory.path()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(report.facts > 40);
    assert!(!bench.directory.path().join("verify.tmp").exists());
    drop(Embedded::open(&log::store_in(bench.directory.path()), 1 << 20).unwrap());
}

/// Whatever row is changed, added or taken away, verification says so.
#[tokio::test]
async fn every_damaged_row_is_found() {
    let store = Arc::new(Memory::default());
    let bench = Bench::on(store.clone());
    let lane = bench.subscribe("ci").await;
    for n in 0..3_i64 {
        let mut command = bench.event(&[lane]);
        command.event.idempotency_key = Some(n.to_string());
        let sequence = bench.api.store_event(command).await.unwrap().sequence;
        let next = match n {
            0 => contract::delivery::Next::Retry(super::harness::now(&bench)),
            1 => contract::delivery::Next::Dead(contract::delivery::Cause::Exhausted),
            _ => contract::delivery::Next::Done,
        };
        bench.attempt(DeliveryId { lane, sequence }, 1, next).await;
    }
    bench.assert_verified().await;
    let mut damaged = 0;
    for table in store.tables() {
        for (key, row) in store.scan(&Scan::all(table, 1000)).unwrap() {
            // Only a hint against repeats; its event is what is checked.
            let is_hint = matches!(table, Table::Idempotency(_));
            let mut changes = Vec::from_iter((!is_hint).then_some(None));
            if table != Table::Secrets && !is_hint && !row.is_empty() {
                let mut changed = row.to_vec();
                let last = changed.len() - 1;
                changed[last] ^= 1;
                changes.push(Some(changed));
            }
            for change in changes {
                let what = format!("{table:?} {} {}", hex::encode(&key), change.is_some());
                write(&store, table, &key, change.map(Bytes::from));
                let found = bench.api.verify().await;
                assert!(!found.is_ok_and(|report| report.problems.is_empty()), "{what}");
                write(&store, table, &key, Some(row.clone()));
                damaged += 1;
            }
        }
    }
    assert!(damaged >= 50, "{damaged}");
    let stray = DeliveryId { lane, sequence: Sequence(999) };
    write(&store, Table::Dead, &tables::dead_key(stray), Some(Bytes::new()));
    assert!(!bench.api.verify().await.unwrap().problems.is_empty());
}

#[tokio::test]
async fn a_row_that_does_not_read_fails_its_own_command_only() {
    let store = Arc::new(Memory::default());
    let bench = Bench::on(store.clone());
    let lane = bench.subscribe("ci").await;
    let [bad, good] = [bench.store(&[lane]).await, bench.store(&[lane]).await]
        .map(|stored| DeliveryId { lane, sequence: stored.sequence });
    write(&store, Table::Deliveries, &bad.to_bytes(), Some(Bytes::from_static(b"\x01??")));
    let report = |id| super::harness::report(id, 1, contract::delivery::Next::Done);
    let error = bench.api.record_attempts(vec![report(bad)]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Internal);
    assert!(bench.attempt(good, 1, contract::delivery::Next::Done).await);
    assert!(bench.api.ready());
}

fn write(store: &Memory, table: Table, key: &[u8], value: Option<Bytes>) {
    let mut batch = Batch::default();
    match value {
        Some(value) => batch.put(table, key, value),
        None => batch.remove(table, key),
    }
    store.commit(batch).unwrap();
}

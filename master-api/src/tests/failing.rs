//! A disk that fails while the log is served.

use super::harness::{Bench, put_subscription, report};
use crate::store::{Batch, Memory, Row, Rows, Scan, StateStore, StoreError, Table};
use bytes::Bytes;
use contract::{
    ErrorCode,
    delivery::Next,
    id::DeliveryId,
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
    /// Reads of events fail.
    unreadable: AtomicBool,
}

impl Failing {
    fn read(&self, table: Table) -> Result<(), StoreError> {
        match self.unreadable.load(Ordering::SeqCst) && table == Table::EventIds {
            true => Err(StoreError::Damaged("checksum mismatch".into())),
            false => Ok(()),
        }
    }
}

impl Rows for Failing {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.read(table)?;
        self.rows.get(table, key)
    }
    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        self.read(scan.table)?;
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
    fn create(&self, tables: &[Table]) -> Result<(), StoreError> {
        self.rows.create(tables)
    }
    fn bytes(&self, table: Table) -> Result<u64, StoreError> {
        self.rows.bytes(table)
    }
    fn compact(&self, tables: &[Table]) -> Result<(), StoreError> {
        self.rows.compact(tables)
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
    let report = report(delivery, 1, Next::Done);
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
async fn a_read_that_fails_is_remembered_as_a_warning() {
    let store = Arc::new(Failing::default());
    let bench = Bench::on(store.clone());
    let stored = bench.store(&[]).await;
    assert!(bench.api.event(stored.id).await.unwrap().is_some());
    let warnings = || bench.api.health().borrow().warnings().collect::<Vec<_>>();
    assert!(warnings().is_empty());
    store.unreadable.store(true, Ordering::SeqCst);
    assert_eq!(bench.api.event(bench.new_id()).await.unwrap_err().code, ErrorCode::Internal);
    // What reads again by luck is no reason to trust the disk.
    store.unreadable.store(false, Ordering::SeqCst);
    assert!(bench.api.event(stored.id).await.unwrap().is_some());
    let [warning] = warnings()[..] else { panic!("{:?}", warnings()) };
    for advice in ["log verify", "log repair", "backup"] {
        assert!(warning.contains(advice), "{warning}");
    }
    assert!(bench.api.ready(), "what reads is served");
}

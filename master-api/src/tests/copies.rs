//! A log that is rebuilt, or restored from a backup, is the log that was.

use super::harness::{Bench, config, forgetful, open_at, operator, report};
use crate::{
    backup::{self, BackupError, Source},
    log::{self, LogError, store_in},
    store::{Batch, Embedded, Rows, Scan, StateStore, Table},
    tables,
    writer::{Command, Upkeep},
};
use bytes::Bytes;
use contract::{
    delivery::{Cause, Next},
    event::Audience,
    id::{DeliveryId, EventId},
    master_api::{Configuration, Deliveries, Events, Lanes},
    retention::{ErasureTarget, PayloadState, Retention},
};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};

fn quiet(_what: &'static str, _done: u64, _all: u64) {}

/// Two days with all that can be: fresh, due, dead, delivered, quarantined, keyed.
async fn full() -> Bench {
    let bench = Bench::embedded();
    let lanes = [bench.subscribe("a").await, bench.subscribe("b").await];
    for day in 0..2_u32 {
        for n in 0..12_u32 {
            let mut command = bench.event(&lanes);
            command.event.idempotency_key = Some(format!("{day}-{n}"));
            if n == 11 {
                command.quarantine = Some("odd".into());
            }
            let stored = bench.api.store_event(command).await.unwrap();
            let next = match n {
                0..4 => Next::Done,
                4 => Next::Dead(Cause::Exhausted),
                5 => Next::Retry(super::harness::now(&bench).after(Duration::from_secs(100))),
                _ => continue,
            };
            let delivery = DeliveryId { lane: lanes[0], sequence: stored.sequence };
            bench.api.record_attempts(vec![report(delivery, 1, next)]).await.unwrap();
        }
        let head = bench.api.shared.head().sequence;
        bench.advance(vec![(lanes[0], head)]).await.unwrap();
        if day == 0 {
            bench.clock.advance(super::harness::DAY);
        }
    }
    bench
}

/// All rows but the cursors, which may stand further back.
fn rows(store: &Embedded) -> BTreeMap<(Table, Bytes), Bytes> {
    let mut all = BTreeMap::new();
    for table in store.tables().into_iter().filter(|table| *table != Table::Cursors) {
        for (key, row) in store.scan(&Scan::all(table, usize::MAX)).unwrap() {
            all.insert((table, key), row);
        }
    }
    all
}

fn rows_in(data_dir: &Path) -> BTreeMap<(Table, Bytes), Bytes> {
    rows(&Embedded::open(&store_in(data_dir), 1 << 20).unwrap())
}

#[tokio::test]
async fn whatever_index_is_damaged_a_rebuild_restores_it() {
    let bench = full().await.closed().await;
    let directory = bench.directory.path();
    let whole = rows_in(directory);
    let is_derived = |table: &Table| !log::is_source(*table);
    let derived: std::collections::BTreeSet<_> =
        whole.keys().map(|(table, _)| *table).filter(is_derived).collect();
    assert!(derived.len() >= 7, "{derived:?}");
    for table in derived {
        let store = Embedded::open(&store_in(directory), 1 << 20).unwrap();
        let mut batch = Batch::default();
        let found = store.scan(&Scan::all(table, usize::MAX)).unwrap();
        for (n, (key, row)) in found.into_iter().enumerate() {
            match n % 3 {
                0 => batch.remove(table, key),
                1 => batch.put(table, key, [&row[..], b"?"].concat()),
                _ => batch.put(table, [&key[..], b"?"].concat(), row),
            }
        }
        store.commit(batch).unwrap();
        drop(store);
        let before = log::verify(directory).is_ok_and(|report| report.problems.is_empty());
        let is_hint = matches!(table, Table::Idempotency(_));
        assert!(!before || is_hint, "{table:?} was not damaged");
        let rebuilt = log::rebuild(directory, &quiet).unwrap();
        assert_eq!(log::verify(directory).unwrap().problems, Vec::<String>::new(), "{table:?}");
        assert_eq!(rebuilt.facts, rebuilt.head.0);
        assert!(rows_in(directory) == whole, "{table:?}");
        assert!(!directory.join("rebuild.tmp").exists());
    }
}

#[tokio::test]
async fn after_a_rebuild_every_lane_is_where_it_was() {
    let bench = full().await;
    let until = contract::clock::Timestamp(i64::MAX);
    let before = bench.api.lanes(until).await.unwrap();
    let bench = bench.closed().await;
    log::rebuild(bench.directory.path(), &quiet).unwrap();
    let bench = bench.reopen().await;
    let after = bench.api.lanes(until).await.unwrap();
    assert!(!after.is_empty());
    for lane in before {
        let now = after.iter().find(|now| now.lane == lane.lane).unwrap();
        assert_eq!((now.head, now.next_due), (lane.head, lane.next_due));
        // Before the first that is fresh: 12 a day, of which the first 6 had an attempt, in one
        // of the lanes.
        assert!(now.cursor <= lane.cursor || lane.cursor.0 == 0);
    }
    assert!(after.iter().any(|lane| lane.cursor.0 > 0));
}

#[tokio::test]
async fn damaged_facts_are_not_rebuilt_from() {
    let bench = full().await.closed().await;
    let directory = bench.directory.path();
    let store = Embedded::open(&store_in(directory), 1 << 20).unwrap();
    let table = *store.tables().iter().find(|t| matches!(t, Table::Payloads(_))).unwrap();
    let (key, _) = store.scan(&Scan::all(table, 1)).unwrap().remove(0);
    let mut batch = Batch::default();
    batch.remove(table, key);
    store.commit(batch).unwrap();
    drop(store);
    let before = rows_in(directory);
    let error = log::rebuild(directory, &quiet).unwrap_err();
    assert!(matches!(&error, LogError::NotWhole { problems } if problems.len() == 1), "{error}");
    assert!(error.to_string().contains("payload"), "{error}");
    assert!(rows_in(directory) == before);
    assert!(!directory.join("rebuild.tmp").exists());
}

async fn backed_up(bench: &Bench) -> Vec<u8> {
    let mut bytes = Vec::new();
    let source = Source::of(&*bench.api.shared.store);
    // What comes later is not in it.
    let rules = bench.rules();
    bench.api.store_event(super::harness::event(bench.new_id(), &[], rules)).await.unwrap();
    backup::write(&source, &mut bytes, &quiet).unwrap();
    bytes
}

#[tokio::test]
async fn a_backup_of_a_running_log_restores_to_the_same_rows() {
    let bench = full().await;
    let before = {
        let snapshot = bench.api.shared.store.snapshot();
        snapshot.get(Table::Meta, tables::HEAD).unwrap()
    };
    let bytes = backed_up(&bench).await;
    let new = tempfile::tempdir().unwrap();
    let restored = backup::restore(&bytes[..], &new.path().join("data"), &quiet).unwrap();
    let data = new.path().join("data");
    assert_eq!(restored.contents.facts, restored.begin.sequence.0);
    assert_eq!(log::verify(&data).unwrap().problems, Vec::<String>::new());
    let found = rows_in(&data);
    assert_eq!(found.get(&(Table::Meta, Bytes::from_static(tables::HEAD))), before.as_ref());
    for ((table, key), row) in &found {
        let live = bench.api.shared.store.get(*table, key).unwrap();
        let is_head = *table == Table::Meta;
        assert!(is_head || live.as_ref() == Some(row), "{table:?} {}", hex::encode(key));
    }
    // The key is not in it, and nothing starts without.
    let error = open_at(&bench.clock, config(&data)).unwrap_err();
    assert!(error.message.contains("secret.key is missing"), "{error}");
    fs::copy(bench.directory.path().join("secret.key"), data.join("secret.key")).unwrap();
    let api = open_at(&bench.clock, config(&data)).unwrap();
    assert_eq!(api.rules().borrow().sequence, bench.rules());
    assert_eq!(api.stats().await.unwrap().dead, 2);
}

#[tokio::test]
async fn a_damaged_or_cut_backup_is_named_and_leaves_nothing_to_start_from() {
    let bench = full().await;
    let bytes = backed_up(&bench).await;
    let restore = |bytes: &[u8]| {
        let new = tempfile::tempdir().unwrap();
        let error = backup::restore(bytes, new.path(), &quiet).unwrap_err();
        assert!(fs::read_dir(new.path()).unwrap().next().is_none());
        let other = new.path().join("other");
        backup::restore(bytes, &other, &quiet).unwrap_err();
        assert!(!other.exists());
        let scratch = new.path().join("scratch");
        assert!(backup::check(bytes, &scratch, &quiet).is_err());
        assert!(!scratch.exists());
        error
    };
    for cut in [0, 7, 8, 20, bytes.len() / 2, bytes.len() - 1] {
        let error = restore(&bytes[..cut]);
        assert!(matches!(error, BackupError::Cut { .. }), "{cut}: {error}");
    }
    for place in (8..bytes.len()).step_by(bytes.len() / 40) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x10;
        let error = restore(&damaged);
        let named = matches!(error, BackupError::Damaged { .. } | BackupError::Cut { .. });
        assert!(named, "{place}: {error}");
    }
    let error = restore(&[&bytes[..], b"?"].concat());
    assert!(matches!(error, BackupError::Damaged { .. }), "{error}");
    assert!(matches!(restore(b"something else"), BackupError::NoBackup));
    let mut newer = bytes;
    newer[7] += 1;
    assert!(matches!(restore(&newer), BackupError::Version { found: 2 }));
}

#[tokio::test]
async fn a_restore_overwrites_nothing() {
    let bench = full().await;
    let bytes = backed_up(&bench).await;
    let error = backup::restore(&bytes[..], bench.directory.path(), &quiet).unwrap_err();
    assert!(matches!(error, BackupError::Occupied(_)), "{error}");
    assert!(bench.api.ready());
}

/// Days that went, something carried out of them, and payloads that were erased.
async fn thinned() -> (Bench, [EventId; 2]) {
    let bench = Bench::with_config(|config| *config = forgetful(config.clone()));
    let lane = bench.subscribe("a").await;
    let [done, dead] = [bench.store(&[lane]).await, bench.store(&[lane]).await];
    bench.attempt(DeliveryId { lane, sequence: done.sequence }, 1, Next::Done).await;
    let next = Next::Dead(Cause::Exhausted);
    bench.attempt(DeliveryId { lane, sequence: dead.sequence }, 1, next).await;
    let carried = bench.store(&[lane]).await;
    bench.clock.advance(super::harness::DAY * 3);
    assert_eq!(bench.api.run_retention(false).await.unwrap().days_dropped, 1);
    let erased = bench.store(&[lane]).await;
    bench.api.erase(operator(), ErasureTarget::Event(erased.id)).await.unwrap();
    bench.store(&[lane]).await;
    (bench, [carried.id, erased.id])
}

#[tokio::test]
async fn a_log_that_retention_has_thinned_is_rebuilt_copied_and_found_whole() {
    let (bench, [carried, erased]) = thinned().await;
    let bytes = backed_up(&bench).await;
    let bench = bench.closed().await;
    let directory = bench.directory.path();
    let whole = rows_in(directory);
    // The delivery that the erasure gave up; the dead letter of the day that went is no more there.
    assert_eq!(whole.keys().filter(|(table, _)| *table == Table::Notable).count(), 1);
    assert_eq!(log::repair(directory, None, &quiet).unwrap(), None);
    log::rebuild(directory, &quiet).unwrap();
    assert!(rows_in(directory) == whole);
    assert_eq!(log::verify(directory).unwrap().problems, Vec::<String>::new());
    let new = tempfile::tempdir().unwrap();
    let data = new.path().join("data");
    backup::restore(&bytes[..], &data, &quiet).unwrap();
    fs::copy(directory.join("secret.key"), data.join("secret.key")).unwrap();
    assert_eq!(log::verify(&data).unwrap().problems, Vec::<String>::new());
    let api = open_at(&bench.clock, config(&data)).unwrap();
    assert!(api.payload(carried).await.unwrap().is_some());
    assert_eq!(api.payload_state(erased).await.unwrap(), Some(PayloadState::Erased));
}

#[tokio::test]
async fn a_restore_brings_nothing_back_that_was_to_be_erased() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("a").await;
    let (mine, kept) = (bench.store(&[lane]).await, bench.store(&[lane]).await);
    let mut command = bench.event(&[lane]);
    command.event.audience = Audience::Subscriber("org_1".into());
    let theirs = bench.api.store_event(command).await.unwrap();
    // The server stops between the order and the deed.
    for target in [ErasureTarget::Event(mine.id), ErasureTarget::Subscriber("org_1".into())] {
        let order = |reply| Command::Upkeep(operator(), Upkeep::Order(target), reply);
        bench.api.writer.ask(order).await.unwrap();
    }
    assert!(bench.api.payload(mine.id).await.unwrap().is_some(), "the backup has it");
    let bytes = backed_up(&bench).await;
    let new = tempfile::tempdir().unwrap();
    let data = new.path().join("data");
    backup::restore(&bytes[..], &data, &quiet).unwrap();
    fs::copy(bench.directory.path().join("secret.key"), data.join("secret.key")).unwrap();
    let found = rows_in(&data);
    let payloads = found.keys().filter(|(table, _)| matches!(table, Table::Payloads(_)));
    let payloads: Vec<_> = payloads.filter_map(|(_, key)| tables::sequence_of(key)).collect();
    assert_eq!(payloads, [kept.sequence]);
    assert_eq!(log::verify(&data).unwrap().problems, Vec::<String>::new());
    // The server, which goes on with it when it starts, says of them what it would have said.
    let api = open_at(&bench.clock, config(&data)).unwrap();
    let done = async {
        while api.run_retention(false).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), done).await.unwrap();
    for id in [mine.id, theirs.id] {
        assert_eq!(api.payload_state(id).await.unwrap(), Some(PayloadState::Erased));
    }
    assert!(api.payload(kept.id).await.unwrap().is_some());
    api.close().await;
    drop(api);
    assert_eq!(log::verify(&data).unwrap().problems, Vec::<String>::new());
}

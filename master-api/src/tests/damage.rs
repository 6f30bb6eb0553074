//! What is damaged is found and named, and nothing is acknowledged that is not durable.

use super::harness::{Bench, config, copy_directory, open_at};
use crate::{
    log::{self, LogError},
    store::{Batch, Embedded, Memory, Rows, Scan, StateStore, StoreError, Table},
    tables,
};
use bytes::Bytes;
use contract::{
    ErrorCode,
    id::{DeliveryId, Sequence},
    master_api::{Deliveries, Events},
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

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

    let loss = look(older.path()).unwrap();
    assert_eq!((loss.found, loss.reached, loss.accepted), (found, Some(reached), false));
    assert_eq!(loss.facts, [(reached, reached)]);
    assert!(open().is_err());
    assert!(!log::verify(older.path()).unwrap().problems.is_empty());
    let loss = accept(older.path()).unwrap();
    assert_eq!((loss.facts(), loss.accepted), (1, true));
    assert!(look(older.path()).is_none());
    assert_eq!(log::verify(older.path()).unwrap().problems, Vec::<String>::new());
    let api = open().unwrap();
    assert!(api.event(stored.id).await.unwrap().is_some());
    assert!(api.event(last.id).await.unwrap().is_none());
    // What is lost was accepted behind it: no number is given twice.
    assert_eq!(api.shared.head().sequence.0, reached.0 + 1);
    assert_eq!(api.shared.state.load().losses.facts, [(reached, reached)]);
}

pub fn look(directory: &Path) -> Option<log::Loss> {
    log::repair(directory, None, &|_, _, _| ()).unwrap()
}

pub fn accept(directory: &Path) -> Option<log::Loss> {
    log::repair(directory, Some(super::harness::START), &|_, _, _| ()).unwrap()
}

/// All files of a directory, by path.
pub fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => _ = files.insert(path.clone(), fs::read(&path).unwrap()),
        }
    }
    files
}

/// The engine refuses a journal or cuts it where it stops to read; looking must do neither, and
/// what is lost is the damaged row, not what follows it.
#[tokio::test]
async fn a_flipped_byte_is_named_and_costs_one_row() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    let mut stored = Vec::new();
    for _ in 0..20 {
        stored.push(bench.store(&[lane]).await);
    }
    let bench = bench.closed().await;
    let directory = bench.directory.path();
    let journal = log::store_in(directory).join("0.jnl");
    let whole = nonzero(&journal);
    fs::write(&journal, &whole).unwrap();
    let hit = stored[12].clone();
    let text = format!(r#"{{"id":"{}"}}"#, hit.id).into_bytes();
    let in_payload = whole.windows(text.len()).position(|part| part == text).unwrap() + 8;
    // The facts come in order, and each has one.
    let digests = whole.windows(14).enumerate().filter(|(_, part)| *part == b"payload_digest");
    let in_fact = digests.map(|(place, _)| place + 20).nth(12).unwrap();
    let mark = whole[in_fact..].windows(4).position(|part| part == b"FJL\x03").unwrap() + in_fact;
    for (place, facts, payloads) in [(in_payload, 0, 1), (in_fact, 1, 0), (mark + 1, 0, 0)] {
        let crashed = tempfile::tempdir().unwrap();
        copy_directory(bench.directory.path(), crashed.path());
        let directory = crashed.path();
        let mut damaged = whole.clone();
        damaged[place] ^= 0xff;
        fs::write(log::store_in(directory).join("0.jnl"), &damaged).unwrap();
        let before = files(directory);
        let unchanged = |what| assert!(files(directory) == before, "{what} changed the files");
        let error = log::verify(directory).unwrap_err();
        assert!(matches!(&error, LogError::Damaged { places } if places.len() == 1), "{error}");
        unchanged("verification");
        let error = open_at(&bench.clock, config(directory)).unwrap_err();
        assert_eq!(error.code, ErrorCode::Unavailable);
        assert!(error.message.contains("0.jnl, bytes"), "{error}");
        assert!(error.message.contains("certes log repair"), "{error}");
        unchanged("a refused start");
        let lost = look(directory).unwrap();
        unchanged("repair");
        assert_eq!((lost.facts(), lost.payloads.len()), (facts, payloads), "{lost:?}");
        assert!(lost.payloads.iter().all(|id| *id == hit.id));
        assert!(lost.facts.iter().all(|(from, to)| (*from, *to) == (hit.sequence, hit.sequence)));
        let accepted = accept(directory).unwrap();
        assert!(accepted.accepted && accepted.kept.clone().unwrap().is_dir());
        assert_eq!(log::verify(directory).unwrap().problems, Vec::<String>::new());
        assert!(look(directory).is_none());
        let api = open_at(&bench.clock, config(directory)).unwrap();
        for event in &stored {
            let there = api.event(event.id).await.unwrap().is_some();
            assert_eq!(there, facts == 0 || event.id != hit.id);
            let payload = api.payload(event.id).await.unwrap();
            assert_eq!(payload.is_some(), (facts == 0 && payloads == 0) || event.id != hit.id);
        }
        api.close().await;
        drop(api);
    }
}

/// A journal without the zeros that follow it.
fn nonzero(journal: &Path) -> Vec<u8> {
    let mut bytes = fs::read(journal).unwrap();
    const PIECE: [u8; 4096] = [0; 4096];
    while bytes.ends_with(&PIECE) {
        bytes.truncate(bytes.len() - PIECE.len());
    }
    bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1);
    bytes
}

#[tokio::test]
async fn a_torn_last_write_is_cut_off_and_the_log_goes_on() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    let stored = bench.store(&[lane]).await;
    let (crashed, data) = (tempfile::tempdir().unwrap(), bench.directory.path());
    copy_directory(data, crashed.path());
    let end = nonzero(&log::store_in(data).join("0.jnl")).len();
    let last = bench.store(&[lane]).await;
    let after = nonzero(&log::store_in(data).join("0.jnl"));
    let whole = after.len();
    let journal = log::store_in(crashed.path()).join("0.jnl");
    for cut in (end + 1..whole).step_by((whole - end) / 5) {
        fs::write(&journal, [&after[..cut], &[0; 8192]].concat()).unwrap();
        assert_eq!(log::verify(crashed.path()).unwrap().problems, Vec::<String>::new());
        let api = open_at(&bench.clock, config(crashed.path())).unwrap();
        assert!(api.event(stored.id).await.unwrap().is_some());
        assert!(api.event(last.id).await.unwrap().is_none());
        api.close().await;
    }
}

/// The head file knows of more than what a cut tail leaves.
#[tokio::test]
async fn a_cut_tail_is_not_served() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    for _ in 0..10 {
        bench.store(&[lane]).await;
    }
    let bench = bench.closed().await;
    let directory = bench.directory.path();
    let journal = log::store_in(directory).join("0.jnl");
    let whole = nonzero(&journal);
    let end = whole.len() - 1;
    for cut in [end / 2, end - 30, end] {
        fs::write(&journal, &whole[..cut]).unwrap();
        let before = files(directory);
        let error = open_at(&bench.clock, config(directory)).unwrap_err();
        assert!(error.message.contains("facts were lost"), "{cut}: {error}");
        assert!(files(directory) == before, "{cut}");
        assert!(look(directory).unwrap().facts() > 0);
        fs::write(&journal, &whole).unwrap();
    }
}

#[tokio::test]
async fn nobody_looks_at_the_log_of_a_running_server() {
    let bench = Bench::embedded();
    let directory = bench.directory.path();
    let errors = [
        log::verify(directory).unwrap_err(),
        log::repair(directory, None, &|_, _, _| ()).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, LogError::Store(StoreError::InUse(_))), "{error}");
    }
    assert!(!directory.join("verify.tmp").exists());
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
            // Only a hint against repeats, whose event is what is checked; or what went over the
            // wire in an attempt, of which no fact says what it was.
            let is_hint = match table {
                Table::Idempotency(_) => true,
                Table::Payloads(_) => tables::exchange_of(&key).is_some(),
                _ => false,
            };
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

/// Finished files of a store, each with the bytes of its table's rows.
fn table_files(data_dir: &Path) -> Vec<PathBuf> {
    let is_table = |path: &PathBuf| path.parent().is_some_and(|dir| dir.ends_with("tables"));
    files(&log::store_in(data_dir)).into_keys().filter(is_table).collect()
}

#[tokio::test]
async fn a_missing_table_file_is_said_to_need_a_backup() {
    let bench = Bench::with_config(|config| config.memtable_bytes = 8 << 10);
    for _ in 0..100 {
        bench.store(&[]).await;
    }
    let bench = bench.closed().await;
    let directory = bench.directory.path();
    fs::remove_file(&table_files(directory)[0]).unwrap();
    let errors = [
        open_at(&bench.clock, config(directory)).unwrap_err().message,
        log::repair(directory, None, &|_, _, _| ()).unwrap_err().to_string(),
        log::verify(directory).unwrap_err().to_string(),
    ];
    let store = log::store_in(directory).display().to_string();
    for error in errors {
        assert!(error.contains(&format!("store in {store} is missing")), "{error}");
        assert!(error.contains("restore a backup"), "{error}");
    }
}

#[test]
fn a_directory_that_the_system_refuses_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Embedded::open(&file.path().join("store"), 1 << 20).unwrap_err().to_string();
    assert!(error.contains(&file.path().display().to_string()), "{error}");
}

/// A byte of a file that the engine has finished is found out when its block is read, and costs the
/// rows of that block.
#[tokio::test]
async fn a_flipped_byte_in_a_finished_file_is_named_and_costs_its_block() {
    let bench = Bench::with_config(|config| config.memtable_bytes = 8 << 10);
    let lane = bench.subscribe("ci").await;
    for _ in 0..200 {
        bench.store(&[lane]).await;
    }
    let bench = bench.closed().await;
    let directory = bench.directory.path();
    let mut hit = 0;
    for file in table_files(directory) {
        let whole = fs::read(&file).unwrap();
        // In a fact or a payload; an index is built anew.
        let needles = [&b"payload_digest"[..], br#"{"id":"evt"#];
        let find = |needle: &[u8]| whole.windows(needle.len()).position(|part| part == needle);
        let Some(place) = needles.iter().find_map(|needle| find(needle)) else { continue };
        let mut damaged = whole.clone();
        damaged[place + 20] ^= 0xff;
        let crashed = tempfile::tempdir().unwrap();
        copy_directory(directory, crashed.path());
        fs::write(crashed.path().join(file.strip_prefix(directory).unwrap()), damaged).unwrap();
        let error = log::verify(crashed.path()).unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains("certes log repair"), "{error}");
        let loss = look(crashed.path()).unwrap();
        let lost = loss.facts() + u64::try_from(loss.payloads.len()).unwrap();
        assert!((1..100).contains(&lost) && !loss.damage.is_empty(), "{loss:?}");
        assert!(accept(crashed.path()).unwrap().accepted);
        assert_eq!(log::verify(crashed.path()).unwrap().problems, Vec::<String>::new());
        let api = open_at(&bench.clock, config(crashed.path())).unwrap();
        assert_eq!(api.verify().await.unwrap().problems, Vec::<String>::new());
        api.close().await;
        hit += 1;
        if hit == 3 {
            break;
        }
    }
    assert!(hit >= 2, "{hit}");
}

#[tokio::test]
async fn a_store_of_another_engine_is_named() {
    let bench = Bench::embedded().closed().await;
    let version = log::store_in(bench.directory.path()).join("version");
    let mut bytes = fs::read(&version).unwrap();
    bytes[3] += 1;
    fs::write(&version, bytes).unwrap();
    let error = log::verify(bench.directory.path()).unwrap_err();
    assert!(matches!(error, LogError::Store(StoreError::Version(_))), "{error}");
    assert!(open_at(&bench.clock, config(bench.directory.path())).is_err());
}

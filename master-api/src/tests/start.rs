//! First start, restart, and what is refused at start.

use super::harness::{
    Bench, around, as_of_format, config, copy_directory, open_at, signing_secret, subscription,
};
use crate::{
    MasterApi, Surroundings,
    fact::FORMAT,
    log::{
        LogError,
        head_file::{self, HeadMark},
    },
    space::Space,
    store::{Batch, Embedded, Memory, StateStore, Table},
    tables,
};
use contract::{
    ErrorCode,
    access::{Access, Noun},
    clock::Clock,
    command::Command,
    master_api::{Configuration, Deliveries, Events},
    secret::Secret,
    testing::ManualClock,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::time::timeout;

fn token(bench: &Bench) -> Secret {
    let text = fs::read_to_string(bench.directory.path().join("admin.key")).unwrap();
    Secret::new(text.trim())
}

#[tokio::test]
async fn the_first_start_makes_a_key_for_the_administrator_alone() {
    let bench = Bench::embedded();
    for file in ["admin.key", "secret.key"] {
        let mode = fs::metadata(bench.directory.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let mode =
        fs::metadata(crate::log::store_in(bench.directory.path())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "the store");
    let rules = bench.api.rules().borrow().clone();
    let admin = rules.authenticate(&token(&bench), bench.clock.now()).unwrap();
    assert!(admin.roles.allow(Noun::Keys, Access::Write));
    assert!(rules.authenticate(&Secret::new("certes_00"), bench.clock.now()).is_none());
    assert_eq!(rules.stamp_keys().len(), 1);
    bench.assert_verified().await;
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    let stored = bench.store(&[lane]).await;
    let (before, key) = (bench.api.rules().borrow().clone(), token(&bench));
    let bench = bench.reopen().await;
    let after = bench.api.rules().borrow().clone();
    assert_eq!(before.sequence, after.sequence);
    assert_eq!(before.secrets, after.secrets);
    assert_eq!(before.subscriptions, after.subscriptions);
    assert_eq!(before.stamp_keys, after.stamp_keys);
    assert_eq!(token(&bench), key);
    assert_eq!(bench.api.event(stored.id).await.unwrap().unwrap().lanes, [lane]);
    assert_eq!(bench.store(&[lane]).await.sequence.0, stored.sequence.0 + 1);
    bench.assert_verified().await;
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_acknowledged() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    let mut stored = Vec::new();
    for _ in 0..50 {
        stored.push(bench.store(&[lane]).await);
    }
    let crashed = tempfile::tempdir().unwrap();
    copy_directory(bench.directory.path(), crashed.path());
    let api = open_at(&bench.clock, config(crashed.path())).unwrap();
    for stored in stored {
        assert!(api.event(stored.id).await.unwrap().is_some());
        let payload = api.payload(stored.id).await.unwrap().unwrap();
        assert_eq!(payload, format!(r#"{{"id":"{}"}}"#, stored.id));
    }
    assert_eq!(api.stats().await.unwrap().waiting, 50);
    assert_eq!(api.verify().await.unwrap().problems, Vec::<String>::new());
}

/// Wherever the first start is cut short, the next one begins again and has an administrator.
#[tokio::test]
async fn a_first_start_that_was_cut_short_begins_again() {
    let whole = Bench::embedded().closed().await;
    let head = r#"{"version":1,"sequence":0,"configuration":"ZERO","traffic":"ZERO"}"#;
    let head = head.replace("ZERO", &"0".repeat(64));
    type Leave = fn(&Path, &Path);
    let moments: [(&str, Leave); 6] = [
        ("before anything", |_, _| {}),
        ("after the head file", |_, _| {}),
        ("while the store is made", |_, left| {
            fs::create_dir_all(left.join("store/keyspaces")).unwrap();
            for file in ["store/lock", "store/0.jnl", "store/version"] {
                fs::write(left.join(file), "").unwrap();
            }
        }),
        ("after the store", |_, left| {
            drop(Embedded::open(&left.join("store"), 1 << 20).unwrap());
        }),
        ("after the secret key", |whole, left| {
            drop(Embedded::open(&left.join("store"), 1 << 20).unwrap());
            fs::copy(whole.join("secret.key"), left.join("secret.key")).unwrap();
        }),
        ("after the first facts", |whole, left| copy_directory(whole, left)),
    ];
    for (moment, leave) in moments {
        let left = tempfile::tempdir().unwrap();
        leave(whole.directory.path(), left.path());
        if moment != "before anything" {
            fs::write(left.path().join("head"), &head).unwrap();
        }
        let api = open_at(&whole.clock, config(left.path())).unwrap_or_else(|error| {
            panic!("{moment}: {error}");
        });
        let token = Secret::new(fs::read_to_string(left.path().join("admin.key")).unwrap().trim());
        let rules = api.rules().borrow().clone();
        assert!(rules.authenticate(&token, whole.clock.now()).is_some(), "{moment}");
        api.close().await;
        drop(api);
        let report = crate::log::verify(left.path()).unwrap();
        assert_eq!(report.problems, Vec::<String>::new(), "{moment}");
    }
}

#[tokio::test]
async fn another_secret_key_is_refused() {
    let bench = Bench::embedded();
    bench.api.close().await;
    let (directory, clock) = (bench.directory, bench.clock);
    drop(bench.api);
    let other = Some(Secret::new("ab".repeat(32)));
    let with_other = crate::Config { secret_key: other, ..config(directory.path()) };
    let error = open_at(&clock, with_other).unwrap_err();
    assert!(error.message.contains("does not fit"), "{error}");
    fs::remove_file(directory.path().join("secret.key")).unwrap();
    let error = open_at(&clock, config(directory.path())).unwrap_err();
    assert!(error.message.contains("secret.key is missing"), "{error}");
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let bench = Bench::embedded();
    bench.api.close().await;
    let (directory, clock) = (bench.directory, bench.clock);
    drop(bench.api);
    let store = Embedded::open(&crate::log::store_in(directory.path()), 1 << 20).unwrap();
    let mut batch = Batch::default();
    let newer = FORMAT + 1;
    batch.put(Table::Meta, tables::FORMAT, newer.to_be_bytes().to_vec());
    store.commit(batch).unwrap();
    drop(store);
    let error = open_at(&clock, config(directory.path())).unwrap_err();
    assert!(error.message.contains(&format!("format {newer}")), "{error}");
}

#[tokio::test]
async fn the_log_of_an_older_program_verifies_and_is_raised_when_it_is_opened() {
    for format in 1..FORMAT {
        let bench = Bench::embedded();
        let lane = bench.subscribe("ci").await;
        let stored = bench.store(&[lane]).await;
        let bench = bench.closed().await;
        let data_dir = bench.directory.path();
        let store = Embedded::open(&crate::log::store_in(data_dir), 1 << 20).unwrap();
        let head = as_of_format(&store, format);
        head_file::write(data_dir, &HeadMark::from(&head)).unwrap();
        drop(store);
        let report = crate::log::verify(bench.directory.path()).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());

        let bench = bench.reopen().await;
        let shared = &bench.api.shared;
        let (head, raised) = (shared.head().sequence, shared.state.load().format);
        assert_eq!((head.0, raised), (report.head.0 + 1, FORMAT));
        assert!(bench.api.payload(stored.id).await.unwrap().is_some());
        bench.store(&[lane]).await;
        bench.assert_verified().await;
        let bench = bench.reopen().await;
        assert_eq!(bench.api.shared.head().sequence.0, head.0 + 1, "raised once");
        bench.assert_verified().await;
    }
}

#[tokio::test]
async fn a_running_server_keeps_others_out() {
    let bench = Bench::embedded();
    let error = open_at(&bench.clock, config(bench.directory.path())).unwrap_err();
    assert!(error.message.contains("in use"), "{error}");
}

#[tokio::test]
async fn a_key_that_is_given_is_not_written_down() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::new(super::harness::START);
    let given = Secret::new("certes_given");
    let mut config = config(directory.path());
    (config.admin_key, config.secret_key) =
        (Some(given.clone()), Some(Secret::new("cd".repeat(32))));
    let api = open_at(&clock, config).unwrap();
    let rules = api.rules().borrow().clone();
    assert!(rules.authenticate(&given, clock.now()).is_some());
    assert!(!directory.path().join("admin.key").exists());
    assert!(!directory.path().join("secret.key").exists());
}

#[tokio::test]
async fn no_stored_row_holds_a_secret_in_the_clear() {
    let bench = Bench::embedded();
    let secrets = vec![signing_secret(1), signing_secret(2)];
    let command = Command::PutSubscription { spec: subscription("ci"), secrets: secrets.clone() };
    bench.execute(vec![command]).await.unwrap();
    let mut needles = vec![token(&bench)];
    needles.extend(secrets);
    needles.extend(bench.api.rules().borrow().stamp_keys.iter().map(|(_, key)| key.clone()));
    let store = &bench.api.shared.store;
    let mut rows = 0;
    for table in store.tables() {
        for (key, row) in store.scan(&crate::store::Scan::all(table, usize::MAX)).unwrap() {
            rows += 1;
            for needle in &needles {
                let needle = needle.expose().trim_start_matches("whsec_").as_bytes();
                let found = |bytes: &[u8]| bytes.windows(needle.len()).any(|part| part == needle);
                assert!(!found(&row) && !found(&key), "{table:?}");
            }
        }
    }
    assert!(rows > 10, "{rows}");
}

#[tokio::test]
async fn without_space_events_are_refused_and_attempts_recorded() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    let stored = bench.store(&[lane]).await;
    bench.api.close().await;
    let (directory, clock, ids) = (bench.directory, bench.clock, bench.ids);
    drop(bench.api);
    let config = crate::Config {
        limits: crate::StoreConfig { reserve: u64::MAX },
        ..config(directory.path())
    };
    let api = open_at(&clock, config).unwrap();
    let bench = Bench { clock, directory, ids, api };
    assert!(!bench.api.ready());
    let error = bench.api.store_event(bench.event(&[lane])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
    assert!(error.retry_after.is_some());
    let delivery = contract::id::DeliveryId { lane, sequence: stored.sequence };
    assert!(bench.attempt(delivery, 1, contract::delivery::Next::Done).await);
}

/// A file system whose room a test sets.
#[derive(Debug, Default)]
struct Room(AtomicU64);

impl Space for Room {
    fn left(&self, _directory: &Path) -> Result<u64, LogError> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn at_the_reserve_events_wait_and_deliveries_go_on() {
    let (directory, clock) =
        (tempfile::tempdir().unwrap(), ManualClock::new(super::harness::START));
    let room = Arc::new(Room::default());
    room.0.store(1 << 20, Ordering::SeqCst);
    let config = crate::Config {
        limits: crate::StoreConfig { reserve: 1 << 20 },
        ..config(directory.path())
    };
    let around = Surroundings { space: room.clone(), ..around(&clock, 7) };
    let api = MasterApi::on(Arc::new(Memory::default()), config, around).unwrap();
    let ids = contract::testing::seeded_ids(clock.clone(), 3);
    let bench = Bench { clock, directory, ids, api };
    let lane = bench.subscribe("ci").await;
    let stored = bench.store(&[lane]).await;
    let mut health = bench.api.health();
    // The keeper looks once a second.
    room.0.store((1 << 20) - 1, Ordering::SeqCst);
    let patience = std::time::Duration::from_secs(30);
    timeout(patience, health.wait_for(|health| !health.space)).await.unwrap().unwrap();
    assert!(!bench.api.ready());
    let error = bench.api.store_event(bench.event(&[lane])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
    let delivery = contract::id::DeliveryId { lane, sequence: stored.sequence };
    assert!(bench.attempt(delivery, 1, contract::delivery::Next::Done).await);
    room.0.store(1 << 20, Ordering::SeqCst);
    timeout(patience, health.wait_for(|health| health.space)).await.unwrap().unwrap();
    assert!(bench.api.ready());
    bench.store(&[lane]).await;
    bench.assert_verified().await;
}

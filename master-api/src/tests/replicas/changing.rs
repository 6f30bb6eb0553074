//! Keys and programs are changed replica by replica, while the others go on.

use super::{Replica, Schema, assert_one_log, replica, replica_with};
use crate::{
    Config, MasterApi,
    fact::FORMAT,
    state::State,
    store::{Batch, Replicated, StateStore, Table},
    tables,
    tests::harness::{START, around, config, event, operator, signing_secret, subscription},
};
use contract::{
    ErrorCode,
    command::{Changeset, Command},
    id::EventId,
    master_api::{Configuration, Events, Log},
    secret::Secret,
    testing::ManualClock,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const LIMIT: Duration = Duration::from_secs(15);

fn keys(config: Config, keys: &[&str]) -> Config {
    let keys: Vec<_> = keys.iter().map(|key| key.repeat(32)).collect();
    Config { secret_key: Some(Secret::new(keys.join(","))), ..config }
}

impl Replica {
    /// Creates a subscription with a secret, which is sealed.
    async fn keep_secret(&self, name: &str, byte: u8) {
        let secrets = vec![signing_secret(byte)];
        let commands = vec![Command::PutSubscription { spec: subscription(name), secrets }];
        let changes = Changeset { commands, ..Changeset::default() };
        self.api.execute(operator(), changes).await.unwrap();
    }

    fn secrets(&self) -> usize {
        self.api.shared.vault.load().len()
    }
}

/// The sealed rows that need this key.
fn sealed_with(schema: &Schema, key: &str) -> usize {
    let sealer = crate::secrets::Sealer::from_text(&Secret::new(key.repeat(32))).unwrap();
    match sealer.open_all(&schema.open_as("judge")) {
        Ok(vault) => vault.len(),
        Err(_) => 0,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_key_changes_in_three_rounds_while_replicas_write() {
    let schema = Schema::new();
    let [mut one, mut two] = [1, 2].map(|seed| replica(&schema, seed));
    one.keep_secret("first", 1).await;
    let rounds: [fn(Config) -> Config; 3] = [
        |config| keys(config, &["11", "22"]),
        |config| keys(config, &["22", "11"]),
        |config| keys(config, &["22"]),
    ];
    for (n, round) in rounds.into_iter().enumerate() {
        let n = u8::try_from(n).unwrap();
        let seed = 10 * u64::from(n) + 10;
        one = replica_with(&schema, seed, round);
        // Both write and read while one of them has gone on and the other has not.
        one.keep_secret(&format!("one-{n}"), 10 + n).await;
        two.follows(&one).await;
        two.keep_secret(&format!("two-{n}"), 20 + n).await;
        one.follows(&two).await;
        two = replica_with(&schema, seed + 1, round);
        assert_eq!(one.secrets(), two.secrets());
        assert!(one.api.ready() && two.api.ready());
    }
    assert_eq!(one.secrets(), tokio::task::block_in_place(|| sealed_with(&schema, "22")));
    assert_one_log([&one, &two]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_does_not_know_the_new_key_stops_and_none_changes_it_alone() {
    let schema = Schema::new();
    let two = replica(&schema, 2);
    let one = replica_with(&schema, 1, |config| keys(config, &["22", "11"]));
    let refused = one.api.rotate_secret_key().await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidDefinition);
    assert!(refused.message.contains("OLD,NEW"), "{refused}");
    one.keep_secret("new", 1).await;
    let mut health = two.api.health();
    let stopped = health.wait_for(|health| !health.writing);
    tokio::time::timeout(LIMIT, stopped).await.unwrap().unwrap();
    let head = one.api.log_head().await.unwrap().sequence;
    one.keep_secret("more", 2).await;
    assert!(one.api.log_head().await.unwrap().sequence > head, "the other one goes on");
}

/// A replica of an older program lives: nothing is written that it could not read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_format_is_raised_when_the_last_older_replica_is_gone() {
    let schema = Schema::new();
    let older = tokio::task::block_in_place(|| schema.open_as("older"));
    tokio::task::block_in_place(|| older.join(FORMAT - 1)).unwrap();
    let one = replica(&schema, 1);
    // The log of an older program: its format is a fact, and so a fold leads to it.
    let state = State::clone(&one.api.shared.state.load());
    one.api.shared.state.store(Arc::new(State { format: FORMAT - 1, ..state }));
    let before = one.api.log_head().await.unwrap().sequence;
    let beats = "SELECT (extract(epoch FROM heard_at) * 1000)::bigint FROM @.replicas \
                 WHERE id = 'replica 1'";
    let number = |sql: &str| tokio::task::block_in_place(|| schema.number(sql));
    // It looks around fifty times in a second, and the older one lives all the time.
    let begun = number(beats);
    while number(beats) < begun + 1500 {
        tokio::task::block_in_place(|| older.beat()).unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(one.api.log_head().await.unwrap().sequence, before);
    assert_eq!(one.api.shared.state.load().format, FORMAT - 1);
    let mut tip = one.api.shared.tip.subscribe();
    tokio::task::block_in_place(|| older.leave());
    tokio::time::timeout(LIMIT, tip.wait_for(|tip| *tip > before)).await.unwrap().unwrap();
    assert_eq!(one.api.shared.state.load().format, FORMAT);
    assert_one_log([&one, &one]).await;
}

/// There is always something to write, so the writer never looks around for want of work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_format_is_raised_under_load() {
    let schema = Schema::new();
    let one = replica(&schema, 1);
    let state = State::clone(&one.api.shared.state.load());
    one.api.shared.state.store(Arc::new(State { format: FORMAT - 1, ..state }));
    let busy = Arc::new(AtomicBool::new(true));
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let (api, ids, busy) = (one.api.clone(), one.ids.clone(), busy.clone());
            tokio::spawn(async move {
                while busy.load(Ordering::SeqCst) {
                    let rules = api.rules().borrow().sequence;
                    let command = event(EventId::from_bytes(ids.uuid()), &[], rules);
                    api.store_event(command).await.unwrap();
                }
            })
        })
        .collect();
    let mut tip = one.api.shared.tip.subscribe();
    let raised = tip.wait_for(|_| one.api.shared.state.load().format == FORMAT);
    tokio::time::timeout(LIMIT, raised).await.unwrap().unwrap();
    busy.store(false, Ordering::SeqCst);
    for sender in senders {
        sender.await.unwrap();
    }
    assert_one_log([&one, &one]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_program_refuses_a_log_of_a_newer_one() {
    let schema = Schema::new();
    let one = replica(&schema, 1);
    one.api.close().await;
    tokio::task::block_in_place(|| {
        let store = schema.open_as("newer");
        let mut batch = Batch::default();
        batch.put(Table::Meta, tables::FORMAT, (FORMAT + 1).to_be_bytes().to_vec());
        store.commit(batch).unwrap();
    });
    let directory = tempfile::tempdir().unwrap();
    let config = keys(config(directory.path()), &["11"]);
    let store = Arc::new(schema.open_as("older"));
    let around = around(&ManualClock::new(START), 1);
    let refused = MasterApi::on(store, config, around).unwrap_err();
    let named = format!("format {}, and this program knows formats up to {FORMAT}", FORMAT + 1);
    assert!(refused.message.contains(&named), "{refused}");
}

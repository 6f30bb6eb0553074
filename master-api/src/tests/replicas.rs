//! Several replicas on one PostgreSQL database.

mod changing;
mod retaining;
mod searching;
mod repeating;

use super::harness::{START, around, config, event, operator, put_subscription};
use crate::{
    Config, MasterApi,
    store::{Replicated, Rows, StateStore, StoreError, Table, postgres::testing::Schema},
};
use contract::{
    ErrorCode,
    command::{Changeset, Mode},
    delivery::{Cause, Next},
    id::DeliveryId,
    id::{EventId, IdGenerator, LaneId, Sequence},
    log::{LogFilter, LogQuery},
    master_api::{Configuration, Deliveries, Events, Lanes, Log},
    secret::Secret,
    subscription::Priority,
    testing::{ManualClock, log_conformance::Harness, seeded_ids},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tempfile::TempDir;

use searching::places_of;

struct Replica {
    api: Arc<MasterApi>,
    ids: Arc<dyn IdGenerator>,
    clock: Arc<ManualClock>,
    _directory: TempDir,
}

fn replica(schema: &Schema, seed: u64) -> Replica {
    replica_with(schema, seed, |config| config)
}

fn replica_with(schema: &Schema, seed: u64, change: fn(Config) -> Config) -> Replica {
    let clock = ManualClock::new(START);
    let directory = tempfile::tempdir().unwrap();
    let secret_key = Some(Secret::new("11".repeat(32)));
    let config = change(Config { secret_key, ..config(directory.path()) });
    let store = Arc::new(schema.open_as(&format!("replica {seed}")));
    let api = MasterApi::on(store, config, around(&clock, seed)).unwrap();
    let ids = seeded_ids(clock.clone(), seed + 1000);
    Replica { api, ids, clock, _directory: directory }
}

impl Replica {
    fn new_id(&self) -> EventId {
        EventId::from_bytes(self.ids.uuid())
    }

    fn rules(&self) -> Sequence {
        self.api.rules().borrow().sequence
    }

    async fn subscribe(&self, name: &str) -> LaneId {
        let commands = vec![put_subscription(name)];
        let changes = Changeset { commands, ..Changeset::default() };
        self.api.execute(operator(), changes).await.unwrap();
        let rules = self.api.rules().borrow().clone();
        LaneId::new(rules.subscription_named(name).unwrap().number, Priority::default())
    }

    /// Returns when it knows what another one knows: of the configuration, and of the log.
    async fn follows(&self, other: &Self) {
        let (mut rules, mut tip) = (self.api.rules(), self.api.shared.tip.subscribe());
        let (wanted, end) = (other.rules(), *other.api.shared.tip.borrow());
        let there = async {
            rules.wait_for(|rules| rules.sequence >= wanted).await.unwrap();
            tip.wait_for(|tip| *tip >= end).await.unwrap();
        };
        tokio::time::timeout(Duration::from_secs(10), there).await.unwrap();
    }
}

/// One on tables of its own, which go with it.
struct Alone(Replica, #[expect(dead_code, reason = "it goes when this goes")] Schema);

impl Alone {
    fn new() -> Self {
        let schema = Schema::new();
        Self(replica(&schema, 9), schema)
    }
}

impl Harness for Alone {
    fn master_api(&self) -> Arc<dyn contract::master_api::MasterApi> {
        self.0.api.clone()
    }

    fn clock(&self) -> Arc<ManualClock> {
        self.0.clock.clone()
    }
}

mod in_postgres {
    contract::log_conformance!(super::Alone::new());
}

/// Who waits at one replica is told of what another one wrote, and finds it by the index.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_of_one_replica_see_what_another_writes() {
    let schema = Schema::new();
    let replicas = [replica(&schema, 7), replica(&schema, 8)];
    let lane = replicas[0].subscribe("ci").await;
    replicas[1].follows(&replicas[0]).await;
    let after = replicas[1].api.log_head().await.unwrap().sequence;
    let wait = |notable| {
        let filter = LogFilter { notable, ..LogFilter::default() };
        let wait = Duration::from_secs(20);
        let query = LogQuery { after, first: 1, filter, wait };
        let api = Arc::clone(&replicas[1].api);
        tokio::spawn(async move { api.facts(query).await.unwrap() })
    };
    let (any, notable) = (wait(false), wait(true));
    let command = event(replicas[0].new_id(), &[lane], replicas[0].rules());
    let stored = replicas[0].api.store_event(command).await.unwrap().sequence;
    let page = any.await.unwrap();
    assert_eq!(page.facts[0].sequence, stored);
    let delivery = DeliveryId { lane, sequence: stored };
    let report = super::harness::report(delivery, 1, Next::Dead(Cause::Exhausted));
    replicas[0].api.record_attempts(vec![report]).await.unwrap();
    let dead = notable.await.unwrap().facts[0].clone();
    assert_eq!((dead.kind.as_str(), dead.sequence.0), ("attempt_recorded", stored.0 + 1));

    // A cursor that one wrote is where the other goes on.
    replicas[0].api.move_cursor("announcer", stored).await.unwrap();
    replicas[1].api.move_cursor("announcer", after).await.unwrap();
    replicas[0].subscribe("another").await;
    replicas[1].follows(&replicas[0]).await;
    crate::follow::follow_cursors(&replicas[1].api.shared).unwrap();
    assert_eq!(replicas[1].api.cursor("announcer").await.unwrap(), Some(stored));
    assert_one_log([&replicas[0], &replicas[1]]).await;
}

async fn assert_one_log(replicas: [&Replica; 2]) {
    for replica in replicas {
        let report = replica.api.verify().await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!(report.facts, report.head.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_replicas_make_one_log() {
    let schema = Schema::new();
    let replicas = [replica(&schema, 1), replica(&schema, 2)];
    let lane = replicas[0].subscribe("ci").await;
    replicas[1].follows(&replicas[0]).await;

    // One idempotency key at both: one event.
    let same_key = (0..32).map(|n| {
        let at = &replicas[n % 2];
        let mut command = event(at.new_id(), &[lane], at.rules());
        command.event.payload = "same".into();
        command.event.idempotency_key = Some("k".into());
        let api = Arc::clone(&at.api);
        tokio::spawn(async move { api.store_event(command).await.unwrap() })
    });
    let mut answers = Vec::new();
    for task in same_key.collect::<Vec<_>>() {
        answers.push(task.await.unwrap());
    }
    assert_eq!(answers.iter().filter(|stored| !stored.duplicate).count(), 1);
    assert_eq!(answers.iter().map(|stored| stored.id).collect::<BTreeSet<_>>().len(), 1);

    // One object at both: one is created, nobody else is harmed.
    let creates = (0..16).map(|n| {
        let api = Arc::clone(&replicas[n % 2].api);
        let commands = vec![put_subscription("new")];
        let changes = Changeset { commands, mode: Mode::Create, ..Changeset::default() };
        tokio::spawn(async move { api.execute(operator(), changes).await })
    });
    let mut created = 0;
    for task in creates.collect::<Vec<_>>() {
        match task.await.unwrap() {
            Ok(_) => created += 1,
            Err(error) => assert_eq!(error.code, ErrorCode::Conflict),
        }
    }
    assert_eq!(created, 1);
    replicas[0].follows(&replicas[1]).await;
    replicas[1].follows(&replicas[0]).await;

    // A thousand each: every one has a place of its own.
    let stores = (0..2000).map(|n| {
        let at = &replicas[n % 2];
        let command = event(at.new_id(), &[lane], at.rules());
        let api = Arc::clone(&at.api);
        tokio::spawn(async move { api.store_event(command).await.unwrap().sequence })
    });
    let mut places = BTreeSet::new();
    for task in stores.collect::<Vec<_>>() {
        assert!(places.insert(task.await.unwrap()), "a place was given twice");
    }
    assert_eq!(places.len(), 2000);
    replicas[0].subscribe("last").await;
    replicas[1].follows(&replicas[0]).await;
    assert_one_log([&replicas[0], &replicas[1]]).await;
    let [one, two] = [&replicas[0].api.shared, &replicas[1].api.shared];
    assert_eq!(*one.state.load_full(), *two.state.load_full());
    assert_eq!(*one.head(), *two.head());
    assert_eq!(replicas[1].api.stats().await.unwrap().accepted, 2001);
    // A block was closed meanwhile by whoever came to it.
    assert!(one.block.load().as_ref().is_some_and(|block| block.first().0 > 1000));
    assert_eq!(one.block.load_full(), two.block.load_full());
    for replica in &replicas {
        assert_eq!(replica.found().await, places_of(&replicas[0]).await);
    }
    let until = contract::clock::Timestamp(i64::MAX);
    assert_eq!(one.lanes().with_work(until), two.lanes().with_work(until));
}

/// Connections die at any moment, also in the middle of a commit. Whoever asks again with the same
/// id, as brokers do, has its event once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_lose_and_double_nothing() {
    let schema = Schema::named_connections();
    let at = replica(&schema, 3);
    let lane = at.subscribe("ci").await;
    let kill = format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE application_name = '{}'",
        schema.name
    );
    let mut killed = 0;
    let mut stores = Vec::new();
    for n in 0..300 {
        let command = event(at.new_id(), &[lane], at.rules());
        let api = Arc::clone(&at.api);
        stores.push(tokio::spawn(async move {
            let deadline = std::time::Instant::now() + Duration::from_secs(60);
            loop {
                match api.store_event(command.clone()).await {
                    Ok(stored) => return stored.sequence,
                    Err(error) => {
                        assert_eq!(error.code, ErrorCode::Unavailable, "{error}");
                        assert!(std::time::Instant::now() < deadline);
                        tokio::task::yield_now().await;
                    }
                }
            }
        }));
        if n % 30 == 10 {
            killed += tokio::task::block_in_place(|| schema.number(&kill));
        }
    }
    let mut places = BTreeSet::new();
    for store in stores {
        places.insert(store.await.unwrap());
    }
    assert!(killed > 0, "no connection was killed");
    assert_eq!(places.len(), 300);
    assert_eq!(at.api.stats().await.unwrap().accepted, 300);
    assert!(at.api.ready());
    let report = at.api.verify().await.unwrap();
    assert_eq!((report.problems, report.facts), (Vec::new(), report.head.0));
}

/// The tables are out of reach for a while: events are refused, nothing has to be started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_comes_back_is_used_again() {
    let schema = Schema::new();
    let at = replica(&schema, 4);
    let lane = at.subscribe("ci").await;
    let command = event(at.new_id(), &[lane], at.rules());
    tokio::task::block_in_place(|| schema.run("ALTER SCHEMA @ RENAME TO @_away"));
    let refused = at.api.store_event(command.clone()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable, "{refused}");
    let mut health = at.api.health();
    let limit = Duration::from_secs(10);
    let gone = health.wait_for(|health| !health.answering);
    tokio::time::timeout(limit, gone).await.unwrap().unwrap();
    assert!(!at.api.ready());
    tokio::task::block_in_place(|| schema.run("ALTER SCHEMA @_away RENAME TO @"));
    let back = health.wait_for(|health| health.answering);
    tokio::time::timeout(limit, back).await.unwrap().unwrap();
    assert!(at.api.ready());
    at.api.store_event(command).await.unwrap();
    assert_eq!(at.api.stats().await.unwrap().accepted, 1);
    let report = at.api.verify().await.unwrap();
    assert_eq!((report.problems, report.facts), (Vec::new(), report.head.0));
}

#[test]
fn an_interrupted_migration_is_finished() {
    let schema = Schema::new();
    // What a server without transactional DDL would leave of one that was cut short.
    schema.run(
        "CREATE SCHEMA @; CREATE TABLE @.migrations (one boolean PRIMARY KEY DEFAULT true \
         CHECK (one), version integer NOT NULL); INSERT INTO @.migrations VALUES (true, 0); \
         CREATE TABLE @.meta (key bytea PRIMARY KEY, value bytea NOT NULL)",
    );
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| schema.open());
        }
    });
    assert_eq!(schema.number("SELECT version::bigint FROM @.migrations"), 4);
    assert_eq!(schema.number("SELECT count(*) FROM @.log_head"), 1);
    // One that was cut short in between.
    schema.run("DROP TABLE @.leases; UPDATE @.migrations SET version = 1");
    let store = schema.open();
    store.beat().unwrap();
    assert!(store.leads());
}

#[test]
fn tables_of_a_newer_program_are_refused() {
    let schema = Schema::new();
    drop(schema.open());
    schema.run("UPDATE @.migrations SET version = 99");
    let refused = crate::store::Postgres::open(&schema.url, schema.config(), "two".into());
    assert!(matches!(refused, Err(StoreError::Newer { found: 99, known: 4 })), "{refused:?}");
}

#[test]
fn the_leadership_is_fenced() {
    let schema = Schema::new();
    let (one, two) = (schema.open_as("one"), schema.open_as("two"));
    for store in [&one, &two] {
        store.join(2).unwrap();
        store.beat().unwrap();
    }
    assert_eq!((one.leads(), two.leads()), (true, false));
    assert!(one.lock_head().unwrap().leads);
    one.let_go();
    // The first is not heard of for as long as its lease; it does not know.
    schema.run("UPDATE @.leases SET expires_at = now() - interval '1 second'");
    two.beat().unwrap();
    assert_eq!((one.leads(), two.leads()), (true, true));
    let day = Table::Traffic(crate::fact::Bucket(1));
    assert!(matches!(one.drop_table(day), Err(StoreError::Unavailable(_))));
    assert!(!one.lock_head().unwrap().leads);
    one.let_go();
    assert!(!one.leads(), "it knows now");
    two.drop_table(day).unwrap();
    assert_eq!(schema.number("SELECT fence FROM @.leases"), 2);
    // One that ends in order is not waited for.
    two.leave();
    one.beat().unwrap();
    assert!(one.leads());
}

/// A feeder that was long away and does not know it moves no cursor any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_to_feed_is_fenced() {
    let schema = Schema::new();
    let [one, two] = [replica(&schema, 11), replica(&schema, 12)];
    let lane = one.subscribe("ci").await;
    two.follows(&one).await;
    let command = event(one.new_id(), &[lane], one.rules());
    let stored = one.api.store_event(command).await.unwrap().sequence;
    two.follows(&one).await;
    let first = one.api.lead("a").await.unwrap().unwrap();
    assert_eq!(two.api.lead("b").await.unwrap(), None);
    assert_eq!(one.api.lead("a").await.unwrap(), Some(first), "it is kept");
    let expire = "UPDATE @.leases SET expires_at = now() - interval '1 second' \
                  WHERE role = 'feeder'";
    tokio::task::block_in_place(|| schema.run(expire));
    let second = two.api.lead("b").await.unwrap().unwrap();
    assert!(second > first);

    // The first replica does not know, so the cursor waits for its next batch, and ends there.
    one.api.advance(first, vec![(lane, stored)]).await.unwrap();
    one.subscribe("another").await;
    let cursors = "SELECT count(*) FROM @.cursors WHERE length(key) = 4";
    let count = || tokio::task::block_in_place(|| schema.number(cursors));
    assert_eq!(count(), 0);
    two.api.advance(second, vec![(lane, stored)]).await.unwrap();
    two.subscribe("a third").await;
    assert_eq!(count(), 1);
    let refused = two.api.advance(first, vec![(lane, stored)]).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
    // One that ends in order is not waited for.
    two.api.step_down("b").await.unwrap();
    assert!(one.api.lead("a").await.unwrap().unwrap() > second);
}

#[test]
fn the_oldest_living_replica_decides_the_format() {
    let schema = Schema::new();
    let (one, two) = (schema.open_as("one"), schema.open_as("two"));
    one.join(7).unwrap();
    assert_eq!(one.format_of_all().unwrap(), 7);
    two.join(5).unwrap();
    assert_eq!(one.format_of_all().unwrap(), 5);
    schema.run("UPDATE @.replicas SET heard_at = now() - interval '1 hour' WHERE id = 'two'");
    assert_eq!(one.format_of_all().unwrap(), 7);
}

#[test]
fn a_replica_without_the_key_is_refused() {
    let schema = Schema::new();
    let directory = tempfile::tempdir().unwrap();
    let around = around(&ManualClock::new(START), 1);
    let refused = MasterApi::on(Arc::new(schema.open()), config(directory.path()), around);
    let error = refused.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidDefinition);
    assert!(error.message.contains("CERTES_SECRET_KEY"), "{error}");
    assert_eq!(schema.open().get(Table::Meta, crate::tables::HEAD).unwrap(), None);
    assert!(StateStore::tables(&schema.open()).is_empty());
}

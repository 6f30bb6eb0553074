//! A Master API to try things on.

use crate::{
    Config, FileSystem, MasterApi, Metrics, RetentionConfig, StoreConfig, Surroundings,
    fact::{FactBody, Hash},
    log::{Draft, read_fact},
    project::{decode, encode},
    search,
    store::{Batch, Memory, Scan, StateStore, Table},
    tables::{self, Head},
};
use bytes::Bytes;
use contract::{
    Result,
    access::{Actor, Principal, Roles},
    backoff::Span,
    clock::{Clock, Timestamp},
    command::{Change, Changeset, Command},
    delivery::{Attempt, AttemptReport, Cause, Next},
    event::{Audience, Direction, Disposition, Headers, NewEvent, Origin, Trace},
    exchange::ExchangeRecord,
    id::{DeliveryId, EventId, IdGenerator, KeyId, LaneId, ReplayId, Sequence},
    master_api::{Configuration, Deliveries, Events, Lanes, StoreEvent, Stored},
    replay::{Replay, Replays},
    secret::Secret,
    stamp::Stamp,
    subscription::{Priority, SubscriptionSpec},
    testing::{ManualClock, SeededRandom, seeded_ids},
};
use prometheus_client::registry::Registry;
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;

/// 2026-11-21, noon.
pub const START: Timestamp = Timestamp(1_795_262_400_000_000);
pub const DAY: Duration = Duration::from_secs(86_400);

pub struct Bench {
    pub clock: Arc<ManualClock>,
    pub directory: TempDir,
    pub ids: Arc<dyn IdGenerator>,
    pub api: Arc<MasterApi>,
}

pub fn config(directory: &Path) -> Config {
    let data_dir = directory.to_path_buf();
    let reports_hold = Span(Duration::from_millis(1));
    Config {
        data_dir,
        limits: StoreConfig { reserve: 0 },
        cache_bytes: 1 << 20,
        reports_hold,
        ..Config::default()
    }
}

/// Events are kept for two days, unfinished deliveries for five.
pub fn forgetful(config: Config) -> Config {
    let days = |days| Span(DAY * days);
    let retention =
        RetentionConfig { age: days(2), unfinished: days(5), ..RetentionConfig::default() };
    Config { retention, ..config }
}

pub fn around(clock: &Arc<ManualClock>, seed: u64) -> Surroundings {
    Surroundings {
        clock: clock.clone(),
        random: SeededRandom::new(seed),
        ids: seeded_ids(clock.clone(), seed + 1),
        metrics: Metrics::new(&mut Registry::default()),
        space: Arc::new(FileSystem),
    }
}

pub fn open_at(clock: &Arc<ManualClock>, config: Config) -> Result<Arc<MasterApi>> {
    let metrics = Metrics::new(&mut Registry::default());
    MasterApi::open(config, clock.clone(), SeededRandom::new(77), metrics)
}

impl Bench {
    /// On the embedded store.
    pub fn embedded() -> Self {
        Self::with(|clock, config| open_at(clock, config).unwrap())
    }

    /// The same, with other settings.
    pub fn with_config(adjust: impl Fn(&mut Config)) -> Self {
        Self::with(|clock, mut config| {
            adjust(&mut config);
            open_at(clock, config).unwrap()
        })
    }

    /// In memory.
    pub fn memory() -> Self {
        Self::on(Arc::new(Memory::default()))
    }

    pub fn on(store: Arc<dyn StateStore>) -> Self {
        Self::with(|clock, config| MasterApi::on(store, config, around(clock, 7)).unwrap())
    }

    /// In memory, where things are not kept for long.
    pub fn forgetful(store: Arc<dyn StateStore>, seed: u64) -> Self {
        Self::with(|clock, config| {
            MasterApi::on(store, forgetful(config), around(clock, seed)).unwrap()
        })
    }

    fn with(open: impl FnOnce(&Arc<ManualClock>, Config) -> Arc<MasterApi>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::new(START);
        let api = open(&clock, config(directory.path()));
        let ids = seeded_ids(clock.clone(), 3);
        Self { clock, directory, ids, api }
    }

    /// Closes it; what is left is its directory.
    pub async fn closed(mut self) -> Self {
        self.api.close().await;
        let spare = Self::memory().api;
        drop(std::mem::replace(&mut self.api, spare));
        self
    }

    /// Closes it and opens it again.
    pub async fn reopen(self) -> Self {
        let mut bench = self.closed().await;
        bench.api = open_at(&bench.clock, config(bench.directory.path())).unwrap();
        bench
    }

    pub fn new_id(&self) -> EventId {
        EventId::from_bytes(self.ids.uuid())
    }

    pub fn rules(&self) -> Sequence {
        self.api.rules().borrow().sequence
    }

    /// Creates a subscription; gives its lane at the default priority.
    pub async fn subscribe(&self, name: &str) -> LaneId {
        self.execute(vec![put_subscription(name)]).await.unwrap();
        let rules = self.api.rules().borrow().clone();
        LaneId::new(rules.subscription_named(name).unwrap().number, Priority::default())
    }

    pub async fn execute(&self, commands: Vec<Command>) -> Result<Vec<Change>> {
        self.api.execute(operator(), Changeset { commands, ..Changeset::default() }).await
    }

    pub fn event(&self, lanes: &[LaneId]) -> StoreEvent {
        event(self.new_id(), lanes, self.rules())
    }

    pub async fn store(&self, lanes: &[LaneId]) -> Stored {
        self.api.store_event(self.event(lanes)).await.unwrap()
    }

    /// Moves cursors as the one feeder.
    pub async fn advance(&self, cursors: Vec<(LaneId, Sequence)>) -> Result<()> {
        let fence = self.api.lead("feeder").await?.unwrap();
        self.api.advance(fence, cursors).await
    }

    pub async fn attempt(&self, delivery: DeliveryId, number: u32, next: Next) -> bool {
        let reports = vec![report(delivery, number, next)];
        self.api.record_attempts(reports).await.unwrap()[0]
    }

    /// Returns when the deliveries of all removed subscriptions are cancelled.
    pub async fn cleared(&self) {
        let mut rules = self.api.rules();
        let cleared = rules.wait_for(|_| self.api.shared.state.load().clearing.is_empty());
        tokio::time::timeout(Duration::from_secs(30), cleared).await.unwrap().unwrap();
    }

    /// Returns when a replay is as it is wanted.
    pub async fn replay_is(&self, id: ReplayId, wanted: impl Fn(&Replay) -> bool) -> Replay {
        let mut tip = self.api.shared.tip.subscribe();
        let reached = async {
            loop {
                tip.mark_unchanged();
                let replay = self.api.replay(id).await.unwrap().unwrap();
                if wanted(&replay) {
                    return replay;
                }
                tip.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached).await.unwrap()
    }

    /// All is as the facts say.
    pub async fn assert_verified(&self) {
        let report = self.api.verify().await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!(report.facts + report.dropped, report.head.0);
    }
}

pub fn operator() -> Actor {
    Actor::Component("test".into())
}

pub fn event(id: EventId, lanes: &[LaneId], rules: Sequence) -> StoreEvent {
    let event = NewEvent {
        uri: "github/1/push".parse().unwrap(),
        direction: Direction::Incoming,
        audience: Audience::Own,
        origin: Origin::Source("github".into()),
        payload: Bytes::from(format!(r#"{{"id":"{id}"}}"#)),
        content_type: "application/json".into(),
        headers: Headers(vec![("x-github-event".into(), "push".into())]),
        idempotency_key: None,
        received_at: START,
        trace: Trace::default(),
        unvalidated: Disposition::Reject,
        invalid: Disposition::Reject,
        rules,
    };
    let stamp = Stamp { key: contract::id::SecretId::from_bytes([1; 16]), mac: [2; 32] };
    let (lanes, quarantine) = (lanes.to_vec(), None);
    let (schema_minor, keys) = (Some(0), BTreeMap::new());
    StoreEvent { id, event, stamp, schema_minor, quarantine, lanes, keys, rules }
}

pub fn report(delivery: DeliveryId, number: u32, next: Next) -> AttemptReport {
    let failed = next != Next::Done;
    let attempt = Attempt {
        number,
        started_at: START,
        duration_ms: 12,
        status: Some(if failed { 500 } else { 200 }),
        cause: failed.then_some(Cause::Status),
        error: failed.then(|| "the endpoint answered 500".into()),
        address: Some("127.0.0.1:9000".into()),
        response_excerpt: None,
        backoff_rule: failed.then(|| "default".into()),
    };
    let exchange = Some(Box::new(exchange(number)));
    AttemptReport { delivery, attempt, exchange, next, pause_subscription: false }
}

/// What went over the wire in the `number`-th attempt.
pub fn exchange(number: u32) -> ExchangeRecord {
    let headers = |pairs: &[(&str, &str)]| {
        Headers(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    };
    ExchangeRecord {
        left_out: vec!["content-type".into()],
        added: headers(&[("content-type", "text/plain"), ("hmac-sig", "SHA256 00")]),
        response_headers: headers(&[("server", "odd")]),
        response_body: format!("answer {number}").into(),
        response_cut: false,
    }
}

pub fn subscription(name: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        name: name.into(),
        url: "http://127.0.0.1:9000/hook".into(),
        events: vec!["github/1/*".parse().unwrap()],
        ..SubscriptionSpec::default()
    }
}

pub fn put_subscription(name: &str) -> Command {
    Command::PutSubscription { spec: subscription(name), secrets: Vec::new() }
}

pub fn signing_secret(byte: u8) -> Secret {
    Secret::webhook(&[byte; 32])
}

/// Copies a directory as it lies there: what a crash would leave.
pub fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Makes a log what a program that knows this `format` would have left; gives its head.
pub fn as_of_format(store: &dyn StateStore, format: u32) -> Head {
    let (mut batch, mut hash) = (Batch::default(), Hash::default());
    for row in store.scan(&Scan::all(Table::Configuration, 10_000)).unwrap() {
        let mut fact = read_fact(&row).unwrap();
        if let FactBody::FormatRaised { format: raised } = &mut fact.body {
            *raised = format;
        }
        let draft = Draft::new(&fact.actor, &fact.body).unwrap();
        let (row, placed) = draft.place(fact.sequence, fact.time, hash);
        hash = placed;
        batch.put(Table::Configuration, tables::sequence_key(fact.sequence), row);
    }
    let head = store.get(Table::Meta, tables::HEAD).unwrap().unwrap();
    let head: Head = decode("head", &head).unwrap();
    let searched = format >= search::SINCE_FORMAT;
    let open_block = if searched { head.open_block } else { Sequence(0) };
    let head = Head { configuration: hash, open_block, ..head };
    batch.put(Table::Meta, tables::HEAD, encode("head", &head).unwrap());
    batch.put(Table::Meta, tables::FORMAT, format.to_be_bytes().to_vec());
    store.commit(batch).unwrap();
    for table in store.tables() {
        if !searched && matches!(table, Table::Search(_)) {
            store.drop_table(table).unwrap();
        }
    }
    head
}

pub fn now(bench: &Bench) -> Timestamp {
    bench.clock.now()
}

pub fn principal(roles: &[&str], subscriber: Option<&str>) -> Principal {
    Principal {
        actor: Actor::Key(KeyId::from_bytes([1; 16])),
        name: "test".into(),
        roles: Roles::parse(roles.iter().copied()).unwrap(),
        subscriber: subscriber.map(str::to_owned),
    }
}

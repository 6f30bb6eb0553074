//! The embedded store beside its limit, what a log of a million events costs to search, to open and
//! to verify, and how fast events are stored in PostgreSQL.
//!
//!     cargo xtask bench store
//!
//! The limit is a plain file with the same group commit: callers hand over their bytes, one thread
//! appends all that waits, syncs once, and answers. Each line ends with what is wanted.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark measures real time, prints figures, and has nothing to report if it fails"
)]

use bytes::Bytes;
use contract::{
    access::Actor,
    clock::{Clock, SystemClock},
    command::{Changeset, Command},
    delivery::{Attempt, AttemptReport, Next},
    event::{Audience, Direction, Disposition, Headers, NewEvent, Origin, Trace},
    id::{DeliveryId, EventId, IdGenerator, LaneId, SecretId, Uuid7},
    master_api::{
        Configuration, Deliveries, DeliveryFilter, EventFilter, Events, PageRequest, StoreEvent,
    },
    random::SystemRandom,
    secret::Secret,
    stamp::Stamp,
    subscription::{Priority, SubscriptionSpec},
};
use master_api::{Config, MasterApi, Metrics, PostgresConfig, log};
use prometheus_client::registry::Registry;
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, sync::oneshot};

const CALLERS: u64 = 64;
/// Callers of the replica of a server, whose batches are worth a way there and a sync.
const REMOTE_CALLERS: u64 = 512;
const PAYLOAD_BYTES: usize = 1024;
/// How long each side of the comparison runs.
const RUN: Duration = Duration::from_secs(8);
/// Calls of each kind of search.
const SEARCHES: usize = 100;
const PAGE: u32 = 50;
/// Verifications, of which the one in the middle counts.
const VERIFICATIONS: usize = 3;

fn main() {
    let events = std::env::var("CERTES_BENCH_EVENTS").ok().and_then(|text| text.parse().ok());
    let events: u64 = events.unwrap_or(1_000_000);
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir_in(".").expect("a directory");
    let plain = runtime.block_on(plain_file(&directory.path().join("plain")));
    println!("plain file, {CALLERS} callers:   {plain:9.0} events/s (the limit)");
    let data = directory.path().join("data");
    let bench = Bench::open(&data);
    let lane = runtime.block_on(bench.subscribe());
    let until = Instant::now() + RUN;
    let stored = runtime.block_on(bench.store_all(CALLERS, lane, &|_n| Instant::now() < until));
    let rate = stored / RUN.as_secs_f64();
    let part = rate / plain;
    println!(
        "store_event, {CALLERS} callers:  {rate:9.0} events/s, {part:.2} of it (wanted: 0.35)"
    );
    let already = bench.counter.load(Ordering::SeqCst);
    runtime.block_on(bench.store_all(CALLERS, lane, &|n| n + already < events));
    runtime.block_on(bench.attempts(lane));
    runtime.block_on(bench.searches());
    runtime.block_on(bench.api.close());
    drop(bench);
    let started = Instant::now();
    let bench = Bench::open(&data);
    let seconds = started.elapsed().as_secs_f64();
    println!("restart with {events} events:     {seconds:9.2} s (wanted: 3 at most)");
    runtime.block_on(bench.api.close());
    drop(bench);
    verifying(&data);
    match std::env::var("CERTES_TEST_POSTGRES") {
        Ok(url) => postgres(&runtime, &url, &directory.path().join("replica")),
        Err(_) => println!("PostgreSQL: not measured, CERTES_TEST_POSTGRES names no server"),
    }
}

/// Facts/s that are verified, beside merely reading and hashing all bytes of the store.
fn verifying(data: &Path) {
    let mut rates: Vec<(f64, f64)> = (0..VERIFICATIONS)
        .map(|_round| {
            let started = Instant::now();
            hash_files(&log::store_in(data)).expect("files");
            let plain = started.elapsed().as_secs_f64();
            let started = Instant::now();
            let report = log::verify(data).expect("it verifies");
            assert!(report.problems.is_empty(), "{:?}", report.problems);
            let facts = float(report.facts);
            (facts / started.elapsed().as_secs_f64(), facts / plain)
        })
        .collect();
    rates.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let (rate, limit) = rates.get(VERIFICATIONS / 2).copied().unwrap_or_default();
    println!("reading and hashing:          {limit:9.0} facts/s (the limit of one thread)");
    println!("log verify:                   {rate:9.0} facts/s (wanted: 200000)");
}

fn hash_files(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return std::fs::read_dir(path)?.try_for_each(|entry| hash_files(&entry?.path()));
    }
    let (mut file, mut piece, mut hash) = (File::open(path)?, vec![0; 1 << 20], Sha256::new());
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            std::hint::black_box(hash.finalize());
            return Ok(());
        }
        hash.update(piece.get(..read).unwrap_or_default());
    }
}

/// Events/s that one replica stores, in a schema of its own, which is left there.
fn postgres(runtime: &Runtime, url: &str, data: &Path) {
    let schema = format!("bench_{}", std::process::id());
    let bench = Bench::with(Config {
        data_dir: data.to_owned(),
        store: url.parse().expect("a URL"),
        postgres: PostgresConfig { schema, ..PostgresConfig::default() },
        secret_key: Some(Secret::new("55".repeat(32))),
        ..Config::default()
    });
    let lane = runtime.block_on(bench.subscribe());
    for callers in [CALLERS, REMOTE_CALLERS] {
        let until = Instant::now() + RUN;
        let stored = runtime.block_on(bench.store_all(callers, lane, &|_n| Instant::now() < until));
        let rate = stored / RUN.as_secs_f64();
        println!(
            "PostgreSQL, {callers} callers:  {rate:9.0} events/s (wanted: 10000 with batches)"
        );
    }
    runtime.block_on(bench.api.close());
}

/// Events/s of a plain file.
async fn plain_file(path: &Path) -> f64 {
    type Waiting = (Vec<u8>, oneshot::Sender<()>);
    let (send, receive) = mpsc::sync_channel::<Waiting>(4096);
    let mut file = File::create(path).expect("a file");
    let writer = std::thread::spawn(move || {
        while let Ok(first) = receive.recv() {
            let (mut bytes, mut waiters) = (first.0, vec![first.1]);
            while waiters.len() < 512 {
                let Ok((more, waiter)) = receive.try_recv() else { break };
                bytes.extend(more);
                waiters.push(waiter);
            }
            file.write_all(&bytes).and_then(|()| file.sync_data()).expect("a write");
            for waiter in waiters {
                waiter.send(()).expect("a caller waits");
            }
        }
    });
    let (until, done) = (Instant::now() + RUN, Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (send, done) = (send.clone(), done.clone());
            tokio::spawn(async move {
                while Instant::now() < until {
                    let (answer, answered) = oneshot::channel();
                    send.send((vec![7; PAYLOAD_BYTES + 400], answer)).expect("a writer");
                    answered.await.expect("an answer");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("a caller");
    }
    drop(send);
    writer.join().expect("the writer");
    float(done.load(Ordering::SeqCst)) / RUN.as_secs_f64()
}

struct Bench {
    api: Arc<MasterApi>,
    ids: Arc<Uuid7>,
    counter: Arc<AtomicU64>,
}

impl Bench {
    fn open(data: &Path) -> Self {
        Self::with(Config { data_dir: data.to_owned(), ..Config::default() })
    }

    fn with(config: Config) -> Self {
        let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
        let metrics = Metrics::new(&mut Registry::default());
        let api = MasterApi::open(config, clock.clone(), random.clone(), metrics).expect("a log");
        Self { api, ids: Arc::new(Uuid7::new(clock, random)), counter: Arc::default() }
    }

    async fn subscribe(&self) -> LaneId {
        let spec = SubscriptionSpec {
            name: "bench".into(),
            url: "http://127.0.0.1:9/".into(),
            events: vec!["bench/1/*".parse().expect("a pattern")],
            ..SubscriptionSpec::default()
        };
        let commands = vec![Command::PutSubscription { spec, secrets: Vec::new() }];
        let changes = Changeset { commands, ..Changeset::default() };
        let actor = Actor::Component("bench".into());
        self.api.execute(actor, changes).await.expect("a subscription");
        let rules = self.api.rules().borrow().clone();
        let subscription = rules.subscription_named("bench").expect("it is there");
        LaneId::new(subscription.number, Priority::default())
    }

    /// Stores events from so many callers while `more` holds for the number of the next one.
    async fn store_all(
        &self,
        callers: u64,
        lane: LaneId,
        more: &(dyn Fn(u64) -> bool + Sync),
    ) -> f64 {
        let before = self.counter.load(Ordering::SeqCst);
        let callers = (0..callers).map(|_| async move {
            loop {
                let number = self.counter.fetch_add(1, Ordering::Relaxed);
                if !more(number - before) {
                    self.counter.fetch_sub(1, Ordering::Relaxed);
                    break;
                }
                self.api.store_event(self.event(number, lane)).await.expect("it is stored");
            }
        });
        futures_util::future::join_all(callers).await;
        float(self.counter.load(Ordering::SeqCst) - before)
    }

    fn event(&self, number: u64, lane: LaneId) -> StoreEvent {
        let mut payload = format!(r#"{{"number":{number},"text":""#).into_bytes();
        let mut noise = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        while payload.len() < PAYLOAD_BYTES - 2 {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            payload.push(b'a' + u8::try_from(noise % 26).unwrap_or(0));
        }
        payload.extend(b"\"}");
        let event = NewEvent {
            uri: uri(number).parse().expect("a type"),
            direction: Direction::Incoming,
            audience: Audience::Own,
            origin: Origin::Source(format!("source{}", number % 7)),
            payload: Bytes::from(payload),
            content_type: "application/json".into(),
            headers: Headers(vec![("x-bench".into(), "1".into())]),
            idempotency_key: number.is_multiple_of(100).then(|| format!("key-{number}")),
            received_at: SystemClock.now(),
            trace: Trace::default(),
            unvalidated: Disposition::Reject,
            invalid: Disposition::Reject,
            rules: self.api.rules().borrow().sequence,
        };
        let stamp = Stamp { key: SecretId::from_bytes([1; 16]), mac: [2; 32] };
        StoreEvent {
            id: EventId::from_bytes(self.ids.uuid()),
            rules: event.rules,
            event,
            stamp,
            schema_minor: None,
            quarantine: None,
            lanes: vec![lane],
            keys: Default::default(),
        }
    }

    /// Two attempts for each of the newest deliveries, so that a page has some.
    async fn attempts(&self, lane: LaneId) {
        let filter = EventFilter::default();
        let page = self.page(filter, None).await;
        for number in 1..=2 {
            let report = |event: &contract::event::Event| {
                let now = SystemClock.now();
                let next = if number == 1 { Next::Retry(now) } else { Next::Done };
                let attempt = Attempt {
                    number,
                    started_at: now,
                    duration_ms: 3,
                    status: Some(200),
                    cause: None,
                    error: None,
                    address: None,
                    response_excerpt: None,
                    backoff_rule: None,
                };
                let delivery = DeliveryId { lane, sequence: event.sequence };
                AttemptReport { delivery, attempt, exchange: None, next, pause_subscription: false }
            };
            let reports = page.iter().map(report).collect();
            self.api.record_attempts(reports).await.expect("they are recorded");
        }
    }

    async fn page(
        &self,
        filter: EventFilter,
        after: Option<String>,
    ) -> Vec<contract::event::Event> {
        let request = PageRequest { first: PAGE, after };
        self.api.events(filter, request).await.expect("a page").items
    }

    async fn searches(&self) {
        let newest = self.page(EventFilter::default(), None).await;
        let one = newest.first().expect("an event").clone();
        let by_id = self.times(async || {
            assert!(self.api.event(one.id).await.expect("a read").is_some());
        });
        report("event by id", by_id.await);
        let key = one.sequence.0 - one.sequence.0 % 100 - 300;
        let until = one.received_at.before(Duration::from_secs(5));
        let none = EventFilter::default;
        let pattern = one.uri.to_string().parse().expect("a pattern");
        let filters = [
            ("page of 50 events", none()),
            ("page of 50 by type", EventFilter { uri: Some(pattern), ..none() }),
            ("page of 50 by source", EventFilter { source: Some("source3".into()), ..none() }),
            ("page of 50 by time", EventFilter { until: Some(until), ..none() }),
            ("by key", EventFilter { idempotency_key: Some(format!("key-{key}")), ..none() }),
        ];
        for (what, filter) in filters {
            let times = self.times(async || drop(self.page(filter.clone(), None).await));
            report(what, times.await);
        }
        self.rare().await;
        let with_all = self.times(async || {
            for event in self.page(none(), None).await {
                let deliveries = self.api.deliveries_of(event.id).await.expect("a read");
                assert!(deliveries.iter().all(|delivery| delivery.attempts.len() == 2));
            }
        });
        report("50 with deliveries and attempts", with_all.await);
        let deliveries = self.times(async || {
            let request = PageRequest { first: PAGE, after: None };
            let found = self.api.deliveries(DeliveryFilter::default(), request).await;
            assert_eq!(found.expect("a page").items.len(), 50);
        });
        report("page of 50 deliveries", deliveries.await);
    }

    /// Where no index leads: whoever searches goes on from page to page.
    async fn rare(&self) {
        let filter = || EventFilter { uri: uri(0).parse().ok(), ..EventFilter::default() };
        let started = Instant::now();
        let mut request = PageRequest { first: PAGE, after: None };
        loop {
            let page = self.api.events(filter(), request.clone()).await.expect("a page");
            request.after = page.next;
            if !page.items.is_empty() || request.after.is_none() {
                break;
            }
        }
        report("by a type that came once", vec![started.elapsed()]);
    }

    async fn times(&self, mut call: impl AsyncFnMut()) -> Vec<Duration> {
        let mut times = Vec::with_capacity(SEARCHES);
        for round in 0..SEARCHES + 5 {
            let started = Instant::now();
            call().await;
            // The first ones warm the caches.
            if round >= 5 {
                times.push(started.elapsed());
            }
        }
        times
    }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| {
        times.get(times.len() * part / 100).copied().unwrap_or_default().as_secs_f64() * 1000.0
    };
    // A page of events with all that belongs to them, or a search by any index.
    let wanted = if what.contains("with deliveries") { 10 } else { 20 };
    println!("{what:32} p50 {:7.2} ms, p99 {:7.2} ms (wanted: {wanted} at most)", at(50), at(99));
}

/// The first event has a type of its own.
fn uri(number: u64) -> String {
    match number {
        0 => "bench/1/rare".to_owned(),
        _ => format!("bench/1/type{}", number % 20),
    }
}

fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

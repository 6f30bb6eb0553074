//! What a dead endpoint, a huge backlog of the unimportant and a growing one cost the others, in
//! the queue: workers that take so long for each attempt, and a feeder that keeps lanes full.
//!
//!     cargo xtask bench queue
//!
//! Each line ends with what is wanted. Waiting times are from the moment a delivery is put in to its
//! lease.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark measures real time, prints figures, and has nothing to report if it fails"
)]

use contract::{
    clock::{Clock, SystemClock, Timestamp},
    id::{DeliveryId, LaneId, Sequence, SubscriptionNumber},
    master_api::FeedItem,
    queue::{Enqueued, Lease, MessageQueue, Settlement},
    rate_limit::RateLimit,
    subscription::{Priority, SubscriptionSpec},
    testing::{rules_with, subscription_spec},
};
use prometheus_client::registry::Registry;
use queue::{Config, MemoryQueue, Metrics};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    runtime::Runtime,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::sleep,
};

/// How long each side of a comparison runs.
const RUN: Duration = Duration::from_secs(5);
/// How long slots fill and caps settle before.
const WARM_UP: Duration = Duration::from_secs(1);
/// Deliveries a second whose waiting time is measured.
const MEASURED_PER_SECOND: u32 = 500;
/// What an attempt takes at an endpoint that is well, and at one that is dead.
const WELL: Duration = Duration::from_millis(10);
const DEAD: Duration = Duration::from_secs(1);
const SLOTS: u32 = 256;

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(dead_endpoint());
    runtime.block_on(important_behind_a_million());
    runtime.block_on(shares_under_pressure());
    runtime.block_on(rate_limits());
    runtime.block_on(growing_backlog());
}

/// A dead endpoint with 100,000 waiting deliveries beside a live one.
async fn dead_endpoint() {
    let specs = || vec![at(5, "live"), at(5, "dead")];
    let alone = Bench::new(specs(), SLOTS).run(1, &[]).await;
    let beside = Bench::new(specs(), SLOTS).run(1, &[(2, 100_000, DEAD)]).await;
    let ratio = beside.p99_us / alone.p99_us;
    println!(
        "dead endpoint, 100,000 waiting: live p99 {:.0} us, alone {:.0} us: {ratio:.2} times \
         (wanted: <= 1.2)",
        beside.p99_us, alone.p99_us
    );
}

/// Priority 9 behind a million of priority 0 over 1,000 subscriptions, all slots busy.
async fn important_behind_a_million() {
    let specs = || {
        let others = (0..1_000).map(|n| at(0, &format!("zero {n}")));
        std::iter::once(at(9, "nine")).chain(others).collect::<Vec<_>>()
    };
    let alone = Bench::new(specs(), SLOTS).run(1, &[]).await;
    let backlog: Vec<_> = (2..=1_001).map(|number| (number, 1_000, WELL)).collect();
    let behind = Bench::new(specs(), SLOTS).run(1, &backlog).await;
    let ratio = behind.p99_us / alone.p99_us;
    println!(
        "9 behind 1,000,000 of 0 over 1,000 subscriptions: p99 {:.0} us, alone {:.0} us: \
         {ratio:.2} times (wanted: <= 2); meanwhile {} of 0 started",
        behind.p99_us, alone.p99_us, behind.others
    );
}

/// More of priority 9 than can ever be done, and the share that priority 0 gets.
async fn shares_under_pressure() {
    let bench = Bench::new(vec![at(9, "nine"), at(0, "zero")], SLOTS);
    let told = bench.run(0, &[(1, u64::MAX, WELL), (2, u64::MAX, WELL)]).await;
    let share = told.of(2) / (told.of(1) + told.of(2)).max(1.0);
    println!("0 beside more of 9 than can be done: {:.1} % (wanted: >= 2 %)", share * 100.0);
}

/// Limits beside each other and beside one without, all with more work than they may do.
async fn rate_limits() {
    let limits = [7.5, 50.0, 333.3, 1_000.0];
    let limited = |per_second: &f64| SubscriptionSpec {
        rate_limit: Some(RateLimit { per_second: *per_second, burst: 1 }),
        ..at(5, &per_second.to_string())
    };
    let specs = limits.iter().map(limited).chain([at(5, "free")]).collect();
    let backlog: Vec<_> = (1..=5).map(|number| (number, u64::MAX, WELL)).collect();
    let told = Bench::new(specs, SLOTS).run(0, &backlog).await;
    let seconds = (RUN + WARM_UP).as_secs_f64();
    for (number, limit) in (1..).zip(limits) {
        let found = told.of(number) / seconds;
        let off = (found / limit - 1.0) * 100.0;
        println!("limit of {limit}/s: {found:.1}/s, {off:+.1} % (wanted: within 2 %)");
    }
}

/// A backlog that grows from nothing to five million.
async fn growing_backlog() {
    const LANES: u32 = 5_000;
    let specs = (0..LANES).map(|n| subscription_spec(&n.to_string())).collect();
    let bench = Bench::new(specs, SLOTS);
    let window = u64::from(Config::default().window);
    let before = resident_bytes();
    let mut rates = Vec::new();
    for part in 0..10 {
        let begun = Instant::now();
        let (from, to) = (part * window / 10, (part + 1) * window / 10);
        for sequence in from..to {
            let items = (1..=LANES).map(|number| item(number, sequence, Timestamp(0))).collect();
            let answers = bench.queue.enqueue(items).await.expect("the queue");
            assert!(answers.iter().all(|answer| *answer == Enqueued::Queued));
        }
        rates.push(f64::from(LANES) * as_f64(to - from) / begun.elapsed().as_secs_f64());
    }
    let count = window * u64::from(LANES);
    let bytes = resident_bytes().saturating_sub(before) / count;
    let (first, last) = (rates[0], rates[9]);
    println!(
        "backlog growing to {count}: {first:.0}/s at first, {last:.0}/s at last: {:.0} % less \
         (wanted: < 20 %); {bytes} bytes a delivery (wanted: <= 100)",
        (1.0 - last / first) * 100.0
    );
}

fn at(priority: u8, name: &str) -> SubscriptionSpec {
    SubscriptionSpec { priority: Priority::try_from(priority).ok(), ..subscription_spec(name) }
}

fn item(number: u32, sequence: u64, due: Timestamp) -> FeedItem {
    let lane = LaneId::new(SubscriptionNumber(number), Priority::default());
    let delivery = DeliveryId { lane, sequence: Sequence(sequence) };
    FeedItem { delivery, due, key: None }
}

/// A queue, and what is behind it.
struct Bench {
    queue: Arc<MemoryQueue>,
    clock: Arc<dyn Clock>,
    slots: Arc<Semaphore>,
    /// How long attempts of a subscription take; those that take [`DEAD`] fail.
    takes: HashMap<u32, Duration>,
    /// When each delivery that is measured was put in.
    put_at: Mutex<HashMap<u64, Instant>>,
    waits_us: Mutex<Vec<f64>>,
    starts: Mutex<HashMap<u32, u64>>,
}

/// What a run has shown.
struct Told {
    p99_us: f64,
    /// Starts of those that are not measured.
    others: u64,
    starts: HashMap<u32, u64>,
}

impl Told {
    fn of(&self, number: u32) -> f64 {
        as_f64(self.starts.get(&number).copied().unwrap_or_default())
    }
}

impl Bench {
    fn new(specs: Vec<SubscriptionSpec>, slots: u32) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let rules = watch::channel(Arc::new(rules_with(specs))).1;
        let metrics = Metrics::new(&mut Registry::default());
        let config = Config { max_in_flight: slots, ..Config::default() };
        let queue = MemoryQueue::new(config, rules, clock.clone(), metrics).expect("a queue");
        Self {
            queue,
            clock,
            slots: Arc::new(Semaphore::new(usize::try_from(slots).expect("few"))),
            takes: HashMap::new(),
            put_at: Mutex::default(),
            waits_us: Mutex::default(),
            starts: Mutex::default(),
        }
    }

    /// Delivers for a while. `measured` gets deliveries at an even rate (0: nobody does); the others
    /// have a backlog of so many that take so long each.
    async fn run(mut self, measured: u32, backlog: &[(u32, u64, Duration)]) -> Told {
        self.takes = backlog.iter().map(|(number, _, takes)| (*number, *takes)).collect();
        let bench = Arc::new(self);
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&bench).work(measured));
        let left = backlog.iter().map(|(number, count, _)| (*number, *count)).collect();
        tasks.spawn(Arc::clone(&bench).feed(left));
        sleep(WARM_UP).await;
        if measured > 0 {
            bench.send(measured).await;
        } else {
            sleep(RUN).await;
        }
        tasks.shutdown().await;
        bench.tell(measured)
    }

    async fn send(&self, number: u32) {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / MEASURED_PER_SECOND);
        for sequence in 1..=u64::from(MEASURED_PER_SECOND) * RUN.as_secs() {
            ticks.tick().await;
            lock(&self.put_at).insert(sequence, Instant::now());
            let due = self.clock.now();
            let item = item(number, sequence, due);
            self.queue.enqueue(vec![item]).await.expect("the queue");
        }
    }

    /// Leases what there are slots for, and attempts it.
    async fn work(self: Arc<Self>, measured: u32) {
        loop {
            let slot = Arc::clone(&self.slots).acquire_owned().await.expect("never closed");
            let more = u32::try_from(self.slots.available_permits()).unwrap_or(0).min(63);
            drop(slot);
            let leased = self.queue.lease(more + 1, Duration::from_millis(250)).await;
            for lease in leased.expect("the queue") {
                let slot = Arc::clone(&self.slots).acquire_owned().await.expect("never closed");
                self.started(&lease, measured);
                let bench = Arc::clone(&self);
                tokio::spawn(async move {
                    bench.attempt(lease).await;
                    drop(slot);
                });
            }
        }
    }

    fn started(&self, lease: &Lease, measured: u32) {
        let number = lease.delivery.lane.subscription().0;
        *lock(&self.starts).entry(number).or_default() += 1;
        let put_at = lock(&self.put_at).remove(&lease.delivery.sequence.0);
        if let Some(put_at) = put_at.filter(|_| number == measured) {
            lock(&self.waits_us).push(put_at.elapsed().as_secs_f64() * 1e6);
        }
    }

    async fn attempt(&self, lease: Lease) {
        let takes = self.takes.get(&lease.delivery.lane.subscription().0).copied();
        let takes = takes.unwrap_or(WELL);
        sleep(takes).await;
        let settlement = match takes {
            DEAD => Settlement::Nack(self.clock.now().after(Duration::from_secs(300))),
            _ => Settlement::Ack,
        };
        self.queue.settle(vec![(lease, settlement)]).await.expect("the queue");
    }

    /// Keeps lanes full.
    async fn feed(self: Arc<Self>, mut left: HashMap<u32, u64>) {
        // Above those that are measured.
        let next = AtomicU64::new(1 << 32);
        let window = u64::from(Config::default().window);
        for (number, left) in &mut left {
            self.fill(*number, left, (&next, window)).await;
        }
        loop {
            let vacancies = self.queue.vacancies(Duration::from_secs(1)).await;
            for vacancy in vacancies.expect("the queue") {
                let number = vacancy.lane.subscription().0;
                let Some(left) = left.get_mut(&number) else { continue };
                self.fill(number, left, (&next, u64::from(vacancy.room))).await;
            }
        }
    }

    /// Fills the room of a lane, and one more to be told of room again.
    async fn fill(&self, number: u32, left: &mut u64, (next, room): (&AtomicU64, u64)) {
        let count = room.saturating_add(1).min(*left);
        *left -= count;
        let due = self.clock.now();
        let sequences = (0..count).map(|_| next.fetch_add(1, Ordering::Relaxed));
        let items = sequences.map(|sequence| item(number, sequence, due)).collect();
        let answers = self.queue.enqueue(items).await.expect("the queue");
        let refused = answers.iter().filter(|answer| **answer == Enqueued::Full).count();
        *left += u64::try_from(refused).unwrap_or(0);
    }

    fn tell(&self, measured: u32) -> Told {
        let mut waits = std::mem::take(&mut *lock(&self.waits_us));
        waits.sort_unstable_by(f64::total_cmp);
        let p99_us = waits.get(waits.len() * 99 / 100).copied().unwrap_or_default();
        let starts = lock(&self.starts).clone();
        let others = starts.iter().filter(|(number, _)| **number != measured);
        let others = others.map(|(_, count)| count).sum();
        Told { p99_us, others, starts }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Bytes of anonymous memory that are resident (proc(5)); 0 where that is not told.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

//! Models of the log and the queue: small enough to be seen to be right, and strict about what
//! the feeder may do with them.

use crate::{Feeder, FeederConfig, Metrics};
use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Error, Result,
    access::Actor,
    clock::{Clock, Timestamp},
    command::{Change, Changeset},
    delivery::{AttemptReport, Delivery},
    event::Event,
    id::{DeliveryId, EventId, LaneId, Sequence},
    master_api::{
        Configuration, Deliveries, DeliveryFilter, EventFilter, Events, FeedItem, FeedPage,
        LaneStatus, Lanes, Page, PageRequest, Stats, StoreEvent, Stored, Work,
    },
    queue::{Enqueued, LaneDepth, Lease, MessageQueue, Settlement, Vacancy},
    rules::{Rules, RulesReceiver},
    testing::ManualClock,
};
use prometheus_client::registry::Registry;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// Answers the next `store_event` instead of the model. Gets the model, to change its rules.
pub type Script = Box<dyn FnOnce(&ModelLog, &StoreEvent) -> Result<Stored> + Send>;

pub struct ModelLog {
    pub rules: watch::Sender<Arc<Rules>>,
    state: Mutex<LogState>,
    pub finished: Notify,
}

#[derive(Default)]
struct LogState {
    sequence: u64,
    lanes: BTreeMap<LaneId, LaneRows>,
    asked: Vec<StoreEvent>,
    scripts: VecDeque<Script>,
    down: bool,
}

#[derive(Default)]
struct LaneRows {
    cursor: Sequence,
    head: Sequence,
    fresh: BTreeSet<Sequence>,
    retries: BTreeMap<Sequence, Timestamp>,
}

impl ModelLog {
    pub fn new(rules: Rules) -> Arc<Self> {
        let rules = watch::Sender::new(Arc::new(rules));
        Arc::new(Self { rules, state: Mutex::default(), finished: Notify::new() })
    }

    /// Stores an event with a delivery in each lane.
    pub fn store(&self, lanes: &[LaneId]) -> Sequence {
        let mut state = self.lock();
        state.sequence += 1;
        let sequence = Sequence(state.sequence);
        for lane in lanes {
            let rows = state.lanes.entry(*lane).or_default();
            rows.head = sequence;
            rows.fresh.insert(sequence);
        }
        sequence
    }

    /// Records an attempt. False: the delivery was finished.
    pub fn attempt(&self, delivery: DeliveryId, retry: Option<Timestamp>) -> bool {
        let mut state = self.lock();
        let rows = state.lanes.get_mut(&delivery.lane).unwrap();
        let fresh = rows.fresh.remove(&delivery.sequence);
        let waiting = rows.retries.remove(&delivery.sequence).is_some() || fresh;
        if let (true, Some(due)) = (waiting, retry) {
            rows.retries.insert(delivery.sequence, due);
        }
        drop(state);
        self.finished.notify_waiters();
        waiting
    }

    pub fn is_waiting(&self, delivery: DeliveryId) -> bool {
        let state = self.lock();
        state.lanes.get(&delivery.lane).is_some_and(|rows| {
            rows.fresh.contains(&delivery.sequence) || rows.retries.contains_key(&delivery.sequence)
        })
    }

    pub fn unfinished(&self, lane: LaneId) -> usize {
        self.lock().lanes.get(&lane).map_or(0, |rows| rows.fresh.len() + rows.retries.len())
    }

    pub fn cursor(&self, lane: LaneId) -> Sequence {
        self.lock().lanes[&lane].cursor
    }

    /// What `store_event` was asked, in order.
    pub fn asked(&self) -> Vec<StoreEvent> {
        self.lock().asked.clone()
    }

    /// Lets the next call of `store_event` be answered by `script`.
    pub fn script(
        &self,
        script: impl FnOnce(&Self, &StoreEvent) -> Result<Stored> + Send + 'static,
    ) {
        self.lock().scripts.push_back(Box::new(script));
    }

    /// While down, the log answers `unavailable` to the feeder.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap()
    }

    fn up(&self) -> Result<MutexGuard<'_, LogState>> {
        let state = self.lock();
        if state.down {
            return Err(Error::new(contract::ErrorCode::Unavailable, "the log is down"));
        }
        Ok(state)
    }
}

fn not_here<T>() -> Result<T> {
    Err(Error::internal("the model does not do that"))
}

#[async_trait]
impl Events for ModelLog {
    async fn store_event(&self, event: StoreEvent) -> Result<Stored> {
        let script = {
            let mut state = self.lock();
            state.asked.push(event.clone());
            state.scripts.pop_front()
        };
        if let Some(script) = script {
            return script(self, &event);
        }
        let sequence = self.store(&event.lanes);
        let quarantined = event.quarantine.is_some();
        Ok(Stored { id: event.id, sequence, lanes: event.lanes, duplicate: false, quarantined })
    }
    async fn event(&self, _: EventId) -> Result<Option<Event>> {
        not_here()
    }
    async fn payload(&self, _: EventId) -> Result<Option<Bytes>> {
        not_here()
    }
    async fn events(&self, _: EventFilter, _: PageRequest) -> Result<Page<Event>> {
        not_here()
    }
    async fn deliveries_of(&self, _: EventId) -> Result<Vec<Delivery>> {
        not_here()
    }
}

#[async_trait]
impl Deliveries for ModelLog {
    async fn work(&self, _: Vec<DeliveryId>) -> Result<Vec<Option<Work>>> {
        not_here()
    }
    async fn record_attempts(&self, _: Vec<AttemptReport>) -> Result<Vec<bool>> {
        not_here()
    }
    async fn delivery(&self, _: DeliveryId) -> Result<Option<Delivery>> {
        not_here()
    }
    async fn deliveries(&self, _: DeliveryFilter, _: PageRequest) -> Result<Page<Delivery>> {
        not_here()
    }
    async fn resend(&self, _: Actor, _: DeliveryId) -> Result<Delivery> {
        not_here()
    }
    async fn stats(&self) -> Result<Stats> {
        not_here()
    }
}

#[async_trait]
impl Lanes for ModelLog {
    async fn lanes(&self, until: Timestamp) -> Result<Vec<LaneStatus>> {
        let state = self.up()?;
        let status = |(lane, rows): (&LaneId, &LaneRows)| {
            let next_due = rows.retries.values().min().copied();
            let has_fresh = rows.head > rows.cursor;
            (has_fresh || next_due.is_some_and(|due| due <= until)).then_some(LaneStatus {
                lane: *lane,
                cursor: rows.cursor,
                head: rows.head,
                next_due,
            })
        };
        Ok(state.lanes.iter().filter_map(status).collect())
    }

    async fn feed(
        &self,
        lane: LaneId,
        after: Sequence,
        until: Timestamp,
        limit: u32,
    ) -> Result<FeedPage> {
        let state = self.up()?;
        let Some(rows) = state.lanes.get(&lane) else { return Ok(FeedPage::default()) };
        let limit = limit as usize;
        let item = |sequence, due| FeedItem { delivery: DeliveryId { lane, sequence }, due };
        let after = Sequence(after.max(rows.cursor).0 + 1);
        let fresh: Vec<_> =
            rows.fresh.range(after..).take(limit).map(|s| item(*s, Timestamp(0))).collect();
        let mut due: Vec<_> = rows.retries.iter().map(|(s, due)| (*due, *s)).collect();
        due.sort_unstable();
        due.retain(|(due, _)| *due <= until);
        let more = fresh.len() == limit;
        let last = fresh.last().map(|item| item.delivery.sequence);
        let read_to = last.filter(|_| more).unwrap_or(rows.head);
        let due = due.into_iter().take(limit).map(|(due, s)| item(s, due)).collect();
        Ok(FeedPage { fresh, due, read_to, more })
    }

    async fn advance(&self, cursors: Vec<(LaneId, Sequence)>) -> Result<()> {
        let mut state = self.up()?;
        for (lane, cursor) in cursors {
            let rows = state.lanes.get_mut(&lane).unwrap();
            assert!(cursor > rows.cursor, "cursors move forward");
            let oldest = rows.fresh.first();
            assert!(oldest.is_none_or(|oldest| *oldest > cursor), "{lane}: over {oldest:?}");
            rows.cursor = cursor;
        }
        Ok(())
    }
}

#[async_trait]
impl Configuration for ModelLog {
    fn rules(&self) -> RulesReceiver {
        self.rules.subscribe()
    }
    async fn execute(&self, _: Actor, _: Changeset) -> Result<Vec<Change>> {
        not_here()
    }
}

pub struct ModelQueue {
    window: usize,
    log: Arc<ModelLog>,
    state: Mutex<QueueState>,
    changed: Notify,
    /// Nobody attempts while the feeder works, so nothing finished may be fed.
    strict: bool,
}

#[derive(Default)]
struct QueueState {
    lanes: BTreeMap<LaneId, Vec<FeedItem>>,
    refused: BTreeSet<LaneId>,
    /// All that was ever taken in, in order.
    fed: Vec<FeedItem>,
    down: bool,
}

impl ModelQueue {
    pub fn new(window: usize, log: Arc<ModelLog>, strict: bool) -> Arc<Self> {
        let (state, changed) = (Mutex::default(), Notify::new());
        Arc::new(Self { window, log, state, changed, strict })
    }

    /// What a lane holds, in order.
    pub fn lane(&self, lane: LaneId) -> Vec<FeedItem> {
        self.lock().lanes.get(&lane).cloned().unwrap_or_default()
    }

    pub fn all(&self) -> Vec<FeedItem> {
        self.lock().lanes.values().flatten().copied().collect()
    }

    /// Sequences that were taken into a lane, in order, also those that have left it.
    pub fn fed(&self, lane: LaneId) -> Vec<u64> {
        let state = self.lock();
        let of_lane = state.fed.iter().filter(|item| item.delivery.lane == lane);
        of_lane.map(|item| item.delivery.sequence.0).collect()
    }

    /// The lane of each item that was ever taken in, in order.
    pub fn served(&self) -> Vec<LaneId> {
        self.lock().fed.iter().map(|item| item.delivery.lane).collect()
    }

    pub fn remove(&self, delivery: DeliveryId) {
        let mut state = self.lock();
        let lane = state.lanes.entry(delivery.lane).or_default();
        lane.retain(|item| item.delivery != delivery);
        drop(state);
        self.changed.notify_one();
    }

    /// Everything is gone, also who was refused.
    pub fn forget(&self) {
        let mut state = self.lock();
        state.lanes.clear();
        state.refused.clear();
    }

    /// Who was refused is gone.
    pub fn forget_refused(&self) {
        self.lock().refused.clear();
    }

    /// While down, the queue answers `unavailable`.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap()
    }

    fn up(&self) -> Result<MutexGuard<'_, QueueState>> {
        let state = self.lock();
        if state.down {
            return Err(Error::new(contract::ErrorCode::Unavailable, "the queue is down"));
        }
        Ok(state)
    }
}

#[async_trait]
impl MessageQueue for ModelQueue {
    async fn enqueue(&self, items: Vec<FeedItem>) -> Result<Vec<Enqueued>> {
        let mut state = self.up()?;
        let mut put = |item: FeedItem| {
            let delivery = item.delivery;
            assert!(!self.strict || self.log.is_waiting(delivery), "{delivery} is finished");
            let lane = state.lanes.entry(delivery.lane).or_default();
            if lane.iter().any(|held| held.delivery == delivery) {
                return Enqueued::Held;
            }
            if lane.len() >= self.window {
                state.refused.insert(delivery.lane);
                return Enqueued::Full;
            }
            lane.push(item);
            state.fed.push(item);
            Enqueued::Queued
        };
        let answers = items.into_iter().map(&mut put).collect();
        drop(state);
        self.changed.notify_one();
        Ok(answers)
    }

    async fn vacancies(&self, wait: Duration) -> Result<Vec<Vacancy>> {
        let vacant = || {
            let mut state = self.up()?;
            let QueueState { lanes, refused, .. } = &mut *state;
            let room = |lane: &LaneId| self.window - lanes.get(lane).map_or(0, Vec::len);
            let vacant: Vec<_> = refused.iter().filter(|lane| room(lane) > 0).copied().collect();
            refused.retain(|lane| !vacant.contains(lane));
            let vacancy =
                |lane: LaneId| Vacancy { lane, room: u32::try_from(room(&lane)).unwrap() };
            Ok::<_, Error>(vacant.into_iter().map(vacancy).collect::<Vec<_>>())
        };
        let end = tokio::time::Instant::now() + wait;
        loop {
            let vacant = vacant()?;
            let changed = tokio::time::timeout_at(end, self.changed.notified());
            if !vacant.is_empty() || wait.is_zero() || changed.await.is_err() {
                return Ok(vacant);
            }
        }
    }

    async fn lease(&self, _: u32, _: Duration) -> Result<Vec<Lease>> {
        not_here()
    }
    async fn settle(&self, _: Vec<(Lease, Settlement)>) -> Result<()> {
        not_here()
    }
    async fn extend(&self, _: Vec<Lease>) -> Result<Vec<Lease>> {
        not_here()
    }
    async fn depth(&self) -> Result<Vec<LaneDepth>> {
        not_here()
    }
}

/// A feeder between the two models, on a clock that stands still.
pub struct World {
    pub clock: Arc<ManualClock>,
    pub log: Arc<ModelLog>,
    pub queue: Arc<ModelQueue>,
    pub feeder: Arc<Feeder>,
}

impl World {
    pub fn new(window: usize, config: FeederConfig) -> Self {
        let clock = ManualClock::new(Timestamp(1_000_000_000));
        let log = ModelLog::new(Rules::default());
        let queue = ModelQueue::new(window, Arc::clone(&log), true);
        let metrics = Metrics::new(&mut Registry::default());
        let feeder = Feeder::new(config, log.clone(), queue.clone(), clock.clone(), metrics);
        Self { clock, log, queue, feeder: Arc::new(feeder) }
    }

    /// Stores and offers an event with one delivery.
    pub fn send(&self, lane: LaneId) -> Sequence {
        let sequence = self.log.store(&[lane]);
        self.feeder.offer(sequence, &[lane]);
        sequence
    }

    /// What the feeder's loops do until they have nothing left to do; gives the rounds it took.
    pub async fn work(&self) -> usize {
        self.feeder.take_vacancies(Duration::ZERO).await.unwrap();
        self.feeder.pass_on().await;
        let mut rounds = 1;
        while self.feeder.run_once().await.unwrap().more {
            rounds += 1;
            assert!(rounds < 100_000, "the feeder does not come to rest");
        }
        self.feeder.pass_on().await;
        rounds
    }

    /// A second passes.
    pub async fn tick(&self) {
        self.clock.advance(Duration::from_secs(1));
        self.work().await;
    }

    /// A delivery of the queue is attempted. It is finished, or tried again at `retry`, and then
    /// stays in the queue if that is near.
    pub fn attempt(&self, delivery: DeliveryId, retry: Option<Duration>) {
        let due = retry.map(|after| self.clock.now().after(after));
        self.log.attempt(delivery, due);
        if retry.is_none_or(|after| after > Duration::from_secs(5)) {
            self.queue.remove(delivery);
        }
    }

    /// Everything in the queue is delivered.
    pub fn deliver_all(&self) {
        for item in self.queue.all() {
            self.attempt(item.delivery, None);
        }
    }
}

/// The lane of subscription `number` at the default priority.
pub fn lane(number: u32) -> LaneId {
    LaneId::new(
        contract::id::SubscriptionNumber(number),
        contract::subscription::Priority::default(),
    )
}

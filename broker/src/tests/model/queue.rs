//! A queue with windows: takes, refuses, reports room, and can forget.

use super::{log::ModelLog, not_here, pause};
use async_trait::async_trait;
use contract::{
    Error, ErrorCode, Result,
    id::{DeliveryId, LaneId, SubscriptionNumber},
    master_api::FeedItem,
    queue::{Enqueued, LaneDepth, Lease, MessageQueue, Settlement, Vacancy},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::Notify;

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
            return Err(Error::new(ErrorCode::Unavailable, "the queue is down"));
        }
        Ok(state)
    }
}

#[async_trait]
impl MessageQueue for ModelQueue {
    async fn enqueue(&self, items: Vec<FeedItem>) -> Result<Vec<Enqueued>> {
        pause().await;
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
    async fn lease_for(&self, _: SubscriptionNumber, _: u32, _: Duration) -> Result<Vec<Lease>> {
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

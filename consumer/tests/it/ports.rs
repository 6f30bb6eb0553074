//! Doubles of Master API and the queue that follow their contracts and can be made to fail.

use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    clock::{Clock, Timestamp},
    command::{Change, Changeset},
    delivery::{AttemptReport, Delivery, DeliveryState, Next},
    event::Event,
    id::{DeliveryId, EventId, LaneId, Sequence, SubscriptionNumber},
    log::{LogHead, LogPage, LogQuery},
    master_api::{
        Configuration, Deliveries, DeliveryFilter, EventFilter, Events, FeedItem, FeedPage, Fence,
        LaneStatus, Lanes, Log, Page, PageRequest, ReleaseEvent, Stats, StoreEvent, Stored, Work,
    },
    past::Past,
    queue::{Enqueued, LaneDepth, Lease, MessageQueue, Settlement, Vacancy},
    replay::Replays,
    retention::{Erased, ErasureTarget, PayloadState, Retained, Retention, RetentionPlan},
    rules::{Rules, RulesReceiver},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::{Notify, watch};

/// Counts whatever happens, so that a test can wait for it.
pub(crate) type Changes = watch::Sender<u64>;

fn happened(changes: &Changes) {
    changes.send_modify(|count| *count += 1);
}

/// Master API in memory.
pub(crate) struct FakeMaster {
    pub(crate) rules: watch::Sender<Arc<Rules>>,
    pub(crate) state: Mutex<MasterState>,
    changes: Arc<Changes>,
}

#[derive(Default)]
pub(crate) struct MasterState {
    pub(crate) work: BTreeMap<DeliveryId, Work>,
    pub(crate) reports: Vec<AttemptReport>,
    /// So many calls fail with this code.
    pub(crate) failing_records: (u32, Option<ErrorCode>),
    pub(crate) failing_fetches: u32,
    pub(crate) fetched: Vec<DeliveryId>,
    pub(crate) record_calls: u32,
    /// Reports of this delivery are refused as malformed, whatever comes with them.
    pub(crate) poisoned: Option<DeliveryId>,
}

impl FakeMaster {
    pub(crate) fn new(rules: Rules, changes: Arc<Changes>) -> Arc<Self> {
        let rules = watch::Sender::new(Arc::new(rules));
        Arc::new(Self { rules, state: Mutex::default(), changes })
    }

    fn none<T>() -> Result<T> {
        Err(Error::new(ErrorCode::NotFound, "not part of this double"))
    }
}

#[async_trait]
impl Deliveries for FakeMaster {
    async fn work(&self, deliveries: Vec<DeliveryId>) -> Result<Vec<Option<Work>>> {
        let mut state = self.state.lock().unwrap();
        if state.failing_fetches > 0 {
            state.failing_fetches -= 1;
            return Err(Error::new(ErrorCode::Unavailable, "away"));
        }
        happened(&self.changes);
        state.fetched.extend(&deliveries);
        Ok(deliveries.iter().map(|id| state.work.get(id).cloned()).collect())
    }

    async fn record_attempts(&self, reports: Vec<AttemptReport>) -> Result<Vec<bool>> {
        let mut state = self.state.lock().unwrap();
        state.record_calls += 1;
        happened(&self.changes);
        if let (1.., Some(code)) = state.failing_records {
            state.failing_records.0 -= 1;
            return Err(Error::new(code, "away"));
        }
        if reports.iter().any(|report| Some(report.delivery) == state.poisoned) {
            return Err(Error::new(ErrorCode::InvalidRequest, "cannot be read"));
        }
        let mut recorded = Vec::new();
        for report in reports {
            let Some(work) = state.work.get_mut(&report.delivery) else {
                recorded.push(false);
                continue;
            };
            let next = work.delivery.next_attempt() == report.attempt.number;
            recorded.push(next);
            if next {
                work.delivery.attempts.push(report.attempt.clone());
                (work.delivery.state, work.delivery.due) = match report.next {
                    Next::Done => (DeliveryState::Delivered, None),
                    Next::Dead(_) => (DeliveryState::Dead, None),
                    Next::Retry(due) => (DeliveryState::Waiting, Some(due)),
                };
            }
            state.reports.push(report);
        }
        Ok(recorded)
    }

    async fn delivery(&self, _: DeliveryId) -> Result<Option<Delivery>> {
        Self::none()
    }
    async fn deliveries(&self, _: DeliveryFilter, _: PageRequest) -> Result<Page<Delivery>> {
        Self::none()
    }
    async fn resend(&self, _: Actor, _: DeliveryId) -> Result<Delivery> {
        Self::none()
    }
    async fn stats(&self) -> Result<Stats> {
        Self::none()
    }
}

#[async_trait]
impl Configuration for FakeMaster {
    fn rules(&self) -> RulesReceiver {
        self.rules.subscribe()
    }
    async fn execute(&self, _: Actor, _: Changeset) -> Result<Vec<Change>> {
        Self::none()
    }
}

#[async_trait]
impl Events for FakeMaster {
    async fn store_event(&self, _: StoreEvent) -> Result<Stored> {
        Self::none()
    }
    async fn release_event(&self, _: Actor, _: ReleaseEvent) -> Result<Stored> {
        Self::none()
    }
    async fn event(&self, _: EventId) -> Result<Option<Event>> {
        Self::none()
    }
    async fn payload(&self, _: EventId) -> Result<Option<Bytes>> {
        Self::none()
    }
    async fn payload_state(&self, _: EventId) -> Result<Option<PayloadState>> {
        Self::none()
    }
    async fn events(&self, _: EventFilter, _: PageRequest) -> Result<Page<Event>> {
        Self::none()
    }
    async fn deliveries_of(&self, _: EventId) -> Result<Vec<Delivery>> {
        Self::none()
    }
}

#[async_trait]
impl Retention for FakeMaster {
    async fn retention_plan(&self) -> Result<RetentionPlan> {
        Self::none()
    }
    async fn run_retention(&self, _: bool) -> Result<Retained> {
        Self::none()
    }
    async fn erase(&self, _: Actor, _: ErasureTarget) -> Result<Erased> {
        Self::none()
    }
}

#[async_trait]
impl Lanes for FakeMaster {
    async fn lead(&self, _: &str) -> Result<Option<Fence>> {
        Self::none()
    }
    async fn step_down(&self, _: &str) -> Result<()> {
        Self::none()
    }
    async fn lanes(&self, _: Timestamp) -> Result<Vec<LaneStatus>> {
        Self::none()
    }
    async fn feed(&self, _: LaneId, _: Sequence, _: Timestamp, _: u32) -> Result<FeedPage> {
        Self::none()
    }
    async fn advance(&self, _: Fence, _: Vec<(LaneId, Sequence)>) -> Result<()> {
        Self::none()
    }
}

impl Past for FakeMaster {}

impl Replays for FakeMaster {}

#[async_trait]
impl Log for FakeMaster {
    async fn facts(&self, _: LogQuery) -> Result<LogPage> {
        Self::none()
    }
    async fn log_head(&self) -> Result<LogHead> {
        Self::none()
    }
    async fn cursor(&self, _: &str) -> Result<Option<Sequence>> {
        Self::none()
    }
    async fn move_cursor(&self, _: &str, _: Sequence) -> Result<()> {
        Self::none()
    }
}

/// How long a lease of the double lasts.
pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// A queue in memory, without lanes or priorities.
pub(crate) struct FakeQueue {
    clock: Arc<dyn Clock>,
    pub(crate) state: Mutex<QueueState>,
    ready: Notify,
    changes: Arc<Changes>,
}

#[derive(Default)]
pub(crate) struct QueueState {
    pub(crate) waiting: BTreeMap<DeliveryId, Timestamp>,
    pub(crate) leased: BTreeMap<DeliveryId, Lease>,
    pub(crate) settled: Vec<(DeliveryId, Settlement)>,
    pub(crate) extensions: u32,
    tokens: u64,
}

impl FakeQueue {
    pub(crate) fn new(clock: Arc<dyn Clock>, changes: Arc<Changes>) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::default(), ready: Notify::new(), changes })
    }

    fn take(&self, max: u32) -> Vec<Lease> {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap();
        let due = state.waiting.iter().filter(|(_, due)| **due <= now).map(|(id, _)| *id);
        let due: Vec<_> = due.take(usize::try_from(max).unwrap()).collect();
        let mut leases = Vec::new();
        for delivery in due {
            state.tokens += 1;
            let lease = Lease { delivery, token: state.tokens, deadline: now.after(LEASE) };
            state.waiting.remove(&delivery);
            state.leased.insert(delivery, lease);
            leases.push(lease);
        }
        happened(&self.changes);
        leases
    }
}

#[async_trait]
impl MessageQueue for FakeQueue {
    async fn enqueue(&self, items: Vec<FeedItem>) -> Result<Vec<Enqueued>> {
        let mut state = self.state.lock().unwrap();
        state.waiting.extend(items.iter().map(|item| (item.delivery, item.due)));
        self.ready.notify_one();
        Ok(items.iter().map(|_| Enqueued::Queued).collect())
    }

    async fn lease(&self, max: u32, wait: Duration) -> Result<Vec<Lease>> {
        let at_once = self.take(max);
        if !at_once.is_empty() {
            return Ok(at_once);
        }
        drop(tokio::time::timeout(wait, self.ready.notified()).await);
        Ok(self.take(max))
    }

    async fn lease_for(
        &self,
        _: SubscriptionNumber,
        max: u32,
        wait: Duration,
    ) -> Result<Vec<Lease>> {
        self.lease(max, wait).await
    }

    async fn settle(&self, settlements: Vec<(Lease, Settlement)>) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        for (lease, settlement) in settlements {
            if state.leased.get(&lease.delivery).is_none_or(|held| held.token != lease.token) {
                continue;
            }
            state.leased.remove(&lease.delivery);
            state.settled.push((lease.delivery, settlement));
            if let Settlement::Nack(due) = settlement {
                state.waiting.insert(lease.delivery, due);
            }
        }
        happened(&self.changes);
        Ok(())
    }

    async fn extend(&self, leases: Vec<Lease>) -> Result<Vec<Lease>> {
        let mut state = self.state.lock().unwrap();
        let deadline = self.clock.now().after(LEASE);
        let mut extended = Vec::new();
        for lease in leases {
            match state.leased.get_mut(&lease.delivery) {
                Some(held) if held.token == lease.token => {
                    held.deadline = deadline;
                    extended.push(*held);
                }
                _ => {}
            }
        }
        state.extensions += 1;
        happened(&self.changes);
        Ok(extended)
    }

    async fn vacancies(&self, _: Duration) -> Result<Vec<Vacancy>> {
        Ok(Vec::new())
    }
    async fn depth(&self) -> Result<Vec<LaneDepth>> {
        Ok(Vec::new())
    }
}

//! A log with lanes, and the parts of Master API around it that the broker uses.

use super::{not_here, pause};
use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    clock::Timestamp,
    command::{Change, Changeset},
    delivery::{AttemptReport, Delivery, DeliveryState},
    event::Event,
    id::{DeliveryId, EventId, LaneId, Sequence},
    log::{LogHead, LogPage, LogQuery, LoggedFact},
    master_api::{
        Configuration, Deliveries, DeliveryFilter, EventFilter, Events, FeedItem, FeedPage, Fence,
        LaneStatus, Lanes, Log, Page, PageRequest, ReleaseEvent, Stats, StoreEvent, Stored, Work,
    },
    past::Past,
    replay::Replays,
    retention::{Erased, ErasureTarget, PayloadState, Retained, Retention, RetentionPlan},
    rules::{Rules, RulesReceiver},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
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
    aside: Vec<(Event, Bytes)>,
    released: Vec<ReleaseEvent>,
    scripts: VecDeque<Script>,
    down: bool,
    facts: Vec<LoggedFact>,
    cursor: Option<Sequence>,
    cursor_is_stuck: bool,
    /// Who feeds, and the fence of that.
    leader: Option<(String, u64)>,
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

    /// From now on the feeder of this name feeds.
    pub fn let_lead(&self, feeder: &str) {
        let mut state = self.lock();
        let fence = state.leader.as_ref().map_or(0, |leader| leader.1) + 1;
        state.leader = Some((feeder.to_owned(), fence));
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

    /// Has this event, in whatever state it is.
    pub fn hold(&self, event: Event, payload: Bytes) {
        self.lock().aside.push((event, payload));
    }

    /// What `release_event` was asked, in order.
    pub fn released(&self) -> Vec<ReleaseEvent> {
        self.lock().released.clone()
    }

    /// Lets the next call of `store_event` be answered by `script`.
    pub fn script(
        &self,
        script: impl FnOnce(&Self, &StoreEvent) -> Result<Stored> + Send + 'static,
    ) {
        self.lock().scripts.push_back(Box::new(script));
    }

    /// Lets these facts have happened, all of them notable.
    pub fn happen(&self, facts: Vec<LoggedFact>) {
        self.lock().facts.extend(facts);
    }

    /// How far the follower has come that there is.
    pub fn follower(&self) -> Option<Sequence> {
        self.lock().cursor
    }

    /// While stuck, no cursor moves.
    pub fn set_cursor_stuck(&self, stuck: bool) {
        self.lock().cursor_is_stuck = stuck;
    }

    /// While down, the log answers `unavailable` to the feeder.
    pub fn set_down(&self, down: bool) {
        self.lock().down = down;
    }

    fn page(
        &self,
        lane: LaneId,
        after: Sequence,
        until: Timestamp,
        limit: u32,
    ) -> Result<FeedPage> {
        let state = self.up()?;
        let Some(rows) = state.lanes.get(&lane) else { return Ok(FeedPage::default()) };
        let limit = limit as usize;
        let item =
            |sequence, due| FeedItem { delivery: DeliveryId { lane, sequence }, due, key: None };
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

    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().unwrap()
    }

    fn up(&self) -> Result<MutexGuard<'_, LogState>> {
        let state = self.lock();
        if state.down {
            return Err(Error::new(ErrorCode::Unavailable, "the log is down"));
        }
        Ok(state)
    }
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
    async fn release_event(&self, _: Actor, release: ReleaseEvent) -> Result<Stored> {
        let sequence = self.store(&release.lanes);
        let ReleaseEvent { id, lanes, .. } = release.clone();
        self.lock().released.push(release);
        Ok(Stored { id, sequence, lanes, duplicate: false, quarantined: false })
    }
    async fn event(&self, id: EventId) -> Result<Option<Event>> {
        Ok(self.lock().aside.iter().map(|(event, _)| event).find(|event| event.id == id).cloned())
    }
    async fn payload(&self, id: EventId) -> Result<Option<Bytes>> {
        let state = self.lock();
        let found = state.aside.iter().find(|(event, _)| event.id == id);
        Ok(found.map(|(_, payload)| payload.clone()))
    }
    async fn payload_state(&self, _: EventId) -> Result<Option<PayloadState>> {
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
    /// As it was made: the model keeps no attempts.
    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>> {
        let state = self.up()?;
        let asked = state.asked.last().map(|asked| asked.id);
        Ok(asked.map(|event| Delivery {
            id,
            event,
            state: DeliveryState::Waiting,
            cause: None,
            created_at: Timestamp(0),
            due: None,
            attempts: Vec::new(),
            attempts_before_resend: 0,
            ordering_key: None,
            replay: None,
            new_id: false,
        }))
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
impl Retention for ModelLog {
    async fn retention_plan(&self) -> Result<RetentionPlan> {
        not_here()
    }
    async fn run_retention(&self, _: bool) -> Result<Retained> {
        not_here()
    }
    async fn erase(&self, _: Actor, _: ErasureTarget) -> Result<Erased> {
        not_here()
    }
}

#[async_trait]
impl Lanes for ModelLog {
    async fn lead(&self, feeder: &str) -> Result<Option<Fence>> {
        let mut state = self.up()?;
        let leader = state.leader.get_or_insert_with(|| (feeder.to_owned(), 1));
        Ok((leader.0 == feeder).then_some(Fence(leader.1)))
    }

    async fn step_down(&self, feeder: &str) -> Result<()> {
        self.up()?.leader.take_if(|leader| leader.0 == feeder);
        Ok(())
    }

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
        let page = self.page(lane, after, until, limit)?;
        // What happens from here on is not on the page.
        pause().await;
        Ok(page)
    }

    async fn advance(&self, fence: Fence, cursors: Vec<(LaneId, Sequence)>) -> Result<()> {
        let mut state = self.up()?;
        assert_eq!(state.leader.as_ref().map(|leader| leader.1), Some(fence.0));
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

impl Past for ModelLog {}

impl Replays for ModelLog {}

#[async_trait]
impl Log for ModelLog {
    async fn facts(&self, query: LogQuery) -> Result<LogPage> {
        let state = self.up()?;
        let wanted = |fact: &&LoggedFact| {
            fact.sequence > query.after && query.filter.wants(fact.chain, &fact.kind)
        };
        let facts: Vec<_> = state.facts.iter().filter(wanted).cloned().collect();
        let head = state.facts.last().map(|fact| fact.sequence).unwrap_or_default();
        let first = query.rows() as usize;
        let more = facts.len() > first;
        let facts: Vec<_> = facts.into_iter().take(first).collect();
        let last = facts.last().map(|fact| fact.sequence);
        let read_to = last.filter(|_| more).unwrap_or(head).max(query.after);
        Ok(LogPage { facts, read_to, more, head })
    }
    async fn log_head(&self) -> Result<LogHead> {
        not_here()
    }
    async fn cursor(&self, _: &str) -> Result<Option<Sequence>> {
        Ok(self.up()?.cursor)
    }
    async fn move_cursor(&self, _: &str, to: Sequence) -> Result<()> {
        let mut state = self.up()?;
        if state.cursor_is_stuck {
            return Err(Error::new(ErrorCode::Unavailable, "the cursor is stuck"));
        }
        state.cursor = state.cursor.max(Some(to));
        Ok(())
    }
}

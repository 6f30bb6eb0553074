//! The feeder fills the queue's lanes from the log.
//!
//! The truth is the log: which deliveries wait, and from where on a lane has fresh ones (its
//! durable cursor). The queue holds a window of each lane. Three ways lead from one to the other:
//!
//! * The **shortcut**: the broker offers what it has just stored, and it goes straight into the
//!   queue unless its lane is behind.
//! * **Turns**: a lane whose window was full is *behind*. The feeder brings its deliveries from
//!   the log, in order, page by page, whenever the queue reports room, until it has caught up and
//!   the shortcut is open again.
//! * **Rounds of inspection**: once a tick the log lists the lanes with work. The feeder moves
//!   their cursors, brings the retries that come due, and heals what was lost on the way: an offer
//!   that was never made, a vacancy that was never reported, a queue that forgot.
//!
//! A lane that keeps an order is never fed by the shortcut: its deliveries come by turns, in the order
//! of the log and with their keys, and after those that are to be tried again, however late they are
//! due.
//!
//! So an offer may be lost, repeated or late, in any order: the queue tells repeats, and a cursor
//! moves only over what the log says has been attempted.

mod lead;
mod table;
mod turn;
mod inspection;

use crate::{FeederConfig, Metrics, deadline::within, metrics::Way};
use contract::{
    Error, Result,
    clock::{Clock, Timestamp},
    id::{LaneId, Sequence},
    master_api::{FeedItem, FeedPage, Lanes},
    queue::{Enqueued, MessageQueue},
    rules::RulesReceiver,
};
use inspection::Inspection;
use lead::{Lead, Leadership};
use std::{sync::Arc, time::Duration};
use table::LaneTable;
use tokio::{sync::Mutex, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// Most deliveries of one call to the queue.
const ENQUEUE_ITEMS_MAX: usize = 512;
/// Longest wait for vacancies in one call.
const VACANCIES_WAIT: Duration = Duration::from_secs(5);
/// Pause after a failure of the queue or the log.
const FAILURE_PAUSE: Duration = Duration::from_millis(200);
/// Nothing is due by then: asks a lane for fresh deliveries only.
const NEVER: Timestamp = Timestamp(0);
/// No delivery lies after it, and signed 64 bits hold it: asks a lane for retries only.
const BEYOND: Sequence = Sequence(1 << 62);

/// Most retries of a lane that keeps an order. All must be in the queue before what follows them.
const ORDERED_RETRIES_MAX: u32 = 65_536;
/// No retry is due later.
const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Moves deliveries from the log into the queue.
pub struct Feeder {
    config: FeederConfig,
    log: Arc<dyn Lanes>,
    queue: Arc<dyn MessageQueue>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    table: LaneTable,
    inspection: Mutex<Inspection>,
    leadership: Leadership,
    /// Say which lanes keep an order; None: none does.
    rules: Option<RulesReceiver>,
}

/// What a round of [`Feeder::run_once`] left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// There is work that can be done at once.
    pub more: bool,
}

impl Feeder {
    /// A feeder from `log` to `queue`.
    pub fn new(
        config: FeederConfig,
        log: Arc<dyn Lanes>,
        queue: Arc<dyn MessageQueue>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        let table = LaneTable::new(config.shortcut_items_max);
        let inspection = Mutex::new(Inspection::default());
        let leadership = Leadership::new();
        Self { config, log, queue, clock, metrics, table, inspection, leadership, rules: None }
    }

    /// The same where these rules say which lanes keep an order.
    #[must_use]
    pub fn ruled_by(mut self, rules: RulesReceiver) -> Self {
        self.rules = Some(rules);
        self
    }

    /// The same under a name of its own: needed where there are several feeders on one log.
    #[must_use]
    pub fn known_as(mut self, name: String) -> Self {
        self.leadership.name = name;
        self
    }

    /// The same for a queue that nobody else feeds and only this process attempts from: while
    /// another feeder feeds, nothing is put into it.
    #[must_use]
    pub fn with_own_queue(mut self) -> Self {
        self.leadership.has_own_queue = true;
        self
    }

    /// The time of day.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Offers the deliveries of an event that was just stored. Never waits, and may be forgotten
    /// without loss.
    pub fn offer(&self, sequence: Sequence, lanes: &[LaneId]) {
        let (ordered, others): (Vec<_>, Vec<_>) =
            lanes.iter().copied().partition(|lane| self.is_ordered(*lane));
        if !others.is_empty() {
            self.table.offer(sequence, &others, self.clock.now());
        }
        if !ordered.is_empty() {
            self.table.await_turn(&ordered);
        }
    }

    /// Do some of the deliveries of a lane wait for each other?
    fn is_ordered(&self, lane: LaneId) -> bool {
        let Some(rules) = &self.rules else { return false };
        let rules = rules.borrow();
        let subscription = rules.subscriptions.get(&lane.subscription());
        subscription.is_some_and(|subscription| !subscription.spec.ordering.is_none())
    }

    /// Feeds until `stop`, and returns when the work in hand is finished.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut loops = JoinSet::new();
        loops.spawn(Arc::clone(&self).pass_offers(stop.clone()));
        loops.spawn(Arc::clone(&self).watch_vacancies(stop.clone()));
        let this = Arc::clone(&self);
        loops.spawn(self.feed(stop));
        while let Some(ended) = loops.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        this.step_down().await;
    }

    /// One round, where this feeder has the right to feed: the inspection if it is due, then one turn of each lane that is behind and has
    /// room, as far as the bounds of a round go.
    ///
    /// Errors: those of the log and the queue; what could not be done is done in a later round.
    pub async fn run_once(&self) -> Result<Round> {
        let Some(fence) = self.keep_lead().await? else { return Ok(Round { more: false }) };
        let mut inspection = self.inspection.lock().await;
        let inspected = self.inspect(fence, &mut inspection).await;
        let fed = self.take_turns().await;
        self.metrics.lanes_behind(self.table.lanes_behind());
        inspected.and(fed)?;
        Ok(Round { more: inspection.is_unfinished() || self.table.has_turns() })
    }

    /// Passes on to the queue what the broker has offered since the last call.
    pub async fn pass_on(&self) {
        if self.leadership.now() == Lead::Other {
            return self.pass_aside().await;
        }
        while let Some(items) = self.table.admit(ENQUEUE_ITEMS_MAX) {
            if items.is_empty() {
                continue;
            }
            match self.enqueue(items.clone(), Way::Shortcut).await {
                Ok(answers) => {
                    let full = items.iter().zip(answers).filter(|(_, a)| *a == Enqueued::Full);
                    full.for_each(|(item, _)| self.table.refuse(*item));
                }
                Err(error) => {
                    tracing::warn!(%error, deliveries = items.len(), "queue takes no deliveries");
                    items.iter().for_each(|item| self.table.refuse(*item));
                }
            }
        }
    }

    /// The same while another feeder feeds, which finds whatever is missed here.
    async fn pass_aside(&self) {
        while let Some(items) = self.table.take_offers(ENQUEUE_ITEMS_MAX) {
            if self.leadership.has_own_queue {
                continue;
            }
            if let Err(error) = self.enqueue(items, Way::Shortcut).await {
                tracing::warn!(%error, "queue takes no deliveries");
            }
        }
    }

    /// Learns which lanes have room again; waits up to `wait` for the first.
    ///
    /// Errors: those of the queue. What it reported may be lost with the answer, so every lane
    /// that waits for room tries again.
    pub async fn take_vacancies(&self, wait: Duration) -> Result<()> {
        let limit = wait.saturating_add(self.config.timeout.0);
        match within(limit, "the queue", self.queue.vacancies(wait)).await {
            Ok(vacancies) => {
                vacancies.iter().for_each(|vacancy| self.table.vacate(*vacancy));
                Ok(())
            }
            Err(error) => {
                self.table.vacate_all();
                Err(error)
            }
        }
    }

    /// How many lanes have their deliveries brought from the log.
    #[cfg(test)]
    pub(crate) fn lanes_behind(&self) -> usize {
        self.table.lanes_behind()
    }

    /// Nothing is kept of any lane.
    #[cfg(test)]
    pub(crate) async fn is_idle(&self) -> bool {
        self.lanes_behind() == 0 && self.inspection.lock().await.is_idle()
    }

    async fn pass_offers(self: Arc<Self>, stop: CancellationToken) {
        while stop.run_until_cancelled(self.table.offered()).await.is_some() {
            self.pass_on().await;
        }
    }

    async fn watch_vacancies(self: Arc<Self>, stop: CancellationToken) {
        // A vacancy is told once, so only who feeds may take it.
        let taken = async || {
            self.leadership.is_own().await;
            self.take_vacancies(VACANCIES_WAIT).await
        };
        while let Some(taken) = stop.run_until_cancelled(taken()).await {
            if let Err(error) = taken {
                tracing::warn!(%error, "queue does not report vacancies");
                stop.run_until_cancelled(tokio::time::sleep(FAILURE_PAUSE)).await;
            }
        }
    }

    async fn feed(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.run_once().await {
                Ok(Round { more: true }) => tokio::task::yield_now().await,
                Ok(Round { more: false }) => _ = stop.run_until_cancelled(self.work()).await,
                Err(error) => {
                    tracing::warn!(%error, "a round of feeding failed");
                    stop.run_until_cancelled(tokio::time::sleep(FAILURE_PAUSE)).await;
                }
            }
        }
    }

    /// Returns when a lane has a turn, the next inspection is due, or the right to feed is to be
    /// asked for.
    async fn work(&self) {
        let next_ask = self.leadership.next_ask().await;
        if !matches!(self.leadership.now(), Lead::Own(_)) {
            return self.clock.sleep_until(next_ask).await;
        }
        let next_tick = self.inspection.lock().await.next_tick();
        tokio::select! {
            () = self.table.turn() => {}
            () = self.clock.sleep_until(next_tick.min(next_ask)) => {}
        }
    }

    /// Up to `limit` fresh deliveries of a lane after a position.
    async fn fresh(&self, lane: LaneId, after: Sequence, limit: u32) -> Result<FeedPage> {
        let page = self.log.feed(lane, after, NEVER, limit.clamp(1, self.page_rows()));
        within(self.config.timeout.0, "the log", page).await
    }

    /// The retries of a lane that come due within the horizon; all of one that keeps an order.
    async fn retries(&self, lane: LaneId) -> Result<Vec<FeedItem>> {
        let (until, limit) = match self.is_ordered(lane) {
            true => (self.clock.now().after(FAR), ORDERED_RETRIES_MAX),
            false => (self.horizon(), self.page_rows()),
        };
        let page = self.log.feed(lane, BEYOND, until, limit);
        Ok(within(self.config.timeout.0, "the log", page).await?.due)
    }

    /// Puts `items` into the queue up to the first that it refuses; gives how many it has now.
    async fn put(&self, items: &[FeedItem]) -> Result<usize> {
        let mut taken = 0;
        for chunk in items.chunks(ENQUEUE_ITEMS_MAX) {
            let answers = self.enqueue(chunk.to_vec(), Way::Log).await?;
            match answers.iter().position(|answer| *answer == Enqueued::Full) {
                Some(refused) => return Ok(taken + refused),
                None => taken += chunk.len(),
            }
        }
        Ok(taken)
    }

    async fn enqueue(&self, items: Vec<FeedItem>, way: Way) -> Result<Vec<Enqueued>> {
        let wanted = items.len();
        let answers = within(self.config.timeout.0, "the queue", self.queue.enqueue(items)).await?;
        if answers.len() != wanted {
            let text = format!("the queue gave {} answers for {wanted} items", answers.len());
            return Err(Error::internal(text));
        }
        let queued = answers.iter().filter(|answer| **answer == Enqueued::Queued).count();
        self.metrics.fed(way, queued);
        Ok(answers)
    }

    fn horizon(&self) -> Timestamp {
        self.clock.now().after(self.config.horizon.0)
    }

    fn page_rows(&self) -> u32 {
        self.config.page_rows.max(1)
    }
}

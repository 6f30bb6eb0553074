//! Lets go of what is old, of what is too much, and of what somebody wants erased: in bounded
//! steps on a thread of its own, so that neither the writer nor the keeper waits for it.
//!
//! A day goes like this. It is retired: nothing in it comes back to life from here on. Unfinished
//! deliveries are carried to today, with their events and payloads. It is dropped, by one fact;
//! from here on it counts as gone. Then its rows are swept out of the indices, and its tables go.
//! Whatever is cut short goes on where the facts say it was.

mod day;
mod erase;
mod plan;
mod thread;

pub use thread::RetentionThread;

use crate::{
    config::RetentionConfig,
    fact::Bucket,
    log::LogError,
    project::{decode, read_delivery},
    shared::{Shared, unavailable},
    store::{Rows, Scan, StateStore, Table},
    tables::{self, DeliveryRow},
    writer::{Command, Upkeep, Upkept, Writer},
};
use contract::{
    Error, Result,
    access::Actor,
    clock::Timestamp,
    delivery::DeliveryState,
    id::{DeliveryId, EventId, LaneId, Sequence},
    retention::Retained,
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, TryLockError},
};
use tokio::runtime::{Builder, Runtime};

/// Events of one step.
const EVENTS_PER_STEP: usize = 64;
/// Payload bytes of one step, above which no further event joins it.
const BYTES_PER_STEP: u64 = 4 << 20;
/// Rows that are swept in one step.
const ROWS_PER_STEP: usize = 512;
/// Rows read at once while looking.
const ROWS_PER_SCAN: usize = 512;

/// Lets go.
pub struct Retention {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
    /// One run at a time. When the last one was.
    last_run: Mutex<Option<Timestamp>>,
    running: Mutex<()>,
}

/// A way to the writer from a thread that may block.
struct Steps<'a> {
    shared: &'a Shared,
    writer: &'a Writer,
    runtime: Runtime,
}

impl Steps<'_> {
    /// Has the writer take a step, in the name of the server itself.
    fn take(&self, step: Upkeep) -> Result<Upkept> {
        self.take_as(Actor::Component("master-api".to_owned()), step)
    }

    fn take_as(&self, actor: Actor, step: Upkeep) -> Result<Upkept> {
        let ask = self.writer.ask(|reply| Command::Upkeep(actor, step, reply));
        self.runtime.block_on(ask)
    }

    fn now(&self) -> Timestamp {
        now(self.shared)
    }

    fn config(&self) -> &RetentionConfig {
        &self.shared.config.retention
    }
}

/// As the writer sees it: never before the newest fact.
fn now(shared: &Shared) -> Timestamp {
    shared.around.clock.now().max(shared.head().time)
}

impl Retention {
    /// Over an open log.
    pub fn new(shared: Arc<Shared>, writer: Arc<Writer>) -> Self {
        Self { shared, writer, last_run: Mutex::default(), running: Mutex::default() }
    }

    fn steps(&self) -> Result<Steps<'_>> {
        let runtime =
            Builder::new_current_thread().enable_time().build().map_err(Error::internal)?;
        Ok(Steps { shared: &self.shared, writer: &self.writer, runtime })
    }

    /// Is something left over from before a restart?
    pub fn is_behind(&self) -> bool {
        let state = self.shared.state.load();
        let gone = |day: Bucket| state.dropped.day(day);
        let retiring = state.retired.is_some_and(|day| !gone(day));
        retiring
            || !state.erasing.is_empty()
            || self.shared.store.tables().into_iter().any(|table| table.day().is_some_and(gone))
    }

    /// Is it this process that lets go, where there are several?
    pub fn leads(&self) -> bool {
        self.shared.leads()
    }

    /// Does all that is due. Errors: `unavailable` while another run goes on, where another process
    /// does it, or when the log stops.
    pub fn run_once(&self, compact: bool) -> Result<Retained> {
        if !self.leads() {
            return Err(unavailable("another replica leads, and retention runs there"));
        }
        let _running = match self.running.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(unavailable("retention is running")),
        };
        let steps = self.steps()?;
        let store = &*self.shared.store;
        let mut done =
            Retained { bytes_before: plan::bytes(store)?.total(), ..Retained::default() };
        erase::resume(&steps)?;
        day::sweep_leftovers(&steps)?;
        done.deliveries_expired = expire(&steps)?;
        while let Some(bucket) = plan::next_due(&self.shared)? {
            done.deliveries_carried += day::drop_day(&steps, bucket)?;
            done.days_dropped += 1;
        }
        if compact {
            store.compact(&store.tables()).map_err(LogError::from)?;
        }
        let bytes = plan::bytes(store)?;
        done.bytes_after = bytes.total();
        self.note(&bytes, &done);
        Ok(done)
    }

    fn note(&self, bytes: &contract::retention::StoreBytes, done: &Retained) {
        let now = self.shared.around.clock.now();
        *self.last_run.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(now);
        self.shared.around.metrics.retained(now, bytes, done);
        if done.days_dropped + done.deliveries_expired > 0 {
            let Retained { days_dropped, deliveries_carried, deliveries_expired, .. } = *done;
            tracing::info!(days_dropped, deliveries_carried, deliveries_expired, "retention ran");
        }
    }
}

/// Gives up deliveries that have waited too long.
fn expire(steps: &Steps<'_>) -> Result<u64> {
    let before = steps.now().before(steps.config().unfinished.0);
    let state = steps.shared.state.load_full();
    let newest = state.buckets.range(..=Bucket::of(before)).next_back();
    let Some(last) = newest.map(|(_, closed)| closed.last) else { return Ok(0) };
    let mut expired = 0;
    // Every lane in which anything waits.
    let waiting = steps.shared.lanes().with_work(Timestamp(i64::MAX));
    for lane in waiting {
        let mut after = Sequence(0);
        while let Some((events, next)) = old_events(steps, (lane.lane, after, last), before)? {
            after = next;
            for events in events.chunks(EVENTS_PER_STEP) {
                expired += steps.take(Upkeep::Expire(events.to_vec(), before))?.deliveries;
            }
        }
    }
    Ok(expired)
}

/// Events with a delivery in a stretch of a lane that has waited since before a time, and how far
/// it was looked; None: the stretch has ended.
fn old_events(
    steps: &Steps<'_>,
    (lane, after, last): (LaneId, Sequence, Sequence),
    before: Timestamp,
) -> Result<Option<(Vec<EventId>, Sequence)>, LogError> {
    let key = |sequence| DeliveryId { lane, sequence }.to_bytes();
    let scan = Scan::all(Table::Deliveries, ROWS_PER_SCAN)
        .after(&key(after))
        .before(&key(Sequence(last.0 + 1)));
    let page = steps.shared.store.scan(&scan)?;
    let Some(next) = page.last().and_then(|(key, _)| tables::delivery_of(key)) else {
        return Ok(None);
    };
    let mut events = BTreeSet::new();
    for (_, row) in &page {
        let row: DeliveryRow = decode("delivery", row)?;
        if row.state == DeliveryState::Waiting && row.created_at < before {
            events.insert(row.event);
        }
    }
    Ok(Some((events.into_iter().collect(), next.sequence)))
}

/// Collects what belongs into one step, up to its bounds.
#[derive(Default)]
struct Gathering {
    events: Vec<EventId>,
    bytes: u64,
}

impl Gathering {
    /// Takes an event in; gives the step once it is full.
    fn add(&mut self, id: EventId, bytes: u64) -> Option<Vec<EventId>> {
        self.events.push(id);
        self.bytes += bytes;
        let full = self.events.len() >= EVENTS_PER_STEP || self.bytes >= BYTES_PER_STEP;
        full.then(|| std::mem::take(self).events)
    }
}

/// The row of a delivery that is still where its day's facts put it.
fn delivery(rows: &dyn Rows, id: DeliveryId) -> Result<Option<DeliveryRow>, LogError> {
    read_delivery(rows, id)
}

fn as_rows(store: &dyn StateStore) -> &dyn Rows {
    store
}

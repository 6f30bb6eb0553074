//! Receivers take deliveries over streams: what they share, and how a stream begins.

mod answer;
mod hand;
mod session;

use crate::{
    held::{Holding, Leases},
    record::{self, Finished, Recorder},
    run::{CALL_MAX, LEASE_AGAIN, PUT_BACK},
    service::Consumer,
};
use async_trait::async_trait;
use contract::{
    Error, ErrorCode, Result,
    delivery::AttemptReport,
    id::SubscriptionNumber,
    limits::{PULL_IN_FLIGHT_MAX, PULL_LEASE_MAX, PULL_LEASE_MIN},
    master_api::Work,
    pull::{Hands, Opening, Pull},
    queue::Settlement,
};
use session::Session;
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Streams of one process at once.
const STREAMS_MAX: usize = 256;
/// Deliveries that wait for a receiver to read them. With their payloads, so few.
const HANDED_MAX: usize = 16;
/// How long one call to the queue waits for something to lease.
const LEASE_WAIT: Duration = Duration::from_secs(1);

/// Hands deliveries to receivers. The lease is held in the process in which the stream ends, so
/// that receiver, lease and record cannot lose each other.
#[derive(Debug, Clone)]
pub struct Receivers(Arc<Inner>);

struct Inner {
    consumer: Arc<Consumer>,
    leases: Arc<Leases>,
    room: Arc<Semaphore>,
    open: Mutex<Option<Shift>>,
}

/// What the streams of one run share.
#[derive(Clone)]
struct Shift {
    tasks: TaskTracker,
    finished: mpsc::Sender<Finished>,
    stop: CancellationToken,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("room", &self.room).finish_non_exhaustive()
    }
}

impl Receivers {
    /// With the rules, the queue, the settings and the metrics of `consumer`, which need not run.
    pub fn new(consumer: Arc<Consumer>) -> Self {
        let leases = Leases::new(Arc::clone(&consumer.queue), Arc::clone(&consumer.clock));
        let room = Arc::new(Semaphore::new(STREAMS_MAX));
        Self(Arc::new(Inner { consumer, leases, room, open: Mutex::default() }))
    }

    /// Serves receivers until `stop`, then lets them answer for what they hold, for a while.
    pub async fn run(self, stop: CancellationToken) {
        let Self(inner) = self;
        let consumer = &inner.consumer;
        let (finished, to_record) = record::channel(&consumer.config);
        let recorder = Recorder {
            master_api: Arc::clone(&consumer.master_api),
            queue: Arc::clone(&consumer.queue),
            metrics: consumer.metrics.clone(),
            drain_limit: consumer.config.drain_limit.0,
            stop: stop.clone(),
        };
        let recorder = tokio::spawn(recorder.run(to_record));
        let settled = CancellationToken::new();
        let extender = tokio::spawn(Arc::clone(&inner.leases).keep(settled.clone()));

        let tasks = TaskTracker::new();
        inner.set_open(Some(Shift { tasks: tasks.clone(), finished, stop: stop.clone() }));
        stop.cancelled().await;
        // With it goes the last sender but for those of the streams.
        inner.set_open(None);
        tasks.close();
        tasks.wait().await;
        for task in [recorder, extender] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the receivers broke");
            }
            settled.cancel();
        }
    }
}

impl Inner {
    fn set_open(&self, shift: Option<Shift>) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = shift;
    }

    fn shift(&self) -> Result<Shift> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or_else(|| Error::new(ErrorCode::Unavailable, "this server is stopping"))
    }

    /// Leases up to `max` deliveries of a subscription, with what is needed for them.
    async fn take(
        self: Arc<Self>,
        shift: Shift,
        subscription: SubscriptionNumber,
        max: u32,
    ) -> Vec<(Holding, Option<Work>)> {
        let leased = self.consumer.queue.lease_for(subscription, max, LEASE_WAIT);
        let leases = match timeout(LEASE_WAIT + CALL_MAX, leased).await {
            Ok(Ok(leases)) => leases,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the queue could not be asked");
                sleep(LEASE_AGAIN).await;
                return Vec::new();
            }
            Err(_elapsed) => {
                tracing::warn!("the queue did not answer in time");
                return Vec::new();
            }
        };
        if leases.is_empty() {
            return Vec::new();
        }
        let holdings = self.leases.hold(leases);
        if let Some(works) = self.consumer.fetch(&holdings).await {
            return holdings.into_iter().zip(works).collect();
        }
        let later = self.consumer.clock.now().after(PUT_BACK);
        for holding in holdings {
            shift.finish(holding, None, Settlement::Nack(later)).await;
        }
        Vec::new()
    }
}

impl Shift {
    async fn finish(
        &self,
        holding: Holding,
        report: Option<AttemptReport>,
        settlement: Settlement,
    ) {
        let finished = Finished { holding, report, settlement };
        if let Err(lost) = self.finished.send(finished).await {
            tracing::error!(delivery = %lost.0.holding.lease().delivery, "nobody records attempts");
        }
    }
}

/// `invalid_request` for a lease or an extension outside of its bounds.
fn check_lease(lease: Duration) -> Result<()> {
    if (PULL_LEASE_MIN..=PULL_LEASE_MAX).contains(&lease) {
        return Ok(());
    }
    let message =
        format!("a lease of {lease:?}; allowed are {PULL_LEASE_MIN:?} to {PULL_LEASE_MAX:?}");
    Err(Error::new(ErrorCode::InvalidRequest, message))
}

/// `invalid_request` for more deliveries than a receiver may hold.
fn check_in_flight(max: u32) -> Result<()> {
    if max <= PULL_IN_FLIGHT_MAX {
        return Ok(());
    }
    let message = format!("{max} deliveries at once; at most {PULL_IN_FLIGHT_MAX} are allowed");
    Err(Error::new(ErrorCode::InvalidRequest, message))
}

#[async_trait]
impl Pull for Receivers {
    async fn open(&self, opening: Opening) -> Result<Hands> {
        check_lease(opening.lease)?;
        check_in_flight(opening.max_in_flight)?;
        let inner = &self.0;
        session::check_subscription(
            &inner.consumer.snapshots.newest().rules,
            opening.subscription,
        )?;
        let shift = inner.shift()?;
        let room = Arc::clone(&inner.room).try_acquire_owned().map_err(|_full| {
            let text = format!("{STREAMS_MAX} receivers are here already");
            Error::new(ErrorCode::Unavailable, text)
        })?;
        let (asks, asked) = mpsc::channel(HANDED_MAX);
        let (hand_over, handed) = mpsc::channel(HANDED_MAX);
        let session = Session::new(Arc::clone(inner), shift.clone(), opening, (asked, hand_over));
        shift.tasks.spawn(async move {
            session.run().await;
            drop(room);
        });
        Ok(Hands { asks, handed })
    }
}

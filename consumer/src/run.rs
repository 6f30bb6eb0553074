//! The loop of a consumer: lease what there are slots for, attempt it, hand it to the recorder.

use crate::{
    attempt::Carrier,
    begin::{Step, ToSend},
    held::Holding,
    outcome::Outcome,
    record::{self, Finished, Recorder},
    service::Consumer,
};
use contract::{
    delivery::AttemptReport,
    master_api::Work,
    queue::{Lease, Settlement},
    setting::DELIVERY_PAUSED,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Most leases of one call to the queue.
const LEASE_BATCH_MAX: u32 = 256;
/// Longest that a call to the queue or to Master API may take.
pub(crate) const CALL_MAX: Duration = Duration::from_secs(10);
/// Pause after the queue could not be asked.
pub(crate) const LEASE_AGAIN: Duration = Duration::from_millis(200);
/// Pauses, in milliseconds, after the tries to fetch what is needed for attempts.
const FETCH_PAUSES_MS: [u64; 5] = [100, 200, 400, 800, 1600];
/// How long deliveries are put back whose work could not be fetched.
pub(crate) const PUT_BACK: Duration = Duration::from_secs(5);

/// What the tasks of one run share.
#[derive(Clone)]
struct Shift {
    consumer: Arc<Consumer>,
    tasks: TaskTracker,
    finished: mpsc::Sender<Finished>,
    stop: CancellationToken,
}

impl Consumer {
    /// Delivers until `stop`, then finishes what is in flight: attempts end by their own time
    /// limits, are recorded and settled.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (finished, to_record) = record::channel(&self.config);
        let recorder = Recorder {
            master_api: Arc::clone(&self.master_api),
            queue: Arc::clone(&self.queue),
            metrics: self.metrics.clone(),
            drain_limit: self.config.drain_limit.0,
            stop: stop.clone(),
        };
        let recorder = tokio::spawn(recorder.run(to_record));
        let settled = CancellationToken::new();
        let extender = tokio::spawn(Arc::clone(&self.leases).keep(settled.clone()));

        let tasks = TaskTracker::new();
        let shift = Shift { consumer: self, tasks: tasks.clone(), finished, stop };
        shift.lease_until_stopped().await;
        tasks.close();
        tracing::info!(attempts = tasks.len(), "finishing what is in flight");
        tasks.wait().await;
        // Every sender is gone now: the recorder ends when all is recorded.
        for task in [recorder, extender] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the consumer broke");
            }
            settled.cancel();
        }
    }

    /// Attempts a delivery: the report, if there was an attempt, and how its lease ends.
    async fn attempt(&self, work: &Work) -> (Option<AttemptReport>, Settlement) {
        // Before anything is judged or timed: waiting for ourselves is no part of the attempt.
        self.deliverer.room().await;
        let (begun, step) = self.begin(work, Carrier::Http).await;
        let outcome = match step {
            Step::Settle(settlement) => return (None, settlement),
            Step::Fail(failure) => Outcome::unsent(failure),
            Step::Send(ToSend { prepared, made, body }) => {
                // In order, or the step would be another one.
                let Ok(prepared) = prepared.as_ref() else { return (None, Settlement::Ack) };
                let sent = made.as_deref().unwrap_or(work);
                match self.send((work, sent), prepared, &body, begun.started_at).await {
                    Some(outcome) => outcome,
                    // Due at once: given back untried.
                    None => return (None, Settlement::Nack(self.clock.now())),
                }
            }
        };
        let (report, settlement) = self.conclude(&begun, work, outcome);
        (Some(report), settlement)
    }

    /// What is needed for these deliveries; None when Master API could not be asked.
    pub(crate) async fn fetch(&self, leases: &[Holding]) -> Option<Vec<Option<Work>>> {
        let ids: Vec<_> = leases.iter().map(|holding| holding.lease().delivery).collect();
        for pause_ms in FETCH_PAUSES_MS {
            match timeout(CALL_MAX, self.master_api.work(ids.clone())).await {
                Ok(Ok(work)) if work.len() == ids.len() => return Some(work),
                Ok(Ok(_)) => tracing::error!("master api answered for other deliveries"),
                Ok(Err(error)) => tracing::warn!(%error, "work could not be fetched"),
                Err(_elapsed) => tracing::warn!("work could not be fetched in time"),
            }
            sleep(Duration::from_millis(pause_ms)).await;
        }
        None
    }
}

impl Shift {
    async fn lease_until_stopped(self) {
        let config = &self.consumer.config;
        let slots = usize::try_from(config.max_in_flight).unwrap_or(Semaphore::MAX_PERMITS);
        let slots = Arc::new(Semaphore::new(slots));
        let wait = config.lease_wait.0;
        while let Some(mut free) = self.free_slots(&slots).await {
            if !self.until_resumed().await {
                return;
            }
            let max = u32::try_from(free.num_permits()).unwrap_or(LEASE_BATCH_MAX);
            // Not cut short by `stop`: leases on their way here would be lost until they run out.
            let answer = timeout(wait + CALL_MAX, self.consumer.queue.lease(max, wait)).await;
            let leases = match answer {
                Ok(Ok(leases)) => leases,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the queue could not be asked");
                    self.pause(LEASE_AGAIN).await;
                    continue;
                }
                Err(_elapsed) => {
                    tracing::warn!("the queue did not answer in time");
                    continue;
                }
            };
            if self.stop.is_cancelled() {
                self.give_back(leases).await;
                return;
            }
            if self.is_paused() {
                self.give_back(leases).await;
                continue;
            }
            if let Some(taken) = free.split(leases.len().min(free.num_permits()))
                && !leases.is_empty()
            {
                let holdings = self.consumer.leases.hold(leases);
                self.tasks.spawn(self.clone().serve(holdings, taken));
            }
        }
    }

    fn is_paused(&self) -> bool {
        self.consumer.snapshots.newest().rules.settings.is_on(DELIVERY_PAUSED)
    }

    /// Waits for as long as operators have paused deliveries; false: it is time to stop.
    async fn until_resumed(&self) -> bool {
        let mut rules = self.consumer.snapshots.rules();
        let resumed = rules.wait_for(|rules| !rules.settings.is_on(DELIVERY_PAUSED));
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            // Gone is who made the rules: the last ones hold.
            _known = resumed => true,
        }
    }

    /// Waits for a free slot and takes all that are free; None when it is time to stop.
    async fn free_slots(&self, slots: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let first = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            slot = Arc::clone(slots).acquire_owned() => slot,
        };
        // Closed never: the semaphore lives as long as this loop.
        let mut free = first.ok()?;
        let more = slots.available_permits().min(usize::try_from(LEASE_BATCH_MAX - 1).ok()?);
        if let Ok(more) = Arc::clone(slots).try_acquire_many_owned(u32::try_from(more).ok()?) {
            free.merge(more);
        }
        Some(free)
    }

    /// Fetches the work of leased deliveries and starts an attempt for each.
    async fn serve(self, holdings: Vec<Holding>, mut slots: OwnedSemaphorePermit) {
        let Some(works) = self.consumer.fetch(&holdings).await else {
            let later = self.consumer.clock.now().after(PUT_BACK);
            for holding in holdings {
                self.finish(holding, None, Settlement::Nack(later)).await;
            }
            return;
        };
        for (holding, work) in holdings.into_iter().zip(works) {
            match work {
                Some(work) => {
                    let slot = slots.split(1);
                    let shift = self.clone();
                    self.tasks.spawn(async move {
                        shift.attempt(holding, work).await;
                        drop(slot);
                    });
                }
                // Unknown or finished.
                None => self.finish(holding, None, Settlement::Ack).await,
            }
        }
    }

    async fn attempt(self, holding: Holding, work: Work) {
        // Fetching took so long that somebody else may have the delivery now.
        if !holding.is_valid() {
            tracing::warn!(delivery = %work.delivery.id, "lease ran out before the attempt");
            return;
        }
        let (report, settlement) = self.consumer.attempt(&work).await;
        self.finish(holding, report, settlement).await;
    }

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

    /// Leases that came after the stop go back at once.
    async fn give_back(&self, leases: Vec<Lease>) {
        let now = self.consumer.clock.now();
        for holding in self.consumer.leases.hold(leases) {
            self.finish(holding, None, Settlement::Nack(now)).await;
        }
    }

    async fn pause(&self, pause: Duration) {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
}

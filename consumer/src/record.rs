//! After the attempt: record it durably, and only then end its lease.

use crate::{config::Config, held::Holding, metrics::Metrics};
use contract::{
    Error, ErrorCode,
    delivery::AttemptReport,
    master_api::MasterApi,
    queue::{Lease, MessageQueue, Settlement},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Most reports of one call to Master API.
const RECORD_BATCH_MAX: usize = 512;
/// Most bytes of headers and bodies in one call, unless a single report has more.
const RECORD_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Pause before the second try to record; it doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Longest that one call may take.
const CALL_MAX: Duration = Duration::from_secs(10);
/// Tries to settle before the lease is left to run out.
const SETTLE_TRIES: u32 = 3;

/// A leased delivery that nothing more is to be done for.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Extended until it is settled.
    pub(crate) holding: Holding,
    /// None: there was no attempt.
    pub(crate) report: Option<AttemptReport>,
    /// How the lease ends once the report is durable.
    pub(crate) settlement: Settlement,
}

/// Records and settles, in batches: the more load, the larger the batch.
pub(crate) struct Recorder {
    pub(crate) master_api: Arc<dyn MasterApi>,
    pub(crate) queue: Arc<dyn MessageQueue>,
    pub(crate) metrics: Metrics,
    pub(crate) drain_limit: Duration,
    pub(crate) stop: CancellationToken,
}

/// Most that wait for their record; who comes then keeps its slot and waits, too.
pub(crate) fn channel(config: &Config) -> (mpsc::Sender<Finished>, mpsc::Receiver<Finished>) {
    mpsc::channel(usize::try_from(config.max_in_flight).unwrap_or(RECORD_BATCH_MAX))
}

impl Recorder {
    /// Works until every sender is gone and everything is recorded.
    pub(crate) async fn run(self, mut finished: mpsc::Receiver<Finished>) {
        let mut batch = Vec::with_capacity(RECORD_BATCH_MAX);
        while finished.recv_many(&mut batch, RECORD_BATCH_MAX).await > 0 {
            self.close(std::mem::take(&mut batch)).await;
        }
    }

    /// Records a batch and ends its leases.
    async fn close(&self, batch: Vec<Finished>) {
        let (mut reports, mut leases) = (Vec::new(), Vec::with_capacity(batch.len()));
        for one in batch {
            leases.push((one.holding, one.settlement, one.report.is_some()));
            reports.extend(one.report);
        }
        let Some(recorded) = self.record_all(reports).await else {
            // Given up: the leases run out, and the deliveries are attempted again.
            return;
        };
        let mut recorded = recorded.into_iter();
        let settlements = leases.iter().map(|(holding, settlement, attempted)| {
            // Superseded: the log knows better, so the feeder decides what comes next.
            let superseded = *attempted && !recorded.next().unwrap_or(false);
            (holding.lease(), if superseded { Settlement::Ack } else { *settlement })
        });
        self.settle(settlements.collect()).await;
    }

    /// Records reports in calls of a bounded size.
    async fn record_all(&self, reports: Vec<AttemptReport>) -> Option<Vec<bool>> {
        let mut recorded = Vec::with_capacity(reports.len());
        let (mut part, mut bytes) = (Vec::new(), 0);
        for report in reports {
            let size = report.exchange.as_ref().map_or(0, |exchange| exchange.size());
            if bytes + size > RECORD_BYTES_MAX && !part.is_empty() {
                recorded.extend(self.record(std::mem::take(&mut part)).await?);
                bytes = 0;
            }
            bytes += size;
            part.push(report);
        }
        recorded.extend(self.record(part).await?);
        Some(recorded)
    }

    /// Records reports, however long it takes: what was sent is never sent again because the
    /// record failed. None only when a stopping consumer has reached its limit.
    async fn record(&self, reports: Vec<AttemptReport>) -> Option<Vec<bool>> {
        if reports.is_empty() {
            return Some(Vec::new());
        }
        let mut pause = PAUSE_FIRST;
        let mut give_up_at = None;
        loop {
            let error =
                match timeout(CALL_MAX, self.master_api.record_attempts(reports.clone())).await {
                    Ok(Ok(recorded)) => return Some(recorded),
                    Ok(Err(error)) => error,
                    Err(_elapsed) => Error::new(ErrorCode::DeadlineExceeded, "no answer in time"),
                };
            self.metrics.record_failures.inc();
            if !passes(error.code) {
                return Some(self.record_one_by_one(reports, &error).await);
            }
            tracing::warn!(%error, attempts = reports.len(), "attempts could not be recorded");
            if self.stop.is_cancelled() {
                let limit = *give_up_at.get_or_insert_with(|| Instant::now() + self.drain_limit);
                if Instant::now() >= limit {
                    tracing::error!(attempts = reports.len(), "stopping without their record");
                    return None;
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One report that can never be recorded must not hold up its neighbours.
    async fn record_one_by_one(&self, reports: Vec<AttemptReport>, error: &Error) -> Vec<bool> {
        let mut recorded = Vec::with_capacity(reports.len());
        if let [report] = reports.as_slice() {
            tracing::error!(%error, delivery = %report.delivery, "attempt refused by master api");
            return vec![false];
        }
        for report in reports {
            let one = Box::pin(self.record(vec![report])).await;
            recorded.push(one.is_some_and(|one| one.first().copied().unwrap_or(false)));
        }
        recorded
    }

    async fn settle(&self, settlements: Vec<(Lease, Settlement)>) {
        let mut pause = PAUSE_FIRST;
        for left in (0..SETTLE_TRIES).rev() {
            let why = match timeout(CALL_MAX, self.queue.settle(settlements.clone())).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(_elapsed) => "no answer in time".to_owned(),
            };
            // Left alone, the leases run out; the record keeps the attempts from being repeated.
            tracing::warn!(why, leases = settlements.len(), left, "leases could not be settled");
            if left > 0 {
                sleep(pause).await;
                pause *= 2;
            }
        }
    }
}

/// Is it an error that passes?
fn passes(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Unavailable
            | ErrorCode::DeadlineExceeded
            | ErrorCode::Internal
            | ErrorCode::RateLimited
            | ErrorCode::Unauthenticated
            | ErrorCode::PermissionDenied
    )
}

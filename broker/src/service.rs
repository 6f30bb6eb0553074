//! The broker: takes an event, checks it, matches it, stores it, and offers its deliveries to the
//! queue.

use crate::{
    Config, Feeder, Metrics,
    check::{self, Verdict},
    deadline::within,
    snapshot::{Snapshot, Snapshots},
    trail,
};
use async_trait::async_trait;
use contract::{
    Error, ErrorCode, Result,
    broker::EventBroker,
    event::{Accepted, NewEvent},
    id::{EventId, IdGenerator},
    master_api::{MasterApi, StoreEvent, Stored},
    schema::EventValidator,
    stamp::Stamped,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What a sender is told to wait before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Hop 2.
pub struct Broker {
    config: Config,
    validator: Arc<dyn EventValidator>,
    master_api: Arc<dyn MasterApi>,
    feeder: Arc<Feeder>,
    ids: Arc<dyn IdGenerator>,
    snapshots: Snapshots,
    metrics: Metrics,
}

impl Broker {
    /// A broker between these parts. `feeder` takes the deliveries on to the queue.
    #[expect(clippy::too_many_arguments, reason = "the constructor shows every arrow")]
    pub fn new(
        config: Config,
        validator: Arc<dyn EventValidator>,
        master_api: Arc<dyn MasterApi>,
        feeder: Arc<Feeder>,
        ids: Arc<dyn IdGenerator>,
        metrics: Metrics,
    ) -> Self {
        let snapshots = Snapshots::new(master_api.rules());
        Self { config, validator, master_api, feeder, ids, snapshots, metrics }
    }

    async fn take(&self, mut event: NewEvent) -> Result<Accepted> {
        check::admit(&event)?;
        trail::pass(&mut event.trace, self.ids.as_ref());
        let id = EventId::from_bytes(self.ids.uuid());
        let stored = self.store(id, event).await?;
        // The id was new: if the log knew it, then from an earlier try of this very call.
        let duplicate = stored.duplicate && stored.id != id;
        if !duplicate {
            self.feeder.offer(stored.sequence, &stored.lanes);
        }
        tracing::debug!(id = %stored.id, deliveries = stored.lanes.len(), duplicate, "event stored");
        Ok(Accepted {
            id: stored.id,
            deliveries: u32::try_from(stored.lanes.len()).unwrap_or(u32::MAX),
            duplicate,
            quarantined: stored.quarantined,
        })
    }

    /// Stores the event under `id`. Repeats with the same id when the rules have moved on, and
    /// when an answer is lost.
    async fn store(&self, id: EventId, event: NewEvent) -> Result<Stored> {
        let (mut lost, mut stale) = (0, 0);
        loop {
            let snapshot = self.snapshots.current();
            let store = self.prepare(&snapshot, id, event.clone())?;
            let limit = self.config.store_timeout.0;
            let answer = within(limit, "the log", self.master_api.store_event(store)).await;
            let error = match answer {
                Ok(stored) => return Ok(stored),
                Err(error) => error,
            };
            match error.code {
                ErrorCode::StaleRules => {
                    stale += 1;
                    tracing::debug!(%id, rules = %snapshot.rules.sequence, "rules moved on");
                    self.catch_up(&snapshot, stale).await?;
                }
                ErrorCode::DeadlineExceeded => {
                    lost += 1;
                    tracing::warn!(%id, attempt = lost, %error, "the log did not answer");
                    if lost >= self.config.store_attempts_max {
                        return Err(error.retry_after(RETRY_AFTER));
                    }
                }
                _ => return Err(error),
            }
        }
    }

    /// Everything the log has to know of an event, by the rules of one snapshot.
    fn prepare(&self, snapshot: &Snapshot, id: EventId, event: NewEvent) -> Result<StoreEvent> {
        let (schema_minor, quarantine, lanes) = match check::judge(&*self.validator, &event)? {
            Verdict::Deliver { schema_minor } => {
                let NewEvent { uri, audience, origin, .. } = &event;
                let lanes = snapshot.matcher.lanes(&snapshot.rules, uri, audience, origin);
                (schema_minor, None, lanes)
            }
            Verdict::Quarantine { reason } => (None, Some(reason), Vec::new()),
        };
        let stamp_key = snapshot.stamp_key.as_ref().ok_or_else(|| {
            Error::new(ErrorCode::Unavailable, "not ready: there is no stamp key yet")
                .retry_after(RETRY_AFTER)
        })?;
        let stamp = stamp_key.stamp(Stamped {
            id,
            uri: &event.uri,
            content_type: &event.content_type,
            headers: &event.headers,
            payload: &event.payload,
        });
        let rules = snapshot.rules.sequence;
        Ok(StoreEvent { id, event, stamp, schema_minor, quarantine, lanes, rules })
    }

    /// Waits until there are newer rules than those of `snapshot`.
    async fn catch_up(&self, snapshot: &Snapshot, tries: u32) -> Result<()> {
        let limit = self.config.rules_timeout.0;
        let may_repeat = tries < self.config.rules_attempts_max;
        if may_repeat && self.snapshots.moved_on(snapshot.rules.sequence, limit).await {
            return Ok(());
        }
        let text = "the rules keep changing, or their changes do not come through";
        Err(Error::new(ErrorCode::Unavailable, text).retry_after(RETRY_AFTER))
    }
}

#[async_trait]
impl EventBroker for Broker {
    async fn accept(&self, event: NewEvent) -> Result<Accepted> {
        let started = Instant::now();
        let answer = self.take(event).await;
        self.metrics.answered(&answer, started.elapsed());
        answer
    }
}

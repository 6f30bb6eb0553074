//! The broker: takes an event, checks it, matches it, stores it, and offers its deliveries to the
//! queue.

use crate::{
    Config, Feeder, Metrics, aside,
    check::{self, Verdict},
    deadline::within,
    matcher::Placed,
    snapshot::{Snapshot, Snapshots},
    test_fire, trail,
};
use async_trait::async_trait;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    broker::{EventBroker, TestFire, TestFired},
    event::{Accepted, EventState, NewEvent},
    id::{DeliveryId, EventId, IdGenerator, Sequence, SubscriptionNumber},
    master_api::{MasterApi, ReleaseEvent, StoreEvent, Stored},
    schema::EventValidator,
    setting::EVENTS_PAUSED,
    stamp::Stamped,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What a sender is told to wait before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The same, while operators have paused the taking of events.
const PAUSED_RETRY_AFTER: Duration = Duration::from_secs(10);

/// Hop 2.
pub struct Broker {
    pub(crate) config: Config,
    pub(crate) validator: Arc<dyn EventValidator>,
    pub(crate) master_api: Arc<dyn MasterApi>,
    pub(crate) feeder: Arc<Feeder>,
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

    async fn take(&self, event: NewEvent) -> Result<Accepted> {
        let id = EventId::from_bytes(self.ids.uuid());
        let peer = check::publisher(&event.uri).map(str::to_owned);
        let stored = self.pass(id, event).await?;
        // The id was new: if the log knew it, then from an earlier try of this very call.
        let duplicate = stored.duplicate && stored.id != id;
        if !duplicate {
            self.feeder.offer(stored.sequence, &stored.lanes);
        }
        if let Some(domain) = peer.filter(|_| !stored.quarantined) {
            self.validator.expire(&domain);
        }
        tracing::debug!(id = %stored.id, deliveries = stored.lanes.len(), duplicate, "event stored");
        Ok(Accepted {
            id: stored.id,
            deliveries: u32::try_from(stored.lanes.len()).unwrap_or(u32::MAX),
            duplicate,
            quarantined: stored.quarantined,
        })
    }

    /// Takes an event of the server's own under an id that says what it tells of: told twice, it
    /// is stored once. None: by the rules it names or newer ones, nobody wants it.
    pub(crate) async fn announce(&self, id: EventId, event: NewEvent) -> Result<Option<Stored>> {
        let snapshot = self.knowing(event.rules).await?;
        if snapshot.matcher.receivers(&event).is_empty() {
            return Ok(None);
        }
        let stored = self.pass(id, event).await?;
        // Also what was here before: a crash may have come before the offer.
        self.feeder.offer(stored.sequence, &stored.lanes);
        Ok(Some(stored))
    }

    /// These rules or newer ones.
    pub(crate) async fn knowing(&self, rules: Sequence) -> Result<Arc<Snapshot>> {
        let limit = self.config.rules_timeout.0;
        let reached = tokio::time::timeout(limit, self.snapshots.reached(rules));
        let late = |_elapsed| Error::new(ErrorCode::Unavailable, "the rules lag behind the log");
        reached.await.map_err(late)
    }

    /// Has an event delivered to one subscription, and to nobody else, before all its others.
    pub(crate) async fn send_to(
        &self,
        mut event: NewEvent,
        number: SubscriptionNumber,
    ) -> Result<DeliveryId> {
        trail::pass(&mut event.trace, self.ids.as_ref());
        let id = EventId::from_bytes(self.ids.uuid());
        let stored = self.store(id, event, Some(number)).await?;
        self.feeder.offer(stored.sequence, &stored.lanes);
        let lane = stored.lanes.first().copied();
        let lane = lane.ok_or_else(|| Error::internal("a test went into no lane"))?;
        Ok(DeliveryId { lane, sequence: stored.sequence })
    }

    async fn pass(&self, id: EventId, mut event: NewEvent) -> Result<Stored> {
        check::admit(&event)?;
        trail::pass(&mut event.trace, self.ids.as_ref());
        self.store(id, event, None).await
    }

    /// Stores the event under `id`. Repeats with the same id when the rules have moved on, and
    /// when an answer is lost. `only`: it goes to nobody else, whoever matches.
    async fn store(
        &self,
        id: EventId,
        event: NewEvent,
        only: Option<SubscriptionNumber>,
    ) -> Result<Stored> {
        let (mut lost, mut stale) = (0, 0);
        loop {
            let (snapshot, verdict) = self.judge(&event).await?;
            let placed = match (&verdict, only) {
                (Verdict::Quarantine { .. }, _) => Placed::default(),
                (Verdict::Deliver { .. }, Some(number)) => {
                    Placed { lanes: vec![test_fire::lane(&snapshot, number)?], ..Placed::default() }
                }
                (Verdict::Deliver { .. }, None) => snapshot.matcher.place(&snapshot.rules, &event),
            };
            self.metrics.filters_failed(placed.failed);
            let store = prepare(&snapshot, verdict, placed, (id, event.clone()))?;
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

    /// What becomes of an event by its contract, and the rules to match it by. A contract at hand
    /// that is older than the one in force may let an event pass, as newer minor versions let pass
    /// what older ones did; it may not refuse one. Where none is in force, none lets pass.
    async fn judge(&self, event: &NewEvent) -> Result<(Arc<Snapshot>, Verdict)> {
        let snapshot = self.snapshots.current();
        if self.is_current(&snapshot, event) {
            let verdict = check::judge(&*self.validator, event)?;
            return Ok((snapshot, verdict));
        }
        if let Some(verdict) = self.passes(&snapshot, event) {
            return Ok((snapshot, verdict));
        }
        let limit = self.config.rules_timeout.0;
        let Ok(judged) = tokio::time::timeout(limit, self.judge_anew(event)).await else {
            let text = format!("the contract in force of `{}` is not at hand yet", event.uri);
            return Err(Error::new(ErrorCode::Unavailable, text).retry_after(RETRY_AFTER));
        };
        judged
    }

    /// The verdict if it keeps the contract that is at hand, of whatever age, of a type that was
    /// not deleted as far as the door knew.
    fn passes(&self, snapshot: &Snapshot, event: &NewEvent) -> Option<Verdict> {
        let known = snapshot.rules.sequence >= event.rules;
        let foreign = event.uri.domain().is_some();
        if !known || !foreign && !snapshot.rules.schemas.contains_key(&event.uri) {
            return None;
        }
        let verdict = check::judge(&*self.validator, event).ok()?;
        matches!(verdict, Verdict::Deliver { schema_minor: Some(_) }).then_some(verdict)
    }

    /// Are rules and contract at least as new as those that the door knew?
    fn is_current(&self, snapshot: &Snapshot, event: &NewEvent) -> bool {
        let in_force = snapshot.rules.schemas.get(&event.uri).map(Arc::as_ref);
        snapshot.rules.sequence >= event.rules && self.validator.is_current(&event.uri, in_force)
    }

    /// Waits until they are, or the event keeps what is at hand. The caller sets the deadline.
    async fn judge_anew(&self, event: &NewEvent) -> Result<(Arc<Snapshot>, Verdict)> {
        loop {
            let snapshot = self.snapshots.reached(event.rules).await;
            if self.is_current(&snapshot, event) {
                let verdict = check::judge(&*self.validator, event)?;
                return Ok((snapshot, verdict));
            }
            if let Some(verdict) = self.passes(&snapshot, event) {
                return Ok((snapshot, verdict));
            }
            let in_force = snapshot.rules.schemas.get(&event.uri).map(Arc::as_ref);
            tokio::select! {
                () = self.validator.catch_up(&event.uri, in_force) => {}
                // What is in force has changed meanwhile.
                () = self.snapshots.newer(snapshot.rules.sequence) => {}
            }
        }
    }

    /// Checks, matches and releases an event that was kept aside.
    async fn release(&self, actor: Actor, id: EventId) -> Result<Stored> {
        let missing =
            |what: &str| Error::new(ErrorCode::NotFound, format!("there is no {what} `{id}`"));
        let event = self.master_api.event(id).await?.ok_or_else(|| missing("event"))?;
        let payload = self.master_api.payload(id).await?;
        let payload = payload.ok_or_else(|| missing("payload (any more) of the event"))?;
        for tries in 1.. {
            if event.state == EventState::Accepted {
                break;
            }
            let as_new = aside::as_new(&event, &payload);
            let (snapshot, verdict) = self.judge(&as_new).await?;
            aside::verify(&snapshot, &event, &payload)?;
            let Verdict::Deliver { schema_minor } = verdict else { break };
            let Placed { lanes, keys, failed } = snapshot.matcher.place(&snapshot.rules, &as_new);
            self.metrics.filters_failed(failed);
            let rules = snapshot.rules.sequence;
            let release = ReleaseEvent { id, schema_minor, lanes, keys, rules };
            let answer = self.master_api.release_event(actor.clone(), release);
            match within(self.config.store_timeout.0, "the log", answer).await {
                Err(error) if error.code == ErrorCode::StaleRules => {
                    self.catch_up(&snapshot, tries).await?;
                }
                answer => return answer,
            }
        }
        let (sequence, lanes) = (event.sequence, event.lanes);
        let quarantined = event.state == EventState::Quarantined;
        Ok(Stored { id, sequence, lanes, duplicate: !quarantined, quarantined })
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

fn paused() -> Error {
    let text = "an operator has paused the taking of events (`events.paused`)";
    Error::new(ErrorCode::Unavailable, text).retry_after(PAUSED_RETRY_AFTER)
}

/// Everything the log has to know of an event, by the rules of one snapshot.
fn prepare(
    snapshot: &Snapshot,
    verdict: Verdict,
    placed: Placed,
    (id, event): (EventId, NewEvent),
) -> Result<StoreEvent> {
    let (schema_minor, quarantine) = match verdict {
        Verdict::Deliver { schema_minor } => (schema_minor, None),
        Verdict::Quarantine { reason } => (None, Some(reason)),
    };
    let stamp_key = snapshot.stamp_keys.last().ok_or_else(|| {
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
    let Placed { lanes, keys, .. } = placed;
    Ok(StoreEvent { id, event, stamp, schema_minor, quarantine, lanes, keys, rules })
}

#[async_trait]
impl EventBroker for Broker {
    async fn accept(&self, event: NewEvent) -> Result<Accepted> {
        let started = Instant::now();
        let answer = match self.snapshots.current().rules.settings.is_on(EVENTS_PAUSED) {
            true => Err(paused()),
            false => self.take(event).await,
        };
        self.metrics.answered(&answer, started.elapsed());
        answer
    }

    async fn test_fire(&self, test: TestFire) -> Result<TestFired> {
        self.fire(test).await
    }

    async fn resubmit(&self, actor: Actor, id: EventId) -> Result<Accepted> {
        let Stored { sequence, lanes, duplicate, quarantined, .. } =
            self.release(actor, id).await?;
        if !duplicate {
            self.feeder.offer(sequence, &lanes);
        }
        tracing::info!(%id, deliveries = lanes.len(), duplicate, "event released");
        let deliveries = u32::try_from(lanes.len()).unwrap_or(u32::MAX);
        Ok(Accepted { id, deliveries, duplicate, quarantined })
    }
}

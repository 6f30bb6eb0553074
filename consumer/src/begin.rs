//! The beginning and the end of an attempt, which are the same whatever carries it.

use crate::{
    attempt::{self, Backoff, Carrier, Made, Plan, View},
    form::{self, Body, Unformed},
    metrics::OutcomeLabel,
    outcome::{Failure, Outcome},
    prepared::{Prepared, Snapshot},
    service::Consumer,
};
use bytes::Bytes;
use contract::{
    clock::Timestamp,
    delivery::{AttemptReport, Cause, Next},
    master_api::Work,
    queue::Settlement,
    rules::Rules,
    subscription::Subscription,
};
use std::{sync::Arc, time::Duration};

/// An attempt that has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) started_at: Timestamp,
    snapshot: Arc<Snapshot>,
    subscription: Option<Arc<Subscription>>,
}

/// How an attempt goes on.
#[derive(Debug)]
pub(crate) enum Step {
    /// Not at all: only the lease ends.
    Settle(Settlement),
    /// It has failed before anything was sent.
    Fail(Failure),
    /// This is to be sent.
    Send(ToSend),
}

/// What is to be sent.
#[derive(Debug)]
pub(crate) struct ToSend {
    /// Its subscription. In order, or it would not be sent.
    pub(crate) prepared: Arc<Result<Prepared, String>>,
    /// The work with the body that the subscription has made of it, if it has.
    pub(crate) made: Option<Box<Work>>,
    /// The body, in the form that the subscription wants.
    pub(crate) body: Body,
}

/// How long deliveries are put back whose contract is not at hand yet.
const FORMED_LATER: Duration = Duration::from_secs(1);

impl Consumer {
    /// Judges a leased delivery that `carrier` would carry, and makes its body.
    pub(crate) async fn begin(&self, work: &Work, carrier: Carrier) -> (Begun, Step) {
        let snapshot = self.snapshots.newest();
        let number = work.delivery.id.lane.subscription();
        let subscription = snapshot.rules.subscriptions.get(&number).cloned();
        let prepared = subscription.as_ref().map(|found| snapshot.prepared(found, &self.config));
        let misconfigured = prepared.as_deref().and_then(|ready| ready.as_ref().err());
        let started_at = self.clock.now();
        let view = View {
            now: started_at,
            rules: snapshot.rules.sequence,
            subscription: subscription.as_deref(),
            misconfigured: misconfigured.map(String::as_str),
            stamp_keys: &snapshot.stamp_keys,
            carrier,
        };
        let step = match (attempt::plan(work, &view), prepared, &work.payload) {
            (Plan::Settle(settlement), _, _) => Step::Settle(settlement),
            (Plan::Fail(failure), _, _) => Step::Fail(failure),
            (Plan::Send, Some(prepared), Some(payload)) => {
                self.make(&snapshot.rules, prepared, work, payload).await
            }
            // The plan is to send only when all of it is there.
            (Plan::Send, _, _) => Step::Settle(Settlement::Ack),
        };
        (Begun { started_at, snapshot, subscription }, step)
    }

    /// Makes the body that the subscription wants: transformed, and in its form.
    async fn make(
        &self,
        rules: &Rules,
        prepared: Arc<Result<Prepared, String>>,
        work: &Work,
        payload: &Bytes,
    ) -> Step {
        let ready = match prepared.as_ref() {
            Ok(ready) => ready,
            Err(why) => return Step::Fail(Failure::new(Cause::Misconfigured, why)),
        };
        let transformed = ready.transform.as_ref().map(|transform| transform.apply(work, payload));
        let (made, payload) = match transformed.transpose() {
            Ok(Some((made, body))) => (Some(Box::new(made)), body),
            Ok(None) => (None, payload.clone()),
            Err(failure) => return Step::Fail(failure),
        };
        let event = &made.as_deref().unwrap_or(work).event;
        let in_force = rules.schemas.contains_key(&event.uri) || rules.sequence < event.rules;
        match form::body(event, &payload, ready.format, &self.converter, in_force).await {
            Ok(body) => Step::Send(ToSend { prepared, made, body }),
            Err(Unformed::Later) => {
                Step::Settle(Settlement::Nack(self.clock.now().after(FORMED_LATER)))
            }
            Err(Unformed::Never(failure)) => Step::Fail(failure),
        }
    }

    /// What an attempt that is over means: its report, and how its lease ends.
    pub(crate) fn conclude(
        &self,
        begun: &Begun,
        work: &Work,
        outcome: Outcome,
    ) -> (AttemptReport, Settlement) {
        let Begun { started_at, snapshot, subscription } = begun;
        let made = Made { work, started_at: *started_at, ended_at: self.clock.now(), outcome };
        self.measure(&made);
        let backoff = || {
            let rule = subscription.as_ref();
            let rule = rule.map(|found| snapshot.rules.backoff(found, &work.event));
            let (policy, rule) = rule.unwrap_or_default();
            let retry_after_max = self.config.retry_after_max.0;
            Backoff { policy, rule, dice: self.random.fraction(), retry_after_max }
        };
        let (report, settlement) = attempt::conclude(made, backoff);
        if let Next::Dead(cause) = report.next {
            self.metrics.deliveries_dead.inc();
            tracing::info!(delivery = %report.delivery, %cause, "delivery is dead");
        }
        (report, settlement)
    }

    /// Takes down how long the first attempt of a delivery was waited for.
    pub(crate) fn measure_delay(&self, work: &Work, started_at: Timestamp) {
        if work.delivery.attempts.is_empty() {
            let delay = started_at.since(work.event.received_at);
            self.metrics.first_attempt_delay_seconds.observe(delay.as_secs_f64());
        }
    }

    fn measure(&self, made: &Made<'_>) {
        let failure = made.outcome.failure.as_ref();
        let outcome = failure.map_or("delivered", |failure| failure.cause.as_str());
        self.metrics.attempts.get_or_create(&OutcomeLabel { outcome }).inc();
        self.metrics.attempt_duration_seconds.observe(made.outcome.duration.as_secs_f64());
        tracing::debug!(
            delivery = %made.work.delivery.id,
            event = %made.work.event.id,
            attempt = made.work.delivery.next_attempt(),
            status = made.outcome.status,
            outcome,
            "attempt"
        );
    }
}

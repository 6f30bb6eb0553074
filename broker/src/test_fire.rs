//! A test of one subscription: an event that was made for it alone, and what became of it.

use crate::{Broker, snapshot::Snapshot};
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    broker::{PayloadOf, TestFire, TestFired},
    delivery::Delivery,
    event::{Audience, Direction, Disposition, Headers, NewEvent, Origin, TEST_HEADER, Trace},
    id::{DeliveryId, LaneId, SubscriptionNumber},
    limits::{LOG_WAIT_MAX, PAGE_MAX, TEST_WAIT_MAX},
    log::{LogFilter, LogQuery},
    rules::Rules,
    schema::EventValidator,
    subscription::{Priority, Subscription},
    uri::EventUri,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

const JSON: &str = "application/json";

impl Broker {
    /// Makes the event, has it delivered, and waits for the first attempt.
    pub(crate) async fn fire(&self, test: TestFire) -> Result<TestFired> {
        let snapshot = self.knowing(test.rules).await?;
        let rules = &*snapshot.rules;
        let subscription = subscription(rules, test.subscription)?;
        let uri = chosen(rules, subscription, test.uri.clone())?;
        let (payload, content_type, payload_of) = match test.payload.clone() {
            Some((payload, content_type)) => (payload, content_type, PayloadOf::Given),
            None => {
                self.caught_up(rules, &uri).await?;
                let (payload, of) = example(&*self.validator, &uri)?;
                (payload, JSON.to_owned(), of)
            }
        };
        let (direction, audience) = match &subscription.spec.subscriber {
            None => (Direction::Incoming, Audience::Own),
            Some(id) => (Direction::Outgoing, Audience::Subscriber(id.clone())),
        };
        let event = NewEvent {
            uri: uri.clone(),
            direction,
            audience,
            origin: Origin::Producer(test.by),
            payload,
            content_type,
            headers: Headers(vec![(TEST_HEADER.to_owned(), "true".to_owned())]),
            idempotency_key: None,
            received_at: self.feeder.now(),
            trace: Trace::default(),
            unvalidated: Disposition::Accept,
            invalid: Disposition::Reject,
            rules: rules.sequence,
        };
        let id = self.send_to(event, test.subscription).await?;
        let delivery = self.attempted(id, test.wait.min(TEST_WAIT_MAX)).await?;
        Ok(TestFired { uri, payload_of, delivery })
    }

    /// Returns once the contract in force is at hand.
    async fn caught_up(&self, rules: &Rules, uri: &EventUri) -> Result<()> {
        let in_force = rules.schemas.get(uri).map(Arc::as_ref);
        if self.validator.is_current(uri, in_force) {
            return Ok(());
        }
        let limit = self.config.rules_timeout.0;
        let caught_up = tokio::time::timeout(limit, self.validator.catch_up(uri, in_force));
        caught_up.await.map_err(|_elapsed| {
            let text = format!("the contract in force of `{uri}` is not at hand yet");
            Error::new(ErrorCode::Unavailable, text)
        })
    }

    /// The delivery, once it was attempted or the wait is over.
    async fn attempted(&self, id: DeliveryId, wait: Duration) -> Result<Delivery> {
        let until = Instant::now() + wait;
        let filter =
            LogFilter { kinds: vec!["attempt_recorded".to_owned()], ..LogFilter::default() };
        let mut query =
            LogQuery { after: id.sequence, first: PAGE_MAX, filter, wait: Duration::ZERO };
        let name = serde_json::Value::from(id.to_string());
        loop {
            let left = until.saturating_duration_since(Instant::now());
            query.wait = left.min(LOG_WAIT_MAX);
            // It is stored: what goes wrong from here on only ends the wait.
            let Ok(page) = self.master_api.facts(query.clone()).await else { break };
            let attempted = page.facts.iter().any(|fact| fact.body.get("delivery") == Some(&name));
            if attempted || left.is_zero() {
                break;
            }
            query.after = page.read_to;
        }
        let gone = || Error::internal(format!("the delivery `{id}` is gone"));
        self.master_api.delivery(id).await?.ok_or_else(gone)
    }
}

/// The lane of a test: before all other deliveries of the subscription.
pub(crate) fn lane(snapshot: &Snapshot, number: SubscriptionNumber) -> Result<LaneId> {
    subscription(&snapshot.rules, number).map(|_| LaneId::new(number, Priority::MAX))
}

fn subscription(rules: &Rules, number: SubscriptionNumber) -> Result<&Arc<Subscription>> {
    let missing = || Error::new(ErrorCode::NotFound, "the subscription was removed");
    rules.subscriptions.get(&number).ok_or_else(missing)
}

/// The type that is asked for, or the first one with a schema, if a pattern selects it.
fn chosen(rules: &Rules, subscription: &Subscription, asked: Option<EventUri>) -> Result<EventUri> {
    let spec = &subscription.spec;
    let refused = |text: String| Error::new(ErrorCode::InvalidRequest, text);
    match asked {
        Some(uri) if spec.events.iter().any(|pattern| pattern.matches(&uri)) => Ok(uri),
        Some(uri) => {
            Err(refused(format!("none of the patterns of `{}` selects `{uri}`", spec.name)))
        }
        None => {
            let known = |pattern: &contract::uri::EventPattern| {
                rules.schemas.keys().find(|uri| pattern.matches(uri)).cloned()
            };
            let text =
                "no type with a schema is selected by its patterns: name one, with a payload";
            spec.events.iter().find_map(known).ok_or_else(|| refused(text.to_owned()))
        }
    }
}

fn example(validator: &dyn EventValidator, uri: &EventUri) -> Result<(Bytes, PayloadOf)> {
    let missing = || {
        let text = format!("there is no example of `{uri}`: give a payload");
        Error::new(ErrorCode::InvalidRequest, text)
    };
    let example = validator.example(uri)?.ok_or_else(missing)?;
    let of = if example.published { PayloadOf::Example } else { PayloadOf::Skeleton };
    Ok((example.payload, of))
}

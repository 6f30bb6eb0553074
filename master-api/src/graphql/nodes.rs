//! The objects that queries walk: deliveries, attempts, subscriptions, sources, keys.

mod subscription;
mod source;

pub(super) use source::SourceNode;
pub(super) use subscription::{SubscriptionNode, answerable};

use super::{
    access::{OrShow, Result, allowed, allowed_everywhere, master_api, rules},
    budget::{LIST, NODE_BYTES, spend},
    events::EventSummaryNode,
    exchanges::{ExchangeNode, Exchanges},
    key_uses::KeyUses,
};
use async_graphql::{Context, ID, Object};
use contract::{
    access::{Access, ApiKey, Noun},
    delivery::{Attempt, Delivery},
    event::Event,
    master_api::Stats,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One event for one subscription.
#[derive(Debug)]
pub(super) struct DeliveryNode {
    delivery: Delivery,
    /// None: not read yet.
    event: Option<Option<Arc<Event>>>,
}

impl From<Delivery> for DeliveryNode {
    fn from(delivery: Delivery) -> Self {
        Self { delivery, event: None }
    }
}

impl DeliveryNode {
    /// A delivery of this event.
    pub(super) fn of(delivery: Delivery, event: Arc<Event>) -> Self {
        Self { delivery, event: Some(Some(event)) }
    }

    /// A page of deliveries. If their events are asked for, too, all are read at once.
    pub(super) async fn all(context: &Context<'_>, found: Vec<Delivery>) -> Result<Vec<Self>> {
        let asked = context.look_ahead().field("nodes").field("event").exists();
        // Who may not see them is told so by the field itself.
        let seen = allowed_everywhere(context, Noun::Events, Access::Read).is_ok();
        if !asked || !seen || found.is_empty() {
            return Ok(found.into_iter().map(Self::from).collect());
        }
        let ids: BTreeSet<_> = found.iter().map(|delivery| delivery.event).collect();
        let ids: Vec<_> = ids.into_iter().collect();
        let events = master_api(context)?.events_by_id(ids.clone()).await.or_show()?;
        let events: BTreeMap<_, _> =
            ids.into_iter().zip(events.into_iter().map(|event| event.map(Arc::new))).collect();
        let node = |delivery: Delivery| {
            let event = events.get(&delivery.event).cloned();
            Self { delivery, event }
        };
        Ok(found.into_iter().map(node).collect())
    }
}

#[Object(name = "Delivery")]
impl DeliveryNode {
    /// `dlv_...`
    async fn id(&self) -> ID {
        self.delivery.id.to_string().into()
    }
    /// `waiting`, `delivered`, `dead`, `cancelled`.
    async fn state(&self) -> &str {
        self.delivery.state.as_str()
    }
    /// Why it is dead.
    async fn cause(&self) -> Option<&str> {
        self.delivery.cause.map(contract::delivery::Cause::as_str)
    }
    /// The replay that made it; null: it was made with its event, or for it.
    async fn replay_id(&self) -> Option<ID> {
        self.delivery.replay.map(|id| id.to_string().into())
    }
    /// What its receiver tells repeats by.
    async fn webhook_id(&self) -> String {
        self.delivery.webhook_id()
    }
    /// Priority it was accepted at, 0 to 9; 5 where it is replayed, which is behind all others.
    async fn priority(&self) -> u8 {
        self.delivery.id.lane.priority().into()
    }
    /// When it was made, RFC 3339.
    async fn created_at(&self) -> String {
        self.delivery.created_at.to_string()
    }
    /// When its next attempt is due; null when finished.
    async fn due(&self) -> Option<String> {
        self.delivery.due.map(|due| due.to_string())
    }
    /// Id of the event.
    async fn event_id(&self) -> ID {
        self.delivery.event.to_string().into()
    }
    /// The event, without its payload. For keys that see everybody's events.
    async fn event(&self, context: &Context<'_>) -> Result<Option<EventSummaryNode>> {
        allowed_everywhere(context, Noun::Events, Access::Read)?;
        let event = match &self.event {
            Some(event) => event.clone(),
            None => master_api(context)?.event(self.delivery.event).await.or_show()?.map(Arc::new),
        };
        Ok(event.map(EventSummaryNode))
    }
    /// The subscription; null once it was removed.
    async fn subscription(&self, context: &Context<'_>) -> Result<Option<SubscriptionNode>> {
        allowed(context, Noun::Subscriptions, Access::Read)?;
        let rules = rules(context)?;
        let subscription = rules.subscriptions.get(&self.delivery.id.lane.subscription());
        Ok(subscription.cloned().map(SubscriptionNode))
    }
    /// The HTTP requests so far, oldest first.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn attempts(&self, context: &Context<'_>) -> Result<Vec<AttemptNode>> {
        spend(context, self.delivery.attempts.len().saturating_mul(NODE_BYTES))?;
        let exchanges = Exchanges::of(self.delivery.id);
        let node = |attempt: &Attempt| AttemptNode(attempt.clone(), exchanges.clone());
        Ok(self.delivery.attempts.iter().map(node).collect())
    }
}

/// One HTTP request of a delivery.
#[derive(Debug)]
pub(super) struct AttemptNode(Attempt, Exchanges);

#[Object(name = "Attempt")]
impl AttemptNode {
    /// From 1.
    async fn number(&self) -> u32 {
        self.0.number
    }
    /// HTTP status; null if there was no answer.
    async fn status(&self) -> Option<u16> {
        self.0.status
    }
    /// Why it did not deliver, in a word.
    async fn cause(&self) -> Option<&str> {
        self.0.cause.map(contract::delivery::Cause::as_str)
    }
    /// Why it did not deliver, in a sentence.
    async fn error(&self) -> Option<&str> {
        self.0.error.as_deref()
    }
    /// When it started, RFC 3339.
    async fn started_at(&self) -> String {
        self.0.started_at.to_string()
    }
    /// How long it took, in milliseconds.
    async fn duration_ms(&self) -> u32 {
        self.0.duration_ms
    }
    /// The address that was dialled.
    async fn address(&self) -> Option<&str> {
        self.0.address.as_deref()
    }
    /// Headers and the answer; null if nothing was sent, or once the payload of the event is gone.
    async fn exchange(&self, context: &Context<'_>) -> Result<Option<ExchangeNode>> {
        // Whoever may only change subscriptions gets here by a test of one.
        allowed(context, Noun::Subscriptions, Access::Read)?;
        self.1.of_attempt(context, self.0.number).await
    }
    /// Beginning of the response body.
    #[graphql(deprecation = "of attempts before format 4 of the log; `exchange` has all of it")]
    async fn response_excerpt(&self, context: &Context<'_>) -> Result<Option<&str>> {
        allowed(context, Noun::Subscriptions, Access::Read)?;
        spend(context, self.0.response_excerpt.as_ref().map_or(0, String::len))?;
        Ok(self.0.response_excerpt.as_deref())
    }
    /// Which back-off rule decided what came next.
    async fn backoff_rule(&self) -> Option<&str> {
        self.0.backoff_rule.as_deref()
    }
}

/// The name of a value of an enum.
pub(super) fn text(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

/// An API key, without its token.
#[derive(Debug)]
pub(super) struct KeyNode(pub(super) Arc<ApiKey>, pub(super) KeyUses);

#[Object(name = "Key")]
impl KeyNode {
    /// `key_...`
    async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// A name for people.
    async fn name(&self) -> &str {
        &self.0.name
    }
    /// How its token begins.
    async fn prefix(&self) -> &str {
        &self.0.prefix
    }
    /// What it may do.
    async fn roles(&self) -> Vec<String> {
        self.0.roles.names()
    }
    /// Sees this subscriber only.
    async fn subscriber(&self) -> Option<&str> {
        self.0.subscriber.as_deref()
    }
    /// When it was made, RFC 3339.
    async fn created_at(&self) -> String {
        self.0.created_at.to_string()
    }
    /// When it stops working, RFC 3339.
    async fn expires_at(&self) -> Option<String> {
        self.0.expires_at.map(|time| time.to_string())
    }
    /// When it was last used, RFC 3339, to a minute or two; null: never.
    async fn last_used_at(&self, context: &Context<'_>) -> Result<Option<String>> {
        self.1.of_key(context, self.0.id).await
    }
}

/// Numbers of the whole deployment.
#[derive(Debug)]
pub(super) struct StatsNode(pub(super) Stats);

#[Object(name = "Stats")]
impl StatsNode {
    /// Events accepted.
    async fn accepted(&self) -> u64 {
        self.0.accepted
    }
    /// Events kept aside.
    async fn quarantined(&self) -> u64 {
        self.0.quarantined
    }
    /// Deliveries with a 2xx.
    async fn delivered(&self) -> u64 {
        self.0.delivered
    }
    /// Deliveries with an attempt to come.
    async fn waiting(&self) -> u64 {
        self.0.waiting
    }
    /// Dead letters.
    async fn dead(&self) -> u64 {
        self.0.dead
    }
    /// Deliveries taken back.
    async fn cancelled(&self) -> u64 {
        self.0.cancelled
    }
}

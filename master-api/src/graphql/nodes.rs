//! The objects that queries walk: deliveries, attempts, subscriptions, sources, keys.

use super::{
    access::{OrShow, Result, allowed, allowed_everywhere, master_api, rules},
    budget::{LIST, NODE_BYTES, spend},
    events::{EventSummaryNode, HeaderNode},
    exchanges::{ExchangeNode, Exchanges},
    key_uses::KeyUses,
    sending::AuthNode,
};
use async_graphql::{Context, ID, Json, Lookahead, Object, SimpleObject};
use contract::{
    access::{Access, ApiKey, Noun},
    breaker::Breaker,
    delivery::{Attempt, Delivery},
    event::Event,
    master_api::Stats,
    rate_limit::RateLimit,
    source::{SignatureRule, Source, SourceLimits, StaticResponse},
    subscription::{Ordering, SecretRef, Subscription},
    uri::EventUri,
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

/// Who gets what, and where.
#[derive(Debug)]
pub(super) struct SubscriptionNode(pub(super) Arc<Subscription>);

#[Object(name = "Subscription")]
impl SubscriptionNode {
    /// `sub_...`
    async fn id(&self) -> ID {
        self.0.id.to_string().into()
    }
    /// Its name.
    async fn name(&self) -> &str {
        &self.0.spec.name
    }
    /// Whose it is; null: our own.
    async fn subscriber(&self) -> Option<&str> {
        self.0.spec.subscriber.as_deref()
    }
    /// Are its deliveries taken by receivers, and not sent to a URL?
    async fn pull(&self) -> bool {
        self.0.spec.pull
    }
    /// Where deliveries go; empty with `pull`. For those who may read subscriptions.
    async fn url(&self, context: &Context<'_>) -> Result<&str> {
        reads(context)?;
        Ok(&self.0.spec.url)
    }
    /// Patterns of event URIs.
    async fn events(&self) -> Vec<&str> {
        self.0.spec.events.iter().map(contract::uri::EventPattern::as_str).collect()
    }
    /// Its own priority, 0 to 9; null: the event type's, the source's, or 5.
    async fn priority(&self) -> Option<u8> {
        self.0.spec.priority.map(Into::into)
    }
    /// `active`, `paused` or `disabled`.
    async fn status(&self) -> String {
        self.0.status.to_string()
    }
    /// Why it is not active.
    async fn status_reason(&self) -> Option<&str> {
        self.0.status_reason.as_deref()
    }
    /// Nearly all attempts fail, so its deliveries are held; null: they are not.
    async fn breaker(&self) -> Option<BreakerNode> {
        self.0.breaker.map(BreakerNode::from)
    }
    /// Most attempts at once; null: adapted.
    async fn max_in_flight(&self) -> Option<u32> {
        self.0.spec.max_in_flight
    }
    /// How fast attempts start at most; null: as fast as it goes.
    async fn rate_limit(&self) -> Option<RateLimitNode> {
        self.0.spec.rate_limit.map(RateLimitNode::from)
    }
    /// Time limit of an attempt in milliseconds; null: the consumer's.
    async fn timeout_ms(&self) -> Option<u32> {
        self.0.spec.timeout_ms
    }
    /// Headers that are added to each delivery. For those who may read subscriptions.
    async fn headers(&self, context: &Context<'_>) -> Result<Vec<HeaderNode>> {
        reads(context)?;
        Ok(self.0.spec.headers.0.iter().cloned().map(HeaderNode::from).collect())
    }
    /// What proves who sends, beside the signatures. For those who may read subscriptions.
    async fn auth(&self, context: &Context<'_>) -> Result<Option<AuthNode>> {
        reads(context)?;
        Ok(self.0.spec.auth.as_ref().map(AuthNode::from))
    }
    /// Which events of these types it wants: an expression (CEL); null: all.
    async fn filter(&self) -> Option<&str> {
        self.0.spec.filter.as_deref()
    }
    /// What makes the body that is sent: an expression (CEL); null: the payload as it came.
    async fn transform(&self) -> Option<&str> {
        self.0.spec.transform.as_deref()
    }
    /// In which form it wants its payloads: `as_received`, `json`, `protobuf`, `cloudevents-binary` or
    /// `cloudevents-structured`.
    async fn format(&self) -> &str {
        self.0.spec.format.as_str()
    }
    /// Which of its deliveries wait for each other; null: none.
    async fn ordering(&self) -> Option<OrderingNode> {
        match &self.0.spec.ordering {
            Ordering::None => None,
            Ordering::Strict => Some(OrderingNode { strict: true, key: None }),
            Ordering::Key(source) => {
                Some(OrderingNode { strict: false, key: Some(source.clone()) })
            }
        }
    }
    /// Its own back-off policy; null: the event type's, the source's, or the global one.
    async fn backoff(&self) -> Option<Json<contract::backoff::BackoffPolicy>> {
        self.0.spec.backoff.clone().map(Json)
    }
    /// Fingerprints of its signing secrets, the newest first. For those who may read
    /// subscriptions.
    async fn secret_fingerprints(&self, context: &Context<'_>) -> Result<Vec<&str>> {
        reads(context)?;
        Ok(self.0.secrets.iter().map(|secret| secret.fingerprint.as_str()).collect())
    }
    /// Its signing secrets, the newest first. For those who may read subscriptions.
    async fn secrets(&self, context: &Context<'_>) -> Result<Vec<SigningSecret>> {
        reads(context)?;
        let shown = |secret: &SecretRef| SigningSecret {
            fingerprint: secret.fingerprint.clone(),
            until: secret.until.map(|until| until.to_string()),
            public_key: secret.public_key.clone(),
        };
        Ok(self.0.secrets.iter().map(shown).collect())
    }
    /// When it was created, RFC 3339.
    async fn created_at(&self) -> String {
        self.0.created_at.to_string()
    }
}

/// A change shows the subscription to whoever may make it, which does not include reading it; the
/// past shows it to whoever may read the log.
fn reads(context: &Context<'_>) -> Result<()> {
    let past = allowed_everywhere(context, Noun::Config, Access::Read);
    past.or_else(|_| allowed(context, Noun::Subscriptions, Access::Read)).map(drop)
}

/// An open breaker: deliveries are held, and one at a time is let through to see whether the
/// endpoint is back.
#[derive(Debug, SimpleObject)]
#[graphql(name = "Breaker")]
pub(super) struct BreakerNode {
    /// Since when it is open, RFC 3339.
    since: String,
    /// How many attempts it opened on.
    attempts: u32,
    /// How many of them had failed.
    failures: u32,
    /// How often a delivery is let through, as in `30s`.
    probe_every: String,
}

impl From<Breaker> for BreakerNode {
    fn from(Breaker { since, attempts, failures, probe_every }: Breaker) -> Self {
        let (since, probe_every) = (since.to_string(), probe_every.to_string());
        Self { since, attempts, failures, probe_every }
    }
}

/// A bound on how fast attempts start. What exceeds it waits.
#[derive(Debug, SimpleObject)]
#[graphql(name = "RateLimit")]
pub(super) struct RateLimitNode {
    /// Attempts a second, on average.
    per_second: f64,
    /// How many may start at once after a pause.
    burst: u32,
}

impl From<RateLimit> for RateLimitNode {
    fn from(RateLimit { per_second, burst }: RateLimit) -> Self {
        Self { per_second, burst }
    }
}

/// Fields that ask for [`reads`].
const READ: [&str; 5] = ["url", "headers", "auth", "secretFingerprints", "secrets"];

/// Whether the caller may have what it asks for of a subscription that it changes. Asked before
/// the change: a secret that is made by it is shown once, and would be lost with its answer.
pub(super) fn answerable(context: &Context<'_>, subscription: &Lookahead<'_>) -> Result<()> {
    let asked = READ.iter().any(|field| subscription.field(field).exists());
    if asked { reads(context) } else { Ok(()) }
}

/// A secret that signs deliveries.
#[derive(Debug, SimpleObject)]
pub(super) struct SigningSecret {
    /// Tells it apart from others.
    fingerprint: String,
    /// It signs until then, RFC 3339, beside the one that took its place; null: until it is
    /// replaced.
    until: Option<String>,
    /// It is a key that signs `v1a`; this is its public half, as in `whpk_...`.
    public_key: Option<String>,
}

/// A third party that posts webhooks.
#[derive(Debug)]
pub(super) struct SourceNode(pub(super) Arc<Source>);

#[Object(name = "Source")]
impl SourceNode {
    /// Its name, the path segment after `/events/`.
    async fn name(&self) -> &str {
        &self.0.spec.name
    }
    /// How requests are verified.
    async fn verify(&self) -> &str {
        self.0.spec.verify.as_str()
    }
    /// How the event type is found.
    async fn event_type(&self) -> &str {
        &self.0.spec.event_type.0
    }
    /// For types without a schema: `reject`, `accept`, `quarantine`.
    async fn unvalidated(&self) -> String {
        text(&self.0.spec.unvalidated)
    }
    /// For payloads that break their schema: `reject`, `quarantine`.
    async fn invalid(&self) -> String {
        text(&self.0.spec.invalid)
    }
    /// Whose subscriptions its events may match; null: our own.
    async fn subscriber(&self) -> Option<&str> {
        self.0.spec.subscriber.as_deref()
    }
    /// Default priority of what it brings.
    async fn priority(&self) -> Option<u8> {
        self.0.spec.priority.map(Into::into)
    }
    /// The whole URL that the provider was given.
    async fn public_url(&self) -> Option<&str> {
        self.0.spec.public_url.as_deref()
    }
    /// What is against repeats that were not meant: `delivery_id`, `signature`.
    async fn replay(&self) -> &str {
        self.0.spec.replay.as_str()
    }
    /// Where the proof is, for `hmac` and `api-key`.
    async fn signature(&self) -> Option<Json<SignatureRule>> {
        self.0.spec.signature.clone().map(|rule| Json(*rule))
    }
    /// What `eventType` finds, and the event type that it means.
    async fn event_types(&self) -> Json<&BTreeMap<String, EventUri>> {
        Json(&self.0.spec.event_types)
    }
    /// The type of events for which no other is found; null: they are refused.
    async fn otherwise(&self) -> Option<&str> {
        self.0.spec.otherwise.as_ref().map(EventUri::as_str)
    }
    /// What the provider hears of a webhook that was taken; null: 202 and JSON.
    async fn response(&self) -> Option<Json<StaticResponse>> {
        self.0.spec.response.clone().map(|response| Json(*response))
    }
    /// How much it may bring, from where, and of what.
    async fn limits(&self) -> Json<SourceLimits> {
        Json(self.0.spec.limits.clone())
    }
    /// Hosts that are told that they may deliver here, as CloudEvents senders ask.
    async fn origins(&self) -> &[String] {
        &self.0.spec.origins
    }
    /// Fingerprints of its secrets.
    async fn secret_fingerprints(&self) -> Vec<&str> {
        self.0.secrets.iter().map(|secret| secret.fingerprint.as_str()).collect()
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

/// Which deliveries wait for each other.
#[derive(Debug, SimpleObject)]
#[graphql(name = "Ordering")]
pub(super) struct OrderingNode {
    /// All of them do: one at a time, in order.
    strict: bool,
    /// Those do for whose events this expression (CEL) gives the same.
    key: Option<String>,
}

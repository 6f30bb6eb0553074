//! A subscription, and what may be seen of it.

use crate::graphql::{
    access::{Result, allowed, allowed_everywhere},
    events::HeaderNode,
    sending::AuthNode,
};
use async_graphql::{Context, ID, Json, Lookahead, Object, SimpleObject};
use contract::{
    access::{Access, Noun},
    backoff::BackoffPolicy,
    breaker::Breaker,
    rate_limit::RateLimit,
    subscription::{Ordering, SecretRef, Subscription},
    uri::EventPattern,
};
use std::sync::Arc;

/// Who gets what, and where.
#[derive(Debug)]
pub(in crate::graphql) struct SubscriptionNode(pub(in crate::graphql) Arc<Subscription>);

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
        self.0.spec.events.iter().map(EventPattern::as_str).collect()
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
    async fn backoff(&self) -> Option<Json<BackoffPolicy>> {
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
pub(in crate::graphql) struct BreakerNode {
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
pub(in crate::graphql) struct RateLimitNode {
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
pub(in crate::graphql) fn answerable(
    context: &Context<'_>,
    subscription: &Lookahead<'_>,
) -> Result<()> {
    let asked = READ.iter().any(|field| subscription.field(field).exists());
    if asked { reads(context) } else { Ok(()) }
}

/// A secret that signs deliveries.
#[derive(Debug, SimpleObject)]
pub(in crate::graphql) struct SigningSecret {
    /// Tells it apart from others.
    fingerprint: String,
    /// It signs until then, RFC 3339, beside the one that took its place; null: until it is
    /// replaced.
    until: Option<String>,
    /// It is a key that signs `v1a`; this is its public half, as in `whpk_...`.
    public_key: Option<String>,
}

/// Which deliveries wait for each other.
#[derive(Debug, SimpleObject)]
#[graphql(name = "Ordering")]
pub(in crate::graphql) struct OrderingNode {
    /// All of them do: one at a time, in order.
    strict: bool,
    /// Those do for whose events this expression (CEL) gives the same.
    key: Option<String>,
}

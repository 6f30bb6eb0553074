//! What callers give: filters and declarations, turned into the contract's nouns.

use super::{
    access::{OrShow, Result, invalid},
    sending::{AuthInput, HeaderInput, headers_of},
};
use async_graphql::{InputObject, Json, OneofObject};
use contract::{
    backoff::BackoffPolicy,
    command::{Command, Target},
    event::{Direction, Disposition},
    rate_limit::RateLimit,
    secret::Secret,
    source::{Replay, SignatureRule, SourceLimits, SourceSpec, StaticResponse, Template},
    subscription::{Ordering, Priority, SubscriptionSpec},
    uri::EventUri,
};
use std::collections::BTreeMap;

/// What is declared of a source.
#[derive(Debug, InputObject)]
pub(super) struct SourceInput {
    /// Its name, the path segment after `/events/`.
    pub(super) name: String,
    /// How requests are verified, as in `github`, `stripe`, `standard-webhooks`, `none`.
    verify: String,
    /// Secrets that verify, the newest first. None given: it keeps those it has.
    #[graphql(default)]
    secrets: Vec<String>,
    /// As in `github/1/{header:x-github-event}`.
    event_type: String,
    /// As in `{header:x-delivery}`; null: the scheme's own.
    idempotency_key: Option<String>,
    /// `reject` (default), `accept`, `quarantine`.
    unvalidated: Option<String>,
    /// `reject` (default), `quarantine`.
    invalid: Option<String>,
    /// Whose subscriptions its events may match; null: our own.
    subscriber: Option<String>,
    /// Default priority, 0 to 9.
    priority: Option<u8>,
    /// Default back-off, as in `{"kind": "linear", "base": "10s", "max_retries": 20}`.
    backoff: Option<Json<BackoffPolicy>>,
    /// Largest body in bytes.
    body_bytes_max: Option<u64>,
    /// How old a signed timestamp may be, in seconds.
    tolerance_s: Option<u32>,
    /// The whole URL that the provider was given, for schemes that sign it.
    public_url: Option<String>,
    /// What is against repeats that were not meant: `delivery_id` (default), `signature`.
    replay: Option<String>,
    /// Where the proof is, for `hmac` and `api-key`, as in
    /// `{"header": "x-sig", "algorithm": "sha512", "content": "{timestamp}.{body}",
    /// "timestamp_header": "x-time"}`.
    signature: Option<Json<SignatureRule>>,
    /// What `eventType` finds, and the event type that it means, as in
    /// `{"order.paid": "shop/1/paid"}`; null: it is the event type.
    event_types: Option<Json<BTreeMap<String, EventUri>>>,
    /// The type of events for which no other is found; null: they are refused.
    otherwise: Option<String>,
    /// What the provider hears of a webhook that was taken, as in
    /// `{"status": 200, "content_type": "text/plain", "body": "ok"}`; null: 202 and JSON.
    response: Option<Json<StaticResponse>>,
    /// How much it may bring, from where, and of what, as in `{"requests_per_second": 50,
    /// "burst": 100, "allowed_networks": ["192.0.2.0/24"], "event_types": ["shop/1/*"]}`.
    limits: Option<Json<SourceLimits>>,
    /// Hosts that are told that they may deliver here, as CloudEvents senders ask; `*`: all.
    #[graphql(default)]
    origins: Vec<String>,
}

impl TryFrom<SourceInput> for Command {
    type Error = async_graphql::Error;

    fn try_from(input: SourceInput) -> Result<Self> {
        let spec = SourceSpec {
            name: input.name,
            verify: input.verify.parse().map_err(invalid)?,
            event_type: Template(input.event_type),
            idempotency_key: input.idempotency_key.map(Template),
            unvalidated: disposition(input.unvalidated.as_deref())?,
            invalid: disposition(input.invalid.as_deref())?,
            subscriber: input.subscriber,
            priority: priority(input.priority)?,
            backoff: input.backoff.map(|policy| policy.0),
            body_bytes_max: input.body_bytes_max,
            tolerance_s: input.tolerance_s,
            public_url: input.public_url,
            replay: input
                .replay
                .map_or(Ok(Replay::default()), |text| text.parse())
                .map_err(invalid)?,
            signature: input.signature.map(|rule| Box::new(rule.0)),
            event_types: input.event_types.map(|table| table.0).unwrap_or_default(),
            otherwise: input.otherwise.map(|uri| uri.parse()).transpose().or_show()?,
            response: input.response.map(|response| Box::new(response.0)),
            limits: input.limits.map(|limits| limits.0).unwrap_or_default(),
            origins: input.origins,
        };
        Ok(Self::PutSource { spec, secrets: secrets(input.secrets) })
    }
}

/// What is declared of a subscription.
#[derive(InputObject)]
pub(super) struct SubscriptionInput {
    /// Its name, unique.
    pub(super) name: String,
    /// Whose it is; null: our own.
    pub(super) subscriber: Option<String>,
    /// Where deliveries go; left out with `pull`.
    #[graphql(default)]
    url: String,
    /// Patterns of event URIs, as in `github/1/*`.
    events: Vec<String>,
    /// 0 to 9; null: the event type's, the source's, or 5.
    priority: Option<u8>,
    /// As in `{"kind": "constant", "base": "1s", "max_retries": 10}`.
    backoff: Option<Json<BackoffPolicy>>,
    /// Signing secrets `whsec_...`, the newest first. None given: it keeps those it has, and a
    /// new one gets one that is shown once.
    #[graphql(default)]
    secrets: Vec<String>,
    /// Most attempts at once.
    max_in_flight: Option<u32>,
    /// How fast attempts start at most; null: as fast as it goes.
    rate_limit: Option<RateLimitInput>,
    /// Time limit of an attempt in milliseconds.
    timeout_ms: Option<u32>,

    /// Headers that are added to each delivery.
    #[graphql(default)]
    headers: Vec<HeaderInput>,
    /// What proves who sends, beside the signatures.
    auth: Option<AuthInput>,
    /// Which events of these types it wants: an expression (CEL) that gives true or false, as in
    /// `event.ref == "refs/heads/main"`; null: all.
    filter: Option<String>,
    /// What makes the body that is sent: an expression (CEL) that gives an object or a list, as in
    /// `{"text": event.repository.name}`; null: the payload as it came.
    transform: Option<String>,
    /// `as_received` (default), `json`, `protobuf`, `cloudevents-binary`, `cloudevents-structured`.
    format: Option<String>,
    /// Deliveries are taken by receivers instead of being sent to a URL.
    #[graphql(default)]
    pull: bool,
    /// Which of its deliveries wait for each other; null: none.
    ordering: Option<OrderingInput>,
}

/// Which deliveries wait for each other: strictly all, or those with the same key.
#[derive(Debug, OneofObject)]
pub(super) enum OrderingInput {
    /// One at a time, in order. False: none waits.
    Strict(bool),
    /// One of a key at a time, in order: an expression (CEL) gives the key of an event.
    Key(String),
}

impl From<OrderingInput> for Ordering {
    fn from(input: OrderingInput) -> Self {
        match input {
            OrderingInput::Strict(true) => Self::Strict,
            OrderingInput::Strict(false) => Self::None,
            OrderingInput::Key(source) => Self::Key(source),
        }
    }
}

/// A bound on how fast attempts start. What exceeds it waits.
#[derive(Debug, InputObject)]
pub(super) struct RateLimitInput {
    /// Attempts a second, 0.001 to 100,000; need not be whole.
    per_second: f64,
    /// How many may start at once after a pause, 1 to 10,000.
    #[graphql(default_with = "RateLimit::default_burst()")]
    burst: u32,
}

impl From<RateLimitInput> for RateLimit {
    fn from(input: RateLimitInput) -> Self {
        Self { per_second: input.per_second, burst: input.burst }
    }
}

impl TryFrom<SubscriptionInput> for Command {
    type Error = async_graphql::Error;

    fn try_from(input: SubscriptionInput) -> Result<Self> {
        let events = input.events.iter().map(|pattern| pattern.parse().or_show());
        let spec = SubscriptionSpec {
            name: input.name,
            subscriber: input.subscriber,
            url: input.url,
            events: events.collect::<Result<_>>()?,
            priority: priority(input.priority)?,
            backoff: input.backoff.map(|policy| policy.0),
            max_in_flight: input.max_in_flight,
            rate_limit: input.rate_limit.map(Into::into),
            timeout_ms: input.timeout_ms,
            headers: headers_of(input.headers),
            auth: input.auth.map(Into::into),
            filter: input.filter,
            transform: input.transform,
            format: input
                .format
                .map(|format| format.parse().map_err(invalid))
                .transpose()?
                .unwrap_or_default(),
            pull: input.pull,
            ordering: input.ordering.map(Into::into).unwrap_or_default(),
        };
        Ok(Self::PutSubscription { spec, secrets: secrets(input.secrets) })
    }
}

pub(super) fn priority(level: Option<u8>) -> Result<Option<Priority>> {
    level.map(Priority::try_from).transpose().map_err(invalid)
}

fn secrets(texts: Vec<String>) -> Vec<Secret> {
    texts.into_iter().map(Secret::new).collect()
}

fn disposition(text: Option<&str>) -> Result<Disposition> {
    match text {
        None | Some("reject") => Ok(Disposition::Reject),
        Some("accept") => Ok(Disposition::Accept),
        Some("quarantine") => Ok(Disposition::Quarantine),
        Some(other) => {
            Err(invalid(format!("`{other}` is not allowed; write reject, accept or quarantine")))
        }
    }
}

/// A back-off by its level and direction.
pub(super) fn backoff_key(target: &str, direction: &str) -> Result<Target> {
    let direction = match direction {
        "incoming" => Direction::Incoming,
        "outgoing" => Direction::Outgoing,
        other => {
            let message = format!("`{other}` is no direction; allowed: incoming, outgoing");
            return Err(invalid(message));
        }
    };
    let target = target.parse().map_err(invalid)?;
    Ok(Target::Backoff(target, direction))
}

//! What callers give: filters and declarations, turned into the contract's nouns.

use super::access::{OrShow, Result, invalid};
use async_graphql::{InputObject, Json};
use contract::{
    backoff::BackoffPolicy,
    command::{Command, Target},
    event::{Direction, Disposition},
    secret::Secret,
    source::{SourceSpec, Template},
    subscription::{Priority, SubscriptionSpec},
};

/// What is declared of a source.
#[derive(Debug, InputObject)]
pub(super) struct SourceInput {
    /// Its name, the path segment after `/events/`.
    pub(super) name: String,
    /// `github`, `standard-webhooks` or `none`.
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
        };
        Ok(Self::PutSource { spec, secrets: secrets(input.secrets) })
    }
}

/// What is declared of a subscription.
#[derive(Debug, InputObject)]
pub(super) struct SubscriptionInput {
    /// Its name, unique.
    pub(super) name: String,
    /// Whose it is; null: our own.
    pub(super) subscriber: Option<String>,
    /// Where deliveries go.
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
    /// Time limit of an attempt in milliseconds.
    timeout_ms: Option<u32>,
    /// Which events of these types it wants: an expression (CEL) that gives true or false, as in
    /// `event.ref == "refs/heads/main"`; null: all.
    filter: Option<String>,
    /// What makes the body that is sent: an expression (CEL) that gives an object or a list, as in
    /// `{"text": event.repository.name}`; null: the payload as it came.
    transform: Option<String>,
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
            timeout_ms: input.timeout_ms,
            filter: input.filter,
            transform: input.transform,
            ..SubscriptionSpec::default()
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

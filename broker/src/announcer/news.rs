//! Which facts are told to operators, and in which words. Pure: what a fact does not say itself is
//! given as [`Circumstances`].

use contract::{
    access::{Actor, ApiKey},
    breaker::Breaker,
    clock::Timestamp,
    delivery::{Attempt, Cause, Delivery, Next},
    event::Event,
    id::{DeliveryId, EventId, KeyId, SubscriptionNumber},
    log::LoggedFact,
    schema::SchemaVersion,
    source::SourceSpec,
    subscription::{Subscription, SubscriptionStatus},
    uri::EventUri,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A fact that is told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum News {
    /// A delivery was given up, after this attempt or without another one.
    Dead { delivery: DeliveryId, attempt: Option<Box<Attempt>>, cause: Cause },
    /// A subscription was paused, disabled or resumed.
    Status { number: SubscriptionNumber, status: SubscriptionStatus, reason: Option<String> },
    /// The deliveries of a subscription are held, because nearly all attempts fail.
    BreakerOpened { number: SubscriptionNumber, breaker: Breaker },
    /// They go on.
    BreakerClosed { number: SubscriptionNumber },
    /// A version of a schema is in force.
    Published(Box<SchemaVersion>),
    /// A schema is in force no more.
    SchemaRemoved { uri: EventUri },
    /// A source was created or changed.
    Source(Box<SourceSpec>),
    /// A source is gone.
    SourceRemoved { name: String },
    /// A key was made.
    KeyIssued(Box<ApiKey>),
    /// A key works no more.
    KeyRevoked { id: KeyId },
}

/// What is known of the things that a fact names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Circumstances {
    /// The subscription, unless it is gone.
    pub subscription: Option<Subscription>,
    /// How many deliveries wait for it.
    pub waiting: u64,
    /// The delivery and its event, unless retention took them.
    pub delivery: Option<(Delivery, Event)>,
}

/// An event of the server's own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Announcement {
    /// The name of its type, as in `delivery_dead`.
    pub name: &'static str,
    /// What it says: a JSON object after the contract of its type.
    pub payload: Value,
}

#[derive(Deserialize)]
struct AttemptRecorded {
    delivery: DeliveryId,
    attempt: Box<Attempt>,
    next: Next,
}

#[derive(Deserialize)]
struct Abandoned {
    delivery: DeliveryId,
    cause: Cause,
}

#[derive(Deserialize)]
struct StatusChanged {
    number: SubscriptionNumber,
    status: SubscriptionStatus,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Opened {
    number: SubscriptionNumber,
    breaker: Breaker,
}

#[derive(Deserialize)]
struct Closed {
    number: SubscriptionNumber,
}

#[derive(Deserialize)]
struct SourcePut {
    spec: Box<SourceSpec>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct OfType {
    uri: EventUri,
}

#[derive(Deserialize)]
struct OfKey {
    id: KeyId,
}

/// What a fact tells; None: nothing that an operator need know.
///
/// Errors: the fact is not as this program knows its kind.
pub(crate) fn read(fact: &LoggedFact) -> Result<Option<News>, serde_json::Error> {
    Ok(match fact.kind.as_str() {
        "attempt_recorded" => match body::<AttemptRecorded>(fact)? {
            AttemptRecorded { delivery, attempt, next: Next::Dead(cause) } => {
                Some(News::Dead { delivery, attempt: Some(attempt), cause })
            }
            AttemptRecorded { next: Next::Done | Next::Retry(_), .. } => None,
        },
        "delivery_abandoned" => {
            let Abandoned { delivery, cause } = body(fact)?;
            Some(News::Dead { delivery, attempt: None, cause })
        }
        "subscription_status_changed" => {
            let StatusChanged { number, status, reason } = body(fact)?;
            Some(News::Status { number, status, reason })
        }
        "breaker_opened" => {
            let Opened { number, breaker } = body(fact)?;
            Some(News::BreakerOpened { number, breaker })
        }
        "breaker_closed" => Some(News::BreakerClosed { number: body::<Closed>(fact)?.number }),
        "schema_published" => {
            let version: Box<SchemaVersion> = body(fact)?;
            // The contracts of these very events come with the program.
            (!version.uri.is_own()).then_some(News::Published(version))
        }
        "schema_removed" => Some(News::SchemaRemoved { uri: body::<OfType>(fact)?.uri }),
        "source_put" => Some(News::Source(body::<SourcePut>(fact)?.spec)),
        "source_removed" => Some(News::SourceRemoved { name: body::<Named>(fact)?.name }),
        "key_issued" => match fact.actor {
            // The first key of all, which comes before anybody could have subscribed.
            Actor::Component(_) => None,
            _ => Some(News::KeyIssued(body(fact)?)),
        },
        "key_revoked" => Some(News::KeyRevoked { id: body::<OfKey>(fact)?.id }),
        _ => None,
    })
}

fn body<T: DeserializeOwned>(fact: &LoggedFact) -> Result<T, serde_json::Error> {
    T::deserialize(&fact.body)
}

/// How the news is told; None: it is not, since it is about the delivery of other news. Whatever
/// becomes of those causes no more of them.
pub(crate) fn tell(fact: &LoggedFact, news: &News, around: &Circumstances) -> Option<Announcement> {
    let (actor, time) = (person(&fact.actor), fact.time.to_string());
    let (name, payload) = match news {
        News::Dead { delivery, attempt, cause } => {
            let (found, event) = around.delivery.as_ref()?;
            if event.uri.is_own() {
                return None;
            }
            let attempt = attempt.as_deref().or(found.attempts.last());
            let mut payload = subscription(around);
            payload.extend(object(json!({
                "delivery_id": delivery, "event_id": found.event, "event_type": event.uri,
                "cause": cause, "attempts": attempt.map_or(0, |attempt| attempt.number),
                "last_attempt": attempt.map(shown),
                "accepted_at": found.created_at, "dead_at": time,
            })));
            ("delivery_dead", Value::Object(payload))
        }
        News::Status { status, reason, .. } => {
            return tell_status(fact, *status, reason.as_deref(), around);
        }
        News::BreakerOpened { breaker, .. } => {
            return tell_breaker(fact, Some(breaker), around);
        }
        News::BreakerClosed { .. } => return tell_breaker(fact, None, around),
        News::Published(version) => {
            let SchemaVersion { uri, minor, message, digest, unknown_fields, rulebook, .. } =
                &**version;
            let payload = json!({
                "event_type": uri, "major": uri.major(), "minor": minor, "message": message,
                "digest": hex::encode(digest), "unknown_fields": unknown_fields, "actor": actor,
                "published_at": version.published_at, "rulebook": rulebook,
            });
            ("schema_published", payload)
        }
        News::SchemaRemoved { uri } => {
            let major = uri.major();
            let payload =
                json!({"event_type": uri, "major": major, "actor": actor, "removed_at": time});
            ("schema_removed", payload)
        }
        News::Source(spec) => {
            let payload = json!({
                "source": spec.name, "scheme": scheme(spec), "actor": actor, "changed_at": time,
            });
            ("source_changed", payload)
        }
        News::SourceRemoved { name } => {
            ("source_removed", json!({"source": name, "actor": actor, "removed_at": time}))
        }
        News::KeyIssued(key) => {
            let payload = json!({
                "key_id": key.id, "key_name": key.name, "roles": key.roles,
                "subscriber": key.subscriber, "expires_at": key.expires_at, "actor": actor,
                "issued_at": time,
            });
            ("key_issued", payload)
        }
        News::KeyRevoked { id } => {
            ("key_revoked", json!({"key_id": id, "actor": actor, "revoked_at": time}))
        }
    };
    Some(Announcement { name, payload })
}

/// How a change of a subscription's status is told.
fn tell_status(
    fact: &LoggedFact,
    status: SubscriptionStatus,
    reason: Option<&str>,
    around: &Circumstances,
) -> Option<Announcement> {
    let (actor, time) = (person(&fact.actor), fact.time.to_string());
    if caused_by_news(fact, around) {
        return None;
    }
    let mut payload = subscription(around);
    payload.insert("reason".to_owned(), json!(reason.unwrap_or_default()));
    let (name, more) = match status {
        SubscriptionStatus::Active => {
            ("subscription_resumed", json!({"actor": actor, "resumed_at": time}))
        }
        SubscriptionStatus::Paused => {
            // The server itself pauses for one reason only.
            let cause = if actor.is_empty() { Cause::Gone.as_str() } else { "" };
            let waiting = around.waiting;
            let more = json!({
                "cause": cause, "actor": actor, "paused_at": time,
                "deliveries_waiting": waiting,
            });
            ("subscription_paused", more)
        }
        SubscriptionStatus::Disabled => {
            let waiting = around.waiting;
            let since = around.subscription.as_ref().and_then(|found| found.breaker);
            let since = since.map(|breaker| breaker.since);
            let more = json!({
                "disabled_at": time, "deliveries_waiting": waiting, "failing_since": since,
            });
            ("subscription_disabled", more)
        }
    };
    payload.extend(object(more));
    Some(Announcement { name, payload: Value::Object(payload) })
}

/// How an endpoint that is left alone, or is back, is told.
fn tell_breaker(
    fact: &LoggedFact,
    opened: Option<&Breaker>,
    around: &Circumstances,
) -> Option<Announcement> {
    if caused_by_news(fact, around) {
        return None;
    }
    let time = fact.time.to_string();
    let mut payload = subscription(around);
    let (name, more) = match opened {
        Some(Breaker { since, attempts, failures, probe_every }) => {
            let more = json!({
                "attempts": attempts, "failures": failures, "opened_at": since,
                "probe_every": format!("{}s", probe_every.0.as_secs_f64()),
                "deliveries_waiting": around.waiting,
            });
            ("breaker_opened", more)
        }
        None => {
            let waiting = around.waiting;
            ("breaker_closed", json!({"closed_at": time, "deliveries_waiting": waiting}))
        }
    };
    payload.extend(object(more));
    Some(Announcement { name, payload: Value::Object(payload) })
}

/// A subscription that wants nothing but news had nothing but news delivered: what the server did
/// to it for that is told to nobody.
fn caused_by_news(fact: &LoggedFact, around: &Circumstances) -> bool {
    let only_news = around.subscription.as_ref().is_some_and(|subscription| {
        let mut patterns = subscription.spec.events.iter();
        patterns.all(|pattern| pattern.as_str().starts_with("_certes/"))
    });
    only_news && person(&fact.actor).is_empty()
}

/// Whose doing it was; empty: the server's own.
fn person(actor: &Actor) -> String {
    match actor {
        Actor::Component(_) => String::new(),
        other => other.to_string(),
    }
}

fn subscription(around: &Circumstances) -> serde_json::Map<String, Value> {
    let Some(found) = &around.subscription else { return serde_json::Map::new() };
    object(json!({
        "subscription_id": found.id, "subscription_name": found.spec.name,
        "subscriber": found.spec.subscriber, "url": found.spec.url,
    }))
}

fn shown(attempt: &Attempt) -> Value {
    let Attempt { number, started_at, duration_ms, status, cause, error, .. } = attempt;
    json!({
        "number": number, "started_at": started_at, "duration_ms": duration_ms,
        "status": status.unwrap_or_default(), "cause": cause.map(Cause::as_str),
        "error": error,
    })
}

/// The name of the scheme by which a source is verified.
fn scheme(spec: &SourceSpec) -> String {
    match serde_json::to_value(spec.verify) {
        Ok(Value::String(name)) => name,
        Ok(Value::Object(scheme)) => scheme.keys().next().cloned().unwrap_or_default(),
        Ok(_) | Err(_) => String::new(),
    }
}

fn object(value: Value) -> serde_json::Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => serde_json::Map::new(),
    }
}

/// The id of the event that tells of a fact: a UUIDv7 (RFC 9562, section 5.7) of the fact's time
/// and of what identifies it, so that it is the same however often it is told.
pub(crate) fn event_id(fact: &LoggedFact) -> EventId {
    let mut digest = Sha256::new();
    digest.update(b"certes announcement\0");
    digest.update(fact.sequence.0.to_be_bytes());
    digest.update(fact.time.0.to_be_bytes());
    digest.update(fact.prev_hash.as_bytes());
    let digest: [u8; 32] = digest.finalize().into();
    let Timestamp(micros) = fact.time;
    let millis = u64::try_from(micros / 1000).unwrap_or(0).to_be_bytes();
    let mut id = [0; 16];
    id[..6].copy_from_slice(&millis[2..]);
    id[6..].copy_from_slice(&digest[..10]);
    id[6] = 0x70 | (id[6] & 0x0F);
    id[8] = 0x80 | (id[8] & 0x3F);
    EventId::from_bytes(id)
}

#[cfg(test)]
#[path = "news/tests.rs"]
mod tests;

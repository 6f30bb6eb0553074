//! Events: what comes in, and what is stored of it.

use crate::{
    clock::Timestamp,
    id::{EventId, KeyId, LaneId, Sequence},
    secret::Secret,
    stamp::Stamp,
    uri::EventUri,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Header names and values, in the order received; names in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first value of `name`, which is given in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Replaces the values of these headers (names in lower case) by `***` and a fingerprint.
    pub fn hide_credentials<N: AsRef<str>>(&mut self, names: &[N]) {
        for (name, value) in &mut self.0 {
            if names.iter().any(|hidden| hidden.as_ref() == name.as_str()) {
                let secret = Secret::new(std::mem::take(value));
                *value = format!("*** {}", secret.fingerprint());
            }
        }
    }
}

/// Headers that carry credentials and are therefore never stored or passed on as they came, unless
/// a setting says otherwise.
pub const CREDENTIAL_HEADERS: [&str; 7] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "x-gitlab-token",
    "x-telegram-bot-api-secret-token",
];

/// Which way an event travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From a third party or a producer to our own subscriptions.
    Incoming,
    /// To subscribers, who are other companies.
    Outgoing,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incoming => "incoming",
            Self::Outgoing => "outgoing",
        })
    }
}

/// Marks an event that was made to test one subscription: kept with it, and delivered. Only the
/// server makes it.
pub const TEST_HEADER: &str = "certes-test";

/// Whose subscriptions an event may match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Our own: those without a subscriber.
    Own,
    /// One subscriber's, by its id.
    Subscriber(String),
    /// Every subscriber's: an explicit `*`.
    All,
}

impl Audience {
    /// May a subscription of `subscriber` (None: our own) receive the event?
    pub fn includes(&self, subscriber: Option<&str>) -> bool {
        match self {
            Self::Own => subscriber.is_none(),
            Self::Subscriber(id) => subscriber == Some(id),
            Self::All => subscriber.is_some(),
        }
    }
}

/// Where an event came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A configured source, by name.
    Source(String),
    /// A producer, by its key.
    Producer(KeyId),
    /// The server itself.
    Server,
}

/// What happens to an event that no schema knows, or that breaks its schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// Refused with an error.
    #[default]
    Reject,
    /// Kept aside, delivered to nobody.
    Quarantine,
    /// Taken unchecked. Only for events without a schema.
    Accept,
}

/// How an event came to be here: the W3C trace and our own trail through the parts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Trace {
    /// `traceparent` (W3C Trace Context, level 1), taken in or made at the door.
    pub traceparent: String,
    /// Correlation trail: `[ext.]<gw|eb|api|ec|reg>.<trace id>`, in the order of the hops.
    pub trail: Vec<String>,
    /// How many webhook servers it has passed (`certes-hops`).
    pub hops: u8,
}

/// An event at the door of the broker: authenticated, not yet checked against its contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Its type.
    pub uri: EventUri,
    /// Which way.
    pub direction: Direction,
    /// Whose subscriptions it may match.
    pub audience: Audience,
    /// Where it came from.
    pub origin: Origin,
    /// The bytes that the sender's contract covers; never altered.
    pub payload: Bytes,
    /// Media type of the payload, as received.
    pub content_type: String,
    /// Headers that are kept and delivered; credentials are already replaced.
    pub headers: Headers,
    /// Same key and same origin within 24 hours: the same event.
    pub idempotency_key: Option<String>,
    /// When the gateway had it.
    pub received_at: Timestamp,
    /// The way here.
    pub trace: Trace,
    /// When no schema is known for the type.
    pub unvalidated: Disposition,
    /// When the payload breaks the schema.
    pub invalid: Disposition,
    /// Position of the rules that the door knew: whoever handles the event next may refuse it only
    /// by these or by newer ones.
    pub rules: Sequence,
}

/// The answer to whoever sent an event: it is on stable storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The event's id, also its `webhook-id`.
    pub id: EventId,
    /// How many subscriptions will get it.
    pub deliveries: u32,
    /// It was here before; `id` is the first one's.
    pub duplicate: bool,
    /// It was kept aside and goes to nobody.
    pub quarantined: bool,
}

/// Whether an event was taken or kept aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventState {
    /// Valid, and delivered to whoever matched.
    Accepted,
    /// Kept aside.
    Quarantined,
}

impl fmt::Display for EventState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accepted => "accepted",
            Self::Quarantined => "quarantined",
        })
    }
}

/// A stored event without its payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// Position of its fact in the log.
    pub sequence: Sequence,
    /// Its type.
    pub uri: EventUri,
    /// Taken or kept aside.
    pub state: EventState,
    /// Why it was kept aside.
    pub reason: Option<String>,
    /// Which way.
    pub direction: Direction,
    /// Whose subscriptions it may match.
    pub audience: Audience,
    /// Where it came from.
    pub origin: Origin,
    /// Media type of the payload.
    pub content_type: String,
    /// Kept headers.
    pub headers: Headers,
    /// Key against repeats.
    pub idempotency_key: Option<String>,
    /// When the gateway had it.
    pub received_at: Timestamp,
    /// The way here.
    pub trace: Trace,
    /// Proof that nothing was changed since the broker checked it.
    pub stamp: Stamp,
    /// Size of the payload in bytes.
    pub size: u64,
    /// Minor version of the schema it was checked against; None: unchecked.
    pub schema_minor: Option<u32>,
    /// The lanes it was put into.
    pub lanes: Vec<LaneId>,
    /// Position of the rules that matched it.
    pub rules: Sequence,
}

impl Event {
    /// Was it made to test one subscription?
    pub fn is_test(&self) -> bool {
        self.headers.get(TEST_HEADER).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_and_still_told_apart() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut headers =
            Headers(vec![pair("cookie", "a"), pair("x-github-event", "push"), pair("cookie", "b")]);
        headers.hide_credentials(&CREDENTIAL_HEADERS);
        assert_eq!(headers.0[0].1, format!("*** {}", Secret::new("a").fingerprint()));
        assert_ne!(headers.0[0].1, headers.0[2].1);
        assert_eq!(headers.get("x-github-event"), Some("push"));
    }
}

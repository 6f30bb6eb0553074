//! Deliveries and attempts: one event for one subscription, and each HTTP request made for it.

use crate::{
    clock::Timestamp,
    exchange::ExchangeRecord,
    id::{DeliveryId, EventId, ReplayId},
    subscription::OrderingKey,
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// Where a delivery stands. See docs/lifecycle.md for the drawing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// An attempt is still to come.
    Waiting,
    /// A 2xx was received.
    Delivered,
    /// Given up: a dead letter.
    Dead,
    /// Taken back before it was delivered.
    Cancelled,
}

impl DeliveryState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Waiting, Self::Delivered, Self::Dead, Self::Cancelled];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for DeliveryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for DeliveryState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| {
            format!("`{text}` is no state; allowed: waiting, delivered, dead, cancelled")
        })
    }
}

/// Why an attempt did not deliver, or a delivery was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A status that is no success.
    Status,
    /// A redirect, which is never followed.
    Redirect,
    /// 410: the endpoint wants no more.
    Gone,
    /// 429 or 503: the endpoint asks for patience.
    Throttled,
    /// The name could not be resolved.
    Dns,
    /// The address is not allowed.
    AddressRefused,
    /// No connection.
    Connect,
    /// TLS failed.
    Tls,
    /// No complete answer in time.
    Timeout,
    /// The connection broke in the middle.
    Reset,
    /// The answer is no HTTP, or too large.
    BadResponse,
    /// The stamp does not fit: something was changed on the way.
    Integrity,
    /// The payload's retention has passed.
    Expired,
    /// The subscription cannot be delivered to as it is defined.
    Misconfigured,
    /// The back-off ran out.
    Exhausted,
    /// The server lost the attempt's outcome, for example in a crash.
    Lost,
    /// The payload was erased.
    Erased,
    /// What proves to the endpoint who sends could not be had.
    Auth,
    /// The subscription's transformation makes no body of the event.
    Transform,
    /// The payload cannot be written in the form that the subscription wants.
    Format,
}

impl Cause {
    /// Its name, as in `address_refused`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Redirect => "redirect",
            Self::Gone => "gone",
            Self::Throttled => "throttled",
            Self::Dns => "dns",
            Self::AddressRefused => "address_refused",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
            Self::BadResponse => "bad_response",
            Self::Integrity => "integrity",
            Self::Expired => "expired",
            Self::Misconfigured => "misconfigured",
            Self::Exhausted => "exhausted",
            Self::Lost => "lost",
            Self::Erased => "erased",
            Self::Auth => "auth",
            Self::Transform => "transform",
            Self::Format => "format",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One HTTP request of a delivery, or one handing over to a receiver, with its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub duration_ms: u32,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// None: it was delivered.
    pub cause: Option<Cause>,
    /// A sentence for a person.
    pub error: Option<String>,
    /// The address that was dialled.
    pub address: Option<String>,
    /// Beginning of the response body, of attempts recorded before format 4; since then it is part
    /// of the [`crate::exchange::Exchange`], which can be erased.
    pub response_excerpt: Option<String>,
    /// Which back-off rule decided what came next (`subscription`, `type:...`, `source:...`,
    /// `global`, `default`); None after a success.
    pub backoff_rule: Option<String>,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// Nothing: it was delivered.
    Done,
    /// Another attempt at this time.
    Retry(Timestamp),
    /// Nothing: it is dead.
    Dead(Cause),
}

/// A consumer's report of one attempt. Recorded only if `attempt.number` is the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptReport {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// What happened.
    pub attempt: Attempt,
    /// What went over the wire; None: nothing did, or it is not to be kept.
    #[serde(default)]
    pub exchange: Option<Box<ExchangeRecord>>,
    /// What follows.
    pub next: Next,
    /// The endpoint answered 410: pause its subscription.
    pub pause_subscription: bool,
}

/// A delivery as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// The event.
    pub event: EventId,
    /// Where it stands.
    pub state: DeliveryState,
    /// Why it is dead.
    pub cause: Option<Cause>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the next attempt is due; None when finished.
    pub due: Option<Timestamp>,
    /// The attempts so far, oldest first.
    pub attempts: Vec<Attempt>,
    /// How many attempts of earlier rounds lie before the last resend: the back-off starts anew
    /// after them.
    #[serde(default)]
    pub attempts_before_resend: u32,
    /// Whose turn it shares: see [`crate::subscription::Ordering::Key`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordering_key: Option<OrderingKey>,
    /// The replay that made it; None: it was made with its event, or for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayId>,
    /// It has a `webhook-id` of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new_id: bool,
}

impl Delivery {
    /// What its receiver tells repeats by: the event's id, in every attempt for every subscription;
    /// of a replay that wants new ones, the delivery's.
    pub fn webhook_id(&self) -> String {
        if self.new_id { self.id.to_string() } else { self.event.to_string() }
    }

    /// The number that the next attempt will have.
    pub fn next_attempt(&self) -> u32 {
        self.attempts.last().map_or(1, |attempt| attempt.number + 1)
    }
}

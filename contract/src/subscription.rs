//! Subscriptions and their owners.

use crate::{
    backoff::BackoffPolicy,
    breaker::Breaker,
    clock::Timestamp,
    event::Headers,
    id::{SecretId, SubscriptionId, SubscriptionNumber},
    rate_limit::RateLimit,
    sending::{Auth, Credential, PayloadFormat, SignatureScheme},
    uri::{EventPattern, EventUri},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// 0 to 9; 9 goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Priority(u8);

impl Priority {
    /// How many levels there are.
    pub const LEVELS: usize = 10;
    /// Before all others.
    pub const MAX: Self = Self(9);

    /// The level, 0 to 9.
    pub const fn level(self) -> usize {
        self.0 as usize
    }
}

const _: () = assert!(Priority::MAX.level() + 1 == Priority::LEVELS);

impl Default for Priority {
    fn default() -> Self {
        Self(5)
    }
}

impl TryFrom<u8> for Priority {
    type Error = String;
    fn try_from(level: u8) -> Result<Self, String> {
        if usize::from(level) < Self::LEVELS {
            Ok(Self(level))
        } else {
            Err(format!("{level} is no priority; allowed: 0 to 9"))
        }
    }
}

impl From<Priority> for u8 {
    fn from(priority: Priority) -> Self {
        priority.0
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The owner of subscriptions, a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscriber {
    /// Its id in the operator's own words, as in `org_123`.
    pub id: String,
    /// A name for people.
    #[serde(default)]
    pub name: String,
}

/// Defaults for an event type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventType {
    /// Which type.
    pub uri: EventUri,
    /// For subscriptions that set no priority.
    #[serde(default)]
    pub priority: Option<Priority>,
}

/// Which deliveries of a subscription wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// None does: as many at once as its cap allows.
    #[default]
    None,
    /// All do: one at a time, in the order of the log.
    Strict,
    /// Those with the same key do. The expression (CEL) gives the key of an event.
    Key(String),
}

impl Ordering {
    /// Is no order kept?
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// What the key of an ordered delivery was hashed to. Deliveries of one lane with the same hash
/// are made one at a time, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OrderingKey(pub u64);

/// A secret by id and fingerprint; its bytes are elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    /// Which secret.
    pub id: SecretId,
    /// Tells it apart from others.
    pub fingerprint: String,
    /// It signs until then, beside the one that took its place; None: until it is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// It is a private key that signs `v1a`; this is its public half, as in `whpk_...`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

impl SecretRef {
    /// What it signs.
    pub const fn scheme(&self) -> SignatureScheme {
        match self.public_key {
            Some(_) => SignatureScheme::V1a,
            None => SignatureScheme::V1,
        }
    }

    /// Has its time come to an end?
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// What an operator declares of a subscription. Without secrets: they go beside it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SubscriptionSpec {
    /// Its name, unique.
    pub name: String,
    /// Whose it is; None: our own.
    #[serde(default)]
    pub subscriber: Option<String>,
    /// Where deliveries go: an http or https URL; empty: receivers take them (`pull`).
    pub url: String,
    /// What it wants.
    pub events: Vec<EventPattern>,
    /// None: the event type's, else the source's, else 5.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// None: the event type's, else the source's, else the global one.
    #[serde(default)]
    pub backoff: Option<BackoffPolicy>,
    /// Most attempts at once; None: the queue adapts it.
    #[serde(default)]
    pub max_in_flight: Option<u32>,
    /// How fast attempts start at most; None: as fast as it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Time limit of a whole attempt in milliseconds, 1,000 to 60,000; None: the consumer's.
    #[serde(default)]
    pub timeout_ms: Option<u32>,
    /// Which events of these types it wants: an expression (CEL) that gives true or false; None:
    /// all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What makes the body that is sent: an expression (CEL) that gives an object or a list; None:
    /// the payload as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<String>,
    /// Which of its deliveries wait for each other.
    #[serde(default, skip_serializing_if = "Ordering::is_none")]
    pub ordering: Ordering,

    /// Headers that are added to each delivery, names in lower case.
    #[serde(default, skip_serializing_if = "Headers::is_empty")]
    pub headers: Headers,
    /// What proves who sends, beside the signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// In which form it wants its payloads.
    #[serde(default, skip_serializing_if = "PayloadFormat::is_as_received")]
    pub format: PayloadFormat,

    /// Deliveries are taken by receivers instead of being sent to a URL. Since format 5.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pull: bool,
}

impl SubscriptionSpec {
    /// The stored secret of its `auth`.
    pub fn credential(&self) -> Option<&SecretRef> {
        self.auth.as_ref().map(|auth| &auth.credential).and_then(Credential::stored)
    }
}

/// Does a subscription get its deliveries now?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionStatus {
    /// Yes.
    Active,
    /// No, by an operator's wish or the endpoint's own 410; deliveries are kept.
    Paused,
    /// No, after long failure; deliveries are kept.
    Disabled,
}

impl fmt::Display for SubscriptionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        })
    }
}

/// A subscription as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Its number, given once; names its lanes.
    pub number: SubscriptionNumber,
    /// What was declared.
    pub spec: SubscriptionSpec,
    /// Whether it gets its deliveries.
    pub status: SubscriptionStatus,
    /// Why it is not active.
    pub status_reason: Option<String>,
    /// Nearly all attempts fail: what is open since when; None: it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,
    /// Secrets that sign its deliveries, the newest first.
    pub secrets: Vec<SecretRef>,
    /// When it was created.
    pub created_at: Timestamp,
}

impl Subscription {
    /// All its secrets: those that sign, and that of its `auth`.
    pub fn all_secrets(&self) -> impl Iterator<Item = &SecretRef> {
        self.secrets.iter().chain(self.spec.credential())
    }
}

//! Everything that can ever have happened. Start reading here: the state is a fold of these facts
//! ([`crate::state`], [`crate::project`]), and commands are decided into them ([`crate::decide`]).

use bytes::Bytes;
pub use contract::log::Chain;
use contract::{
    access::{Actor, ApiKey, Roles, TokenKey, User},
    backoff::{BackoffRule, BackoffTarget},
    clock::Timestamp,
    command::Target,
    delivery::{Attempt, Next},
    event::{Audience, Direction, Event, EventState, Headers, Origin, Trace},
    id::{DeliveryId, EventId, KeyId, LaneId, SecretId, Sequence, SubscriptionNumber, UserId},
    schema::SchemaVersion,
    source::Source,
    stamp::Stamp,
    subscription::{
        EventType, SecretRef, Subscriber, Subscription, SubscriptionSpec, SubscriptionStatus,
    },
    uri::EventUri,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::fmt;

/// Something that happened: the unit of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// Its position; one sequence for both chains, without a hole.
    pub sequence: Sequence,
    /// When: never before the fact in front of it.
    pub time: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// Hash of the fact before it in its chain; zeros for the first.
    pub prev_hash: Hash,
    /// What happened.
    pub body: FactBody,
}

/// What happened.
///
/// **How this may change.** Everything here is stored for ever and is read by programs older and
/// newer than the one that wrote it.
/// 1. A field may be added with `#[serde(default)]`, a kind may be added at the end of its chain.
///    Both raise [`FORMAT`] by one: older programs refuse the log instead of misreading it.
/// 2. Nothing is renamed, removed, or given another meaning or another chain.
/// 3. A change that rules 1 and 2 cannot express gets a new [`crate::codec::VERSION`], and the
///    reader keeps the old one.
/// 4. `test-data/facts/` holds one golden file of every kind in every version; files are added,
///    never edited. The test beside this type fails until a new kind has one, and writes it when
///    `CERTES_WRITE_GOLDEN` is set.
/// 5. An unknown kind or field stops the program. It is never skipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FactBody {
    // Traffic: what passes through.
    /// An event was taken, with a delivery in each of its lanes.
    EventAccepted {
        /// The event.
        event: Box<StoredEvent>,
    },
    /// An event was kept aside and goes to nobody.
    EventQuarantined {
        /// The event; it has no lanes.
        event: Box<StoredEvent>,
        /// Why.
        reason: String,
    },
    /// A delivery was attempted, and this follows.
    AttemptRecorded {
        /// Which delivery.
        delivery: DeliveryId,
        /// One HTTP request and its outcome.
        attempt: Box<Attempt>,
        /// Delivered, another attempt, or dead.
        next: Next,
    },
    /// A finished delivery waits again, due at once.
    DeliveryResent {
        /// Which delivery.
        delivery: DeliveryId,
    },
    /// A waiting delivery was taken back.
    DeliveryCancelled {
        /// Which delivery.
        delivery: DeliveryId,
        /// Why.
        reason: String,
    },
    /// An event that was kept aside keeps its contract by now: it was taken after all, with a
    /// delivery in each of its lanes. From here on, its place is this one.
    QuarantineReleased {
        /// The event as it was taken, with its lanes.
        event: Box<StoredEvent>,
        /// Where it was kept aside.
        from: Sequence,
    },

    // Configuration: what decides how it passes.
    /// From here on the log may hold what this format allows.
    FormatRaised {
        /// See [`FORMAT`].
        format: u32,
    },
    /// A day of traffic ended; what is needed to check the rest without it.
    BucketClosed {
        /// Which day.
        bucket: Bucket,
        /// How many facts it holds.
        count: u64,
        /// Its last fact.
        last: Sequence,
        /// Hash of its last fact.
        hash: Hash,
    },
    /// Bytes were put under lock. They are never in a fact.
    SecretStored(SecretRef),
    /// The bytes of a secret are gone.
    SecretErased {
        /// Which secret.
        id: SecretId,
    },
    /// A stored secret became the key of new stamps.
    StampKeyCreated(SecretRef),
    /// An API key was made.
    KeyIssued(Box<ApiKey>),
    /// An API key works no more.
    KeyRevoked {
        /// Which key.
        id: KeyId,
    },
    /// A subscriber was created or changed.
    SubscriberPut(Subscriber),
    /// A subscriber is gone.
    SubscriberRemoved {
        /// Which one.
        id: String,
    },
    /// Defaults of an event type were set.
    EventTypePut(EventType),
    /// Defaults of an event type are gone.
    EventTypeRemoved {
        /// Which type.
        uri: EventUri,
    },
    /// A source was created or changed.
    SourcePut(Box<Source>),
    /// A source is gone.
    SourceRemoved {
        /// Which one.
        name: String,
    },
    /// A back-off rule was set.
    BackoffPut(Box<BackoffRule>),
    /// A back-off rule is gone.
    BackoffRemoved {
        /// For whom it was.
        target: BackoffTarget,
        /// For which way.
        direction: Direction,
    },
    /// A schema has a new version.
    SchemaPublished(Box<SchemaVersion>),
    /// A subscription is there.
    SubscriptionCreated(Box<Subscription>),
    /// A subscription is different.
    SubscriptionChanged {
        /// Which one.
        number: SubscriptionNumber,
        /// What is declared of it now.
        spec: Box<SubscriptionSpec>,
        /// The secrets that sign now, the newest first.
        secrets: Vec<SecretRef>,
    },
    /// A subscription was paused, resumed or disabled.
    SubscriptionStatusChanged {
        /// Which one.
        number: SubscriptionNumber,
        /// Its status now.
        status: SubscriptionStatus,
        /// Why.
        reason: Option<String>,
    },
    /// A subscription is gone; its waiting deliveries are being cancelled.
    SubscriptionRemoved {
        /// Which one.
        number: SubscriptionNumber,
    },
    /// The last waiting delivery of a removed subscription was cancelled.
    SubscriptionCleared {
        /// Which one.
        number: SubscriptionNumber,
    },
    /// A manifest put this object, so a later manifest without it may prune it.
    ObjectManaged(Target),
    /// A schema is no longer in force. Its versions stay in the log, and their numbers are not
    /// given again. Since format 2.
    SchemaRemoved {
        /// Which type and major.
        uri: EventUri,
    },
    /// Somebody can log in. Since format 3.
    UserCreated(Box<User>),
    /// A user may do something else. Since format 3.
    UserRolesSet {
        /// Which user.
        id: UserId,
        /// What it may do now.
        roles: Roles,
    },
    /// A user has another password; its tokens are refused. Since format 3.
    UserPasswordSet {
        /// Which user.
        id: UserId,
        /// The stored hash.
        password: SecretRef,
    },
    /// A user was disabled or enabled again; its tokens are refused. Since format 3.
    UserDisabled {
        /// Which user.
        id: UserId,
        /// It cannot log in.
        disabled: bool,
    },
    /// A user is gone. Since format 3.
    UserRemoved {
        /// Which user.
        id: UserId,
    },
    /// A stored secret became the key that signs tokens. Since format 3.
    TokenKeyCreated(Box<TokenKey>),
    /// What a token key has signed is refused. Since format 3.
    TokenKeyForgotten {
        /// Which key.
        id: SecretId,
    },
    /// The bytes of a secret were shown to whoever caused this. Since format 3.
    SecretRevealed {
        /// Which secret.
        id: SecretId,
    },
}

/// The newest format that this program reads and writes.
///
/// 2: [`FactBody::SchemaRemoved`], [`FactBody::QuarantineReleased`], and the rulebook of a
/// [`SchemaVersion`].
/// 3: notable facts are indexed ([`FactBody::is_notable`]), and so are events
/// ([`crate::search`]), with the place of the open block in the head;
/// [`FactBody::UserCreated`] and the other facts of users, [`FactBody::TokenKeyCreated`],
/// [`FactBody::TokenKeyForgotten`], [`FactBody::SecretRevealed`], users and other issuers as
/// actors, and rows of secrets that name their key.
/// 4: answers to changes that may be repeated (`once.rs`).
pub const FORMAT: u32 = 4;

/// An event as its fact keeps it: all but the payload, which retention and erasure take away
/// before the fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredEvent {
    /// Its id.
    pub id: EventId,
    /// Its type.
    pub uri: EventUri,
    /// Which way.
    pub direction: Direction,
    /// Whose subscriptions it may match.
    pub audience: Audience,
    /// Where it came from.
    pub origin: Origin,
    /// Media type of the payload.
    pub content_type: String,
    /// Kept headers; credentials are already replaced.
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
    /// SHA-256 of the payload's salt and the payload. Once both are erased, nothing can be
    /// guessed from it.
    pub payload_digest: Hash,
    /// Minor version of the schema it keeps; None: unchecked.
    pub schema_minor: Option<u32>,
    /// The lanes it was put into, in order.
    pub lanes: Vec<LaneId>,
    /// Position of the rules it was matched by.
    pub rules: Sequence,
}

impl StoredEvent {
    /// The event as the ports show it. `reason`: why it was kept aside.
    pub fn into_event(self, sequence: Sequence, reason: Option<String>) -> Event {
        Event {
            id: self.id,
            sequence,
            uri: self.uri,
            state: reason.as_ref().map_or(EventState::Accepted, |_| EventState::Quarantined),
            reason,
            direction: self.direction,
            audience: self.audience,
            origin: self.origin,
            content_type: self.content_type,
            headers: self.headers,
            idempotency_key: self.idempotency_key,
            received_at: self.received_at,
            trace: self.trace,
            stamp: self.stamp,
            size: self.size,
            schema_minor: self.schema_minor,
            lanes: self.lanes,
            rules: self.rules,
        }
    }
}

impl FactBody {
    /// The chain that this kind belongs to.
    pub const fn chain(&self) -> Chain {
        match self {
            Self::EventAccepted { .. }
            | Self::EventQuarantined { .. }
            | Self::AttemptRecorded { .. }
            | Self::DeliveryResent { .. }
            | Self::DeliveryCancelled { .. }
            | Self::QuarantineReleased { .. } => Chain::Traffic,
            Self::FormatRaised { .. }
            | Self::BucketClosed { .. }
            | Self::SecretStored(_)
            | Self::SecretErased { .. }
            | Self::StampKeyCreated(_)
            | Self::KeyIssued(_)
            | Self::KeyRevoked { .. }
            | Self::SubscriberPut(_)
            | Self::SubscriberRemoved { .. }
            | Self::EventTypePut(_)
            | Self::EventTypeRemoved { .. }
            | Self::SourcePut(_)
            | Self::SourceRemoved { .. }
            | Self::BackoffPut(_)
            | Self::BackoffRemoved { .. }
            | Self::SchemaPublished(_)
            | Self::SubscriptionCreated(_)
            | Self::SubscriptionChanged { .. }
            | Self::SubscriptionStatusChanged { .. }
            | Self::SubscriptionRemoved { .. }
            | Self::SubscriptionCleared { .. }
            | Self::ObjectManaged(_)
            | Self::SchemaRemoved { .. }
            | Self::UserCreated(_)
            | Self::UserRolesSet { .. }
            | Self::UserPasswordSet { .. }
            | Self::UserDisabled { .. }
            | Self::UserRemoved { .. }
            | Self::TokenKeyCreated(_)
            | Self::TokenKeyForgotten { .. }
            | Self::SecretRevealed { .. } => Chain::Configuration,
        }
    }
}

impl FactBody {
    /// Is it one of the few facts that an operator may want to be told of? Those of the traffic
    /// get a row of their own in `Notable`: what many facts are must not be among them.
    pub const fn is_notable(&self) -> bool {
        matches!(self.chain(), Chain::Configuration)
            || matches!(self, Self::AttemptRecorded { next: Next::Dead(_), .. })
    }
}

/// A day of UTC, counted from the Unix epoch: what retention drops in one piece.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Bucket(pub u32);

impl Bucket {
    /// The day of a moment.
    pub fn of(time: Timestamp) -> Self {
        Self(u32::try_from(time.unix_seconds().div_euclid(86_400)).unwrap_or(0))
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// SHA-256 of something. Raw bytes where it is stored, hex where people read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = if deserializer.is_human_readable() {
            hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?
        } else {
            Bytes::deserialize(deserializer)?.to_vec()
        };
        let bytes = bytes.try_into().map_err(|_bytes| D::Error::custom("expected 32 bytes"))?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
#[path = "fact/golden.rs"]
mod golden;

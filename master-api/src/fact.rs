//! Everything that can ever have happened. Start reading here: the state is a fold of these facts
//! ([`crate::state`], [`crate::project`]), and commands are decided into them ([`crate::decide`]).

mod stored_event;
mod bucket;
mod hash;
mod kinds;

pub use bucket::Bucket;
pub use contract::log::Chain;
pub use hash::Hash;
pub use kinds::{check_kinds, kinds};
pub use stored_event::StoredEvent;

use bytes::Bytes;
use contract::{
    access::{Actor, ApiKey, Roles, TokenKey, User},
    backoff::{BackoffRule, BackoffTarget},
    breaker::Breaker,
    clock::Timestamp,
    command::Target,
    delivery::{Attempt, Cause, Delivery, Next},
    event::Direction,
    id::{
        DeliveryId, EventId, KeyId, LaneId, ReplayId, SecretId, Sequence, SubscriptionNumber,
        UserId,
    },
    log::NOTABLE_SINCE_FORMAT,
    master_api::Stats,
    replay::{ReplayProgress, ReplaySpec},
    retention::ErasureTarget,
    schema::SchemaVersion,
    setting::Setting,
    source::Source,
    subscription::{
        EventType, OrderingKey, SecretRef, Subscriber, Subscription, SubscriptionSpec,
        SubscriptionStatus,
    },
    uri::EventUri,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
    /// An event of a day that goes still has deliveries to make: from here on, its place is this
    /// one. Each of `lanes` follows as a [`Self::DeliveryCarried`]. Since format 3.
    EventCarried {
        /// The event, as it was taken.
        event: Box<StoredEvent>,
        /// Where it was taken; what its deliveries are named by.
        sequence: Sequence,
        /// Its place until now.
        from: Sequence,
        /// The lanes whose deliveries are carried with it.
        lanes: Vec<LaneId>,
        /// More of its deliveries were made after it. Since format 5.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        later: bool,
    },
    /// A delivery of an event that was carried, as it stands. Since format 3.
    DeliveryCarried {
        /// The delivery with all its attempts.
        delivery: Box<Delivery>,
        /// It waits for a retry, and no longer for its first turn.
        scheduled: bool,
        /// It was made after its event. Since format 5.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        later: bool,
    },
    /// A waiting delivery was given up without another attempt: it is dead. Since format 3.
    DeliveryAbandoned {
        /// Which delivery.
        delivery: DeliveryId,
        /// Why.
        cause: Cause,
    },
    /// The payload of an event and its salt are gone, before its day. Since format 3.
    PayloadRemoved {
        /// Which event.
        event: EventId,
        /// `expired` or `erased`.
        cause: Cause,
    },
    /// An event has more deliveries, made here and not where it was taken. Since format 5.
    DeliveriesMade {
        /// Of which event.
        event: EventId,
        /// One in each of these lanes.
        lanes: Vec<LaneId>,
        /// Those that are kept in order by key.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        keys: BTreeMap<LaneId, OrderingKey>,
        /// The replay that made them; None: the event went to so many that they are made bit by
        /// bit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replay: Option<ReplayId>,
        /// They have a `webhook-id` of their own.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        new_id: bool,
        /// The dead letter that the new one stands for from here on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replaces: Option<DeliveryId>,
    },
    /// A replay has come so far. Since format 5.
    ReplayAdvanced {
        /// Which one.
        replay: ReplayId,
        /// Where it goes on.
        cursor: Bytes,
        /// All that it did so far.
        progress: ReplayProgress,
        /// Nothing more comes of it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        over: bool,
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
    /// The last delivery of a subscription that was removed or skips was cancelled.
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
    /// A damaged log was made to go on without what it had lost. Since format 3.
    LossAccepted {
        /// Facts that are gone, each stretch from its first to its last. Their numbers are not
        /// given again.
        facts: Vec<(Sequence, Sequence)>,
        /// Events whose payloads are gone.
        payloads: Vec<EventId>,
    },
    /// A day that ended is about to go: from here on its deliveries are not resent and its events
    /// not released, and what is unfinished in it is carried to today. Since format 3.
    BucketRetired {
        /// Which day.
        bucket: Bucket,
    },
    /// A day is gone, with its facts, payloads, finished deliveries and indices. Since format 3.
    BucketDropped {
        /// Which day.
        bucket: Bucket,
        /// What went with it.
        gone: Stats,
    },
    /// Somebody wants payloads erased: the list that a restore goes through again. Since format 3.
    ErasureOrdered {
        /// Of what.
        target: ErasureTarget,
    },
    /// All that an erasure was about is gone. Since format 3.
    ErasureDone {
        /// Where it was ordered.
        ordered: Sequence,
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
    /// A setting was changed. Since format 4.
    ConfigSet {
        /// Its name.
        key: String,
        /// How it stands.
        setting: Setting,
    },
    /// Nearly all attempts at the endpoint of a subscription fail: its deliveries are held. Since
    /// format 5.
    BreakerOpened {
        /// Which subscription.
        number: SubscriptionNumber,
        /// On what it opened, and how it goes on.
        breaker: Breaker,
    },
    /// What waits for a subscription that is not active is being taken back, as far as it was
    /// accepted before this; then the subscription is resumed. Since format 5.
    DeliveriesSkipped {
        /// Which subscription.
        number: SubscriptionNumber,
    },
    /// The endpoint of a subscription is back. Since format 5.
    BreakerClosed {
        /// Which subscription.
        number: SubscriptionNumber,
    },
    /// Somebody wants something delivered once more. Since format 5.
    ReplayStarted(Box<ReplayOrder>),
    /// A replay is wanted no more; what waits of it is being taken back. Since format 5.
    ReplayCancelled {
        /// Which one.
        replay: ReplayId,
    },
    /// A replay is over: all was made, or it was cancelled, and nothing of it waits. Since format 5.
    ReplayEnded {
        /// Which one.
        replay: ReplayId,
        /// When.
        at: Timestamp,
        /// What it did.
        progress: ReplayProgress,
    },
}

/// A replay as it was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayOrder {
    /// Its id.
    pub id: ReplayId,
    /// What is wanted.
    pub spec: ReplaySpec,
    /// The subscription whose deliveries are meant.
    pub from: Option<SubscriptionNumber>,
    /// The subscription that gets them.
    pub to: Option<SubscriptionNumber>,
    /// When it was ordered.
    pub started_at: Timestamp,
    /// The last fact before it: what comes later is no part of it.
    pub upto: Sequence,
}

/// The newest format that this program reads and writes.
///
/// 2: [`FactBody::SchemaRemoved`], [`FactBody::QuarantineReleased`], and the rulebook of a
/// [`SchemaVersion`].
/// 3: [`FactBody::LossAccepted`], retention and erasure ([`FactBody::EventCarried`],
/// [`FactBody::DeliveryCarried`], [`FactBody::DeliveryAbandoned`], [`FactBody::PayloadRemoved`],
/// [`FactBody::BucketRetired`], [`FactBody::BucketDropped`], [`FactBody::ErasureOrdered`],
/// [`FactBody::ErasureDone`], and the cause `erased`); users
/// ([`FactBody::UserCreated`] and the other facts of users), [`FactBody::TokenKeyCreated`],
/// [`FactBody::TokenKeyForgotten`], [`FactBody::SecretRevealed`], users and other issuers as
/// actors, rows of secrets that name their key; and notable facts are indexed
/// ([`FactBody::is_notable`]).
/// 4: events are indexed (`search.rs`), with the place of the open block in the head; answers to
/// changes that may be repeated (`once.rs`); what went over the wire in attempts, beside the payloads
/// ([`crate::tables::exchange_key`]); [`FactBody::DeliveryAbandoned`] is notable; the time until which
/// a [`SecretRef`] signs; [`FactBody::ConfigSet`].
/// 5: order among the deliveries of a subscription ([`SubscriptionSpec::ordering`],
/// [`StoredEvent::keys`]); `headers`, `auth` and `format` of a [`SubscriptionSpec`], the causes
/// `auth` and `format`, the public key of a [`SecretRef`];
/// rate limits; [`FactBody::BreakerOpened`], [`FactBody::BreakerClosed`],
/// [`FactBody::DeliveriesSkipped`]; filters ([`SubscriptionSpec::filter`]); transformations
/// ([`SubscriptionSpec::transform`], and the cause `transform`); the schemes of a [`Source`] beside
/// `github`, `standard-webhooks` and `none`, and what it says of proofs, types, answers and bounds;
/// [`SubscriptionSpec::pull`];
/// replays ([`FactBody::ReplayStarted`] and the other facts of replays), deliveries that are made
/// after their event ([`FactBody::DeliveriesMade`]), with their index, and the lanes behind the live
/// ones ([`LaneId::behind`]).
pub const FORMAT: u32 = 5;

impl FactBody {
    /// The chain that this kind belongs to.
    pub const fn chain(&self) -> Chain {
        match self {
            Self::EventAccepted { .. }
            | Self::EventQuarantined { .. }
            | Self::AttemptRecorded { .. }
            | Self::DeliveryResent { .. }
            | Self::DeliveryCancelled { .. }
            | Self::QuarantineReleased { .. }
            | Self::EventCarried { .. }
            | Self::DeliveryCarried { .. }
            | Self::DeliveryAbandoned { .. }
            | Self::PayloadRemoved { .. }
            | Self::DeliveriesMade { .. }
            | Self::ReplayAdvanced { .. } => Chain::Traffic,
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
            | Self::SecretRevealed { .. }
            | Self::ConfigSet { .. }
            | Self::BreakerOpened { .. }
            | Self::BreakerClosed { .. }
            | Self::DeliveriesSkipped { .. }
            | Self::LossAccepted { .. }
            | Self::BucketRetired { .. }
            | Self::BucketDropped { .. }
            | Self::ErasureOrdered { .. }
            | Self::ErasureDone { .. }
            | Self::ReplayStarted(_)
            | Self::ReplayCancelled { .. }
            | Self::ReplayEnded { .. } => Chain::Configuration,
        }
    }
}

impl FactBody {
    /// Is it one of the few facts that an operator may want to be told of, in a log of `format`?
    /// Those of the traffic get a row of their own in `Notable`: what many facts are must not be
    /// among them.
    pub const fn is_notable(&self, format: u32) -> bool {
        match self {
            Self::AttemptRecorded { next: Next::Dead(_), .. } => format >= NOTABLE_SINCE_FORMAT,
            Self::DeliveryAbandoned { .. } => format >= ABANDONED_NOTABLE_SINCE_FORMAT,
            _ => matches!(self.chain(), Chain::Configuration),
        }
    }
}

/// Since then, deliveries that were given up without an attempt are notable.
const ABANDONED_NOTABLE_SINCE_FORMAT: u32 = 4;

#[cfg(test)]
mod golden;

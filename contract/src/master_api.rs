//! Ports of Master API, one a noun: hop 3b. It alone touches the state database.

use crate::{
    Error, ErrorCode, Result,
    access::{Actor, Session},
    clock::Timestamp,
    command::{Change, Changeset},
    delivery::{AttemptReport, Delivery, DeliveryState},
    event::{Audience, Direction, Event, EventState, NewEvent, Origin},
    exchange::Exchange,
    id::{DeliveryId, EventId, KeyId, LaneId, Sequence, SubscriptionId},
    log::{LogHead, LogPage, LogQuery},
    past::Past,
    replay::Replays,
    retention::{PayloadState, Retention},
    rules::RulesReceiver,
    schema::SchemaVersion,
    secret::Secret,
    stamp::Stamp,
    subscription::OrderingKey,
    uri::{EventPattern, EventUri},
};
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr};

/// An event that the broker has checked and matched, to be appended to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreEvent {
    /// Id that the broker gave it. Storing the same id again gives the first answer.
    pub id: EventId,
    /// The event.
    pub event: NewEvent,
    /// Over id, URI, content type, headers and payload.
    pub stamp: Stamp,
    /// Minor version of the schema it keeps; None: unchecked.
    pub schema_minor: Option<u32>,
    /// Why it is kept aside; None: it is delivered.
    pub quarantine: Option<String>,
    /// The lanes it matched; empty when kept aside.
    pub lanes: Vec<LaneId>,
    /// Its key in those lanes that keep an order by key.
    pub keys: BTreeMap<LaneId, OrderingKey>,
    /// Position of the rules it was matched by.
    pub rules: Sequence,
}

/// An event that was kept aside, checked and matched anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseEvent {
    /// Which event.
    pub id: EventId,
    /// Minor version of the schema it keeps now; None: unchecked.
    pub schema_minor: Option<u32>,
    /// The lanes it matched.
    pub lanes: Vec<LaneId>,
    /// Its key in those lanes that keep an order by key.
    pub keys: BTreeMap<LaneId, OrderingKey>,
    /// Position of the rules it was matched by.
    pub rules: Sequence,
}

/// What became of a [`StoreEvent`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// The event's id; the first one's when it was here before.
    pub id: EventId,
    /// Position of its fact.
    pub sequence: Sequence,
    /// The lanes it was put into.
    pub lanes: Vec<LaneId>,
    /// It was here before.
    pub duplicate: bool,
    /// It was kept aside.
    pub quarantined: bool,
}

/// Which events a listing is about. All given conditions hold together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventFilter {
    /// Of this type, or of one that this pattern selects.
    pub uri: Option<EventPattern>,
    /// Of a type whose URI starts with this text.
    #[serde(default)]
    pub prefix: Option<String>,
    /// From this source.
    pub source: Option<String>,
    /// From the producer with this key.
    #[serde(default)]
    pub producer: Option<KeyId>,
    /// Addressed to this subscriber; `*`: addressed to all of them.
    #[serde(default)]
    pub subscriber: Option<String>,
    /// Travelling this way.
    #[serde(default)]
    pub direction: Option<Direction>,
    /// In this state.
    pub state: Option<EventState>,
    /// Received at or after.
    pub since: Option<Timestamp>,
    /// Received before.
    pub until: Option<Timestamp>,
    /// With this idempotency key.
    pub idempotency_key: Option<String>,
}

impl EventFilter {
    /// Does it want this event?
    pub fn matches(&self, event: &Event) -> bool {
        let from = |name: &String| matches!(&event.origin, Origin::Source(found) if found == name);
        let to = |id: &String| match &event.audience {
            Audience::Own => false,
            Audience::Subscriber(found) => found == id,
            Audience::All => id == "*",
        };
        self.uri.as_ref().is_none_or(|pattern| pattern.matches(&event.uri))
            && self.prefix.as_ref().is_none_or(|start| event.uri.as_str().starts_with(start))
            && self.source.as_ref().is_none_or(from)
            && self.producer.is_none_or(|key| event.origin == Origin::Producer(key))
            && self.subscriber.as_ref().is_none_or(to)
            && self.direction.is_none_or(|direction| direction == event.direction)
            && self.state.is_none_or(|state| state == event.state)
            && self.since.is_none_or(|since| event.received_at >= since)
            && self.until.is_none_or(|until| event.received_at < until)
            && (self.idempotency_key.is_none() || self.idempotency_key == event.idempotency_key)
    }
}

/// Which deliveries a listing is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeliveryFilter {
    /// In this state.
    pub state: Option<DeliveryState>,
    /// Of this subscription.
    pub subscription: Option<SubscriptionId>,
    /// Of any subscription that this subscriber has now.
    #[serde(default)]
    pub subscriber: Option<String>,
    /// Of events of this type, or of one that this pattern selects.
    #[serde(default)]
    pub uri: Option<EventPattern>,
    /// Made at or after.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Made before.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

/// Where a page starts and how long it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PageRequest {
    /// Rows at most; 0 means [`crate::limits::PAGE_DEFAULT`].
    pub first: u32,
    /// Cursor of the page before.
    pub after: Option<String>,
}

/// A page of a listing, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page starts; None: there is none.
    pub next: Option<String>,
}

/// Events in the log.
#[async_trait]
pub trait Events: Send + Sync {
    /// Appends an event with its deliveries: one synced atomic batch.
    ///
    /// Errors: `idempotency_conflict`; `stale_rules` when a newer fact could change the match;
    /// `unavailable` when the store can take no more.
    async fn store_event(&self, event: StoreEvent) -> Result<Stored>;
    /// Accepts an event that was kept aside, with deliveries, at a new position of the log. One
    /// that is accepted already is answered as a duplicate.
    ///
    /// Errors: `not_found`, also when its payload has expired; `stale_rules`; `unavailable`.
    async fn release_event(&self, actor: Actor, release: ReleaseEvent) -> Result<Stored>;
    /// An event by id.
    async fn event(&self, id: EventId) -> Result<Option<Event>>;
    /// The payload, byte for byte; None once its retention has passed.
    async fn payload(&self, id: EventId) -> Result<Option<Bytes>>;
    /// Whether the payload of an event is there. An event that has gone with its day is `Expired`,
    /// as far as its id tells that it was; None: no such event is known.
    async fn payload_state(&self, id: EventId) -> Result<Option<PayloadState>>;
    /// Those of several events, in the same order; at most [`crate::limits::PAGE_MAX`]. Whoever can
    /// reads them together instead of one by one.
    async fn payload_states(&self, ids: Vec<EventId>) -> Result<Vec<Option<PayloadState>>> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.push(self.payload_state(id).await?);
        }
        Ok(found)
    }
    /// Events, in the order of the log, the newest first. A page may be short: it has a cursor
    /// as long as there may be more.
    async fn events(&self, filter: EventFilter, page: PageRequest) -> Result<Page<Event>>;
    /// The deliveries of an event, by lane.
    async fn deliveries_of(&self, id: EventId) -> Result<Vec<Delivery>>;
    /// Events by id, in the same order; at most [`crate::limits::PAGE_MAX`]. Whoever can reads
    /// them together instead of one by one.
    async fn events_by_id(&self, ids: Vec<EventId>) -> Result<Vec<Option<Event>>> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.push(self.event(id).await?);
        }
        Ok(found)
    }
    /// The deliveries of each of these events, in the same order; at most
    /// [`crate::limits::PAGE_MAX`]. Whoever can reads them together instead of one by one.
    async fn deliveries_of_each(&self, ids: Vec<EventId>) -> Result<Vec<Vec<Delivery>>> {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.push(self.deliveries_of(id).await?);
        }
        Ok(found)
    }
}

/// All that a consumer needs for an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The delivery as it stands.
    pub delivery: Delivery,
    /// Its event.
    pub event: Event,
    /// The payload; None once its retention has passed.
    pub payload: Option<Bytes>,
}

/// Numbers of a whole deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Events accepted.
    pub accepted: u64,
    /// Events kept aside.
    pub quarantined: u64,
    /// Deliveries with a 2xx.
    pub delivered: u64,
    /// Deliveries with an attempt to come.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
    /// Deliveries taken back.
    pub cancelled: u64,
}

impl Stats {
    /// Both together.
    #[must_use]
    pub const fn plus(&self, other: &Self) -> Self {
        Self {
            accepted: self.accepted.saturating_add(other.accepted),
            quarantined: self.quarantined.saturating_add(other.quarantined),
            delivered: self.delivered.saturating_add(other.delivered),
            waiting: self.waiting.saturating_add(other.waiting),
            dead: self.dead.saturating_add(other.dead),
            cancelled: self.cancelled.saturating_add(other.cancelled),
        }
    }

    /// What is left without the other.
    #[must_use]
    pub const fn minus(&self, other: &Self) -> Self {
        Self {
            accepted: self.accepted.saturating_sub(other.accepted),
            quarantined: self.quarantined.saturating_sub(other.quarantined),
            delivered: self.delivered.saturating_sub(other.delivered),
            waiting: self.waiting.saturating_sub(other.waiting),
            dead: self.dead.saturating_sub(other.dead),
            cancelled: self.cancelled.saturating_sub(other.cancelled),
        }
    }

    /// The counter of a state.
    pub const fn of(&mut self, state: DeliveryState) -> &mut u64 {
        match state {
            DeliveryState::Waiting => &mut self.waiting,
            DeliveryState::Delivered => &mut self.delivered,
            DeliveryState::Dead => &mut self.dead,
            DeliveryState::Cancelled => &mut self.cancelled,
        }
    }
}

/// Deliveries and attempts.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// What is needed to attempt these deliveries, in the same order; None for one that is
    /// unknown or finished.
    async fn work(&self, deliveries: Vec<DeliveryId>) -> Result<Vec<Option<Work>>>;
    /// Records attempts. Returns when they are durable. For each: false if the attempt number
    /// was not the next one (a late report), in which case nothing changed.
    async fn record_attempts(&self, reports: Vec<AttemptReport>) -> Result<Vec<bool>>;
    /// A delivery by id.
    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>>;
    /// What went over the wire in the attempts of a delivery, oldest first: of those that sent
    /// something, and as long as the payload of the event is kept. A page ends after
    /// [`crate::limits::EXCHANGES_BYTES_MAX`], too; its cursor is the number of its last attempt.
    async fn exchanges(&self, _id: DeliveryId, _page: PageRequest) -> Result<Page<Exchange>> {
        Ok(Page { items: Vec::new(), next: None })
    }
    /// Deliveries, newest first.
    async fn deliveries(&self, filter: DeliveryFilter, page: PageRequest)
    -> Result<Page<Delivery>>;
    /// Makes a finished delivery wait again, due at once. Errors: `not_found`; `conflict` when it
    /// is not finished.
    async fn resend(&self, actor: Actor, id: DeliveryId) -> Result<Delivery>;
    /// Numbers of the whole deployment.
    async fn stats(&self) -> Result<Stats>;
}

/// A lane with work in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneStatus {
    /// Which lane.
    pub lane: LaneId,
    /// No delivery at or before this position is waiting for its first attempt: the durable
    /// cursor.
    pub cursor: Sequence,
    /// Newest delivery of the lane.
    pub head: Sequence,
    /// When the earliest retry is due.
    pub next_due: Option<Timestamp>,
}

/// A delivery that is to go into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedItem {
    /// Which delivery.
    pub delivery: DeliveryId,
    /// When its next attempt is due.
    pub due: Timestamp,
    /// Its key, if its lane keeps an order by key. Only the log knows it: what the broker offers
    /// at once carries none.
    pub key: Option<OrderingKey>,
}

/// Waiting deliveries of one lane, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FeedPage {
    /// Those that wait for a first attempt, oldest first.
    pub fresh: Vec<FeedItem>,
    /// Retries, earliest due first.
    pub due: Vec<FeedItem>,
    /// Position up to which `fresh` was read: the next page starts after it.
    pub read_to: Sequence,
    /// There may be more fresh ones after `read_to`.
    pub more: bool,
}

/// Which holder of a right it is, counted up: whoever writes by that right names it, and an older
/// one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Fence(pub u64);

/// The log as the feeder sees it: lane by lane.
#[async_trait]
pub trait Lanes: Send + Sync {
    /// Asks for the right to feed for the feeder of this name, or keeps it. It is a lease of some
    /// seconds, to be asked for once a second. None: another feeder has it.
    async fn lead(&self, feeder: &str) -> Result<Option<Fence>>;
    /// Gives that right back, so that others need not wait until it ends.
    async fn step_down(&self, feeder: &str) -> Result<()>;
    /// Lanes that have something fresh after their cursor, or a retry due at or before `until`.
    async fn lanes(&self, until: Timestamp) -> Result<Vec<LaneStatus>>;
    /// Up to `limit` fresh deliveries of `lane` after position `after`, and up to `limit` retries
    /// that are due at or before `until`. An `after` before the lane's durable cursor counts as
    /// the cursor, so 0 reads from there without a search. A delivery that is sent again is a
    /// retry, due at once, also when it was never attempted: fresh ones lie after the cursor.
    async fn feed(
        &self,
        lane: LaneId,
        after: Sequence,
        until: Timestamp,
        limit: u32,
    ) -> Result<FeedPage>;
    /// Moves durable cursors forward. Not a fact and not synced by itself: a cursor that falls
    /// back after a crash only makes the feeder read again.
    ///
    /// Errors: `conflict` when `fence` is not that of the newest right to feed.
    async fn advance(&self, fence: Fence, cursors: Vec<(LaneId, Sequence)>) -> Result<()>;
}

/// The configuration: rules in force, and commands that change them.
#[async_trait]
pub trait Configuration: Send + Sync {
    /// The newest rules, kept up to date.
    fn rules(&self) -> RulesReceiver;
    /// Carries out a changeset, all or nothing. Answers only when [`Self::rules`] of this
    /// process shows it.
    ///
    /// Errors: `invalid_definition`, `not_found`, `conflict`.
    async fn execute(&self, actor: Actor, changes: Changeset) -> Result<Vec<Change>>;
    /// All versions of a schema that were ever published, oldest first, also when it was removed
    /// since. Where no history is kept: the one in force.
    async fn schema_versions(&self, uri: &EventUri) -> Result<Vec<SchemaVersion>> {
        let rules = self.rules().borrow().clone();
        Ok(rules
            .schemas
            .get(uri)
            .map(|version| SchemaVersion::clone(version))
            .into_iter()
            .collect())
    }
    /// A token for the user of this name and password, who calls from this address. It takes as long for a name that nobody
    /// has as for a wrong password.
    ///
    /// Errors: `unauthenticated`; `rate_limited`; `unavailable`.
    async fn log_in(
        &self,
        _name: String,
        _password: Secret,
        _from: Option<IpAddr>,
    ) -> Result<Session> {
        Err(Error::new(ErrorCode::Unavailable, "nobody can log in here"))
    }
    /// Another token for the holder of one that is still good, until its password has to be given
    /// again.
    ///
    /// Errors: `unauthenticated`; `unavailable`.
    async fn renew_session(&self, _token: Secret) -> Result<Session> {
        Err(Error::new(ErrorCode::Unavailable, "nobody can log in here"))
    }
    /// Takes note of when keys were last used. No fact tells of it, and of each key it is written
    /// at most about once a minute; what is not written is not lost but for the last minute.
    async fn note_key_uses(&self, _uses: BTreeMap<KeyId, Timestamp>) -> Result<()> {
        Ok(())
    }
    /// When each key was last used, to a minute or two. Keys that never were are not in it.
    async fn key_uses(&self) -> Result<BTreeMap<KeyId, Timestamp>> {
        Ok(BTreeMap::new())
    }
    /// Seals all stored secrets anew, under a new key. No fact tells of it, as none tells of the
    /// key. Errors: `invalid_definition` where the key is not Master API's to choose.
    async fn rotate_secret_key(&self) -> Result<()> {
        Err(Error::new(ErrorCode::Unavailable, "no secrets are kept here"))
    }
}

/// The log itself: facts in order, to be looked through or followed.
#[async_trait]
pub trait Log: Send + Sync {
    /// Facts after a position, oldest first. If there is none that is wanted, the answer waits for
    /// one as long as the query says, and then says how far it has looked.
    ///
    /// Errors: `invalid_request`.
    async fn facts(&self, query: LogQuery) -> Result<LogPage>;
    /// Where the log ends.
    async fn log_head(&self) -> Result<LogHead>;
    /// How far a follower has come; None: it was never told.
    async fn cursor(&self, follower: &str) -> Result<Option<Sequence>>;
    /// Moves the durable cursor of a follower forward. Not a fact and not synced by itself: a
    /// cursor that falls back after a crash makes the follower read again, so what it does must
    /// bear repetition.
    ///
    /// Errors: `invalid_request` for a name that is too long, or for too many followers.
    async fn move_cursor(&self, follower: &str, to: Sequence) -> Result<()>;
}

/// All of Master API.
pub trait MasterApi:
    Events + Deliveries + Lanes + Configuration + Log + Past + Retention + Replays
{
}

impl<T> MasterApi for T where
    T: Events + Deliveries + Lanes + Configuration + Log + Past + Retention + Replays
{
}

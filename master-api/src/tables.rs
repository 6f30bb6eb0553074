//! What the rows of each table look like: their keys, and what is in them.
//!
//! | table | key | row |
//! |---|---|---|
//! | `Meta` | `head`, `format` | [`Head`], a number |
//! | `Configuration`, `Traffic(day)` | sequence | a fact, see [`crate::log`] |
//! | `Payloads(day)` | sequence of its event | 16 bytes of salt, then the payload |
//! | `Payloads(day)` | sequence, lane, attempt | what went over the wire, see [`exchange_key`] |
//! | `Idempotency(day)` | origin and key | [`IdempotencyRow`] |
//! | | `m`, caller and key | `AnswerRow` of `once.rs` |
//! | `Search(day)` | `s` or `c`, sequence | a block of events, see `search.rs` |
//! | `EventIds` | event id | [`EventIdRow`] |
//! | `Deliveries` | lane, sequence | [`DeliveryRow`] |
//! | `Due` | lane, due time, sequence | its ordering key, if it has one |
//! | `Dead` | sequence, lane | nothing |
//! | `Notable` | sequence of a notable traffic fact | nothing |
//! | `Replays` | `d`, event id, delivery | nothing: a delivery that was made after its event |
//! | `Replays` | `r`, replay id | [`ReplayRow`] |
//! | `Cursors` | lane, or `log/` and a follower | sequence |
//! | `Cursors` | `key/` and the id of an API key | when it was last used, in microseconds |
//! | `Secrets` | secret id | nonce and sealed bytes, see [`crate::secrets`] |
//!
//! Numbers in keys are big-endian, so that keys sort as the numbers do. `Search` to `Replays` can
//! be rebuilt from the facts ([`crate::project`]).
//!
//! **Retention.** What grows lies in tables of a day, and a day goes by dropping its tables, which
//! gives the space back at once. The chain still verifies, because `BucketClosed` keeps each day's
//! last hash and count in the configuration, which stays. Unfinished deliveries are carried to
//! today first, with their events; the rows that the day's facts made in the other tables go one
//! by one, found by those facts (`retention.rs`). Erasing a single payload removes its row
//! and with it the salt, after which the digest in the fact says nothing.

use crate::{
    fact::{Bucket, Hash},
    store::Table,
};
use bytes::Bytes;
use contract::{
    clock::Timestamp,
    delivery::{Attempt, Cause, Delivery, DeliveryState},
    event::Origin,
    id::{DeliveryId, EventId, KeyId, LaneId, ReplayId, Sequence},
    master_api::Stats,
    replay::ReplayProgress,
    subscription::OrderingKey,
};
use serde::{Deserialize, Serialize};

/// Key of the log's head.
pub const HEAD: &[u8] = b"head";
/// Key of the stored format: a `u32`, big-endian, readable by every version of the program.
pub const FORMAT: &[u8] = b"format";
/// Tables that follow from the facts.
pub const READ_MODELS: [Table; 6] =
    [Table::EventIds, Table::Deliveries, Table::Due, Table::Dead, Table::Notable, Table::Replays];
/// What keys of the cursors of the log's followers start with.
const FOLLOWERS: &[u8] = b"log/";
/// What keys of the rows about the use of API keys start with.
pub const KEY_USES: &[u8] = b"key/";
/// What keys of deliveries that were made after their event start with.
const MADE: &[u8] = b"d";
/// What keys of replays start with.
const REPLAY: &[u8] = b"r";
/// Bytes of random salt in front of every payload.
pub const SALT_LENGTH: usize = 16;

/// Where the log ends, and the counters as of there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The last fact.
    pub sequence: Sequence,
    /// Its time.
    pub time: Timestamp,
    /// Hash of the last configuration fact.
    pub configuration: Hash,
    /// Hash of the last traffic fact.
    pub traffic: Hash,
    /// The last traffic fact.
    pub last_traffic: Sequence,
    /// The day that traffic facts go into; None before the first.
    pub bucket: Option<Bucket>,
    /// Facts in that day so far.
    pub bucket_count: u64,
    /// Numbers of the whole deployment.
    pub stats: Stats,
    /// First event of the block of the search index that is open; 0: it is empty. Since format 4.
    #[serde(default, skip_serializing_if = "is_none")]
    pub open_block: Sequence,
}

/// What an event id leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventIdRow {
    /// Position of the event's fact.
    #[serde(rename = "s")]
    pub sequence: Sequence,
    /// Day of the event's fact.
    #[serde(rename = "b")]
    pub bucket: Bucket,
    /// The lanes it was put into; once it is carried, those that were carried with it.
    #[serde(rename = "l")]
    pub lanes: Vec<LaneId>,
    /// It was kept aside.
    #[serde(rename = "q")]
    pub quarantined: bool,
    /// Position of the fact that carried it to `bucket`; None: it lies where it was taken.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<Sequence>,
    /// Why its payload is gone before its day.
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Cause>,
    /// It has deliveries that were made after it: they are marked in `Replays`.
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    pub later: bool,
}

impl EventIdRow {
    /// An event that was just taken.
    pub const fn new(sequence: Sequence, bucket: Bucket, lanes: Vec<LaneId>) -> Self {
        Self {
            sequence,
            bucket,
            lanes,
            quarantined: false,
            carried: None,
            gone: None,
            later: false,
        }
    }

    /// Where its fact and its payload lie: the day, and their key in it.
    pub fn place(&self) -> (Bucket, Sequence) {
        (self.bucket, self.carried.unwrap_or(self.sequence))
    }
}

/// What an idempotency key leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdempotencyRow {
    /// The first event with it.
    pub event: EventId,
    /// SHA-256 of that event's type, direction, audience and payload. Not salted, as it has to be
    /// compared; the row lives for two days at most.
    #[serde(rename = "payload")]
    pub identity: Hash,
    /// When.
    pub time: Timestamp,
}

/// A delivery as it stands, under its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryRow {
    /// The event.
    pub event: EventId,
    /// Where it stands.
    pub state: DeliveryState,
    /// Why it is dead.
    pub cause: Option<Cause>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the next attempt is due.
    pub due: Option<Timestamp>,
    /// It waits in `Due`, and no longer for its first turn in its lane.
    pub scheduled: bool,
    /// The attempts so far, oldest first.
    pub attempts: Vec<Attempt>,
    /// Attempts that lie before the last resend.
    pub attempts_before_resend: u32,
    /// The day that it was carried to, or made in after its event; None: it goes with the day of
    /// its event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<Bucket>,
    /// Its key, if its lane keeps an order by key. Since format 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<OrderingKey>,
    /// The replay that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayId>,
    /// It has a `webhook-id` of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub new_id: bool,
}

/// How far a replay that is not over is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayRow {
    /// Where it goes on: the last key that was looked at; empty: at the beginning.
    pub cursor: Bytes,
    /// What it did.
    pub progress: ReplayProgress,
}

impl DeliveryRow {
    /// A delivery that was just made.
    pub const fn new(event: EventId, now: Timestamp) -> Self {
        Self {
            event,
            state: DeliveryState::Waiting,
            cause: None,
            created_at: now,
            due: Some(now),
            scheduled: false,
            attempts: Vec::new(),
            attempts_before_resend: 0,
            carried: None,
            key: None,
            replay: None,
            new_id: false,
        }
    }

    /// A delivery that was carried to `bucket`.
    pub fn carried(delivery: &Delivery, scheduled: bool, bucket: Bucket) -> Self {
        Self {
            event: delivery.event,
            state: delivery.state,
            cause: delivery.cause,
            created_at: delivery.created_at,
            due: delivery.due,
            scheduled,
            attempts: delivery.attempts.clone(),
            attempts_before_resend: delivery.attempts_before_resend,
            carried: Some(bucket),
            key: delivery.ordering_key,
            replay: delivery.replay,
            new_id: delivery.new_id,
        }
    }

    /// Does it wait for its first attempt, in the order of its lane?
    pub fn is_fresh(&self) -> bool {
        self.state == DeliveryState::Waiting && !self.scheduled
    }

    /// The number that the next attempt will have.
    pub fn next_attempt(&self) -> u32 {
        self.attempts.last().map_or(1, |attempt| attempt.number.saturating_add(1))
    }

    /// The delivery as the ports show it.
    pub fn into_delivery(self, id: DeliveryId) -> Delivery {
        Delivery {
            id,
            event: self.event,
            state: self.state,
            cause: self.cause,
            created_at: self.created_at,
            due: self.due,
            attempts: self.attempts,
            attempts_before_resend: self.attempts_before_resend,
            ordering_key: self.key,
            replay: self.replay,
            new_id: self.new_id,
        }
    }
}

const fn is_none(sequence: &Sequence) -> bool {
    sequence.0 == 0
}

/// Key of a fact or a payload.
pub const fn sequence_key(sequence: Sequence) -> [u8; 8] {
    sequence.0.to_be_bytes()
}

/// Key of what went over the wire in an attempt. It lies beside the payloads, in the day that its
/// delivery goes with, and goes as they go. No fact holds its digest: it helps who looks for what
/// went wrong, and proves nothing.
pub fn exchange_key(delivery: DeliveryId, attempt: u32) -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&sequence_key(delivery.sequence));
    key[8..12].copy_from_slice(&lane_key(delivery.lane));
    key[12..].copy_from_slice(&attempt.to_be_bytes());
    key
}

/// What the keys of all attempts of a delivery start with.
pub fn exchanges_prefix(delivery: DeliveryId) -> [u8; 12] {
    let mut prefix = [0; 12];
    prefix.copy_from_slice(&exchange_key(delivery, 0)[..12]);
    prefix
}

/// The attempt that such a key names.
pub fn exchange_of(key: &[u8]) -> Option<(DeliveryId, u32)> {
    let (sequence, rest) = key.split_first_chunk::<8>()?;
    let (lane, number) = rest.split_first_chunk()?;
    let (lane, sequence) = (LaneId(u32::from_be_bytes(*lane)), sequence_of(sequence)?);
    let number = u32::from_be_bytes(number.try_into().ok()?);
    Some((DeliveryId { lane, sequence }, number))
}

/// The reverse of [`sequence_key`].
pub fn sequence_of(key: &[u8]) -> Option<Sequence> {
    key.try_into().ok().map(u64::from_be_bytes).map(Sequence)
}

/// Key of a lane's cursor, and what all keys of a lane start with.
pub const fn lane_key(lane: LaneId) -> [u8; 4] {
    lane.0.to_be_bytes()
}

/// Key of the cursor of a follower of the log: longer than those of lanes.
pub fn follower_key(follower: &str) -> Vec<u8> {
    [FOLLOWERS, follower.as_bytes()].concat()
}

/// Key of the row that says when an API key was last used: longer than those of lanes.
pub fn key_use_key(key: KeyId) -> Vec<u8> {
    [KEY_USES, &key.to_bytes()].concat()
}

/// The API key that such a key names.
pub fn key_use_of(key: &[u8]) -> Option<KeyId> {
    Some(KeyId::from_bytes(key.strip_prefix(KEY_USES)?.try_into().ok()?))
}

/// Whose a cursor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorOf<'a> {
    /// The feeder's, of a lane.
    Lane(LaneId),
    /// A follower's of the log.
    Follower(&'a str),
}

/// Whose cursor a key in `Cursors` is; None: nobody's that is known.
pub fn cursor_of(key: &[u8]) -> Option<CursorOf<'_>> {
    if let Ok(lane) = key.try_into() {
        return Some(CursorOf::Lane(LaneId(u32::from_be_bytes(lane))));
    }
    let follower = str::from_utf8(key.strip_prefix(FOLLOWERS)?).ok()?;
    Some(CursorOf::Follower(follower))
}

/// Key of a retry.
pub fn due_key(delivery: DeliveryId, due: Timestamp) -> Vec<u8> {
    let mut key = due_floor(delivery.lane, due);
    key.extend(sequence_key(delivery.sequence));
    key
}

/// The lowest key of a retry of `lane` that is due at `due` or later.
pub fn due_floor(lane: LaneId, due: Timestamp) -> Vec<u8> {
    let mut key = Vec::with_capacity(20);
    key.extend(lane_key(lane));
    key.extend(u64::try_from(due.0).unwrap_or(0).to_be_bytes());
    key
}

/// The retry and its due time that a key of `Due` names.
pub fn due_of(key: &[u8]) -> Option<(DeliveryId, Timestamp)> {
    let (lane, rest) = key.split_first_chunk()?;
    let (due, sequence) = rest.split_first_chunk()?;
    let due = Timestamp(i64::try_from(u64::from_be_bytes(*due)).ok()?);
    let lane = LaneId(u32::from_be_bytes(*lane));
    Some((DeliveryId { lane, sequence: sequence_of(sequence)? }, due))
}

/// The row of a retry: its ordering key, so that who feeds it need not read its delivery.
pub fn due_row(key: Option<OrderingKey>) -> Bytes {
    key.map_or_else(Bytes::new, |key| Bytes::copy_from_slice(&key.0.to_be_bytes()))
}

/// The ordering key in the row of a retry.
pub fn due_row_key(row: &[u8]) -> Option<OrderingKey> {
    row.try_into().ok().map(u64::from_be_bytes).map(OrderingKey)
}

/// Key of a dead letter.
pub fn dead_key(delivery: DeliveryId) -> Vec<u8> {
    [sequence_key(delivery.sequence).as_slice(), &lane_key(delivery.lane)].concat()
}

/// The dead letter that a key of `Dead` names.
pub fn dead_of(key: &[u8]) -> Option<DeliveryId> {
    let (sequence, lane) = key.split_first_chunk()?;
    let lane = LaneId(u32::from_be_bytes(lane.try_into().ok()?));
    Some(DeliveryId { lane, sequence: Sequence(u64::from_be_bytes(*sequence)) })
}

/// Key of the mark on a delivery that was made after its event.
pub fn made_key(event: EventId, delivery: DeliveryId) -> Vec<u8> {
    [&made_prefix(event), delivery.to_bytes().as_slice()].concat()
}

/// What such keys of an event start with.
pub fn made_prefix(event: EventId) -> Vec<u8> {
    [MADE, &event.to_bytes()].concat()
}

/// The delivery that such a key names.
pub fn made_of(key: &[u8]) -> Option<DeliveryId> {
    let (_event, delivery) = key.strip_prefix(MADE)?.split_first_chunk::<16>()?;
    delivery_of(delivery)
}

/// Key of how far a replay is.
pub fn replay_key(id: ReplayId) -> Vec<u8> {
    [REPLAY, &id.to_bytes()].concat()
}

/// The delivery that a key of `Deliveries` names.
pub fn delivery_of(key: &[u8]) -> Option<DeliveryId> {
    key.try_into().ok().map(DeliveryId::from_bytes)
}

/// Key of an idempotency row: keys of different origins never meet. The length of the name keeps
/// `a` + `bc` apart from `ab` + `c`.
pub fn idempotency_key(origin: &Origin, key: &str) -> Vec<u8> {
    let (kind, name) = match origin {
        Origin::Source(name) => (b's', name.as_bytes().to_vec()),
        Origin::Producer(id) => (b'p', id.to_bytes().to_vec()),
        Origin::Server => (b'o', Vec::new()),
    };
    let mut bytes = vec![kind];
    bytes.extend(u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes());
    bytes.extend(name);
    bytes.extend(key.as_bytes());
    bytes
}

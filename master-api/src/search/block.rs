//! One block: how it is filled, and the two rows that it becomes.

use crate::{
    fact::{Bucket, FactBody, StoredEvent},
    log::LogError,
    project::encode,
    store::{Batch, Table},
};
use bytes::Bytes;
use contract::{
    clock::Timestamp,
    event::{Audience, Direction, Origin},
    id::Sequence,
    uri::EventUri,
};
use serde::{Deserialize, Serialize};

/// Events of a block at most.
const EVENTS_MAX: usize = 1024;
/// Positions of the log that a block spans at most: as many facts are read when a log is opened.
const SPAN_MAX: u64 = 16 * 1024;
/// Different types, origins or audiences of a block at most: each is known by one byte.
const NAMES_MAX: usize = 256;
/// Bits of the filter for each idempotency key, and how many of them a key sets: about one key in
/// a hundred is found where it is not.
const BITS_PER_KEY: usize = 10;
const BITS_SET: u64 = 5;
/// Bytes of an event in the columns.
const ENTRY_BYTES: usize = 20;

/// What a key of a summary starts with.
pub(super) const SUMMARY: u8 = b's';
const COLUMNS: u8 = b'c';

/// Key of a row of the block that begins at `first`.
pub(super) fn key(kind: u8, first: Sequence) -> [u8; 9] {
    let mut key = [kind; 9];
    key[1..].copy_from_slice(&first.0.to_be_bytes());
    key
}

/// Key of a block's columns.
pub(super) fn columns_key(first: Sequence) -> [u8; 9] {
    key(COLUMNS, first)
}

/// What occurs in a block.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Its first event.
    #[serde(rename = "f")]
    pub first: Sequence,
    /// The earliest and the latest time at which one was received.
    #[serde(rename = "r")]
    pub received: (Timestamp, Timestamp),
    /// The types.
    #[serde(rename = "t")]
    pub types: Vec<EventUri>,
    /// Where they came from.
    #[serde(rename = "o")]
    pub origins: Vec<Origin>,
    /// Whom they are for.
    #[serde(rename = "a")]
    pub audiences: Vec<Audience>,
    /// All flags that some event of it has.
    #[serde(rename = "g")]
    pub flags: u8,
    /// A Bloom filter of the idempotency keys.
    #[serde(rename = "k")]
    pub keys: Bytes,
}

impl Summary {
    /// May an event with this idempotency key be in it?
    pub fn may_hold(&self, key: u64) -> bool {
        let bits = self.keys.len() * 8;
        bits > 0 && probes(key, bits).all(|bit| self.keys[bit / 8] & (1 << (bit % 8)) != 0)
    }
}

/// What the columns say of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub sequence: Sequence,
    /// Its type, origin and audience, by their places in the summary.
    pub names: [u8; 3],
    /// [`flags`]
    pub flags: u8,
    /// The lower half of [`key_hash`]; 0: it has no key.
    pub key: u32,
    /// When it was received.
    pub received: Timestamp,
}

/// It goes to subscribers.
const OUTGOING: u8 = 1;
/// It came in.
const INCOMING: u8 = 2;
/// It was kept aside.
pub const QUARANTINED: u8 = 4;
/// It was taken.
pub const ACCEPTED: u8 = 8;
/// It was carried here from another day.
pub const CARRIED: u8 = 16;

/// The flag of a direction.
pub const fn direction_flag(direction: Direction) -> u8 {
    match direction {
        Direction::Incoming => INCOMING,
        Direction::Outgoing => OUTGOING,
    }
}

/// The entries of a block from its columns.
pub fn entries(first: Sequence, columns: &[u8]) -> Vec<Entry> {
    let entry = |bytes: &[u8; ENTRY_BYTES]| {
        let [o0, o1, o2, o3, uri, origin, audience, flags, k0, k1, k2, k3, received @ ..] = *bytes;
        Entry {
            sequence: Sequence(first.0 + u64::from(u32::from_be_bytes([o0, o1, o2, o3]))),
            names: [uri, origin, audience],
            flags,
            key: u32::from_be_bytes([k0, k1, k2, k3]),
            received: Timestamp(i64::from_be_bytes(received)),
        }
    };
    columns.as_chunks().0.iter().map(entry).collect()
}

/// FNV-1a (draft-eastlake-fnv), which is the same on every machine and in every version.
pub fn key_hash(key: &str) -> u64 {
    key.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// As the columns hold it.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
pub const fn short(hash: u64) -> u32 {
    let short = hash as u32;
    if short == 0 { 1 } else { short }
}

/// The bits of a key: two hashes made from one (Kirsch and Mitzenmacher, 2006).
fn probes(hash: u64, bits: usize) -> impl Iterator<Item = usize> {
    let (one, other) = (hash & 0xffff_ffff, (hash >> 32) | 1);
    let bits = u64::try_from(bits).unwrap_or(u64::MAX);
    (0..BITS_SET).map(move |n| usize::try_from((one + n * other) % bits).unwrap_or_default())
}

/// The block that still grows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OpenBlock {
    bucket: Bucket,
    /// What occurs in it; its filter of keys is made when it is closed.
    pub summary: Summary,
    /// Its events, oldest first.
    pub entries: Vec<Entry>,
    keys: Vec<u64>,
}

impl OpenBlock {
    /// Its day.
    pub const fn bucket(&self) -> Bucket {
        self.bucket
    }

    /// Its first event; 0: it is empty.
    pub const fn first(&self) -> Sequence {
        self.summary.first
    }

    /// Must it be closed before the traffic fact at `sequence` of the day `bucket`?
    pub fn ends_before(&self, sequence: Sequence, bucket: Bucket, body: &FactBody) -> bool {
        if self.entries.is_empty() {
            return false;
        }
        let full = self.entries.len() >= EVENTS_MAX
            || sequence.0 - self.summary.first.0 >= SPAN_MAX
            || self.bucket != bucket;
        full || event_of(body).is_some_and(|(event, _)| {
            let Summary { types, origins, audiences, .. } = &self.summary;
            [
                fits(types, &event.uri),
                fits(origins, &event.origin),
                fits(audiences, &event.audience),
            ]
            .contains(&false)
        })
    }

    /// Goes on to a traffic fact; gives the block that ended before it, if one did.
    pub fn next(&mut self, sequence: Sequence, bucket: Bucket, body: &FactBody) -> Option<Self> {
        let ended = self.ends_before(sequence, bucket, body).then(|| std::mem::take(self));
        self.push(sequence, bucket, body);
        ended
    }

    /// Does it end with the day `bucket`, which has ended?
    pub const fn ends_with(&self, bucket: Bucket) -> bool {
        !self.entries.is_empty() && self.bucket.0 <= bucket.0
    }

    /// Takes in a traffic fact, if it makes an event or moves one.
    fn push(&mut self, sequence: Sequence, bucket: Bucket, body: &FactBody) {
        let Some((event, state)) = event_of(body) else { return };
        let received = event.received_at;
        if self.entries.is_empty() {
            self.bucket = bucket;
            self.summary.first = sequence;
            self.summary.received = (received, received);
        }
        let summary = &mut self.summary;
        let (earliest, latest) = summary.received;
        summary.received = (earliest.min(received), latest.max(received));
        let flags = state | direction_flag(event.direction);
        summary.flags |= flags;
        let names = [
            place(&mut summary.types, &event.uri),
            place(&mut summary.origins, &event.origin),
            place(&mut summary.audiences, &event.audience),
        ];
        let hash = event.idempotency_key.as_deref().map(key_hash);
        self.keys.extend(hash);
        let key = hash.map_or(0, short);
        self.entries.push(Entry { sequence, names, flags, key, received });
    }

    /// Writes its rows.
    pub fn close(&self, batch: &mut Batch) -> Result<(), LogError> {
        let first = self.summary.first;
        let summary = Summary { keys: bloom(&self.keys), ..self.summary.clone() };
        let table = Table::Search(self.bucket);
        batch.put(table, key(SUMMARY, first), encode("block", &summary)?);
        let mut columns = Vec::with_capacity(self.entries.len() * ENTRY_BYTES);
        for entry in &self.entries {
            let offset = u32::try_from(entry.sequence.0 - first.0).unwrap_or(u32::MAX);
            columns.extend(offset.to_be_bytes());
            columns.extend(entry.names);
            columns.push(entry.flags);
            columns.extend(entry.key.to_be_bytes());
            columns.extend(entry.received.0.to_be_bytes());
        }
        batch.put(table, columns_key(first), columns);
        Ok(())
    }
}

/// Does a fact make an event, or move one?
pub fn is_indexed(body: &FactBody) -> bool {
    event_of(body).is_some()
}

/// The event that a fact makes or moves, and the flags of its state.
fn event_of(body: &FactBody) -> Option<(&StoredEvent, u8)> {
    match body {
        FactBody::EventAccepted { event } | FactBody::QuarantineReleased { event, .. } => {
            Some((event, ACCEPTED))
        }
        FactBody::EventQuarantined { event, .. } => Some((event, QUARANTINED)),
        FactBody::EventCarried { event, .. } => Some((event, ACCEPTED | CARRIED)),
        // No other kind makes an event; a new one that does adds its arm here.
        _ => None,
    }
}

fn fits<T: PartialEq>(names: &[T], name: &T) -> bool {
    names.len() < NAMES_MAX || names.contains(name)
}

fn place<T: PartialEq + Clone>(names: &mut Vec<T>, name: &T) -> u8 {
    let found = names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.clone());
        names.len() - 1
    });
    u8::try_from(found).unwrap_or(u8::MAX)
}

fn bloom(keys: &[u64]) -> Bytes {
    let mut bytes = vec![0; (keys.len() * BITS_PER_KEY).div_ceil(8)];
    let bits = bytes.len() * 8;
    for key in keys {
        for bit in probes(*key, bits) {
            bytes[bit / 8] |= 1 << (bit % 8);
        }
    }
    bytes.into()
}

const _: () = assert!(SPAN_MAX < u32::MAX as u64);

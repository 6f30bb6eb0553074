//! Traffic facts read, decoded and hashed by a few threads ahead of whoever goes through them. Each
//! thread takes a stretch of a day with the payloads that lie beside it; the stretches come out in
//! the order of the log.

use super::{LogError, hash_at, pages::try_each, read_at};
use crate::{
    fact::{Bucket, Fact, Hash},
    store::{Rows, Scan, StoreError, Table},
    tables,
};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::{
    num::NonZero,
    ops::Bound,
    slice,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

/// A fact, and what was found out about it.
pub(super) struct Seen {
    /// The day of its table; None: it is among those of the configuration.
    pub(super) day: Option<Bucket>,
    /// The fact.
    pub(super) fact: Fact,
    /// Its hash.
    pub(super) hash: Hash,
    /// What lies at its sequence among the payloads of that day; None: nothing.
    pub(super) payload: Option<Payload>,
}

/// What a payload is known by.
pub(super) struct Payload {
    /// Digest of salt and payload.
    pub(super) digest: Hash,
    /// Bytes of the payload.
    pub(super) size: u64,
}

/// Positions of the log in a stretch.
const POSITIONS: u64 = 512;
/// As many facts at most.
const FACTS_MAX: usize = 512;
/// Threads at most: more do not read faster than one can go through what they read.
const THREADS_MAX: usize = 8;

type Outcome = Result<Vec<Seen>, LogError>;

/// The facts of the stretches, one stretch after the other. What is given back is freed where it was
/// made: memory that changes threads is dear.
pub(super) struct Facts {
    stretches: Receiver<Receiver<Outcome>>,
    spent: SyncSender<Vec<Seen>>,
}

impl Facts {
    /// The next stretch; None: there is none.
    pub(super) fn next(&self) -> Result<Option<Vec<Seen>>, LogError> {
        let gone = |_| Err(StoreError::Failed("a thread that reads has ended".to_owned()).into());
        let next = self.stretches.recv().ok();
        next.map(|stretch| stretch.recv().unwrap_or_else(gone)).transpose()
    }

    /// Takes back what was gone through.
    pub(super) fn spend(&self, facts: Vec<Seen>) {
        // Without room for it, it is freed here.
        drop(self.spent.try_send(facts));
    }
}

/// Has `take` go through the traffic facts of `days`, which are in order.
pub(super) fn read<T>(rows: &dyn Rows, days: &[Bucket], take: impl FnOnce(Facts) -> T) -> T {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS_MAX);
    let (hand_over, stretches) = sync_channel(threads);
    let (spent, given_back) = sync_channel(threads);
    let plan = Mutex::new(Plan { rows, days: days.iter(), next: None, hand_over: Some(hand_over) });
    let given_back = Mutex::new(given_back);
    let next = || plan.lock().unwrap_or_else(PoisonError::into_inner).next();
    let free = || {
        // Not while the others cannot get at theirs.
        let spent = given_back.lock().unwrap_or_else(PoisonError::into_inner).try_recv();
        drop(spent);
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((stretch, outcome)) = next() {
                    let made = stretch.and_then(|stretch| stretch.read(rows));
                    if outcome.send(made).is_err() {
                        break;
                    }
                    free();
                }
            });
        }
        // With this goes the receiver, and the threads see that nobody reads on.
        take(Facts { stretches, spent })
    })
}

/// What is to be read next.
struct Plan<'a> {
    rows: &'a dyn Rows,
    days: slice::Iter<'a, Bucket>,
    /// Where the day at hand goes on.
    next: Option<Start>,
    /// To whoever goes through the facts; None: there is nothing more to read.
    hand_over: Option<SyncSender<Receiver<Outcome>>>,
}

struct Start {
    day: Bucket,
    key: Bytes,
    payloads: Bound<Vec<u8>>,
}

impl Plan<'_> {
    /// The next stretch, and where its facts have to go.
    fn next(&mut self) -> Option<(Result<Stretch, LogError>, SyncSender<Outcome>)> {
        let stretch = self.stretch().transpose()?;
        let (send, receive) = sync_channel(1);
        let taken = self.hand_over.as_ref().is_some_and(|on| on.send(receive).is_ok());
        if !taken || stretch.is_err() {
            self.hand_over = None;
        }
        taken.then_some((stretch.map_err(LogError::from), send))
    }

    fn stretch(&mut self) -> Result<Option<Stretch>, StoreError> {
        while self.next.is_none() {
            let Some(day) = self.days.next() else {
                self.hand_over = None;
                return Ok(None);
            };
            let first = self.key(*day, Bound::Unbounded)?;
            self.next = first.map(|key| Start { day: *day, key, payloads: Bound::Unbounded });
        }
        let Some(Start { day, key, payloads }) = self.next.take() else { return Ok(None) };
        let end = end_of(&key);
        let following = self.key(day, Bound::Included(end.clone()))?;
        let last =
            if following.is_some() { Bound::Excluded(end.clone()) } else { Bound::Unbounded };
        let stretch = Stretch {
            day,
            facts: (Bound::Included(key.to_vec()), Bound::Excluded(end.clone())),
            payloads: (payloads, last),
        };
        self.next = following.map(|key| Start { day, key, payloads: Bound::Included(end) });
        Ok(Some(stretch))
    }

    /// The first key of a fact from there on.
    fn key(&self, day: Bucket, from: Bound<Vec<u8>>) -> Result<Option<Bytes>, StoreError> {
        let found = self.rows.scan(&Scan { from, ..Scan::all(Table::Traffic(day), 1) })?;
        Ok(found.into_iter().next().map(|(key, _)| key))
    }
}

/// Where the stretch ends that begins with `key`, which may be no key of a fact.
fn end_of(key: &[u8]) -> Vec<u8> {
    let end = tables::sequence_of(key).and_then(|first| first.0.checked_add(POSITIONS));
    end.map_or_else(|| [key, &[0]].concat(), |end| end.to_be_bytes().to_vec())
}

/// Facts that lie together, and the payloads from the end of the stretch before to its own.
struct Stretch {
    day: Bucket,
    facts: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    payloads: (Bound<Vec<u8>>, Bound<Vec<u8>>),
}

impl Stretch {
    fn read(self, rows: &dyn Rows) -> Result<Vec<Seen>, LogError> {
        let Self { day, facts: (from, to), payloads } = self;
        let scan = Scan { from, to, ..Scan::all(Table::Traffic(day), 0) };
        let mut facts = Vec::with_capacity(FACTS_MAX);
        try_each(rows, scan, |key, row| {
            facts.push(Seen::of(Some(day), key, row)?);
            Ok::<_, LogError>(())
        })?;
        let mut without = facts.iter_mut().peekable();
        let (from, to) = payloads;
        let scan = Scan { from, to, ..Scan::all(Table::Payloads(day), 0) };
        try_each(rows, scan, |key, row| {
            let Some(sequence) = tables::sequence_of(key) else { return Ok(()) };
            while without.next_if(|seen| seen.fact.sequence < sequence).is_some() {}
            if let Some(seen) = without.next_if(|seen| seen.fact.sequence == sequence) {
                seen.payload = Some(Payload::of(row));
            }
            Ok::<_, LogError>(())
        })?;
        Ok(facts)
    }
}

impl Seen {
    /// Of a row of a fact.
    pub(super) fn of(day: Option<Bucket>, key: &[u8], row: &[u8]) -> Result<Self, LogError> {
        let sequence = tables::sequence_of(key).unwrap_or_default();
        let (fact, hash) = (read_at(sequence, row)?, hash_at(sequence, row)?);
        Ok(Self { day, fact, hash, payload: None })
    }
}

impl Payload {
    /// Of a row of a payload.
    pub(super) fn of(row: &[u8]) -> Self {
        let size = row.len().saturating_sub(tables::SALT_LENGTH);
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        Self { digest: Hash(Sha256::digest(row).into()), size }
    }
}

//! The order inside of a lane that keeps one: of the deliveries with the same key one may go, and
//! the others stand behind it until it is finished, so a key that fails is parked alone.

use contract::{
    clock::Timestamp,
    id::Sequence,
    subscription::{Ordering, OrderingKey},
};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Which deliveries of a lane wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Order {
    /// None.
    #[default]
    None,
    /// All.
    Strict,
    /// Those with the same key.
    Key,
}

impl From<&Ordering> for Order {
    fn from(ordering: &Ordering) -> Self {
        match ordering {
            Ordering::None => Self::None,
            Ordering::Strict => Self::Strict,
            Ordering::Key(_) => Self::Key,
        }
    }
}

impl Order {
    /// The key by which a delivery stands in line.
    pub(super) const fn key_of(self, sequence: Sequence, key: Option<OrderingKey>) -> OrderingKey {
        match (self, key) {
            (Self::Key, Some(key)) => key,
            (Self::Strict, _) => OrderingKey(0),
            // Nothing is known that it would have to wait for: a key of its own.
            (Self::None | Self::Key, _) => OrderingKey(!sequence.0),
        }
    }
}

/// What becomes of a delivery that joins a line or comes back to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It may go.
    First,
    /// It may go instead of this one, which is to stand behind if it is not in flight.
    Before(Sequence),
    /// It stands behind another.
    Behind,
}

/// The unfinished deliveries of an ordered lane.
///
/// Memory: an entry of `keys`, and one of `first` (with one of the lane's `ready` or `delayed`) or
/// of `behind`; measured in `tests/memory.rs`. An empty line gives all of it back.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// All, those in flight included, by sequence. They come at the end and leave near the front,
    /// where a deque moves little.
    keys: VecDeque<(Sequence, OrderingKey)>,
    /// The one of each key that waits for a worker or its time, or is in flight.
    first: HashMap<OrderingKey, Sequence>,
    /// The others, and when they are due.
    behind: BTreeMap<(OrderingKey, Sequence), Timestamp>,
}

impl Line {
    pub(super) fn holds(&self, sequence: Sequence) -> bool {
        self.at(sequence).is_ok()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// How many stand behind others.
    pub(super) fn waiting(&self) -> usize {
        self.behind.len()
    }

    /// Where a delivery stands that joins.
    pub(super) fn place(&self, sequence: Sequence, key: OrderingKey) -> Place {
        match self.first.get(&key) {
            None => Place::First,
            Some(first) if sequence < *first => Place::Before(*first),
            Some(_) => Place::Behind,
        }
    }

    /// Lets it join as the first of its key.
    pub(super) fn lead(&mut self, sequence: Sequence, key: OrderingKey) {
        self.note(sequence, key);
        self.first.insert(key, sequence);
    }

    /// Lets it stand behind.
    pub(super) fn stand_behind(&mut self, sequence: Sequence, key: OrderingKey, due: Timestamp) {
        self.note(sequence, key);
        self.behind.insert((key, sequence), due);
    }

    /// One in flight leaves: the next of its key, which may go now, and when it is due.
    pub(super) fn leave(&mut self, sequence: Sequence) -> Option<(Sequence, Timestamp)> {
        let (_, key) = self.keys.remove(self.at(sequence).ok()?)?;
        if self.keys.is_empty() {
            *self = Self::default();
        }
        // One that was in flight before there was an order is not in anybody's way.
        if self.first.get(&key) != Some(&sequence) {
            return None;
        }
        self.first.remove(&key);
        self.advance(key)
    }

    /// One in flight comes back: the one of its key that may go now, and when it is due. None: it
    /// has to join again.
    pub(super) fn come_back(
        &mut self,
        sequence: Sequence,
        due: Timestamp,
    ) -> Option<(Sequence, Timestamp)> {
        let (_, key) = *self.keys.get(self.at(sequence).ok()?)?;
        if self.first.get(&key) != Some(&sequence) {
            return None;
        }
        // An older one may have come while it was in flight.
        self.behind.insert((key, sequence), due);
        self.advance(key)
    }

    /// By which key one stands in line that is held.
    pub(super) fn key_of(&self, sequence: Sequence) -> OrderingKey {
        let held = self.at(sequence).ok().and_then(|at| self.keys.get(at));
        held.map_or(OrderingKey(!sequence.0), |(_, key)| *key)
    }

    /// Notes one that is in flight and in nobody's way: it started before there was an order.
    pub(super) fn note(&mut self, sequence: Sequence, key: OrderingKey) {
        match self.at(sequence) {
            Ok(at) => self.keys[at].1 = key,
            Err(at) => self.keys.insert(at, (sequence, key)),
        }
    }

    /// Where one is held, or would be.
    fn at(&self, sequence: Sequence) -> Result<usize, usize> {
        self.keys.binary_search_by_key(&sequence, |(held, _)| *held)
    }

    fn advance(&mut self, key: OrderingKey) -> Option<(Sequence, Timestamp)> {
        let of_key = (key, Sequence(0))..=(key, Sequence(u64::MAX));
        let ((_, next), due) = self.behind.range(of_key).next().map(|(at, due)| (*at, *due))?;
        self.behind.remove(&(key, next));
        self.first.insert(key, next);
        Some((next, due))
    }

    /// Those that stand behind others, and all that are held.
    pub(super) fn dissolve(
        self,
    ) -> (impl Iterator<Item = (Sequence, Timestamp)>, impl Iterator<Item = Sequence>) {
        let behind = self.behind.into_iter().map(|((_, sequence), due)| (sequence, due));
        (behind, self.keys.into_iter().map(|(sequence, _)| sequence))
    }
}

//! A lane: what is held of one subscription at one priority of acceptance.

use contract::{clock::Timestamp, id::Sequence};
use std::collections::{BTreeMap, BTreeSet};

/// How many deliveries stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Due and waiting for a worker.
    pub(crate) ready: usize,
    /// Waiting for their time.
    pub(crate) delayed: usize,
    /// Leased.
    pub(crate) in_flight: usize,
}

impl Counts {
    /// The counts with `before` taken out and `after` put in.
    pub(super) fn moved(self, before: Self, after: Self) -> Self {
        Self {
            ready: self.ready - before.ready + after.ready,
            delayed: self.delayed - before.delayed + after.delayed,
            in_flight: self.in_flight - before.in_flight + after.in_flight,
        }
    }
}

/// The unfinished deliveries of a lane by sequence. The oldest that is due goes first, whether it
/// is its first attempt or not.
///
/// Memory: an entry of `held` and one of `ready` or `delayed`. A B-tree's nodes have room for 11
/// entries, are at least 5/11 full and go when they are empty, which makes at most 82 bytes a
/// waiting delivery; 58 are measured (`tests/memory.rs`). A lane's first delivery takes a node in
/// each tree, about 300 bytes.
#[derive(Debug, Default)]
pub(super) struct Lane {
    held: BTreeSet<Sequence>,
    ready: BTreeMap<Sequence, Timestamp>,
    delayed: BTreeSet<(Timestamp, Sequence)>,
    in_flight: usize,
    /// It refused a delivery because its window was full, and nobody was told of room since.
    pub(super) turned_away: bool,
}

impl Lane {
    pub(super) fn holds(&self, sequence: Sequence) -> bool {
        self.held.contains(&sequence)
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { ready: self.ready.len(), delayed: self.delayed.len(), in_flight: self.in_flight }
    }

    /// The delivery that goes next, and since when it is due.
    pub(super) fn head(&self) -> Option<(Sequence, Timestamp)> {
        self.ready.first_key_value().map(|(sequence, due)| (*sequence, *due))
    }

    /// When the next delayed one is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.delayed.first().map(|(due, _)| *due)
    }

    /// Takes a delivery in that is not held.
    pub(super) fn put(&mut self, sequence: Sequence, due: Timestamp, now: Timestamp) {
        self.held.insert(sequence);
        self.wait(sequence, due, now);
    }

    /// Makes those ready whose time has come.
    pub(super) fn wake(&mut self, now: Timestamp) {
        while self.next_due().is_some_and(|due| due <= now) {
            let Some((due, sequence)) = self.delayed.pop_first() else { return };
            self.ready.insert(sequence, due);
        }
    }

    /// The delivery that goes next, now in flight.
    pub(super) fn start(&mut self) -> Option<(Sequence, Timestamp)> {
        let head = self.ready.pop_first()?;
        self.in_flight += 1;
        Some(head)
    }

    /// One in flight waits again.
    pub(super) fn take_back(&mut self, sequence: Sequence, due: Timestamp, now: Timestamp) {
        self.in_flight -= 1;
        self.wait(sequence, due, now);
    }

    /// One in flight leaves.
    pub(super) fn finish(&mut self, sequence: Sequence) {
        self.in_flight -= 1;
        self.held.remove(&sequence);
    }

    fn wait(&mut self, sequence: Sequence, due: Timestamp, now: Timestamp) {
        if due <= now {
            self.ready.insert(sequence, due);
        } else {
            self.delayed.insert((due, sequence));
        }
    }
}

//! What the log holds no more: by an operator's word, or by age.

use crate::fact::Bucket;
use contract::id::{EventId, Sequence};
use std::collections::BTreeSet;

/// What is gone, by an operator's word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    /// Stretches of facts, from the first to the last of each.
    pub facts: Vec<(Sequence, Sequence)>,
    /// Events without payload.
    pub payloads: BTreeSet<EventId>,
}

impl Losses {
    pub(super) fn add(&mut self, facts: &[(Sequence, Sequence)], payloads: &[EventId]) {
        self.facts.extend(facts);
        self.payloads.extend(payloads);
    }

    /// Is any fact from `first` to `last` among them?
    pub fn touch(&self, first: Sequence, last: Sequence) -> bool {
        self.facts.iter().any(|(from, to)| *from <= last && first <= *to)
    }

    /// Is every fact from `first` to `last` among them?
    pub fn cover(&self, first: Sequence, last: Sequence) -> bool {
        let mut next = first;
        // Stretches of one repair are in order, later repairs may lie in front of them.
        loop {
            let around = |(from, to): &&(Sequence, Sequence)| *from <= next && next <= *to;
            match self.facts.iter().find(around) {
                Some((_, to)) if *to >= last => return true,
                Some((_, to)) => next = Sequence(to.0 + 1),
                None => return false,
            }
        }
    }
}

/// The days that retention has dropped: all up to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// The last of them; None: none is.
    pub bucket: Option<Bucket>,
    /// The last traffic fact that went with them.
    pub last: Sequence,
}

impl Dropped {
    /// Has this day gone?
    pub fn day(&self, bucket: Bucket) -> bool {
        self.bucket.is_some_and(|last| bucket <= last)
    }

    /// Has a delivery gone? `carried`: the day that it was carried to.
    pub fn delivery(&self, sequence: Sequence, carried: Option<Bucket>) -> bool {
        carried.map_or(sequence <= self.last, |carried| self.day(carried))
    }
}

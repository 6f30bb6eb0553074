//! What one receiver holds. It is told what time it is.

use crate::{begin::Begun, held::Holding};
use contract::{clock::Timestamp, exchange::ExchangeRecord, master_api::Work};
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

/// A delivery in a receiver's hands.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) holding: Holding,
    /// Without its payload.
    pub(super) work: Work,
    pub(super) begun: Begun,
    pub(super) record: Option<Box<ExchangeRecord>>,
    deadline: Timestamp,
}

impl Held {
    pub(super) fn new(holding: Holding, work: Work, begun: Begun) -> Self {
        let deadline = begun.started_at;
        Self { holding, work: Work { payload: None, ..work }, begun, record: None, deadline }
    }
}

/// All that it holds, by ticket.
#[derive(Debug, Default)]
pub(super) struct Hand {
    held: HashMap<u64, Held>,
    deadlines: BTreeSet<(Timestamp, u64)>,
    /// The last ticket that was given.
    last: u64,
}

impl Hand {
    /// The ticket that the next delivery will have.
    pub(super) const fn next_ticket(&self) -> u64 {
        self.last + 1
    }

    /// Takes a delivery in, until `deadline`.
    pub(super) fn put(&mut self, held: Held, deadline: Timestamp) {
        self.last += 1;
        self.deadlines.insert((deadline, self.last));
        self.held.insert(self.last, Held { deadline, ..held });
    }

    /// Takes a delivery out.
    pub(super) fn take(&mut self, ticket: u64) -> Option<Held> {
        let held = self.held.remove(&ticket)?;
        self.deadlines.remove(&(held.deadline, ticket));
        Some(held)
    }

    /// Takes one out whose time is over.
    pub(super) fn take_expired(&mut self, now: Timestamp) -> Option<(u64, Held)> {
        let (_, ticket) = self.deadlines.first().copied().filter(|(time, _)| *time <= now)?;
        Some((ticket, self.take(ticket)?))
    }

    /// Gives one more time; it never gets less.
    pub(super) fn extend(&mut self, ticket: u64, now: Timestamp, by: Duration) {
        let Some(held) = self.held.get_mut(&ticket) else { return };
        let deadline = held.deadline.max(now.after(by));
        self.deadlines.remove(&(held.deadline, ticket));
        self.deadlines.insert((deadline, ticket));
        held.deadline = deadline;
    }

    /// When the first of them runs out.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(time, _)| *time)
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Takes all of them out, the oldest first.
    pub(super) fn take_all(&mut self) -> Vec<Held> {
        self.deadlines.clear();
        let mut all: Vec<_> = self.held.drain().collect();
        all.sort_unstable_by_key(|(ticket, _)| *ticket);
        all.into_iter().map(|(_, held)| held).collect()
    }
}

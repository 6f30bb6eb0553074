//! A lane: what is held of one subscription at one priority of acceptance.

use super::line::{Line, Order, Place};
use contract::{clock::Timestamp, id::Sequence, master_api::FeedItem, subscription::OrderingKey};
use std::collections::{BTreeMap, BTreeSet};

/// Windows that a lane with keys takes when most of it stands behind keys that fail.
const PARKED_WINDOWS: usize = 8;
/// Before all others: nothing is due by then.
const NEVER: Timestamp = Timestamp(i64::MIN);

/// How many deliveries stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Due and waiting for a worker.
    pub(crate) ready: usize,
    /// Waiting for their time, or for one before them.
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
/// each tree, about 300 bytes. In a lane that keeps an order, `line` takes the place of `held`.
#[derive(Debug, Default)]
pub(super) struct Lane {
    order: Order,
    /// None: no order is kept.
    line: Option<Box<Line>>,
    held: BTreeSet<Sequence>,
    ready: BTreeMap<Sequence, Timestamp>,
    delayed: BTreeSet<(Timestamp, Sequence)>,
    in_flight: usize,
    /// It refused a delivery because its window was full, and nobody was told of room since.
    pub(super) turned_away: bool,
}

impl Lane {
    /// An empty one.
    pub(super) fn new(order: Order) -> Self {
        let mut lane = Self::default();
        lane.set_order(order);
        lane
    }

    pub(super) fn holds(&self, sequence: Sequence) -> bool {
        match &self.line {
            None => self.held.contains(&sequence),
            Some(line) => line.holds(sequence),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.line.as_ref().map_or(self.held.len(), |line| line.len())
    }

    pub(super) fn counts(&self) -> Counts {
        let delayed = self.delayed.len() + self.waiting();
        Counts { ready: self.ready.len(), delayed, in_flight: self.in_flight }
    }

    /// How many more it takes, of a window of so many. What stands behind a key takes no room from
    /// other keys until it is [`PARKED_WINDOWS`] as much.
    pub(super) fn room(&self, window: usize) -> usize {
        if self.order != Order::Key {
            return window.saturating_sub(self.len());
        }
        let going = self.len() - self.waiting();
        let parked = window.saturating_mul(PARKED_WINDOWS).saturating_sub(self.len());
        window.saturating_sub(going).min(parked)
    }

    /// How many stand behind others.
    fn waiting(&self) -> usize {
        self.line.as_ref().map_or(0, |line| line.waiting())
    }

    /// Does it keep an order? Then what has to be tried again must not leave: whatever waits for it
    /// would overtake it.
    pub(super) const fn is_ordered(&self) -> bool {
        self.line.is_some()
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
    pub(super) fn put(&mut self, item: &FeedItem, now: Timestamp) {
        let sequence = item.delivery.sequence;
        if self.line.is_some() {
            let key = self.order.key_of(sequence, item.key);
            self.join(sequence, key, (item.due, now));
        } else {
            self.held.insert(sequence);
            self.wait(sequence, item.due, now);
        }
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
        let Some(line) = &mut self.line else { return self.wait(sequence, due, now) };
        match line.come_back(sequence, due) {
            Some((next, due)) => self.wait(next, due, now),
            None => {
                let key = line.key_of(sequence);
                self.join(sequence, key, (due, now));
            }
        }
    }

    /// One in flight leaves.
    pub(super) fn finish(&mut self, sequence: Sequence, now: Timestamp) {
        self.in_flight -= 1;
        self.held.remove(&sequence);
        let next = self.line.as_mut().and_then(|line| line.leave(sequence));
        if let Some((next, due)) = next {
            self.wait(next, due, now);
        }
    }

    /// From now on it keeps this order. What is in flight is in nobody's way, and of what waits
    /// nobody knows the keys any more. Those whose time has come are woken by who lets time pass.
    pub(super) fn set_order(&mut self, order: Order) {
        if self.order == order {
            return;
        }
        self.order = order;
        let mut waiting: Vec<_> = std::mem::take(&mut self.ready).into_iter().collect();
        waiting.extend(std::mem::take(&mut self.delayed).into_iter().map(|(due, s)| (s, due)));
        let mut all: Vec<_> = std::mem::take(&mut self.held).into_iter().collect();
        if let Some(line) = self.line.take() {
            let (behind, held) = line.dissolve();
            waiting.extend(behind);
            all.extend(held);
        }
        waiting.sort_unstable();
        if order == Order::None {
            self.held = all.into_iter().collect();
            self.delayed = waiting.into_iter().map(|(sequence, due)| (due, sequence)).collect();
            return;
        }
        let mut line = Box::<Line>::default();
        all.iter().for_each(|sequence| line.note(*sequence, order.key_of(*sequence, None)));
        self.line = Some(line);
        for (sequence, due) in waiting {
            self.join(sequence, order.key_of(sequence, None), (due, NEVER));
        }
    }

    /// Lets one join the line.
    fn join(&mut self, sequence: Sequence, key: OrderingKey, (due, now): (Timestamp, Timestamp)) {
        let Some(line) = &mut self.line else { return };
        match line.place(sequence, key) {
            Place::First => line.lead(sequence, key),
            Place::Behind => return line.stand_behind(sequence, key, due),
            Place::Before(first) => match withdraw((&mut self.ready, &mut self.delayed), first) {
                Some(first_due) => {
                    line.stand_behind(first, key, first_due);
                    line.lead(sequence, key);
                }
                None => return line.stand_behind(sequence, key, due),
            },
        }
        self.wait(sequence, due, now);
    }

    fn wait(&mut self, sequence: Sequence, due: Timestamp, now: Timestamp) {
        if due <= now {
            self.ready.insert(sequence, due);
        } else {
            self.delayed.insert((due, sequence));
        }
    }
}

/// Takes one out that waits for a worker or its time: when it was due. None: it is in flight.
///
/// Looks through all that are delayed: who comes late and is older than the first of its key is
/// rare, and a lane's window bounded.
fn withdraw(
    (ready, delayed): (&mut BTreeMap<Sequence, Timestamp>, &mut BTreeSet<(Timestamp, Sequence)>),
    sequence: Sequence,
) -> Option<Timestamp> {
    if let Some(due) = ready.remove(&sequence) {
        return Some(due);
    }
    let found = *delayed.iter().find(|(_, held)| *held == sequence)?;
    delayed.remove(&found);
    Some(found.0)
}

//! How the last attempts at the endpoint of a subscription ended. Kept in memory: after a restart
//! it is learned anew, while what followed from it is in the log.

use crate::fact::FactBody;
use contract::{clock::Timestamp, id::SubscriptionNumber};
use std::{collections::HashMap, time::Duration};

/// A window is so many slots, so it is exact to a twelfth of its length.
const SLOT_COUNT: usize = 12;
const SLOTS: i64 = SLOT_COUNT as i64;

/// Tallies of the subscriptions that something was attempted for.
pub type Tallies = HashMap<SubscriptionNumber, Tally>;

/// The subscription of whose attempts nothing counts any more that was before this fact.
pub const fn counted_anew(body: &FactBody) -> Option<SubscriptionNumber> {
    match body {
        FactBody::BreakerClosed { number }
        | FactBody::SubscriptionChanged { number, .. }
        | FactBody::SubscriptionStatusChanged { number, .. }
        | FactBody::SubscriptionRemoved { number } => Some(*number),
        _ => None,
    }
}

/// Attempts and failures of the last time, and of the failures without a success between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    slots: [Slot; SLOT_COUNT],
    /// Number of the newest slot since 1970.
    newest: i64,
    failing_since: Option<Timestamp>,
    in_a_row: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Slot {
    attempts: u32,
    failures: u32,
}

impl Tally {
    /// Notes an attempt.
    pub fn note(&mut self, delivered: bool, window: Duration, now: Timestamp) {
        self.turn(window, now);
        let at = usize::try_from(self.newest.rem_euclid(SLOTS)).unwrap_or(0);
        let slot = &mut self.slots[at];
        slot.attempts = slot.attempts.saturating_add(1);
        if delivered {
            (self.failing_since, self.in_a_row) = (None, 0);
        } else {
            slot.failures = slot.failures.saturating_add(1);
            self.failing_since.get_or_insert(now);
            self.in_a_row = self.in_a_row.saturating_add(1);
        }
    }

    /// Did the last attempt fail?
    pub const fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }

    /// When the first of the failures without a success between them was.
    pub const fn failing_since(&self) -> Option<Timestamp> {
        self.failing_since
    }

    /// How many failures that are.
    pub const fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// Attempts of the window up to `now`, and how many of them failed.
    pub fn recent(&self, window: Duration, now: Timestamp) -> (u32, u32) {
        let mut turned = *self;
        turned.turn(window, now);
        let sum = |counts: (u32, u32), slot: &Slot| {
            (counts.0.saturating_add(slot.attempts), counts.1.saturating_add(slot.failures))
        };
        turned.slots.iter().fold((0, 0), sum)
    }

    /// Empties the slots that are too old.
    fn turn(&mut self, window: Duration, now: Timestamp) {
        let slot_us = i64::try_from(window.as_micros()).unwrap_or(i64::MAX) / SLOTS;
        let current = now.0.div_euclid(slot_us.max(1));
        let first = self.newest.saturating_add(1).max(current.saturating_sub(SLOTS - 1));
        for number in first..=current {
            let at = usize::try_from(number.rem_euclid(SLOTS)).unwrap_or(0);
            self.slots[at] = Slot::default();
        }
        self.newest = self.newest.max(current);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);
    const START: Timestamp = Timestamp(1_795_224_540_000_000);

    fn at(seconds: u64) -> Timestamp {
        START.after(Duration::from_secs(seconds))
    }

    #[test]
    fn counts_what_lies_in_the_window() {
        let mut tally = Tally::default();
        for second in 0..40 {
            tally.note(second % 10 == 0, WINDOW, at(second));
        }
        assert_eq!(tally.recent(WINDOW, at(39)), (40, 36));
        assert_eq!(tally.recent(WINDOW, at(59)), (40, 36));
        let (attempts, failures) = tally.recent(WINDOW, at(80));
        assert!((15..=20).contains(&attempts) && failures < attempts, "{attempts} {failures}");
        assert_eq!(tally.recent(WINDOW, at(101)), (0, 0));
        assert_eq!(tally.recent(WINDOW, at(1_000_000)), (0, 0));
    }

    #[test]
    fn agrees_with_a_list_of_all_attempts() {
        let mut tally = Tally::default();
        let mut all: Vec<(u64, bool)> = Vec::new();
        let mut second = 0;
        for n in 0_u64..500 {
            second += n * n % 17;
            let delivered = n % 5 == 0;
            tally.note(delivered, WINDOW, at(second));
            all.push((second, delivered));
            let within = |age: u64| {
                all.iter().filter(move |(at, _)| second - at < age).map(|(_, ok)| u32::from(!ok))
            };
            let (attempts, failures) = tally.recent(WINDOW, at(second));
            let (least, most) = (within(56), within(60));
            let [least_n, most_n] = [least.clone().count(), most.clone().count()];
            assert!((least_n..=most_n).contains(&(attempts as usize)), "at {second}");
            assert!((least.sum::<u32>()..=most.sum()).contains(&failures), "at {second}");
        }
    }

    #[test]
    fn a_success_ends_a_row_of_failures() {
        let mut tally = Tally::default();
        assert!(!tally.is_failing());
        tally.note(false, WINDOW, at(1));
        tally.note(false, WINDOW, at(900));
        assert_eq!((tally.failing_since(), tally.in_a_row()), (Some(at(1)), 2));
        tally.note(true, WINDOW, at(901));
        assert_eq!((tally.failing_since(), tally.in_a_row()), (None, 0));
        assert!(!tally.is_failing());
    }

    #[test]
    fn a_clock_that_goes_back_loses_nothing() {
        let mut tally = Tally::default();
        tally.note(false, WINDOW, at(30));
        tally.note(false, WINDOW, at(0));
        assert_eq!(tally.recent(WINDOW, at(31)), (2, 2));
    }
}

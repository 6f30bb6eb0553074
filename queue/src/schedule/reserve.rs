//! What each priority leaves to those above it, whether they have work or not: an attempt that
//! hangs gives its slot back only after its time limit, so who comes later would come too late.

use super::LEVELS;

/// The slots that each priority may take.
#[derive(Debug)]
pub(super) struct Reserve {
    slots: usize,
    /// Priorities that somebody delivers at.
    present: [bool; LEVELS],
    /// How many each priority and all below it may hold together.
    limits: [usize; LEVELS],
}

impl Reserve {
    /// All `slots` are everybody's.
    pub(super) fn new(slots: u32) -> Self {
        let slots = usize::try_from(slots).unwrap_or(usize::MAX);
        Self { slots, present: [false; LEVELS], limits: [slots; LEVELS] }
    }

    /// From now on these priorities are present. Each of them, the highest first, keeps the last
    /// fifth of what it may take from those below; a fifth of fewer than five slots is none.
    pub(super) fn set_present(&mut self, present: [bool; LEVELS]) {
        self.present = present;
        let mut left = self.slots;
        for (limit, present) in self.limits.iter_mut().zip(present).rev() {
            *limit = left;
            if present {
                left -= left / 5;
            }
        }
    }

    /// A priority is present, too.
    pub(super) fn add_present(&mut self, level: usize) {
        if !self.present[level] {
            let mut present = self.present;
            present[level] = true;
            self.set_present(present);
        }
    }

    /// The priorities that may start one more while they have this many `in_flight`. Where one
    /// may, those above it may, too.
    pub(super) fn open(&self, in_flight: [usize; LEVELS]) -> [bool; LEVELS] {
        let mut held: usize = in_flight.iter().sum();
        let (mut open, mut room) = ([false; LEVELS], true);
        for level in (0..LEVELS).rev() {
            room &= held < self.limits[level];
            open[level] = room;
            held -= in_flight[level];
        }
        open
    }

    /// Most that one subscription may hold beside others: half of the slots, if that is a part.
    pub(super) fn most_of_one(&self) -> usize {
        if self.slots < 5 { self.slots } else { self.slots.div_ceil(2) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserve(slots: u32, levels: &[usize]) -> Reserve {
        let mut reserve = Reserve::new(slots);
        for level in levels {
            reserve.add_present(*level);
        }
        reserve
    }

    #[test]
    fn each_present_priority_keeps_a_fifth_from_those_below() {
        let reserve = reserve(100, &[9, 5, 0]);
        assert_eq!(
            [9, 8, 6, 5, 4, 0].map(|level| reserve.limits[level]),
            [100, 80, 80, 80, 64, 64]
        );
    }

    #[test]
    fn one_priority_alone_and_few_slots_know_no_reserve() {
        assert_eq!(reserve(100, &[3]).limits[3], 100);
        assert_eq!(reserve(4, &[9, 8, 0]).limits, [4; LEVELS]);
        assert_eq!(reserve(5, &[9, 8, 0]).limits[0], 4);
    }

    #[test]
    fn what_lower_ones_hold_counts_for_all_above_them() {
        let reserve = reserve(10, &[9, 5, 0]);
        let open = |nine, five, nought| {
            let mut in_flight = [0; LEVELS];
            (in_flight[9], in_flight[5], in_flight[0]) = (nine, five, nought);
            let open = reserve.open(in_flight);
            [open[9], open[5], open[0]]
        };
        // Limits are 10, 8 and 7.
        assert_eq!(open(0, 0, 6), [true; 3]);
        assert_eq!(open(0, 0, 7), [true, true, false]);
        assert_eq!(open(0, 1, 7), [true, false, false]);
        assert_eq!(open(0, 8, 0), [true, false, false]);
        assert_eq!(open(2, 7, 0), [true; 3]);
        assert_eq!(open(3, 7, 0), [false; 3]);
    }
}

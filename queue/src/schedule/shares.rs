//! Which priority goes next: the highest with work, and now and then a lower one.

use super::LEVELS;

/// More than this is not saved up, so that a priority that could not be served for long does not
/// burst afterwards. Two, because several may reach one at the same start and have to wait.
const CREDIT_MAX: f64 = 2.0;
/// Sums of shares miss a whole start by rounding; this is far more than they miss it by.
const ROUNDING: f64 = 1e-9;

/// The starvation guard. Each start gives every priority that has eligible work credit for its
/// minimum share of a start; who has saved a whole one goes next.
#[derive(Debug)]
pub(super) struct Shares {
    minimum: f64,
    credit: [f64; LEVELS],
}

impl Shares {
    pub(super) fn new(minimum: f64) -> Self {
        Self { minimum, credit: [0.0; LEVELS] }
    }

    /// The priority of the next start: one with eligible work for which slots are `open`.
    pub(super) fn next(&mut self, eligible: [bool; LEVELS], open: [bool; LEVELS]) -> Option<usize> {
        let may_start = |level: &usize| eligible[*level] && open[*level];
        let highest = (0..LEVELS).rev().find(may_start)?;
        let mut chosen = highest;
        let mut most = 1.0 - ROUNDING;
        for level in (0..LEVELS).rev().filter(|level| eligible[*level]) {
            let credit = &mut self.credit[level];
            *credit = (*credit + self.minimum).min(CREDIT_MAX);
            if open[level] && *credit >= most {
                (chosen, most) = (level, *credit + ROUNDING);
            }
        }
        self.credit[chosen] = (self.credit[chosen] - 1.0).max(0.0);
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [bool; LEVELS] = [true; LEVELS];
    const TOP: usize = LEVELS - 1;
    const ONLY_TOP: [bool; LEVELS] = {
        let mut only = [false; LEVELS];
        only[TOP] = true;
        only
    };

    fn starts(shares: &mut Shares, eligible: [bool; LEVELS], n: usize) -> [usize; LEVELS] {
        let mut starts = [0; LEVELS];
        for _ in 0..n {
            starts[shares.next(eligible, ALL).unwrap()] += 1;
        }
        starts
    }

    #[test]
    fn every_priority_gets_its_share_and_the_highest_the_rest() {
        let starts = starts(&mut Shares::new(0.02), ALL, 10_000);
        for lower in &starts[..TOP] {
            assert!((199..=201).contains(lower), "{starts:?}");
        }
        assert!(starts[TOP] >= 7_990, "{starts:?}");
    }

    #[test]
    fn the_largest_allowed_share_is_kept_too() {
        let starts = starts(&mut Shares::new(0.05), ALL, 10_000);
        assert!(starts[..TOP].iter().all(|lower| (499..=501).contains(lower)), "{starts:?}");
    }

    #[test]
    fn without_a_share_it_is_strict() {
        let starts = starts(&mut Shares::new(0.0), ALL, 1000);
        assert_eq!(starts[TOP], 1000);
    }

    #[test]
    fn credit_is_kept_while_there_is_no_work_but_not_grown() {
        let mut shares = Shares::new(0.05);
        let mut highest_and_lowest = ONLY_TOP;
        highest_and_lowest[0] = true;
        assert_eq!(starts(&mut shares, highest_and_lowest, 19)[0], 0);
        assert_eq!(starts(&mut shares, ONLY_TOP, 1000)[TOP], 1000);
        assert_eq!(shares.next(highest_and_lowest, ALL), Some(0));
    }

    #[test]
    fn who_has_no_slot_waits_and_does_not_burst() {
        let mut shares = Shares::new(0.05);
        for _ in 0..1000 {
            assert_eq!(shares.next(ALL, ONLY_TOP), Some(TOP));
        }
        let starts = starts(&mut shares, ALL, 100);
        assert!(starts[..TOP].iter().all(|lower| *lower <= 7), "{starts:?}");
        assert_eq!(shares.next([false; LEVELS], ALL), None);
        assert_eq!(shares.next(ALL, [false; LEVELS]), None);
    }
}

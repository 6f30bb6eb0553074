//! Which priority goes next: the highest with work, and now and then a lower one.

use contract::subscription::Priority;

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
    credit: [f64; Priority::LEVELS],
}

impl Shares {
    pub(super) fn new(minimum: f64) -> Self {
        Self { minimum, credit: [0.0; Priority::LEVELS] }
    }

    /// The priority of the next start among those with eligible work. `may_pass`: a lower one
    /// may go before the highest.
    pub(super) fn next(
        &mut self,
        eligible: [bool; Priority::LEVELS],
        may_pass: bool,
    ) -> Option<usize> {
        let highest = (0..Priority::LEVELS).rev().find(|level| eligible[*level])?;
        let mut chosen = highest;
        let mut most = 1.0 - ROUNDING;
        for level in (0..Priority::LEVELS).rev().filter(|level| eligible[*level]) {
            let credit = &mut self.credit[level];
            *credit = (*credit + self.minimum).min(CREDIT_MAX);
            if may_pass && *credit >= most {
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

    const ALL: [bool; Priority::LEVELS] = [true; Priority::LEVELS];

    fn starts(shares: &mut Shares, eligible: [bool; Priority::LEVELS], n: usize) -> [usize; 10] {
        let mut starts = [0; Priority::LEVELS];
        for _ in 0..n {
            starts[shares.next(eligible, true).unwrap()] += 1;
        }
        starts
    }

    #[test]
    fn every_priority_gets_its_share_and_the_highest_the_rest() {
        let starts = starts(&mut Shares::new(0.02), ALL, 10_000);
        for lower in &starts[..9] {
            assert!((199..=201).contains(lower), "{starts:?}");
        }
        assert!(starts[9] >= 8_190, "{starts:?}");
    }

    #[test]
    fn the_largest_allowed_share_is_kept_too() {
        let starts = starts(&mut Shares::new(0.05), ALL, 10_000);
        assert!(starts[..9].iter().all(|lower| (499..=501).contains(lower)), "{starts:?}");
    }

    #[test]
    fn without_a_share_it_is_strict() {
        let starts = starts(&mut Shares::new(0.0), ALL, 1000);
        assert_eq!(starts[9], 1000);
    }

    #[test]
    fn credit_is_kept_while_there_is_no_work_but_not_grown() {
        let mut shares = Shares::new(0.05);
        let mut only_nine = [false; Priority::LEVELS];
        only_nine[9] = true;
        let mut nine_and_zero = only_nine;
        nine_and_zero[0] = true;
        assert_eq!(starts(&mut shares, nine_and_zero, 19)[0], 0);
        assert_eq!(starts(&mut shares, only_nine, 1000)[9], 1000);
        assert_eq!(shares.next(nine_and_zero, true), Some(0));
    }

    #[test]
    fn who_may_not_pass_waits_and_does_not_burst() {
        let mut shares = Shares::new(0.05);
        for _ in 0..1000 {
            assert_eq!(shares.next(ALL, false), Some(9));
        }
        let starts = starts(&mut shares, ALL, 100);
        assert!(starts[..9].iter().all(|lower| *lower <= 7), "{starts:?}");
        assert_eq!(shares.next([false; Priority::LEVELS], true), None);
    }
}

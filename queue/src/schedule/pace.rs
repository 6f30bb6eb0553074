//! How fast the attempts of one subscription start: virtual scheduling, as the generic cell rate
//! algorithm does (ITU-T I.371, annex A).

use contract::{breaker::Breaker, clock::Timestamp, rate_limit::RateLimit};

/// A start that work waited for and that comes late by no more than this counts as on time, so
/// that timers that fire late slow nobody down. What is later than that is lost, so that nobody
/// bursts who had no slot for long.
const LATE_NS: i64 = 20_000_000;
const NS_PER_US: i64 = 1_000;

/// The starts of one subscription in virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    interval_ns: i64,
    /// How much earlier than at even intervals a start may come.
    burst_ns: i64,
    /// When the next start is due if all come at even intervals.
    next_ns: i64,
    /// Work waited for the last start.
    late: bool,
}

impl Pace {
    /// One that keeps to `limit` and lets a burst through at once.
    pub(super) fn new(limit: RateLimit) -> Self {
        let interval_ns = limit.interval_ns();
        let burst_ns = interval_ns.saturating_mul(i64::from(limit.burst.max(1)) - 1);
        Self { interval_ns, burst_ns, next_ns: i64::MIN / 2, late: false }
    }

    /// One that lets a probe through now and then, first some time after the breaker opened; never
    /// faster than the `limit`.
    pub(super) fn probing(breaker: Breaker, limit: Option<Self>) -> Self {
        let every_us = i64::try_from(breaker.probe_every.0.as_micros()).unwrap_or(i64::MAX);
        let every_ns = every_us.saturating_mul(NS_PER_US);
        let interval_ns = limit.map_or(every_ns, |limit| limit.interval_ns.max(every_ns));
        let next_ns = breaker.since.0.saturating_mul(NS_PER_US).saturating_add(interval_ns);
        Self { interval_ns, burst_ns: 0, next_ns, late: false }
    }

    /// Before this, nothing may start.
    pub(super) fn free_at(self) -> Timestamp {
        let earliest_ns = self.next_ns.saturating_sub(self.burst_ns);
        let whole_us = earliest_ns.div_euclid(NS_PER_US);
        Timestamp(whole_us + i64::from(earliest_ns.rem_euclid(NS_PER_US) > 0))
    }

    /// One starts now.
    pub(super) fn start(&mut self, now: Timestamp) {
        let now_ns = now.0.saturating_mul(NS_PER_US);
        let on_time_ns = if self.late { now_ns - LATE_NS } else { now_ns };
        self.next_ns = self.next_ns.max(on_time_ns).saturating_add(self.interval_ns);
    }

    /// Says whether there is work that waits for the next start.
    pub(super) const fn waited_for(&mut self, waited_for: bool) {
        self.late = waited_for;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pace(per_second: f64, burst: u32) -> Pace {
        Pace::new(RateLimit { per_second, burst })
    }

    /// Starts whatever may start at each of these times; how many did.
    fn starts_at(pace: &mut Pace, times_us: impl IntoIterator<Item = i64>) -> Vec<usize> {
        let starts = times_us.into_iter().map(|time| {
            let mut started = 0;
            while pace.free_at() <= Timestamp(time) {
                pace.start(Timestamp(time));
                started += 1;
            }
            pace.waited_for(true);
            started
        });
        starts.collect()
    }

    #[test]
    fn a_burst_comes_at_once_and_the_rest_evenly() {
        let mut pace = pace(10.0, 3);
        let starts = starts_at(&mut pace, (0..10).map(|n| 1_000_000 + n * 50_000));
        assert_eq!(starts, [3, 0, 1, 0, 1, 0, 1, 0, 1, 0]);
    }

    #[test]
    fn a_pause_gives_no_more_than_a_burst() {
        let mut pace = pace(10.0, 1);
        assert_eq!(starts_at(&mut pace, [0]), [1]);
        pace.waited_for(false);
        assert_eq!(starts_at(&mut pace, [60_000_000, 60_000_001]), [1, 0]);
    }

    #[test]
    fn late_timers_slow_nobody_down_and_long_waits_do_not_burst() {
        // Interval 10 ms, and a timer that comes every 13 ms.
        let mut late = pace(100.0, 1);
        let total: usize = starts_at(&mut late, (0..1000).map(|n| n * 13_000)).iter().sum();
        assert!((1298..=1301).contains(&total), "{total}");
        // A second without a slot: three, for what is not too late, and not a hundred.
        assert_eq!(starts_at(&mut late, [14_000_000]), [3]);
    }

    #[test]
    fn rates_that_are_not_whole_are_kept_exactly() {
        for rate in [0.3, 1.0 / 3.0, 7.7, 333.3, 9_999.0] {
            let mut pace = pace(rate, 1);
            let total: usize = starts_at(&mut pace, (0..1_000_000).map(|n| n * 100)).iter().sum();
            let wanted = rate * 100.0;
            let found = f64::from(u32::try_from(total).unwrap());
            assert!((found - wanted).abs() <= 1.0 + wanted * 1e-4, "{found} of {wanted}");
        }
    }

    proptest! {
        #[test]
        fn no_stretch_has_more_than_its_share(
            (rate, burst) in (1.0..2000.0_f64, 1_u32..20),
            steps in prop::collection::vec((0_i64..30_000, any::<bool>()), 1..200),
        ) {
            let mut pace = pace(rate, burst);
            let (mut now, mut starts) = (0, Vec::new());
            for (step, work) in steps {
                now += step;
                while work && pace.free_at() <= Timestamp(now) {
                    pace.start(Timestamp(now));
                    starts.push(now);
                }
                pace.waited_for(work);
            }
            let late_us = LATE_NS / NS_PER_US;
            for (i, first) in starts.iter().enumerate() {
                for (n, last) in starts[i..].iter().enumerate() {
                    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
                    let (n, stretch_s) = (n as f64, (last - first + late_us) as f64 / 1e6);
                    let most = f64::from(burst) + stretch_s * rate;
                    prop_assert!(n + 1.0 <= most + 1e-3, "{} in {stretch_s} s", n + 1.0);
                }
            }
        }
    }
}

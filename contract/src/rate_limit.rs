//! How fast the attempts of a subscription start at most.

use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Allowed rates, in attempts a second: from about three an hour.
const PER_SECOND: RangeInclusive<f64> = 0.001..=100_000.0;
/// Allowed bursts.
const BURST: RangeInclusive<u32> = 1..=10_000;
const NANOSECONDS: f64 = 1e9;

/// A bound on how fast attempts start. What exceeds it waits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Attempts a second, on average; need not be whole.
    pub per_second: f64,
    /// How many may start at once after a pause.
    #[serde(default = "RateLimit::default_burst")]
    pub burst: u32,
}

impl RateLimit {
    /// One after the other.
    pub const fn default_burst() -> u32 {
        1
    }

    /// A sentence on what is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), String> {
        if !PER_SECOND.contains(&self.per_second) {
            let (min, max) = PER_SECOND.into_inner();
            return Err(format!("per_second: allowed are {min} to {max}"));
        }
        if !BURST.contains(&self.burst) {
            let (min, max) = BURST.into_inner();
            return Err(format!("burst: allowed are {min} to {max}"));
        }
        Ok(())
    }

    /// Time between two attempts at this rate, in nanoseconds.
    pub fn interval_ns(&self) -> i64 {
        let rate = if self.per_second.is_nan() { *PER_SECOND.start() } else { self.per_second };
        let rate = rate.clamp(*PER_SECOND.start(), *PER_SECOND.end());
        #[expect(clippy::cast_possible_truncation, reason = "at most 1e12")]
        let interval = (NANOSECONDS / rate).round() as i64;
        interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(per_second: f64, burst: u32) -> RateLimit {
        RateLimit { per_second, burst }
    }

    #[test]
    fn a_burst_of_one_is_meant_when_none_is_named() {
        let read: RateLimit = serde_json::from_str(r#"{"per_second": 0.5}"#).unwrap();
        assert_eq!(read, limit(0.5, 1));
        assert!(serde_json::from_str::<RateLimit>(r#"{"per_second": 1, "brust": 2}"#).is_err());
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        assert_eq!(limit(0.001, 1).check(), Ok(()));
        assert_eq!(limit(100_000.0, 10_000).check(), Ok(()));
        for wrong in [0.0, -1.0, 0.0009, 100_001.0, f64::NAN, f64::INFINITY] {
            assert!(limit(wrong, 1).check().unwrap_err().starts_with("per_second"), "{wrong}");
        }
        for wrong in [0, 10_001] {
            assert!(limit(1.0, wrong).check().unwrap_err().starts_with("burst"), "{wrong}");
        }
    }

    #[test]
    fn intervals_are_exact_to_the_nanosecond_and_never_zero() {
        assert_eq!(limit(3.0, 1).interval_ns(), 333_333_333);
        assert_eq!(limit(0.001, 1).interval_ns(), 1_000_000_000_000);
        assert_eq!(limit(100_000.0, 1).interval_ns(), 10_000);
        for out_of_bounds in [0.0, f64::NAN, f64::INFINITY, -1.0] {
            assert!(limit(out_of_bounds, 1).interval_ns() > 0);
        }
    }
}

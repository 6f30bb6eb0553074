//! Settings of the queue.

use contract::{Error, ErrorCode, Result, backoff::Span, subscription::Priority};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, time::Duration};

/// Most of the starts that the starvation guard may give away, all priorities together.
const SHARES_MAX: f64 = 0.5;

/// Settings of the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it listens for other parts, when split. Default: port 9640 of loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<SocketAddr>,
    /// Attempts that all consumers together make at once. Each priority that subscriptions have
    /// keeps the last fifth of these slots from all below it, and where there are several
    /// subscriptions none takes more than half. To be the sum over all consumers: if
    /// they have fewer slots in truth, the reserve is not kept.
    pub max_in_flight: u32,
    /// Part of the starts that every priority with work gets at least, 0 to 0.05.
    pub minimum_share: f64,
    /// Unfinished deliveries that a lane holds; the rest waits in the log.
    pub window: u32,
    /// How long a delivery is leased, and by how much a lease is extended.
    pub lease: Span,
    /// A retry that is due later than this leaves the queue; the feeder brings it back in time.
    pub hold_delayed: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            grpc: None,
            max_in_flight: 1024,
            minimum_share: 0.02,
            // Four times the most that a subscription has in flight.
            window: 1024,
            lease: Span(Duration::from_secs(60)),
            hold_delayed: Span(Duration::from_secs(60)),
        }
    }
}

impl Config {
    /// `invalid_definition` with a sentence on what is wrong, if anything is.
    pub fn check(&self) -> Result<()> {
        let refuse = |message: String| Err(Error::new(ErrorCode::InvalidDefinition, message));
        let levels = u32::try_from(Priority::LEVELS).unwrap_or(u32::MAX);
        let largest = SHARES_MAX / f64::from(levels);
        if !(0.0..=largest).contains(&self.minimum_share) {
            let found = self.minimum_share;
            return refuse(format!(
                "`minimum_share` is {found}; allowed: 0 to {largest}, so that {levels} \
                 priorities together take at most half of the starts"
            ));
        }
        if self.max_in_flight == 0 || self.window == 0 {
            return refuse("`max_in_flight` and `window` must be at least 1".to_owned());
        }
        if self.lease.0.is_zero() {
            return refuse("`lease` is 0s; a lease must last for a while".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed() {
        assert_eq!(Config::default().check(), Ok(()));
    }

    #[test]
    fn shares_above_half_are_refused_with_a_sentence() {
        for minimum_share in [0.051, -0.01, f64::NAN, 1.0] {
            let error = Config { minimum_share, ..Config::default() }.check().unwrap_err();
            assert!(error.message.contains("allowed: 0 to 0.05"), "{error}");
        }
        assert_eq!(Config { minimum_share: 0.05, ..Config::default() }.check(), Ok(()));
    }

    #[test]
    fn nothing_may_be_zero() {
        assert!(Config { window: 0, ..Config::default() }.check().is_err());
        assert!(Config { max_in_flight: 0, ..Config::default() }.check().is_err());
        let lease = Span(Duration::ZERO);
        assert!(Config { lease, ..Config::default() }.check().is_err());
    }
}

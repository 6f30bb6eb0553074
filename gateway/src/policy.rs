//! What a source may bring: how often, from where, and of which types.

use contract::{Error, ErrorCode, Result, clock::Timestamp, source::SourceLimits, uri::EventUri};
use http::{HeaderMap, HeaderValue};
use std::{
    net::IpAddr,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// The bounds of a source, and what it has used of them at this door.
#[derive(Debug)]
pub(crate) struct Policy {
    limits: SourceLimits,
    bucket: Option<Bucket>,
}

/// A bucket that fills at a steady rate (GCRA: one number says when it would be full).
#[derive(Debug)]
struct Bucket {
    /// Microseconds that one request takes.
    interval: i64,
    /// Microseconds that a full bucket is ahead.
    ahead_max: i64,
    burst: u32,
    /// When it is full again, in microseconds since the epoch.
    full_at: AtomicI64,
}

/// What is left of a bucket; shown to whoever takes from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    burst: u32,
    window: Duration,
    requests: i64,
    full_in: Duration,
}

impl Policy {
    pub(crate) fn new(limits: &SourceLimits) -> Self {
        let bucket = limits.requests_per_second.map(|rate| {
            let burst = limits.burst.unwrap_or(rate).max(1);
            let interval = 1_000_000 / i64::from(rate.max(1));
            Bucket {
                interval: interval.max(1),
                ahead_max: interval.max(1).saturating_mul(i64::from(burst)),
                burst,
                full_at: AtomicI64::new(0),
            }
        });
        Self { limits: limits.clone(), bucket }
    }

    /// `permission_denied` for callers from elsewhere; an address that is not known is elsewhere.
    pub(crate) fn check_address(&self, address: Option<IpAddr>) -> Result<()> {
        let networks = &self.limits.allowed_networks;
        let inside = |address: IpAddr| networks.iter().any(|network| network.contains(&address));
        if networks.is_empty() || address.is_some_and(inside) {
            return Ok(());
        }
        let message = "the source takes nothing from this address";
        Err(Error::new(ErrorCode::PermissionDenied, message))
    }

    /// Takes a request out of the bucket, if there is one.
    pub(crate) fn take(&self, now: Timestamp) -> Option<Result<Left, (Error, Left)>> {
        Some(self.bucket.as_ref()?.take(now))
    }

    /// `permission_denied` for types that the source may not bring.
    pub(crate) fn check_type(&self, uri: &EventUri) -> Result<()> {
        let patterns = &self.limits.event_types;
        if patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(uri)) {
            return Ok(());
        }
        let message = format!("the source may not bring `{uri}`");
        Err(Error::new(ErrorCode::PermissionDenied, message))
    }
}

impl Bucket {
    fn take(&self, now: Timestamp) -> Result<Left, (Error, Left)> {
        let now = now.0;
        let next = |full_at: i64| full_at.max(now).saturating_add(self.interval);
        let fits = |full_at| next(full_at).saturating_sub(now) <= self.ahead_max;
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            fits(full_at).then(|| next(full_at))
        });
        match taken {
            Ok(before) => Ok(self.left(next(before).saturating_sub(now))),
            Err(full_at) => {
                let wait = next(full_at).saturating_sub(now).saturating_sub(self.ahead_max);
                let message = "the source brings more requests per second than it may";
                let error = Error::new(ErrorCode::RateLimited, message).retry_after(micros(wait));
                Err((error, self.left(full_at.saturating_sub(now))))
            }
        }
    }

    fn left(&self, ahead: i64) -> Left {
        Left {
            burst: self.burst,
            window: micros(self.ahead_max),
            requests: self.ahead_max.saturating_sub(ahead).max(0) / self.interval,
            full_in: micros(ahead),
        }
    }
}

impl Left {
    /// Says it as `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
    pub(crate) fn show(self, headers: &mut HeaderMap) {
        let (window, full_in) = (seconds_up(self.window), seconds_up(self.full_in));
        let policy = format!("\"source\";q={};w={window}", self.burst);
        let left = format!("\"source\";r={};t={full_in}", self.requests);
        for (name, text) in [("ratelimit-policy", policy), ("ratelimit", left)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }
}

fn micros(count: i64) -> Duration {
    Duration::from_micros(u64::try_from(count).unwrap_or(0))
}

fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(text: &str) -> Policy {
        Policy::new(&serde_json::from_str(text).unwrap())
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp(1_795_000_000_000_000 + micros)
    }

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let policy = policy(r#"{"requests_per_second": 2, "burst": 3}"#);
        let take = |micros| policy.take(at(micros)).unwrap();
        let left: Vec<_> = (0..3).map(|_| take(0).unwrap().requests).collect();
        assert_eq!(left, [2, 1, 0]);
        let (error, left) = take(0).unwrap_err();
        assert_eq!(error.retry_after, Some(Duration::from_millis(500)));
        assert_eq!((left.requests, left.full_in), (0, Duration::from_millis(1500)));
        take(499_999).unwrap_err();
        take(500_000).unwrap();
        take(500_000).unwrap_err();
        assert_eq!(take(60_000_000).unwrap().requests, 2);
    }

    #[test]
    fn what_is_left_is_shown() {
        let policy = policy(r#"{"requests_per_second": 2, "burst": 3}"#);
        let mut headers = HeaderMap::new();
        policy.take(at(0)).unwrap().unwrap().show(&mut headers);
        assert_eq!(headers["ratelimit-policy"], r#""source";q=3;w=2"#);
        assert_eq!(headers["ratelimit"], r#""source";r=2;t=1"#);
    }

    #[test]
    fn addresses_and_types_are_those_that_were_named() {
        let policy = policy(r#"{"allowed_networks": ["10.0.0.0/8"], "event_types": ["a/1/*"]}"#);
        policy.check_address(Some("10.1.2.3".parse().unwrap())).unwrap();
        for address in [None, Some("192.0.2.1".parse().unwrap())] {
            let error = policy.check_address(address).unwrap_err();
            assert_eq!(error.code, ErrorCode::PermissionDenied);
        }
        policy.check_type(&"a/1/b".parse().unwrap()).unwrap();
        policy.check_type(&"b/1/b".parse().unwrap()).unwrap_err();
        assert!(policy.take(at(0)).is_none());
        let open = Policy::new(&SourceLimits::default());
        open.check_address(None).unwrap();
        open.check_type(&"b/1/b".parse().unwrap()).unwrap();
    }

    proptest! {
        #[test]
        fn no_second_has_more_than_the_rate_and_a_burst(
            rate in 1u32..50, burst in 1u32..50, steps in prop::collection::vec(0i64..300_000, 1..300),
        ) {
            let text = format!(r#"{{"requests_per_second": {rate}, "burst": {burst}}}"#);
            let policy = policy(&text);
            let (mut now, mut taken) = (0, 0u32);
            for step in steps {
                now += step;
                taken += u32::from(policy.take(at(now)).unwrap().is_ok());
                let seconds = u32::try_from(now / 1_000_000).unwrap() + 1;
                prop_assert!(taken <= burst + rate * seconds + 1);
            }
            prop_assert!(taken >= 1);
        }
    }
}

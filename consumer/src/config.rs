//! The settings of a consumer.

use contract::{backoff::Span, limits::RESPONSE_BODY_BYTES_MAX};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Shortest and longest time limit of an attempt (Standard Webhooks recommends 15 to 30 s).
const TIMEOUT_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(60);

/// Settings of a consumer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most attempts at once, over all subscriptions.
    pub max_in_flight: u32,
    /// Time limit of a whole attempt, from the connection to the last byte of the answer, for
    /// subscriptions that set none; 1 s to 60 s.
    pub timeout: Span,
    /// Time limit for a connection.
    pub connect_timeout: Span,
    /// Time limit for resolving a name, so that a black hole stalls nobody.
    pub dns_timeout: Span,
    /// Bytes of an answer's body that are kept with its attempt, up to 64 KiB; 0: none.
    pub response_kept_bytes: u32,
    /// Keep the headers of requests and answers with their attempts.
    pub headers_kept: bool,
    /// Names of more headers that carry credentials, in lower case; `*-ticket` names an ending.
    /// They are kept as `***` and a fingerprint.
    pub credential_headers: Vec<String>,
    /// Furthest that a `Retry-After` can move the next attempt.
    pub retry_after_max: Span,
    /// Networks that may be reached although they are private, loopback or otherwise special, and
    /// to which plain `http` is allowed.
    pub allowed_networks: Vec<IpNet>,
    /// Name servers to ask; the system's when empty.
    pub nameservers: Vec<SocketAddr>,
    /// PEM file of certificate authorities to trust beside the public ones.
    pub extra_ca_file: Option<PathBuf>,
    /// Most open connections, in use and idle. While more than half are open, new ones serve one
    /// request only, so twice `max_in_flight` is always enough.
    pub connections_max: u32,
    /// Most idle connections kept for one host.
    pub idle_connections_max_per_host: usize,
    /// How long an idle connection is kept: shorter than the 5 s after which common servers close
    /// theirs, so that a delivery rarely meets a connection that is just going away.
    pub idle_timeout: Span,
    /// How long one call to the queue waits for something to lease.
    pub lease_wait: Span,
    /// How long a stopping consumer goes on trying to record what it has sent.
    pub drain_limit: Span,
}

impl Default for Config {
    fn default() -> Self {
        let seconds = |s| Span(Duration::from_secs(s));
        Self {
            max_in_flight: 1024,
            timeout: seconds(15),
            connect_timeout: seconds(5),
            dns_timeout: seconds(2),
            response_kept_bytes: 16 * 1024,
            headers_kept: true,
            credential_headers: Vec::new(),
            retry_after_max: seconds(24 * 3600),
            allowed_networks: Vec::new(),
            nameservers: Vec::new(),
            extra_ca_file: None,
            connections_max: 2048,
            idle_connections_max_per_host: 256,
            idle_timeout: seconds(4),
            lease_wait: Span(Duration::from_millis(250)),
            drain_limit: seconds(30),
        }
    }
}

impl Config {
    /// A sentence on what is wrong with the settings, if anything is.
    pub fn check(&self) -> Result<(), String> {
        if self.max_in_flight == 0 {
            return Err("`max_in_flight` must be at least 1".into());
        }
        if self.connections_max < self.max_in_flight {
            return Err(format!(
                "`connections_max` is {}; it must be at least `max_in_flight`, which is {}",
                self.connections_max, self.max_in_flight
            ));
        }
        if !TIMEOUT_RANGE.contains(&self.timeout.0) {
            return Err(format!("`timeout` is {}; allowed: 1s to 60s", self.timeout));
        }
        if usize::try_from(self.response_kept_bytes).is_ok_and(|b| b > RESPONSE_BODY_BYTES_MAX) {
            return Err(format!(
                "`response_kept_bytes` is {}; at most {RESPONSE_BODY_BYTES_MAX} are ever read",
                self.response_kept_bytes
            ));
        }
        let limits = [
            ("connect_timeout", self.connect_timeout),
            ("dns_timeout", self.dns_timeout),
            ("lease_wait", self.lease_wait),
        ];
        match limits.iter().find(|(_, limit)| limit.0.is_zero()) {
            Some((name, _)) => Err(format!("`{name}` must not be 0")),
            None => Ok(()),
        }
    }

    /// What connections to endpoints may do.
    pub(crate) fn egress(&self) -> egress::Settings {
        egress::Settings {
            allowed_networks: self.allowed_networks.clone(),
            nameservers: self.nameservers.clone(),
            dns_timeout: self.dns_timeout.0,
            connect_timeout: self.connect_timeout.0,
            connections_max: usize::try_from(self.connections_max).unwrap_or(usize::MAX),
        }
    }

    /// The time limit of an attempt whose subscription wants `timeout_ms`, where operators have
    /// `set` one for all others.
    pub(crate) fn attempt_timeout(&self, timeout_ms: Option<u32>, set: Option<Span>) -> Duration {
        let others = set.unwrap_or(self.timeout).0;
        let wanted = timeout_ms.map_or(others, |ms| Duration::from_millis(ms.into()));
        wanted.clamp(*TIMEOUT_RANGE.start(), *TIMEOUT_RANGE.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_sane_and_contradictions_are_named() {
        assert_eq!(Config::default().check(), Ok(()));
        let wrong = [
            (Config { max_in_flight: 0, ..Config::default() }, "max_in_flight"),
            (Config { max_in_flight: 3000, ..Config::default() }, "connections_max"),
            (Config { response_kept_bytes: 65_537, ..Config::default() }, "response_kept_bytes"),
            (Config { timeout: Span(Duration::from_secs(61)), ..Config::default() }, "timeout"),
            (Config { dns_timeout: Span(Duration::ZERO), ..Config::default() }, "dns_timeout"),
        ];
        for (config, name) in wrong {
            assert!(config.check().unwrap_err().contains(name));
        }
    }

    #[test]
    fn a_subscription_may_set_its_limit_within_bounds() {
        let config = Config::default();
        assert_eq!(config.attempt_timeout(None, None), Duration::from_secs(15));
        assert_eq!(config.attempt_timeout(Some(2500), None), Duration::from_millis(2500));
        let set = Some(Span(Duration::from_secs(30)));
        assert_eq!(config.attempt_timeout(None, set), Duration::from_secs(30));
        assert_eq!(config.attempt_timeout(Some(2500), set), Duration::from_millis(2500));
        assert_eq!(config.attempt_timeout(Some(1), None), Duration::from_secs(1));
        assert_eq!(config.attempt_timeout(Some(90_000), None), Duration::from_secs(60));
    }
}

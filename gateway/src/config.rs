//! What an operator may set of the gateway.

use crate::serve;
use contract::{backoff::Span, event::Disposition, limits};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

/// Settings of the gateway. It knows nothing of the environment: the binary reads that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Public HTTP. Default 0.0.0.0:9600.
    pub http: SocketAddr,
    /// Public gRPC. Default 0.0.0.0:9601.
    pub grpc: SocketAddr,
    /// Largest body of an event in bytes, where the source says nothing else. Default 5 MiB.
    pub body_bytes_max: usize,
    /// The same for sources that verify as GitHub does. Default 25 MiB, GitHub's own cap.
    pub body_bytes_max_github: usize,
    /// Bytes of all bodies in flight together; more is answered with 503. Default 256 MiB.
    pub bodies_bytes_max: usize,
    /// Largest body of a request to the API in bytes. Default 32 MiB.
    pub api_body_bytes_max: usize,
    /// Time for a whole body to arrive; slower ones get 408. Default 30 s.
    pub body_read_timeout: Span,
    /// Time for the broker to answer; then 504. Default 30 s.
    pub accept_timeout: Span,
    /// Requests in work at once; more are answered with 503. Default 4096.
    pub requests_max: usize,
    /// What `Retry-After` says when a bound was reached. Default 1 s.
    pub retry_after: Span,
    /// Typed events that no schema knows: reject (404), quarantine or accept. Default reject.
    pub unvalidated: Disposition,
    /// `GET /api/schema/...` answers everybody; else it wants a key with `schemas:read`. Default
    /// false.
    pub public_schemas: bool,
    /// How old a signed timestamp may be, in seconds, where the source says nothing else; the same
    /// bound holds for the future. Default 300.
    pub tolerance_s: u32,
    /// Names of more headers that carry credentials, in lower case; `*-ticket` names an ending.
    /// They are kept as `***` and a fingerprint. Default none beside the built-in list.
    pub credential_headers: Vec<String>,
    /// Networks of proxies in front of the gateway: what they say in `X-Forwarded-For` is
    /// believed. Default none.
    pub trusted_proxies: Vec<IpNet>,
    /// Bounds of the listener.
    pub listener: serve::Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            http: (Ipv4Addr::UNSPECIFIED, 9600).into(),
            grpc: (Ipv4Addr::UNSPECIFIED, 9601).into(),
            body_bytes_max: limits::BODY_BYTES_MAX_DEFAULT,
            body_bytes_max_github: limits::BODY_BYTES_MAX_GITHUB,
            bodies_bytes_max: 256 * 1024 * 1024,
            api_body_bytes_max: 32 * 1024 * 1024,
            body_read_timeout: Span(Duration::from_secs(30)),
            accept_timeout: Span(Duration::from_secs(30)),
            requests_max: 4096,
            retry_after: Span(Duration::from_secs(1)),
            unvalidated: Disposition::Reject,
            public_schemas: false,
            tolerance_s: 300,
            credential_headers: Vec::new(),
            trusted_proxies: Vec::new(),
            listener: serve::Limits::default(),
        }
    }
}

impl Config {
    /// A sentence on what is wrong with the settings, if anything is.
    pub fn check(&self) -> Result<(), String> {
        let largest = self.body_bytes_max.max(self.body_bytes_max_github);
        if self.bodies_bytes_max < largest {
            let found = self.bodies_bytes_max;
            return Err(format!(
                "`bodies_bytes_max` is {found}, but one body alone may have {largest} bytes"
            ));
        }
        let counts = [
            ("requests_max", self.requests_max),
            ("body_bytes_max", self.body_bytes_max),
            ("body_bytes_max_github", self.body_bytes_max_github),
            ("listener.connections_max", self.listener.connections_max),
        ];
        match counts.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("`{name}` is 0; it must be at least 1")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_hold_together_and_survive_a_round_trip() {
        let config = Config::default();
        assert_eq!(config.check(), Ok(()));
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
        assert!(serde_json::from_str::<Config>(r#"{"body_max": 1}"#).is_err());
    }

    #[test]
    fn what_cannot_work_is_named() {
        let tight = Config { bodies_bytes_max: 1024, ..Config::default() };
        assert!(tight.check().unwrap_err().contains("bodies_bytes_max"));
        let closed = Config { requests_max: 0, ..Config::default() };
        assert!(closed.check().unwrap_err().contains("requests_max"));
    }
}

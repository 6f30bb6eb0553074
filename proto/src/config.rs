//! Settings of the public door and of the channels between the parts.

use contract::{
    backoff::Span,
    event::{CREDENTIAL_HEADERS, Disposition},
    limits::BODY_BYTES_MAX_DEFAULT,
};
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// How producers' events are taken at the public door.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PublicConfig {
    /// What happens to an event without a schema. Default: `reject`.
    pub unvalidated: Disposition,
    /// What happens to an event that breaks its schema. Default: `reject`.
    pub invalid: Disposition,
    /// Largest payload in bytes. Default: 5 MiB.
    pub payload_bytes_max: usize,
    /// Headers, in lower case, of which only a fingerprint is kept.
    pub credential_headers: Vec<String>,
}

impl Default for PublicConfig {
    fn default() -> Self {
        Self {
            unvalidated: Disposition::Reject,
            invalid: Disposition::Reject,
            payload_bytes_max: BODY_BYTES_MAX_DEFAULT,
            credential_headers: CREDENTIAL_HEADERS.map(str::to_owned).to_vec(),
        }
    }
}

/// How a part talks to its peers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientConfig {
    /// Time limit of a call with all its retries; a call that waits for work gets that wait on
    /// top. Default: 10 s.
    pub deadline: Span,
    /// Time limit of making a connection. Default: 2 s.
    pub connect_timeout: Span,
    /// A connection without traffic is pinged this often. Default: 20 s.
    pub keepalive: Span,
    /// A ping that is not answered for so long ends the connection. Default: 5 s.
    pub keepalive_timeout: Span,
    /// Retries of one call at most. Default: 3.
    pub retries_max: usize,
    /// Delay before the first retry; it doubles with each. Default: 20 ms.
    pub retry_delay: Span,
}

impl Default for ClientConfig {
    fn default() -> Self {
        let span = |millis| Span(Duration::from_millis(millis));
        Self {
            deadline: span(10_000),
            connect_timeout: span(2_000),
            keepalive: span(20_000),
            keepalive_timeout: span(5_000),
            retries_max: 3,
            retry_delay: span(20),
        }
    }
}

/// Mutual TLS between the parts: everything in PEM.
#[derive(Clone)]
pub struct Tls {
    /// Certificate of the authority that signs every part's certificate.
    pub ca: Vec<u8>,
    /// This part's certificate, with those between it and the authority.
    pub cert: Vec<u8>,
    /// The key of that certificate.
    pub key: Vec<u8>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

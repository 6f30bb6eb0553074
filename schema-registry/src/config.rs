//! What can be set about schemas.

use contract::{Error, ErrorCode, Result, backoff::Span, schema::UnknownFields};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, time::Duration};

/// Deepest nesting that the JSON parser itself can follow.
const PAYLOAD_DEPTH_LIMIT: usize = 127;

/// Settings of the schema registry and of the validator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it listens for other parts, when split. Default: port 9630 of loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<SocketAddr>,
    /// What happens to fields that a contract does not know, for schemas read from a directory.
    pub unknown_fields: UnknownFields,
    /// Most files of one schema, imports included.
    pub files_max: usize,
    /// Most bytes of all files of one schema together.
    pub source_bytes_max: usize,
    /// Deepest nesting of objects and lists in a JSON payload, at most 127.
    pub payload_depth_max: usize,
    /// How long the validator waits for one contract from the registry.
    pub fetch_timeout: Span,
    /// How long the validator waits before it asks again for a contract that it could not get.
    pub fetch_retry: Span,
    /// How often the validator looks whether the registry is there.
    pub registry_probe: Span,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            grpc: None,
            unknown_fields: UnknownFields::Ignore,
            files_max: 256,
            source_bytes_max: 4 * 1024 * 1024,
            payload_depth_max: 100,
            fetch_timeout: Span(Duration::from_secs(10)),
            fetch_retry: Span(Duration::from_secs(1)),
            registry_probe: Span(Duration::from_secs(5)),
        }
    }
}

impl Config {
    /// Refuses values that cannot work, naming the key.
    pub fn check(&self) -> Result<()> {
        let refuse = |text: String| Err(Error::new(ErrorCode::InvalidDefinition, text));
        if !(1..=PAYLOAD_DEPTH_LIMIT).contains(&self.payload_depth_max) {
            return refuse(format!(
                "`payload_depth_max` is {}; allowed is 1 to {PAYLOAD_DEPTH_LIMIT}",
                self.payload_depth_max
            ));
        }
        for (key, value) in
            [("files_max", self.files_max), ("source_bytes_max", self.source_bytes_max)]
        {
            if value == 0 {
                return refuse(format!("`{key}` is 0; allowed is 1 or more"));
            }
        }
        for (key, span) in [
            ("fetch_timeout", self.fetch_timeout),
            ("fetch_retry", self.fetch_retry),
            ("registry_probe", self.registry_probe),
        ] {
            if span.0.is_zero() {
                return refuse(format!("`{key}` is 0s; allowed is 1ms or more"));
            }
        }
        Ok(())
    }

    /// The depth that the parser survives, whatever was set.
    pub(crate) fn payload_depth(&self) -> usize {
        self.payload_depth_max.clamp(1, PAYLOAD_DEPTH_LIMIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_allowed_and_nonsense_is_named() {
        assert_eq!(Config::default().check(), Ok(()));
        let deep = Config { payload_depth_max: 128, ..Config::default() };
        assert!(deep.check().unwrap_err().message.contains("payload_depth_max"));
        let none = Config { files_max: 0, ..Config::default() };
        assert!(none.check().unwrap_err().message.contains("files_max"));
        let never = Config { fetch_retry: Span(Duration::ZERO), ..Config::default() };
        assert!(never.check().unwrap_err().message.contains("fetch_retry"));
    }
}

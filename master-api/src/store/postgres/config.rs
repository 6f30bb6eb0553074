//! What an operator can set about PostgreSQL.

use contract::backoff::Span;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

/// Settings of the connections to PostgreSQL.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// Schema (name space) of the tables, made if it is not there. Default: `certes`.
    pub schema: String,
    /// PEM file with the certificates of authorities that the server's certificate may be from.
    /// None: the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca: Option<PathBuf>,
    /// Connections for reading; writing and keeping alive take up to three more. Default: 8.
    pub connections_max: usize,
    /// How long a connection may take. Default: 5 s.
    pub connect_timeout: Span,
    /// How long a question may take, with the wait for a connection. Default: 10 s.
    pub read_timeout: Span,
    /// How long a statement of a batch may take, and the wait for the log's head. Default: 10 s.
    pub write_timeout: Span,
    /// How often an idle replica looks for what others wrote. Default: 200 ms.
    pub poll: Span,
    /// For how long a replica that is not heard of counts as living, and keeps the leadership.
    /// Default: 5 s.
    pub lease: Span,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        let millis = |millis| Span(Duration::from_millis(millis));
        Self {
            schema: "certes".to_owned(),
            tls_ca: None,
            connections_max: 8,
            connect_timeout: millis(5_000),
            read_timeout: millis(10_000),
            write_timeout: millis(10_000),
            poll: millis(200),
            lease: millis(5_000),
        }
    }
}

impl PostgresConfig {
    /// Values that fit each other, and a name that needs no quotes.
    ///
    /// Errors: a sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        let first = self.schema.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !first || !self.schema.chars().all(rest) || self.schema.len() > SCHEMA_LENGTH_MAX {
            return Err(format!(
                "`schema` is `{}`: it has to be lower-case letters, digits and `_`, not begin \
                 with a digit, and have at most {SCHEMA_LENGTH_MAX} characters",
                self.schema
            ));
        }
        if self.connections_max == 0 {
            return Err("`connections_max` has to be 1 at least".to_owned());
        }
        if self.poll.0.is_zero() || self.poll.0 > POLL_MAX {
            return Err(format!("`poll` has to be above 0 and at most {POLL_MAX:?}"));
        }
        if self.lease.0 < LEASE_MIN {
            return Err(format!(
                "`lease` has to be {LEASE_MIN:?} at least: it is kept once a second"
            ));
        }
        Ok(())
    }
}

/// Longest name of a schema: PostgreSQL cuts names at 63.
const SCHEMA_LENGTH_MAX: usize = 48;
/// Changes are to be seen everywhere within a second.
const POLL_MAX: Duration = Duration::from_millis(900);
/// A lease outlives two beats that were missed.
const LEASE_MIN: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_spans_are_checked() {
        let check = |change: fn(&mut PostgresConfig)| {
            let mut config = PostgresConfig::default();
            change(&mut config);
            config.check().is_ok()
        };
        assert!(check(|_| {}));
        assert!(check(|config| config.schema = "a_1".into()));
        assert!(!check(|config| config.schema = "a\"; drop schema b".into()));
        assert!(!check(|config| config.schema = "1a".into()));
        assert!(!check(|config| config.schema = String::new()));
        assert!(!check(|config| config.schema = "a".repeat(49)));
        assert!(!check(|config| config.poll = Span(Duration::from_secs(1))));
        assert!(!check(|config| config.lease = Span(Duration::from_secs(1))));
        assert!(!check(|config| config.connections_max = 0));
    }
}

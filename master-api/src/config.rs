//! What an operator can set about Master API.

use crate::secrets::SECRET_KEY_FILE;
use contract::{backoff::Span, secret::Secret};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// Settings of Master API and its embedded store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the store, the head file and the key files are. Default: `data`. The process sets it
    /// for all its parts.
    #[serde(skip)]
    pub data_dir: PathBuf,
    /// Where GraphQL listens for other parts, when split. Default: port 9610 of loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<SocketAddr>,
    /// Where it listens for other parts, when split. Default: port 9611 of loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<SocketAddr>,
    /// Key that seals stored secrets, 64 hexadecimal digits. With a comma and the key before it
    /// behind it, all secrets are sealed anew at the next start. None: the file `secret.key` in
    /// `data_dir`, made at first start.
    #[serde(skip_serializing)]
    pub secret_key: Option<Secret>,
    /// Another file for that key, made at first start like it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key_file: Option<PathBuf>,
    /// Token of the administrator's key, used at first start only. None: one is made and written
    /// to `admin.key` in `data_dir`.
    #[serde(skip_serializing)]
    pub admin_key: Option<Secret>,
    /// How long the token of a user works. Default: 1 h.
    pub token_lifetime: Span,
    /// How long a user can go on with new tokens before the password has to be given again.
    /// Default: 12 h.
    pub session_max: Span,
    /// How often a password may be tried for a name in a minute. Default: 10.
    pub login_tries_per_minute: u32,
    /// Passwords that are checked at once; each takes 19 MiB. Default: 2.
    pub password_checks_max: usize,
    /// Memory for cached blocks of the store, in bytes. Default: 64 MiB.
    pub cache_bytes: u64,
    /// Free space of the file system below which no event is accepted, in bytes. Default: 1 GiB.
    pub store_reserve_bytes: u64,
    /// Commands that may wait for the writer. Default: 4,096.
    pub commands_waiting_max: usize,
    /// Commands of one batch. Default: 512.
    pub batch_commands_max: usize,
    /// Payload bytes of one batch, above which no further command joins it. Default: 16 MiB.
    pub batch_bytes_max: usize,
    /// Attempt reports that may wait for the writer. Default: 16,384.
    pub reports_waiting_max: usize,
    /// Attempt reports that are written at once instead of held. Default: 512.
    pub reports_batch_max: usize,
    /// How long attempt reports wait for a batch to ride on. Default: 5 ms.
    pub reports_hold: Span,
    /// How long a command waits for a place in front of the writer. Default: 500 ms.
    pub queue_wait: Span,
    /// How long a command waits for its answer. Default: 10 s.
    pub commit_wait: Span,
    /// Memory for events on their way to a first attempt, in bytes. Default: 32 MiB.
    pub recent_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        let millis = |millis| Span(Duration::from_millis(millis));
        Self {
            data_dir: PathBuf::from("data"),
            http: None,
            grpc: None,
            secret_key: None,
            secret_key_file: None,
            admin_key: None,
            token_lifetime: millis(3_600_000),
            session_max: millis(12 * 3_600_000),
            login_tries_per_minute: 10,
            password_checks_max: 2,
            cache_bytes: 64 << 20,
            store_reserve_bytes: 1 << 30,
            commands_waiting_max: 4_096,
            batch_commands_max: 512,
            batch_bytes_max: 16 << 20,
            reports_waiting_max: 16_384,
            reports_batch_max: 512,
            reports_hold: millis(5),
            queue_wait: millis(500),
            commit_wait: millis(10_000),
            recent_bytes_max: 32 << 20,
        }
    }
}

impl Config {
    /// Where the key is that seals stored secrets, unless it is given.
    pub fn secret_key_path(&self) -> PathBuf {
        self.secret_key_file.clone().unwrap_or_else(|| self.data_dir.join(SECRET_KEY_FILE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_ever_printed() {
        let secret = || Some(Secret::new("5ec0de"));
        let config = Config { secret_key: secret(), admin_key: secret(), ..Config::default() };
        assert!(!serde_json::to_string(&config).unwrap().contains("5ec0de"));
        assert!(!format!("{config:?}").contains("5ec0de"));
    }
}

//! What an operator can set about Master API.

use crate::{secrets::SECRET_KEY_FILE, store::PostgresConfig};
use contract::{backoff::Span, secret::Secret};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

/// Settings of Master API and its embedded store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the store, the head file and the key files are. Default: `data`. The process sets it
    /// for all its parts.
    #[serde(skip)]
    pub data_dir: PathBuf,
    /// The state database. Default: embedded.
    pub store: StoreKind,
    /// How PostgreSQL is used, where it is the state database.
    pub postgres: PostgresConfig,
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
    /// How often a wrong password may be tried for a name in a minute. Default: 10.
    pub login_tries_per_minute: u32,
    /// How often wrong passwords may be tried from an address in a minute. Default: 60.
    pub login_tries_per_minute_and_address: u32,
    /// Longest wait after too many tries: it is a minute at first, and doubles each time that
    /// there are too many again. Default: 15 min.
    pub login_wait_max: Span,
    /// Passwords that are checked at once; each takes 19 MiB. Default: 2.
    pub password_checks_max: usize,
    /// Memory for cached blocks of the store, in bytes. Default: 64 MiB.
    pub cache_bytes: u64,
    /// Memory of each table before its rows go into a file, in bytes; taken when the table is made.
    /// Default: 64 MiB.
    pub memtable_bytes: u64,
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
    /// When endpoints are left alone, and when they are given up.
    pub breaker: BreakerConfig,
    /// Deliveries of a replay that wait at once: it makes more as they are delivered. Default: 10,000.
    pub replay_ahead_max: u64,
    /// Deliveries of a replay that are made in one step, between the events of others. Default: 256.
    pub replay_batch_max: usize,
    /// How long things are kept. The process sets it.
    #[serde(skip)]
    pub retention: RetentionConfig,
    /// How much the store may take. The process sets it.
    #[serde(skip)]
    pub limits: StoreConfig,
}

/// When endpoints are left alone at which nearly all attempts fail, and when they are given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// Leave endpoints alone at all. Default: true.
    pub enabled: bool,
    /// Fewest attempts of the window to judge by. Default: 20.
    pub attempts: u32,
    /// How far back attempts count. Default: 1 minute.
    pub window: Span,
    /// Part of them that must have failed, above 0 up to 1. Default: 0.9.
    pub failure_share: f64,
    /// How often one delivery is let through to see whether the endpoint is back. Default: 30 s.
    pub probe_every: Span,
    /// A subscription is disabled when all attempts have failed for so long, since its breaker
    /// opened or in `attempts` or more in a row. 0: never. Default: 5 days.
    pub disable_after: Span,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        let seconds = |seconds| Span(Duration::from_secs(seconds));
        Self {
            enabled: true,
            attempts: 20,
            window: seconds(60),
            failure_share: 0.9,
            probe_every: seconds(30),
            disable_after: seconds(5 * 86_400),
        }
    }
}

impl BreakerConfig {
    /// Values that make no sense, as a sentence.
    pub fn check(&self) -> Result<(), String> {
        if self.attempts == 0 {
            return Err("`attempts` must be at least 1".to_owned());
        }
        if !(self.failure_share > 0.0 && self.failure_share <= 1.0) {
            let found = self.failure_share;
            return Err(format!("`failure_share` is {found}; allowed: above 0 up to 1"));
        }
        let least = [("window", self.window), ("probe_every", self.probe_every)];
        match least.into_iter().find(|(_, value)| value.0 < ONE_SECOND) {
            Some((key, value)) => Err(format!("`{key}` is {value}, and cannot be less than 1s")),
            None => Ok(()),
        }
    }
}

/// How much the store may take.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// Free space of the file system below which no event is accepted, in bytes; deliveries go on.
    /// Default: 1 GiB.
    pub reserve: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { reserve: 1 << 30 }
    }
}

/// How long things are kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionConfig {
    /// How long payloads and finished deliveries are kept: a day goes when its last event is so
    /// old. At least one day. Default: 30 days.
    pub age: Span,
    /// How long an unfinished delivery keeps its payload; then it is dead with cause `expired`.
    /// At least one day. Default: 90 days.
    pub unfinished: Span,
    /// Bytes of all tables above which the oldest days go before their time, never the last two.
    /// 0: no such bound. Default: 0.
    pub size: u64,
    /// How often it is looked for what may go. Default: 10 minutes.
    pub every: Span,
}

impl Default for RetentionConfig {
    fn default() -> Self {
        let days = |days: u64| Span(Duration::from_secs(days * 86_400));
        Self { age: days(30), unfinished: days(90), size: 0, every: Span(RETENTION_EVERY) }
    }
}

const RETENTION_EVERY: Duration = Duration::from_secs(600);
const ONE_DAY: Duration = Duration::from_secs(86_400);
const ONE_SECOND: Duration = Duration::from_secs(1);

impl RetentionConfig {
    /// Values that would take away what is still needed, as a sentence.
    pub fn check(&self) -> Result<(), String> {
        let least = [
            ("age", self.age, ONE_DAY),
            ("unfinished", self.unfinished, ONE_DAY),
            ("every", self.every, ONE_SECOND),
        ];
        match least.into_iter().find(|(_, value, least)| value.0 < *least) {
            Some((key, value, least)) => {
                Err(format!("`{key}` is {value}, and cannot be less than {}", Span(least)))
            }
            None => Ok(()),
        }
    }
}

/// Which state database there is. Text form: `embedded`, or the URL of a PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StoreKind {
    /// A directory below the data directory.
    Embedded,
    /// `postgres://user:password@host:port/database`. With `sslmode=require`, and whenever the
    /// host is another one, over TLS with a checked certificate; several hosts with commas.
    Postgres(Secret),
}

impl FromStr for StoreKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "embedded" => Ok(Self::Embedded),
            url if ["postgres://", "postgresql://"].iter().any(|it| url.starts_with(it)) => {
                Ok(Self::Postgres(Secret::new(url)))
            }
            // It may hold a password.
            _ => Err("expected `embedded` or a URL that begins with `postgres://`".to_owned()),
        }
    }
}

impl TryFrom<String> for StoreKind {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// As it is shown: without the password.
impl From<StoreKind> for String {
    fn from(kind: StoreKind) -> Self {
        match kind {
            StoreKind::Embedded => "embedded".to_owned(),
            // Exposed to be shown without what is secret in it; a password may stand behind `?`.
            StoreKind::Postgres(url) => match url::Url::parse(url.expose()) {
                Ok(mut url) => {
                    url.set_query(None);
                    let masked = url.password().is_none() || url.set_password(Some("***")).is_ok();
                    if masked { url.to_string() } else { "postgres://***".to_owned() }
                }
                Err(_) => "postgres://***".to_owned(),
            },
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let millis = |millis| Span(Duration::from_millis(millis));
        Self {
            data_dir: PathBuf::from("data"),
            store: StoreKind::Embedded,
            postgres: PostgresConfig::default(),
            http: None,
            grpc: None,
            secret_key: None,
            secret_key_file: None,
            admin_key: None,
            token_lifetime: millis(3_600_000),
            session_max: millis(12 * 3_600_000),
            login_tries_per_minute: 10,
            login_tries_per_minute_and_address: 60,
            login_wait_max: millis(900_000),
            password_checks_max: 2,
            cache_bytes: 64 << 20,
            memtable_bytes: 64 << 20,
            commands_waiting_max: 4_096,
            batch_commands_max: 512,
            batch_bytes_max: 16 << 20,
            reports_waiting_max: 16_384,
            reports_batch_max: 512,
            reports_hold: millis(5),
            queue_wait: millis(500),
            commit_wait: millis(10_000),
            recent_bytes_max: 32 << 20,
            breaker: BreakerConfig::default(),
            replay_ahead_max: 10_000,
            replay_batch_max: 256,
            retention: RetentionConfig::default(),
            limits: StoreConfig::default(),
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
    fn a_breaker_that_makes_no_sense_is_refused() {
        let good = BreakerConfig::default();
        assert_eq!(good.check(), Ok(()));
        let wrong = [
            ("`attempts`", BreakerConfig { attempts: 0, ..good.clone() }),
            ("`failure_share`", BreakerConfig { failure_share: 0.0, ..good.clone() }),
            ("`failure_share`", BreakerConfig { failure_share: 1.1, ..good.clone() }),
            ("`failure_share`", BreakerConfig { failure_share: f64::NAN, ..good.clone() }),
            ("`window`", BreakerConfig { window: Span(Duration::ZERO), ..good.clone() }),
            ("`probe_every`", BreakerConfig { probe_every: Span(Duration::ZERO), ..good }),
        ];
        for (name, config) in wrong {
            assert!(config.check().unwrap_err().starts_with(name));
        }
    }

    #[test]
    fn no_key_is_ever_printed() {
        let secret = || Some(Secret::new("5ec0de"));
        let store: StoreKind =
            "postgres://certes:5ec0de@db:5432/certes?password=5ec0de".parse().unwrap();
        let (secret_key, admin_key) = (secret(), secret());
        let config = Config { store, secret_key, admin_key, ..Config::default() };
        assert!(!serde_json::to_string(&config).unwrap().contains("5ec0de"));
        assert!(!format!("{config:?}").contains("5ec0de"));
        assert_eq!(String::from(config.store), "postgres://certes:***@db:5432/certes");
        for wrong in ["", "postgre://certes:5ec0de@db", "fjall"] {
            assert!(!wrong.parse::<StoreKind>().unwrap_err().contains("5ec0de"));
        }
    }
}

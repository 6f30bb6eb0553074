//! What can be set about schemas.

use contract::{Error, ErrorCode, Result, backoff::Span, schema::UnknownFields, secret::Secret};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

/// Deepest nesting that the JSON parser itself can follow.
pub(crate) const PAYLOAD_DEPTH_LIMIT: usize = 127;

/// Settings of the schema registry and of the validator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it listens for other parts, when split. Default: port 9630 of loopback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<SocketAddr>,
    /// Where bundles are kept: `directory` (below `data_dir`), `memory` (gone with the process) or
    /// `s3://bucket/prefix`.
    pub store: StoreKind,
    /// Settings of a store in a bucket.
    pub s3: S3Config,
    /// What happens to fields that a contract does not know, where the first version of a schema
    /// says nothing.
    pub unknown_fields: UnknownFields,
    /// Most files of one schema, imports included.
    pub files_max: usize,
    /// Most bytes of all files of one schema together.
    pub source_bytes_max: usize,
    /// Most statements of one schema, imports included: fields, values of enums, messages, options,
    /// told by their `;`, `{` and `,`. What a schema costs to compile grows with them.
    pub statements_max: usize,
    /// Most bytes that the patterns of one schema take together when they are compiled; each counts
    /// as 16 KiB, 128 KiB or 1 MiB, and equal ones count once.
    pub pattern_bytes_max: usize,
    /// Most schemas that are published together, and most entries of their archive.
    pub set_files_max: usize,
    /// Most bytes of all files of the schemas that are published together, each counted with all
    /// that it imports, and of their archive when it is unpacked.
    pub set_bytes_max: usize,
    /// Most statements of all schemas that are published together, each counted with all that it
    /// imports.
    pub set_statements_max: usize,
    /// Deepest nesting of objects and lists in a JSON payload, and of messages in a binary one, at
    /// most 127.
    pub payload_depth_max: usize,
    /// How long the validator waits for one contract from the registry.
    pub fetch_timeout: Span,
    /// How long the validator waits before it asks again for a contract that it could not get.
    pub fetch_retry: Span,
    /// How often the validator looks whether the registry is there.
    pub registry_probe: Span,
    /// Other deployments whose schemas may be used, by domain.
    pub peers: BTreeMap<String, PeerConfig>,
    /// Settings for the schemas of other deployments.
    pub foreign: ForeignConfig,
}

/// Another deployment whose schemas may be used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeerConfig {
    /// Where it answers `GET /api/schema/...`; None: port 9600 of its domain, over https.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// API key that it wants, if it wants one. Never printed.
    #[serde(skip_serializing)]
    pub key: Option<Secret>,
    /// Event URIs (without the domain) whose contract may only be this one: SHA-256 of the bundle
    /// in hexadecimal digits.
    pub pins: BTreeMap<String, String>,
}

/// Settings for the schemas of other deployments, which are kept in the schema store and, within these
/// bounds, in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ForeignConfig {
    /// Most schemas that are kept; the least recently used go first.
    pub schemas_max: usize,
    /// Most bytes of all that are kept.
    pub bytes_max: usize,
    /// After this time a contract is asked for again when an event breaks it.
    pub ttl: Span,
    /// How long it is remembered that there is no such schema, or that its deployment did not
    /// answer.
    pub negative_ttl: Span,
    /// How often the validator looks whether another deployment has published something.
    pub news_interval: Span,
    /// Longest wait for an answer.
    pub timeout: Span,
    /// Largest answer in bytes.
    pub answer_bytes_max: usize,
    /// Networks that may be reached although they are special, and by plain `http`.
    pub allowed_networks: Vec<IpNet>,
    /// Name servers to ask; the system's when empty.
    pub nameservers: Vec<SocketAddr>,
    /// PEM file of certificate authorities to trust beside the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_ca_file: Option<PathBuf>,
}

impl Default for ForeignConfig {
    fn default() -> Self {
        Self {
            schemas_max: 1000,
            bytes_max: 64 * 1024 * 1024,
            ttl: Span(Duration::from_secs(3600)),
            negative_ttl: Span(Duration::from_secs(10)),
            news_interval: Span(Duration::from_millis(500)),
            timeout: Span(Duration::from_secs(5)),
            answer_bytes_max: 16 * 1024 * 1024,
            allowed_networks: Vec::new(),
            nameservers: Vec::new(),
            extra_ca_file: None,
        }
    }
}

/// Where bundles are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum StoreKind {
    /// A directory below `data_dir`.
    Directory,
    /// The memory of the process: its contracts have to be published again after a restart.
    Memory,
    /// A bucket that speaks S3.
    S3(Bucket),
}

/// A part of a bucket. Text form: `s3://bucket/prefix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Name of the bucket.
    pub name: String,
    /// What all paths begin with; may be empty.
    pub prefix: String,
}

impl FromStr for Bucket {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let place = text.strip_prefix("s3://").unwrap_or_default();
        let (name, prefix) = place.split_once('/').unwrap_or((place, ""));
        if name.is_empty() {
            let allowed = "`directory`, `memory` or `s3://bucket/prefix`";
            return Err(format!("`{text}` is no schema store; allowed: {allowed}"));
        }
        Ok(Self { name: name.to_owned(), prefix: prefix.trim_matches('/').to_owned() })
    }
}

impl TryFrom<String> for StoreKind {
    type Error = String;
    fn try_from(text: String) -> std::result::Result<Self, String> {
        match text.as_str() {
            "directory" => Ok(Self::Directory),
            "memory" => Ok(Self::Memory),
            other => other.parse().map(Self::S3),
        }
    }
}

impl From<StoreKind> for String {
    fn from(kind: StoreKind) -> Self {
        match kind {
            StoreKind::Directory => "directory".to_owned(),
            StoreKind::Memory => "memory".to_owned(),
            StoreKind::S3(Bucket { name, prefix }) => format!("s3://{name}/{prefix}"),
        }
    }
}

/// Settings of a store in a bucket. Its credentials are the `AWS_...` variables of the environment
/// (`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or those of a role).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Config {
    /// URL of the service; None: `AWS_ENDPOINT_URL`, else that of AWS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region; None: `AWS_REGION`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The bucket is part of the host's name, and not of the path.
    pub virtual_hosts: bool,
    /// Longest wait for the answer to one request.
    pub timeout: Span,
    /// How often a request that failed is made again.
    pub retries_max: usize,
    /// Longest wait for all tries together.
    pub deadline: Span,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            virtual_hosts: false,
            timeout: Span(Duration::from_secs(5)),
            retries_max: 4,
            deadline: Span(Duration::from_secs(15)),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            grpc: None,
            store: StoreKind::Directory,
            s3: S3Config::default(),
            unknown_fields: UnknownFields::Ignore,
            files_max: 256,
            source_bytes_max: 4 * 1024 * 1024,
            statements_max: 20_000,
            pattern_bytes_max: 32 * 1024 * 1024,
            set_files_max: 10_000,
            set_bytes_max: 32 * 1024 * 1024,
            set_statements_max: 200_000,
            payload_depth_max: 100,
            fetch_timeout: Span(Duration::from_secs(10)),
            fetch_retry: Span(Duration::from_secs(1)),
            registry_probe: Span(Duration::from_secs(5)),
            peers: BTreeMap::new(),
            foreign: ForeignConfig::default(),
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
        for (key, value) in [
            ("files_max", self.files_max),
            ("source_bytes_max", self.source_bytes_max),
            ("statements_max", self.statements_max),
            ("pattern_bytes_max", self.pattern_bytes_max),
            ("set_files_max", self.set_files_max),
            ("set_bytes_max", self.set_bytes_max),
            ("set_statements_max", self.set_statements_max),
        ] {
            if value == 0 {
                return refuse(format!("`{key}` is 0; allowed is 1 or more"));
            }
        }
        for (key, span) in [
            ("fetch_timeout", self.fetch_timeout),
            ("fetch_retry", self.fetch_retry),
            ("registry_probe", self.registry_probe),
            ("s3.timeout", self.s3.timeout),
            ("s3.deadline", self.s3.deadline),
            ("foreign.timeout", self.foreign.timeout),
            ("foreign.news_interval", self.foreign.news_interval),
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
    fn stores_have_a_text_form() {
        let kind = |text: &str| StoreKind::try_from(text.to_owned());
        for text in ["directory", "memory", "s3://bucket/", "s3://bucket/some/prefix"] {
            assert_eq!(String::from(kind(text).unwrap()), text);
        }
        assert_eq!(String::from(kind("s3://bucket").unwrap()), "s3://bucket/");
        for wrong in ["", "s3://", "s3:///prefix", "gs://bucket", "Memory"] {
            assert!(kind(wrong).unwrap_err().contains("allowed"), "{wrong}");
        }
    }

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

//! Schemas: the protobuf contract of an event type, in versions.

use crate::{
    Error, ErrorCode, Result,
    clock::{BoxFuture, Timestamp},
    stamp::hex_or_bytes,
    uri::EventUri,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// One way in which a payload breaks its contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Where: `repository.id`, `commits[2].author`; empty for the whole payload.
    pub path: String,
    /// What the contract wants there.
    pub expected: String,
    /// What was there, shortened.
    pub found: String,
    /// Which rule: `type`, `unknown_field`, `required`, `range`, ...
    pub rule: String,
}

/// What happens to fields that a contract does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownFields {
    /// They pass; payloads of third parties grow.
    #[default]
    Ignore,
    /// They are violations.
    Reject,
}

/// Which changes to a contract are compatible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rulebook {
    /// The strict one: what a payload of the old version holds means the same in the new one, in
    /// JSON and in binary, and readers of the old version meet nothing but new fields.
    #[default]
    Certes,
    /// The rules of Confluent's schema registry for protobuf.
    Confluent,
    /// Binary wire compatibility: numbers and encodings count, names do not. Source: protobuf.dev,
    /// "Updating a message type".
    Wire,
}

impl Rulebook {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Certes, Self::Confluent, Self::Wire];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certes => "certes",
            Self::Confluent => "confluent",
            Self::Wire => "wire",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Rulebook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Rulebook {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|rulebook| rulebook.as_str() == text);
        known.ok_or_else(|| format!("`{text}` is no rulebook; allowed: certes, confluent, wire"))
    }
}

/// What a rulebook says about a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It may go into the next minor version.
    Compatible,
    /// It needs the next major version.
    Breaking,
}

/// One difference between two versions of a contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Full name of the field, message, enum or value, as in `shop.v1.Paid.amount`; empty for the
    /// contract as a whole.
    pub path: String,
    /// What kind of change it is: `field_added`, `field_type_changed`, ...
    pub rule: String,
    /// What the rulebook says about it.
    pub verdict: Verdict,
    /// One sentence for a person.
    pub text: String,
}

/// Number of a version, as in `1.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VersionNumber {
    /// Named by subscribers.
    pub major: u32,
    /// From 0.
    pub minor: u32,
}

impl Serialize for VersionNumber {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for VersionNumber {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|error: Error| serde::de::Error::custom(error.message))
    }
}

impl fmt::Display for VersionNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.major, self.minor))
    }
}

impl FromStr for VersionNumber {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let canonical = |digits: &str| {
            let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            let one_way = digits == "0" || !digits.starts_with('0');
            if plain && one_way { digits.parse::<u32>().ok() } else { None }
        };
        let parsed = text.split_once('.').and_then(|(major, minor)| {
            let major = canonical(major).filter(|major| *major > 0)?;
            Some(Self { major, minor: canonical(minor)? })
        });
        parsed.ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            let message = format!("`{shown}` is no version; write MAJOR.MINOR, as in 1.2");
            Error::new(ErrorCode::InvalidRequest, message)
        })
    }
}

/// A published version of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaVersion {
    /// The event type; names the major version.
    pub uri: EventUri,
    /// Minor version, from 0.
    pub minor: u32,
    /// Full name of the message, as in `certes.github.v1.PushEvent`.
    pub message: String,
    /// SHA-256 of the bundle, which is its address in the schema store.
    #[serde(with = "hex_or_bytes")]
    pub digest: [u8; 32],
    /// What happens to unknown fields.
    pub unknown_fields: UnknownFields,
    /// By which the next version is compared with this one, unless it names another.
    #[serde(default, skip_serializing_if = "Rulebook::is_default")]
    pub rulebook: Rulebook,
    /// When it was published.
    pub published_at: Timestamp,
}

impl SchemaVersion {
    /// Its number, as in `1.2`.
    pub fn number(&self) -> VersionNumber {
        VersionNumber { major: self.uri.major(), minor: self.minor }
    }
}

/// One `.proto` file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtoFile {
    /// Its path as imports name it, as in `github/1/push.proto`.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// A schema to publish: the contract of one event type, with the files it imports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaSource {
    /// The event type.
    pub uri: EventUri,
    /// Path of the file that holds the message.
    pub entry: String,
    /// All files: the entry and what it imports (well-known types are built in).
    pub files: Vec<ProtoFile>,
    /// Full name of the message; None: the entry's only top-level one, or the last of several.
    #[serde(default)]
    pub message: Option<String>,
    /// What happens to unknown fields; None: as in the version before, and in a first version as
    /// the registry is configured.
    #[serde(default)]
    pub unknown_fields: Option<UnknownFields>,
    /// By which it is compared with the version before; None: as that version says, else `certes`.
    #[serde(default)]
    pub rulebook: Option<Rulebook>,
    /// A breaking change makes the next major version instead of being refused.
    #[serde(default)]
    pub next_major: bool,
    /// An example payload in JSON, which must keep the contract.
    #[serde(default)]
    pub example: Option<String>,
    /// The latest version that the publisher knows of; if it is another, that is a `conflict`.
    #[serde(default)]
    pub expected: Option<VersionNumber>,
}

/// A version with what is needed to use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaBundle {
    /// Which version.
    pub version: SchemaVersion,
    /// Encoded `google.protobuf.FileDescriptorSet` with all imports; base64 where people read.
    #[serde(with = "crate::stamp::base64_or_bytes")]
    pub descriptor_set: Bytes,
    /// The sources it was compiled from.
    pub files: Vec<ProtoFile>,
    /// An example payload in JSON.
    pub example: Option<String>,
}

/// What publishing did or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The version that holds the content now; of a check that refuses: the latest one.
    pub version: SchemaVersion,
    /// False: the same content was there already, or publishing would be refused.
    pub changed: bool,
    /// The differences to the latest version of the major that was named.
    pub differences: Vec<Difference>,
    /// Only of a check: why publishing would be refused.
    #[serde(default)]
    pub refusal: Option<String>,
    /// Names of the subscriptions, not disabled, that receive the type and are hit by a breaking
    /// change.
    #[serde(default)]
    pub subscriptions: Vec<String>,
    /// Differences that are not listed; those that break are listed first.
    #[serde(default)]
    pub differences_left_out: u32,
    /// Such subscriptions that are not named.
    #[serde(default)]
    pub subscriptions_left_out: u32,
}

impl Published {
    /// Does a difference break the contract?
    pub fn is_breaking(&self) -> bool {
        self.differences.iter().any(|found| found.verdict == Verdict::Breaking)
    }
}

/// Schemas that are published or checked together: all or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaSet {
    /// One by one. A file that one of them lacks is looked for among those of the others.
    Sources(Vec<SchemaSource>),
    /// A tar, packed by gzip or not, laid out as `<namespace>/<major>/<name>.proto`.
    Archive(Bytes, PublishSettings),
}

impl From<SchemaSource> for SchemaSet {
    fn from(source: SchemaSource) -> Self {
        Self::Sources(vec![source])
    }
}

/// How the schemas of an archive or a directory are to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PublishSettings {
    /// As [`SchemaSource::unknown_fields`].
    pub unknown_fields: Option<UnknownFields>,
    /// As [`SchemaSource::rulebook`].
    pub rulebook: Option<Rulebook>,
    /// As [`SchemaSource::next_major`].
    pub next_major: bool,
    /// As [`SchemaSource::expected`]; only where there is one schema.
    pub expected: Option<VersionNumber>,
}

impl PublishSettings {
    /// The schemas with these settings. Errors: `invalid_request` for several schemas of which one
    /// version is expected.
    pub fn apply(self, sources: Vec<SchemaSource>) -> Result<Vec<SchemaSource>> {
        if let (Some(expected), 2..) = (self.expected, sources.len()) {
            let message = format!(
                "version {expected} is expected of one schema, and there are {}",
                sources.len()
            );
            return Err(Error::new(ErrorCode::InvalidRequest, message));
        }
        let set = |source: SchemaSource| SchemaSource {
            unknown_fields: self.unknown_fields,
            rulebook: self.rulebook,
            next_major: self.next_major,
            expected: self.expected,
            ..source
        };
        Ok(sources.into_iter().map(set).collect())
    }
}

/// What became, or would become, of one schema of a [`SchemaSet`].
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaVerdict {
    /// The type that was named.
    pub uri: EventUri,
    /// What it is published as, if nothing of the set is refused; None: it could not be compared.
    pub published: Option<Published>,
    /// Why it is refused, and with it the whole set.
    pub error: Option<Error>,
}

impl SchemaVerdict {
    /// Is this one a reason to refuse the set?
    pub const fn is_refused(&self) -> bool {
        self.error.is_some()
    }
}

/// What validation found out about a payload that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validated {
    /// It keeps the contract of this minor version.
    Against(u32),
    /// No schema is known for the type.
    NoSchema,
}

/// A payload that shows what events of a type look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// In JSON.
    pub payload: Bytes,
    /// It was published with the contract; else it was made from the contract alone.
    pub published: bool,
}

/// Checks payloads against contracts that are compiled and at hand: no call per event.
pub trait EventValidator: Send + Sync {
    /// Errors: `contract_violation` with all violations, `malformed_payload`,
    /// `unsupported_media_type`.
    fn validate(&self, uri: &EventUri, content_type: &str, payload: &[u8]) -> Result<Validated>;

    /// Is what is at hand for `uri` the version `in_force` or a newer one (None: is nothing at
    /// hand)? If not, a refusal by [`Self::validate`] may be that of an older contract.
    fn is_current(&self, uri: &EventUri, in_force: Option<&SchemaVersion>) -> bool {
        let _has_only_one = (uri, in_force);
        true
    }

    /// A payload that keeps what is at hand for `uri`; None: nobody has one. Errors:
    /// `invalid_definition` when none can be made.
    fn example(&self, uri: &EventUri) -> Result<Option<Example>> {
        let _has_none = uri;
        Ok(None)
    }

    /// What is at hand of the types of that other deployment may be outdated.
    fn expire(&self, domain: &str) {
        let _has_none_of_others = domain;
    }

    /// Resolves once [`Self::is_current`] holds, or something newer is at hand. The caller sets
    /// the deadline.
    fn catch_up<'a>(
        &'a self,
        uri: &'a EventUri,
        in_force: Option<&'a SchemaVersion>,
    ) -> BoxFuture<'a, ()> {
        let _has_only_one = (uri, in_force);
        Box::pin(std::future::ready(()))
    }
}

/// How the payloads of a contract can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// By the JSON mapping of protobuf.
    Json,
    /// Binary protobuf.
    Protobuf,
}

/// Port: writes payloads in the other encoding of their contract.
pub trait PayloadConverter: Send + Sync {
    /// The payload in the encoding `to`; as it is, if it has it already. Errors:
    /// `unknown_event_type`, `unavailable` while the contract is not at hand, `malformed_payload`,
    /// `unsupported_media_type`.
    fn convert(
        &self,
        uri: &EventUri,
        content_type: &str,
        payload: &Bytes,
        to: Encoding,
    ) -> Result<Bytes>;
}

/// A converter without contracts, where no schema registry is known.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoContracts;

impl PayloadConverter for NoContracts {
    fn convert(&self, uri: &EventUri, _: &str, _: &Bytes, _: Encoding) -> Result<Bytes> {
        let message = format!("the contract of {uri} is not known here");
        Err(Error::new(ErrorCode::UnknownEventType, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_numbers_have_one_way_to_be_written() {
        for text in ["1.0", "12.34", "4294967295.4294967295"] {
            assert_eq!(text.parse::<VersionNumber>().unwrap().to_string(), text);
        }
        for text in ["", "1", "1.", ".1", "0.1", "01.1", "1.01", "+1.0", "1.0.0", "4294967296.0"] {
            assert!(text.parse::<VersionNumber>().is_err(), "{text}");
        }
    }

    #[test]
    fn rulebooks_are_found_by_their_names() {
        for rulebook in Rulebook::ALL {
            assert_eq!(rulebook.to_string().parse(), Ok(rulebook));
            assert_eq!(serde_json::to_value(rulebook).unwrap(), rulebook.as_str());
        }
        assert!("strict".parse::<Rulebook>().unwrap_err().contains("certes, confluent, wire"));
    }
}

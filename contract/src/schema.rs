//! Schemas: the protobuf contract of an event type, in versions.

use crate::{
    Result,
    clock::{BoxFuture, Timestamp},
    stamp::hex_or_bytes,
    uri::EventUri,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

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
    /// When it was published.
    pub published_at: Timestamp,
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
    /// Full name of the message; None: the entry's last top-level one.
    #[serde(default)]
    pub message: Option<String>,
    /// What happens to unknown fields.
    #[serde(default)]
    pub unknown_fields: UnknownFields,
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
}

/// What publishing did or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The version that holds the content now.
    pub version: SchemaVersion,
    /// False: the same content was there already and nothing changed.
    pub changed: bool,
    /// Differences to the latest version, one sentence each.
    pub differences: Vec<String>,
}

/// What validation found out about a payload that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validated {
    /// It keeps the contract of this minor version.
    Against(u32),
    /// No schema is known for the type.
    NoSchema,
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

    /// What is at hand of the types of that other deployment may be outdated.
    fn expire(&self, domain: &str) {
        let _has_none_of_others = domain;
    }

    /// Resolves once [`Self::is_current`] holds. The caller sets the deadline.
    fn catch_up<'a>(
        &'a self,
        uri: &'a EventUri,
        in_force: Option<&'a SchemaVersion>,
    ) -> BoxFuture<'a, ()> {
        let _has_only_one = (uri, in_force);
        Box::pin(std::future::ready(()))
    }
}

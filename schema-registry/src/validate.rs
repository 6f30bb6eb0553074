//! A contract at hand: does a payload keep it, and if not, where does it break it?
//!
//! JSON follows the protobuf JSON mapping (protobuf.dev, "ProtoJSON Format"), with what it leaves
//! to the parser decided strictly: a key that comes twice is a violation, an unknown enum name is
//! one even where unknown fields pass, and `proto2` enums take the numbers they name only.

mod shape;
mod report;
mod media;
mod json;
mod keys;
mod any;
mod scalar;
mod text;
mod binary;

use self::{media::Media, report::Report, shape::Shapes};
use contract::{
    Error, ErrorCode, Result,
    schema::{SchemaBundle, SchemaVersion},
};
use prost_reflect::{DescriptorPool, MessageDescriptor};

/// A version of a contract, compiled for checking.
#[derive(Debug)]
pub(crate) struct Contract {
    version: SchemaVersion,
    message: MessageDescriptor,
    shapes: Shapes,
    rules: Strictness,
}

/// What a check allows.
#[derive(Debug, Clone, Copy)]
struct Strictness {
    reject_unknown: bool,
    depth_max: usize,
}

impl Contract {
    /// Compiles a bundle. Errors: `internal` when it is not what a registry gives out.
    pub(crate) fn new(bundle: &SchemaBundle, depth_max: usize) -> Result<Self> {
        let version = bundle.version.clone();
        let pool = DescriptorPool::decode(bundle.descriptor_set.as_ref())
            .map_err(|error| Error::internal(format!("the bundle of {}: {error}", version.uri)))?;
        let message = pool.get_message_by_name(&version.message).ok_or_else(|| {
            let text = format!("the bundle of {} lacks `{}`", version.uri, version.message);
            Error::internal(text)
        })?;
        let reject_unknown = version.unknown_fields == contract::schema::UnknownFields::Reject;
        let rules = Strictness { reject_unknown, depth_max };
        Ok(Self { version, shapes: Shapes::of(&pool), message, rules })
    }

    /// Which version it is.
    pub(crate) const fn version(&self) -> &SchemaVersion {
        &self.version
    }

    /// Checks a payload. Errors: `contract_violation` with all violations, `malformed_payload`,
    /// `unsupported_media_type`.
    pub(crate) fn check(&self, content_type: &str, payload: &[u8]) -> Result<()> {
        let report = match Media::of(content_type)? {
            Media::Json => self.json(payload)?,
            Media::Form => self.json(&media::form_payload(payload)?)?,
            Media::Protobuf => binary::check(&self.message, payload, self.rules)?,
        };
        report.into_result(&self.version.uri)
    }

    fn json(&self, payload: &[u8]) -> Result<Report> {
        // Once for the whole payload, so that no string has to be checked again.
        let text = std::str::from_utf8(payload)
            .map_err(|error| malformed(format!("the payload is not UTF-8: {error}")))?;
        let root = self.shapes.kind_named(self.message.full_name());
        let root = root.ok_or_else(|| Error::internal("a contract without its message"))?;
        json::check(&self.shapes, root, text, self.rules)
            .map_err(|error| malformed(format!("the payload is not JSON: {error}")))
    }
}

fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::MalformedPayload, message)
}

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;

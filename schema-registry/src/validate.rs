//! A contract at hand: does a payload keep it, and if not, where does it break it?
//!
//! JSON follows the protobuf JSON mapping (protobuf.dev, "ProtoJSON Format"), with what it leaves
//! to the parser decided strictly: a key that comes twice is a violation, an unknown enum name is
//! one even where unknown fields pass, and `proto2` enums take the numbers they name only.

mod shape;
mod rules;
mod report;
mod media;
mod json;
mod keys;
mod any;
mod scalar;
mod whole;
mod text;
mod binary;
mod built;
mod convert;

pub(crate) use self::rules::{FieldRules, Literal, Sampler, Shift, Sides, ValueRules};

use self::{media::Media, report::Report, shape::Shapes};
use crate::{descriptors::pool_of, stack::on_a_large_stack};
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    clock::Timestamp,
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
    /// The payload that was published with it, in JSON.
    example: Option<Bytes>,
}

/// What a check allows.
#[derive(Debug, Clone, Copy)]
struct Strictness {
    reject_unknown: bool,
    depth_max: usize,
    /// Nanoseconds since the epoch, for rules that look at the clock.
    now: i128,
}

impl Contract {
    /// Compiles a bundle. Errors: `internal` when it is not what a registry gives out.
    pub(crate) fn new(bundle: &SchemaBundle, depth_max: usize) -> Result<Self> {
        Self::within(bundle, depth_max, usize::MAX)
    }

    /// The same of a bundle that nobody here has judged: its patterns may take so many bytes.
    pub(crate) fn within(
        bundle: &SchemaBundle,
        depth_max: usize,
        pattern_bytes_max: usize,
    ) -> Result<Self> {
        let version = bundle.version.clone();
        let pool = pool_of(bundle.descriptor_set.as_ref())
            .map_err(|error| Error::internal(format!("the bundle of {}: {error}", version.uri)))?;
        let message = pool.get_message_by_name(&version.message).ok_or_else(|| {
            let text = format!("the bundle of {} lacks `{}`", version.uri, version.message);
            Error::internal(text)
        })?;
        let reject_unknown = version.unknown_fields == contract::schema::UnknownFields::Reject;
        let rules = Strictness { reject_unknown, depth_max, now: 0 };
        let of_bundle =
            |error: String| Error::internal(format!("the bundle of {}: {error}", version.uri));
        let shapes = if Shapes::may_be_ruled(&pool) {
            // A bundle may come from another deployment, with rules that nobody here has read.
            on_a_large_stack(|| Shapes::of(&pool, pattern_bytes_max).map_err(of_bundle))?
        } else {
            Shapes::of(&pool, pattern_bytes_max).map_err(of_bundle)?
        };
        let example = bundle.example.clone().map(Bytes::from);
        Ok(Self { version, shapes, message, rules, example })
    }

    /// The message of its payloads.
    pub(crate) const fn message(&self) -> &MessageDescriptor {
        &self.message
    }

    /// The payload that was published with it, in JSON.
    pub(crate) const fn example(&self) -> Option<&Bytes> {
        self.example.as_ref()
    }

    /// Which version it is.
    pub(crate) const fn version(&self) -> &SchemaVersion {
        &self.version
    }

    /// Does a check need to know the time?
    pub(crate) const fn uses_now(&self) -> bool {
        self.shapes.use_now
    }

    /// Checks a payload, at a time that matters to rules only. Errors: `contract_violation` with all violations, `malformed_payload`,
    /// `unsupported_media_type`.
    pub(crate) fn check(&self, content_type: &str, payload: &[u8], now: Timestamp) -> Result<()> {
        let rules = Strictness { now: i128::from(now.0) * 1_000, ..self.rules };
        let report = match Media::of(content_type)? {
            Media::Json => self.json(payload, rules)?,
            Media::Form => self.json(&media::form_payload(payload)?, rules)?,
            Media::Protobuf => binary::check(&self.shapes, &self.message, payload, rules)?,
        };
        report.into_result(&self.version.uri)
    }

    fn json(&self, payload: &[u8], rules: Strictness) -> Result<Report> {
        // Once for the whole payload, so that no string has to be checked again.
        let text = std::str::from_utf8(payload)
            .map_err(|error| malformed(format!("the payload is not UTF-8: {error}")))?;
        let root = self.shapes.kind_named(self.message.full_name());
        let root = root.ok_or_else(|| Error::internal("a contract without its message"))?;
        json::check(&self.shapes, root, text, rules)
            .map_err(|error| malformed(format!("the payload is not JSON: {error}")))
    }
}

/// Can the `buf.validate` rules of these types be enforced, with so many bytes for all patterns?
/// Errors: `invalid_definition`.
pub(crate) fn check_rules(pool: &DescriptorPool, pattern_bytes_max: usize) -> Result<()> {
    match Shapes::of(pool, pattern_bytes_max) {
        Ok(_) => Ok(()),
        Err(refusal) => Err(Error::new(ErrorCode::InvalidDefinition, refusal)),
    }
}

fn malformed(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::MalformedPayload, message)
}

#[cfg(test)]
mod differential;
#[cfg(test)]
#[cfg(feature = "all")]
mod judged;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod deep;
#[cfg(test)]
#[cfg(feature = "soak")]
mod soak;
#[cfg(test)]
pub(crate) mod tests;

//! Sources.

use super::{
    Malformed, each, into_each, message, one_of_or, optional, parsed, subscription::priority_from,
    text,
};
use crate::v1;
use contract::{
    backoff::BackoffPolicy,
    event::Disposition,
    source::{SignatureRule, Source, SourceSpec, Template},
    subscription::SecretRef,
};
use std::str::FromStr;

impl From<SourceSpec> for v1::SourceSpec {
    fn from(spec: SourceSpec) -> Self {
        let SourceSpec {
            name,
            verify,
            event_type,
            idempotency_key,
            unvalidated,
            invalid,
            subscriber,
            priority,
            backoff,
            body_bytes_max,
            tolerance_s,
            public_url,
            replay,
            signature,
        } = spec;
        Self {
            name,
            verify: verify.to_string(),
            event_type: event_type.0,
            idempotency_key: idempotency_key.map(|template| template.0),
            unvalidated: v1::Disposition::from(unvalidated).into(),
            invalid: v1::Disposition::from(invalid).into(),
            subscriber,
            priority: priority.map(|priority| u8::from(priority).into()),
            backoff: backoff.map(Into::into),
            body_bytes_max,
            tolerance_s,
            public_url,
            replay: replay.as_str().to_owned(),
            signature: signature.map(Into::into),
        }
    }
}

impl From<SignatureRule> for v1::SignatureRule {
    fn from(rule: SignatureRule) -> Self {
        Self {
            header: rule.header,
            prefix: rule.prefix,
            algorithm: rule.algorithm.as_str().to_owned(),
            encoding: rule.encoding.as_str().to_owned(),
            content: rule.content,
            id_header: rule.id_header,
            timestamp_header: rule.timestamp_header,
            timestamp_unit: rule.timestamp_unit.as_str().to_owned(),
        }
    }
}

impl TryFrom<v1::SignatureRule> for SignatureRule {
    type Error = Malformed;
    fn try_from(wire: v1::SignatureRule) -> Result<Self, Malformed> {
        Ok(Self {
            header: wire.header,
            prefix: wire.prefix,
            algorithm: parsed_or_default(&wire.algorithm, "algorithm")?,
            encoding: parsed_or_default(&wire.encoding, "encoding")?,
            content: wire.content,
            id_header: wire.id_header,
            timestamp_header: wire.timestamp_header,
            timestamp_unit: parsed_or_default(&wire.timestamp_unit, "timestamp_unit")?,
        })
    }
}

/// A name; empty: what holds where nothing is said.
fn parsed_or_default<T>(text: &str, field: &str) -> Result<T, Malformed>
where
    T: Default + FromStr<Err: std::fmt::Display>,
{
    if text.is_empty() { Ok(T::default()) } else { parsed(text, field) }
}

fn disposition(wire: i32, field: &str) -> Result<Disposition, Malformed> {
    one_of_or::<v1::Disposition, _>(wire, Disposition::Reject, field)
}

impl TryFrom<v1::SourceSpec> for SourceSpec {
    type Error = Malformed;
    fn try_from(wire: v1::SourceSpec) -> Result<Self, Malformed> {
        Ok(Self {
            name: text(wire.name, "name")?,
            verify: parsed(&wire.verify, "verify")?,
            event_type: Template(text(wire.event_type, "event_type")?),
            idempotency_key: wire.idempotency_key.map(Template),
            unvalidated: disposition(wire.unvalidated, "unvalidated")?,
            invalid: disposition(wire.invalid, "invalid")?,
            subscriber: wire.subscriber,
            priority: priority_from(wire.priority)?,
            backoff: optional(wire.backoff, "backoff", BackoffPolicy::try_from)?,
            body_bytes_max: wire.body_bytes_max,
            tolerance_s: wire.tolerance_s,
            public_url: wire.public_url,
            replay: parsed_or_default(&wire.replay, "replay")?,
            signature: optional(wire.signature, "signature", SignatureRule::try_from)?,
        })
    }
}

impl From<Source> for v1::Source {
    fn from(source: Source) -> Self {
        let Source { spec, secrets } = source;
        Self { spec: Some(spec.into()), secrets: into_each(secrets) }
    }
}

impl TryFrom<v1::Source> for Source {
    type Error = Malformed;
    fn try_from(wire: v1::Source) -> Result<Self, Malformed> {
        Ok(Self {
            spec: message(wire.spec, "spec", SourceSpec::try_from)?,
            secrets: each(wire.secrets, "secrets", SecretRef::try_from)?,
        })
    }
}

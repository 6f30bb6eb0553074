//! Sources.

use super::{
    Malformed, each, into_each, message, narrow, one_of_or, optional, parsed, parsed_each,
    parsed_optional, subscription::priority_from, text,
};
use crate::v1;
use contract::{
    backoff::BackoffPolicy,
    event::Disposition,
    source::{SignatureRule, Source, SourceLimits, SourceSpec, StaticResponse, Template},
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
            event_types,
            otherwise,
            response,
            limits,
            origins,
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
            signature: signature.map(|rule| (*rule).into()),
            event_types: event_types.into_iter().map(|(from, to)| (from, to.to_string())).collect(),
            otherwise: otherwise.map(|uri| uri.to_string()),
            response: response.map(|response| (*response).into()),
            limits: (!limits.is_empty()).then(|| limits.into()),
            origins,
        }
    }
}

impl From<StaticResponse> for v1::StaticResponse {
    fn from(response: StaticResponse) -> Self {
        let StaticResponse { status, content_type, body } = response;
        Self { status: status.into(), content_type, body }
    }
}

impl TryFrom<v1::StaticResponse> for StaticResponse {
    type Error = Malformed;
    fn try_from(wire: v1::StaticResponse) -> Result<Self, Malformed> {
        let v1::StaticResponse { status, content_type, body } = wire;
        Ok(Self { status: narrow(status, "status")?, content_type, body })
    }
}

impl From<SourceLimits> for v1::SourceLimits {
    fn from(limits: SourceLimits) -> Self {
        Self {
            requests_per_second: limits.requests_per_second,
            burst: limits.burst,
            allowed_networks: limits.allowed_networks.iter().map(ToString::to_string).collect(),
            event_types: limits.event_types.iter().map(|it| it.as_str().to_owned()).collect(),
        }
    }
}

impl TryFrom<v1::SourceLimits> for SourceLimits {
    type Error = Malformed;
    fn try_from(wire: v1::SourceLimits) -> Result<Self, Malformed> {
        Ok(Self {
            requests_per_second: wire.requests_per_second,
            burst: wire.burst,
            allowed_networks: parsed_each(&wire.allowed_networks, "allowed_networks")?,
            event_types: parsed_each(&wire.event_types, "event_types")?,
        })
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
            signature: optional(wire.signature, "signature", SignatureRule::try_from)?
                .map(Box::new),
            event_types: wire
                .event_types
                .into_iter()
                .map(|(from, to)| Ok((from, parsed(&to, "event_types")?)))
                .collect::<Result<_, Malformed>>()?,
            otherwise: parsed_optional(wire.otherwise, "otherwise")?,
            response: optional(wire.response, "response", StaticResponse::try_from)?.map(Box::new),
            limits: optional(wire.limits, "limits", SourceLimits::try_from)?.unwrap_or_default(),
            origins: wire.origins,
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

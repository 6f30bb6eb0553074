//! What a manifest says of a source.

use super::SecretEntry;
use contract::{
    backoff::{BackoffPolicy, Span},
    event::Disposition,
    source::{Replay, Scheme, SignatureRule, SourceLimits, SourceSpec, StaticResponse, Template},
    subscription::Priority,
    uri::EventUri,
};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A source, with its secrets or where they are.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceEntry {
    pub(super) name: String,
    verify: Scheme,
    pub(super) secret: Option<SecretEntry>,
    #[serde(default)]
    pub(super) secrets: Vec<SecretEntry>,
    event_type: Template,
    idempotency_key: Option<Template>,
    #[serde(default)]
    unvalidated: Disposition,
    #[serde(default)]
    invalid: Disposition,
    subscriber: Option<String>,
    priority: Option<Priority>,
    backoff: Option<BackoffPolicy>,
    body_bytes_max: Option<u64>,
    tolerance: Option<Span>,
    public_url: Option<String>,
    #[serde(default)]
    replay: Replay,
    signature: Option<Box<SignatureRule>>,
    #[serde(default)]
    event_types: BTreeMap<String, EventUri>,
    #[serde(default)]
    otherwise: Otherwise,
    response: Option<Box<StaticResponse>>,
    #[serde(default)]
    limits: SourceLimits,
    #[serde(default)]
    origins: Vec<String>,
}

/// What becomes of events whose type is not found: `reject`, or the type that they get.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "String")]
struct Otherwise(Option<EventUri>);

impl TryFrom<String> for Otherwise {
    type Error = contract::Error;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "reject" => Ok(Self(None)),
            uri => Ok(Self(Some(uri.parse()?))),
        }
    }
}

impl From<SourceEntry> for SourceSpec {
    fn from(entry: SourceEntry) -> Self {
        Self {
            name: entry.name,
            verify: entry.verify,
            event_type: entry.event_type,
            idempotency_key: entry.idempotency_key,
            unvalidated: entry.unvalidated,
            invalid: entry.invalid,
            subscriber: entry.subscriber,
            priority: entry.priority,
            backoff: entry.backoff,
            body_bytes_max: entry.body_bytes_max,
            tolerance_s: entry
                .tolerance
                .map(|span| u32::try_from(span.0.as_secs()).unwrap_or(u32::MAX)),
            public_url: entry.public_url,
            replay: entry.replay,
            signature: entry.signature,
            event_types: entry.event_types,
            otherwise: entry.otherwise.0,
            response: entry.response,
            limits: entry.limits,
            origins: entry.origins,
        }
    }
}

//! Sources: third parties that post webhooks to us.

mod scheme;
mod rule;
mod policy;

pub use policy::{SourceLimits, StaticResponse, check_event_types};
pub use rule::{Algorithm, ContentPiece, Encoding, Replay, SignatureRule, TimeUnit};
pub use scheme::{Facts, Scheme, SecretForm, StandardWebhooksKey, Tolerance};

use crate::{
    backoff::BackoffPolicy,
    event::Disposition,
    id::SecretId,
    secret::Secret,
    subscription::{Priority, SecretRef},
    uri::EventUri,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A text with holes that a request fills: `{header:x-github-event}`, `{json:repository.name}`.
/// The holes are checked when a source is created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(pub String);

/// A piece of a [`Template`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Fixed text.
    Text(&'a str),
    /// Value of a header; the name in any case.
    Header(&'a str),
    /// Value at a dotted path of the JSON body.
    Json(&'a str),
}

impl Template {
    /// The pieces in order, or a sentence on what is wrong.
    pub fn pieces(&self) -> Result<Vec<Piece<'_>>, String> {
        let mut pieces = Vec::new();
        let mut rest = self.0.as_str();
        while let Some((text, hole)) = rest.split_once('{') {
            let unclosed = || format!("`{}` has a `{{` without a `}}`", self.0);
            let (hole, after) = hole.split_once('}').ok_or_else(unclosed)?;
            if !text.is_empty() {
                pieces.push(Piece::Text(text));
            }
            pieces.push(match hole.split_once(':') {
                Some(("header", name)) if !name.is_empty() => Piece::Header(name),
                Some(("json", path)) if !path.is_empty() => Piece::Json(path),
                _ => {
                    let allowed = "{header:NAME} and {json:PATH}";
                    return Err(format!("`{{{hole}}}` is unknown; allowed: {allowed}"));
                }
            });
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest));
        }
        Ok(pieces)
    }
}

/// What an operator declares of a source. Without secrets: they go beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceSpec {
    /// Its name, the path segment of `POST /events/{source}`.
    pub name: String,
    /// How requests are verified.
    pub verify: Scheme,
    /// How to find the event type.
    pub event_type: Template,
    /// Where the key against repeats is; None: the scheme's own ([`Facts::delivery_id`]).
    #[serde(default)]
    pub idempotency_key: Option<Template>,
    /// For types without a schema.
    #[serde(default)]
    pub unvalidated: Disposition,
    /// For payloads that break their schema.
    #[serde(default)]
    pub invalid: Disposition,
    /// Whose subscriptions its events may match; None: our own.
    #[serde(default)]
    pub subscriber: Option<String>,
    /// Default priority for subscriptions that set none.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// Default back-off for what it brings.
    #[serde(default)]
    pub backoff: Option<BackoffPolicy>,
    /// Largest body in bytes; None: the gateway's default for the scheme.
    #[serde(default)]
    pub body_bytes_max: Option<u64>,
    /// How old a signed timestamp may be, in seconds; None: as the scheme or the gateway says.
    #[serde(default)]
    pub tolerance_s: Option<u32>,
    /// The whole URL that the provider was given, for schemes that sign it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// What is against repeats that were not meant.
    #[serde(default, skip_serializing_if = "Replay::is_default")]
    pub replay: Replay,
    /// Where the proof is and over what it was made, for `hmac` and `api-key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Box<SignatureRule>>,
    /// What `event_type` finds, and the event type that it means; empty: it is the event type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub event_types: BTreeMap<String, EventUri>,
    /// The type of events for which no other is found; None: they are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<EventUri>,
    /// What the provider hears of a webhook that was taken; None: 202 and JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Box<StaticResponse>>,
    /// How much it may bring, from where, and of what.
    #[serde(default, skip_serializing_if = "SourceLimits::is_empty")]
    pub limits: SourceLimits,
    /// Hosts that are told that they may deliver here, as CloudEvents senders ask; `*`: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
}

impl SourceSpec {
    /// A source with these, and what holds where nothing is said.
    pub fn new(name: impl Into<String>, verify: Scheme, event_type: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            verify,
            event_type: Template(event_type.into()),
            idempotency_key: None,
            unvalidated: Disposition::default(),
            invalid: Disposition::default(),
            subscriber: None,
            priority: None,
            backoff: None,
            body_bytes_max: None,
            tolerance_s: None,
            public_url: None,
            replay: Replay::default(),
            signature: None,
            event_types: BTreeMap::new(),
            otherwise: None,
            response: None,
            limits: SourceLimits::default(),
            origins: Vec::new(),
        }
    }
}

/// A source as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// What was declared.
    pub spec: SourceSpec,
    /// The secrets it verifies with; several during a rotation.
    pub secrets: Vec<SecretRef>,
}

/// A secret given with a command, before it has an id.
pub type GivenSecrets = Vec<Secret>;

impl Source {
    /// Ids of its secrets.
    pub fn secret_ids(&self) -> impl Iterator<Item = SecretId> + '_ {
        self.secrets.iter().map(|secret| secret.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_have_pieces() {
        let template = Template("github/1/{header:X-GitHub-Event}".into());
        assert_eq!(
            template.pieces().unwrap(),
            [Piece::Text("github/1/"), Piece::Header("X-GitHub-Event")]
        );
        assert!(Template("a/{header}".into()).pieces().is_err());
        assert!(Template("a/{json:x".into()).pieces().is_err());
    }
}

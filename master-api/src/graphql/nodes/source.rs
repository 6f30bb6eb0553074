//! A source: how third parties prove who they are, and what they may bring.

use super::text;
use async_graphql::{Json, Object};
use contract::{
    source::{SignatureRule, Source, SourceLimits, StaticResponse},
    uri::EventUri,
};
use std::{collections::BTreeMap, sync::Arc};

/// A third party that posts webhooks.
#[derive(Debug)]
pub(in crate::graphql) struct SourceNode(pub(in crate::graphql) Arc<Source>);

#[Object(name = "Source")]
impl SourceNode {
    /// Its name, the path segment after `/events/`.
    async fn name(&self) -> &str {
        &self.0.spec.name
    }
    /// How requests are verified.
    async fn verify(&self) -> &str {
        self.0.spec.verify.as_str()
    }
    /// How the event type is found.
    async fn event_type(&self) -> &str {
        &self.0.spec.event_type.0
    }
    /// For types without a schema: `reject`, `accept`, `quarantine`.
    async fn unvalidated(&self) -> String {
        text(&self.0.spec.unvalidated)
    }
    /// For payloads that break their schema: `reject`, `quarantine`.
    async fn invalid(&self) -> String {
        text(&self.0.spec.invalid)
    }
    /// Whose subscriptions its events may match; null: our own.
    async fn subscriber(&self) -> Option<&str> {
        self.0.spec.subscriber.as_deref()
    }
    /// Default priority of what it brings.
    async fn priority(&self) -> Option<u8> {
        self.0.spec.priority.map(Into::into)
    }
    /// The whole URL that the provider was given.
    async fn public_url(&self) -> Option<&str> {
        self.0.spec.public_url.as_deref()
    }
    /// What is against repeats that were not meant: `delivery_id`, `signature`.
    async fn replay(&self) -> &str {
        self.0.spec.replay.as_str()
    }
    /// Where the proof is, for `hmac` and `api-key`.
    async fn signature(&self) -> Option<Json<SignatureRule>> {
        self.0.spec.signature.clone().map(|rule| Json(*rule))
    }
    /// What `eventType` finds, and the event type that it means.
    async fn event_types(&self) -> Json<&BTreeMap<String, EventUri>> {
        Json(&self.0.spec.event_types)
    }
    /// The type of events for which no other is found; null: they are refused.
    async fn otherwise(&self) -> Option<&str> {
        self.0.spec.otherwise.as_ref().map(EventUri::as_str)
    }
    /// What the provider hears of a webhook that was taken; null: 202 and JSON.
    async fn response(&self) -> Option<Json<StaticResponse>> {
        self.0.spec.response.clone().map(|response| Json(*response))
    }
    /// How much it may bring, from where, and of what.
    async fn limits(&self) -> Json<SourceLimits> {
        Json(self.0.spec.limits.clone())
    }
    /// Hosts that are told that they may deliver here, as CloudEvents senders ask.
    async fn origins(&self) -> &[String] {
        &self.0.spec.origins
    }
    /// Fingerprints of its secrets.
    async fn secret_fingerprints(&self) -> Vec<&str> {
        self.0.secrets.iter().map(|secret| secret.fingerprint.as_str()).collect()
    }
}

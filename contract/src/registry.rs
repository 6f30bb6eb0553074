//! Port of the schema registry: hop 3a.

use crate::{
    Result,
    access::Actor,
    schema::{Published, SchemaBundle, SchemaSource, SchemaVersion},
    uri::EventUri,
};
use async_trait::async_trait;
use std::sync::Arc;

/// Publishes contracts and gives them out.
#[async_trait]
pub trait SchemaRegistry: Send + Sync {
    /// The latest version of the type's major, with what is needed to use it.
    /// Errors: `unknown_event_type`.
    async fn get(&self, uri: &EventUri) -> Result<Arc<SchemaBundle>>;

    /// The same, for a type of another deployment whose contract may have changed: asks there,
    /// unless it was asked a moment ago.
    async fn refresh(&self, uri: &EventUri) -> Result<Arc<SchemaBundle>> {
        self.get(uri).await
    }

    /// Latest versions of all schemas, by URI.
    async fn list(&self) -> Result<Vec<SchemaVersion>>;

    /// Compiles, compares and publishes. Publishing the same content again changes nothing.
    /// Errors: `invalid_definition` with file, line and column in its text.
    async fn publish(&self, actor: Actor, source: SchemaSource) -> Result<Published>;

    /// All of [`Self::publish`] but the last step.
    async fn check(&self, source: SchemaSource) -> Result<Published>;

    /// Is it there? Errors: `unavailable`, `deadline_exceeded`.
    async fn ping(&self) -> Result<()> {
        Ok(())
    }
}

//! Port of the schema registry: hop 3a.

use crate::{
    Result,
    access::Actor,
    schema::{
        Difference, Published, Rulebook, SchemaBundle, SchemaSource, SchemaVersion, VersionNumber,
    },
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
    ///
    /// Errors: `invalid_definition` with file, line and column in its text, or with every breaking
    /// difference as a violation; `contract_violation` when the example breaks the contract;
    /// `conflict` when somebody else was faster, which names the current version;
    /// `permission_denied` for a key that publishes a type of the server's own.
    async fn publish(&self, actor: Actor, source: SchemaSource) -> Result<Published>;

    /// All of [`Self::publish`] but the last step. What publishing would refuse as breaking is an
    /// answer here, with its refusal.
    async fn check(&self, source: SchemaSource) -> Result<Published>;

    /// Is it there? Errors: `unavailable`, `deadline_exceeded`.
    async fn ping(&self) -> Result<()> {
        Ok(())
    }

    /// A version, in force or not; its major may be another than that of `uri`.
    /// Errors: `unknown_event_type`, `not_found`.
    async fn version(&self, uri: &EventUri, number: VersionNumber) -> Result<Arc<SchemaBundle>>;

    /// All versions of the type's major that were ever published, oldest first, also when the
    /// schema was deleted since.
    async fn versions(&self, uri: &EventUri) -> Result<Vec<SchemaVersion>>;

    /// All differences between two versions of a type, also across majors, under `rulebook`; None:
    /// that of the newer one. Errors: `unknown_event_type`, `not_found`.
    async fn diff(
        &self,
        uri: &EventUri,
        from: VersionNumber,
        to: VersionNumber,
        rulebook: Option<Rulebook>,
    ) -> Result<Vec<Difference>>;

    /// Takes the type's major out of force. Its versions are kept and their numbers are never
    /// given again.
    ///
    /// Errors: `unknown_event_type`; `conflict` while subscriptions need it; `permission_denied`
    /// for a key that deletes a type of the server's own.
    async fn delete(&self, actor: Actor, uri: &EventUri) -> Result<()>;
}

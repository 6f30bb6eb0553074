//! Port of the schema registry: hop 3a.

use crate::{
    Error, Result,
    access::Actor,
    schema::{
        Difference, Published, Rulebook, SchemaBundle, SchemaSet, SchemaSource, SchemaVerdict,
        SchemaVersion, VersionNumber,
    },
    uri::EventUri,
};
use async_trait::async_trait;
use std::{collections::BTreeMap, sync::Arc};

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

    /// Compiles, compares and publishes all of `set` in one step, or nothing of it: one verdict
    /// each, in the order of the set, of which one that is refused refuses all. Publishing the same
    /// content again changes nothing. Verdicts are refused with
    ///
    /// - `invalid_definition`, with file, line and column in its text, or with every breaking
    ///   difference as a violation;
    /// - `contract_violation`, when the example breaks the contract;
    /// - `conflict`, when somebody else was faster or another version was expected; it names the
    ///   current version;
    /// - `permission_denied`, for a key that publishes a type of the server's own.
    ///
    /// Errors: `invalid_definition` for an archive that cannot be read; `body_too_large`.
    async fn publish_all(&self, actor: Actor, set: SchemaSet) -> Result<Vec<SchemaVerdict>>;

    /// All of [`Self::publish_all`] but the last step.
    async fn check_all(&self, set: SchemaSet) -> Result<Vec<SchemaVerdict>>;

    /// [`Self::publish_all`] with one schema. Errors: those of its verdict.
    async fn publish(&self, actor: Actor, source: SchemaSource) -> Result<Published> {
        match only(self.publish_all(actor, source.into()).await?)? {
            SchemaVerdict { error: None, published: Some(published), .. } => Ok(published),
            SchemaVerdict { error, .. } => Err(error.unwrap_or_else(no_verdict)),
        }
    }

    /// [`Self::check_all`] with one schema. What publishing would refuse after comparing is an
    /// answer here, with its refusal. Errors: those of its verdict.
    async fn check(&self, source: SchemaSource) -> Result<Published> {
        let SchemaVerdict { published, error, .. } = only(self.check_all(source.into()).await?)?;
        published.ok_or_else(|| error.unwrap_or_else(no_verdict))
    }

    /// Says that another deployment has published: what is held of it is asked for again when it
    /// matters, by every validator, within a second.
    async fn announce(&self, domain: &str) -> Result<()> {
        let _has_none_of_others = domain;
        Ok(())
    }

    /// The deployments whose contracts may be used, each with a mark that changes when it has
    /// published something.
    async fn peer_marks(&self) -> Result<BTreeMap<String, String>> {
        Ok(BTreeMap::new())
    }

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
    /// given again. Answers when the validators of this process have let go of it.
    ///
    /// Errors: `unknown_event_type`; `conflict` while subscriptions need it; `permission_denied`
    /// for a key that deletes a type of the server's own.
    async fn delete(&self, actor: Actor, uri: &EventUri) -> Result<()>;
}

fn only(mut verdicts: Vec<SchemaVerdict>) -> Result<SchemaVerdict> {
    verdicts.pop().ok_or_else(no_verdict)
}

fn no_verdict() -> Error {
    Error::internal("the schema registry gave no verdict")
}

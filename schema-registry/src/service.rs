//! The registry: the code flow of a contract, from text to a version in force.

mod publishing;

use crate::{
    BundleStore, Config, LocalValidator, Metrics, bundle, compare::Version, descriptors::pool_of,
    foreign::Foreign, plan::differences,
};
use async_trait::async_trait;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    clock::Clock,
    command::{Changeset, Command, Target},
    master_api::Configuration,
    registry::SchemaRegistry,
    rules::Rules,
    schema::{
        Difference, Published, Rulebook, SchemaBundle, SchemaSet, SchemaVerdict, SchemaVersion,
        VersionNumber,
    },
    uri::EventUri,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Semaphore, time::timeout};

/// How long a lost race waits until the winner's version is known here.
const NEWS_PATIENCE: Duration = Duration::from_secs(2);

/// Sets of schemas that are compiled at once.
const SETS_COMPILED_MAX: usize = 2;

/// Publishes contracts and gives them out. Which version is latest is a fact of Master API; what it
/// consists of is in the bundle store.
pub struct Registry {
    config: Config,
    store: Arc<dyn BundleStore>,
    master_api: Arc<dyn Configuration>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    validator: Option<Arc<LocalValidator>>,
    /// Few sets are in memory at a time.
    compiling: Semaphore,
    /// One publication at a time in this process.
    publishing: tokio::sync::Mutex<()>,
    /// Latest bundles; as many as there are schemas in force.
    bundles: Mutex<HashMap<EventUri, Arc<SchemaBundle>>>,
    /// Contracts of other deployments; None: there are none to be had.
    foreign: Option<Foreign>,
}

impl Registry {
    /// A registry on a store of bundles and on the rules in force.
    pub fn new(
        config: Config,
        store: Arc<dyn BundleStore>,
        master_api: Arc<dyn Configuration>,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        Self {
            config,
            store,
            master_api,
            clock,
            metrics,
            validator: None,
            compiling: Semaphore::new(SETS_COMPILED_MAX),
            publishing: tokio::sync::Mutex::default(),
            bundles: Mutex::default(),
            foreign: None,
        }
    }

    /// With the contracts of the deployments that are listed as peers.
    /// Errors: `invalid_definition`.
    pub fn asking_peers(mut self) -> Result<Self> {
        self.foreign = Some(Foreign::new(&self.config, Arc::clone(&self.store))?);
        Ok(self)
    }

    /// With a validator in the same process, which uses a version before its publication is
    /// answered.
    #[must_use]
    pub fn announcing_to(mut self, validator: Arc<LocalValidator>) -> Self {
        self.validator = Some(validator);
        self
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.master_api.rules().borrow())
    }

    fn in_force(&self, uri: &EventUri) -> Option<Arc<SchemaVersion>> {
        self.rules().schemas.get(uri).map(Arc::clone)
    }

    /// The latest version of a type, if there is one.
    async fn latest(&self, uri: &EventUri) -> Result<Option<Arc<SchemaBundle>>> {
        let Some(version) = self.in_force(uri) else {
            self.bundles().remove(uri);
            return Ok(None);
        };
        let cached = self.bundles().get(uri).map(Arc::clone);
        if let Some(bundle) = cached.filter(|bundle| bundle.version == *version) {
            return Ok(Some(bundle));
        }
        let bundle = Arc::new(self.bundle(SchemaVersion::clone(&version)).await?);
        self.bundles().insert(uri.clone(), Arc::clone(&bundle));
        Ok(Some(bundle))
    }

    /// A version with what the store has of it.
    async fn bundle(&self, version: SchemaVersion) -> Result<SchemaBundle> {
        let bytes = self.store.get(version.digest).await?.ok_or_else(|| {
            let (address, uri) = (hex::encode(version.digest), &version.uri);
            Error::internal(format!("the schema store lacks the bundle {address} of {uri}"))
        })?;
        bundle::decode(version, &bytes)
    }

    fn bundles(&self) -> std::sync::MutexGuard<'_, HashMap<EventUri, Arc<SchemaBundle>>> {
        self.bundles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SchemaRegistry for Registry {
    async fn get(&self, uri: &EventUri) -> Result<Arc<SchemaBundle>> {
        if let (Some(_), Some(foreign)) = (uri.domain(), &self.foreign) {
            return foreign.get(uri).await;
        }
        self.latest(uri).await?.ok_or_else(|| unknown(uri))
    }

    async fn refresh(&self, uri: &EventUri) -> Result<Arc<SchemaBundle>> {
        match (uri.domain(), &self.foreign) {
            (Some(_), Some(foreign)) => foreign.refresh(uri).await,
            _ => self.get(uri).await,
        }
    }

    async fn list(&self) -> Result<Vec<SchemaVersion>> {
        Ok(self.rules().schemas.values().map(|version| SchemaVersion::clone(version)).collect())
    }

    async fn publish_all(&self, actor: Actor, set: SchemaSet) -> Result<Vec<SchemaVerdict>> {
        let result = self.try_publish(actor, set).await;
        let verdicts = result.as_deref().unwrap_or_default();
        let refused = result.is_err() || verdicts.iter().any(SchemaVerdict::is_refused);
        for SchemaVerdict { uri, published, error } in verdicts {
            let published = published.as_ref().filter(|_| !refused);
            self.metrics.published(published);
            match (published, error) {
                (Some(Published { version, changed, .. }), _) => {
                    let number = version.number();
                    tracing::info!(%uri, version = %number, changed, "schema published");
                }
                (None, Some(error)) => tracing::info!(%uri, code = %error.code, "schema refused"),
                (None, None) => tracing::debug!(%uri, "schema refused with others"),
            }
        }
        result
    }

    async fn check_all(&self, set: SchemaSet) -> Result<Vec<SchemaVerdict>> {
        self.try_check(set).await
    }

    async fn announce(&self, domain: &str) -> Result<()> {
        match &self.foreign {
            Some(foreign) => foreign.announce(domain, self.clock.now()).await,
            None => Ok(()),
        }
    }

    async fn peer_marks(&self) -> Result<BTreeMap<String, String>> {
        match &self.foreign {
            Some(foreign) => foreign.marks().await,
            None => Ok(BTreeMap::new()),
        }
    }

    async fn version(&self, uri: &EventUri, number: VersionNumber) -> Result<Arc<SchemaBundle>> {
        let uri = uri.with_major(number.major)?;
        let versions = self.master_api.schema_versions(&uri).await?;
        if versions.is_empty() {
            return Err(unknown(&uri));
        }
        let newest = versions.last().map(|newest| newest.number().to_string()).unwrap_or_default();
        let found = versions.into_iter().find(|version| version.minor == number.minor);
        let found = found.ok_or_else(|| {
            let message = format!("{uri} has no version {number}; the newest is {newest}");
            Error::new(ErrorCode::NotFound, message)
        })?;
        self.bundle(found).await.map(Arc::new)
    }

    async fn versions(&self, uri: &EventUri) -> Result<Vec<SchemaVersion>> {
        self.master_api.schema_versions(uri).await
    }

    async fn diff(
        &self,
        uri: &EventUri,
        from: VersionNumber,
        to: VersionNumber,
        rulebook: Option<Rulebook>,
    ) -> Result<Vec<Difference>> {
        let (old, new) = (self.version(uri, from).await?, self.version(uri, to).await?);
        let pool = pool_of(new.descriptor_set.as_ref());
        let pool = pool.map_err(|error| Error::internal(format!("{uri} {to}: {error}")))?;
        let side = Version { pool: &pool, message: &new.version.message };
        differences(&old, side, (&new.version, new.example.as_deref()), rulebook)
    }

    async fn delete(&self, actor: Actor, uri: &EventUri) -> Result<()> {
        if uri.is_own() && !matches!(actor, Actor::Component(_)) {
            return Err(not_yours(uri));
        }
        let command = Command::Remove(Target::Schema(uri.clone()));
        let changes = Changeset { commands: vec![command], ..Changeset::default() };
        // With a publication, this would be a race of the two.
        let _turn = self.publishing.lock().await;
        let before = self.in_force(uri);
        match self.master_api.execute(actor, changes).await {
            Ok(_) => {}
            Err(error) if error.code == ErrorCode::NotFound => return Err(unknown(uri)),
            Err(error) => return Err(error),
        }
        let mut rules = self.master_api.rules();
        let gone = rules.wait_for(|rules| {
            let shown = rules.schemas.get(uri);
            shown.is_none() || shown != before.as_ref()
        });
        if !matches!(timeout(NEWS_PATIENCE, gone).await, Ok(Ok(_))) {
            let message = "it is deleted, but this process has not been told so in time";
            return Err(Error::new(ErrorCode::DeadlineExceeded, message));
        }
        self.bundles().remove(uri);
        if let Some(validator) = &self.validator {
            validator.align(&self.master_api.rules());
        }
        tracing::info!(%uri, "schema deleted");
        Ok(())
    }
}

fn unknown(uri: &EventUri) -> Error {
    Error::new(ErrorCode::UnknownEventType, format!("no schema is known for {uri}"))
}

fn not_yours(uri: &EventUri) -> Error {
    let message = format!("{uri} is a type of the server's own: its schema ships with the server");
    Error::new(ErrorCode::PermissionDenied, message)
}

#[cfg(test)]
mod tests;

//! The registry: the code flow of a contract, from text to a version in force.

use crate::{
    BundleStore, Config, LocalValidator, Metrics, bundle,
    compare::{Difference, Version, compare},
    compile::{Compiled, compile, invalid},
    foreign::Foreign,
};
use async_trait::async_trait;
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    clock::Clock,
    command::{Changeset, Command},
    master_api::Configuration,
    registry::SchemaRegistry,
    schema::{Published, SchemaBundle, SchemaSource, SchemaVersion, UnknownFields},
    uri::EventUri,
};
use prost_reflect::DescriptorPool;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// How often a publication starts over because somebody else published the same type.
const ATTEMPTS_MAX: usize = 5;
/// Differences that a refusal lists.
const DIFFERENCES_SHOWN_MAX: usize = 50;

/// Publishes contracts and gives them out. Which version is latest is a fact of Master API; what it
/// consists of is in the bundle store.
pub struct Registry {
    config: Config,
    store: Arc<dyn BundleStore>,
    master_api: Arc<dyn Configuration>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    validator: Option<Arc<LocalValidator>>,
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
            publishing: tokio::sync::Mutex::default(),
            bundles: Mutex::default(),
            foreign: None,
        }
    }

    /// With the contracts of the deployments that are listed as peers.
    /// Errors: `invalid_definition`.
    pub fn asking_peers(mut self) -> Result<Self> {
        self.foreign = Some(Foreign::new(&self.config)?);
        Ok(self)
    }

    /// With a validator in the same process, which uses a version before its publication is
    /// answered.
    #[must_use]
    pub fn announcing_to(mut self, validator: Arc<LocalValidator>) -> Self {
        self.validator = Some(validator);
        self
    }

    async fn candidate(&self, source: SchemaSource) -> Result<Candidate> {
        if source.uri.domain().is_some() {
            let uri = &source.uri;
            return Err(invalid(format!("{uri} belongs to another deployment: publish it there")));
        }
        let config = self.config.clone();
        // Compiling takes milliseconds: too long for a thread that serves others.
        let work = tokio::task::spawn_blocking(move || Candidate::new(&source, &config));
        work.await.map_err(Error::internal)?
    }

    /// The latest version of a type, if there is one.
    async fn latest(&self, uri: &EventUri) -> Result<Option<Arc<SchemaBundle>>> {
        let version = self.master_api.rules().borrow().schemas.get(uri).map(Arc::clone);
        let Some(version) = version else {
            self.bundles().remove(uri);
            return Ok(None);
        };
        let cached = self.bundles().get(uri).map(Arc::clone);
        if let Some(bundle) = cached.filter(|bundle| bundle.version == *version) {
            return Ok(Some(bundle));
        }
        let bytes = self.store.get(version.digest).await?.ok_or_else(|| {
            let address = hex::encode(version.digest);
            Error::internal(format!("the schema store lacks the bundle {address} of {uri}"))
        })?;
        let bundle = Arc::new(bundle::decode(SchemaVersion::clone(&version), &bytes)?);
        self.bundles().insert(uri.clone(), Arc::clone(&bundle));
        Ok(Some(bundle))
    }

    fn bundles(&self) -> std::sync::MutexGuard<'_, HashMap<EventUri, Arc<SchemaBundle>>> {
        self.bundles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A store that lost its bundles, as memory does, gets back what is published again.
    async fn heal(&self, candidate: &Candidate) -> Result<()> {
        let rules = self.master_api.rules();
        let in_force = rules.borrow().schemas.get(&candidate.uri).map(|version| version.digest);
        if in_force == Some(candidate.digest) && self.store.get(candidate.digest).await?.is_none() {
            self.store.put(candidate.digest, candidate.bytes.clone()).await?;
        }
        Ok(())
    }

    async fn try_publish(&self, actor: Actor, source: SchemaSource) -> Result<Published> {
        let candidate = self.candidate(source).await?;
        let _turn = self.publishing.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            self.heal(&candidate).await?;
            let latest = self.latest(&candidate.uri).await?;
            let plan = candidate.plan(latest.as_deref(), self.clock.as_ref())?;
            if plan.changed {
                self.store.put(candidate.digest, candidate.bytes.clone()).await?;
                let command = Command::PublishSchema(plan.version.clone());
                let changes = Changeset { commands: vec![command], ..Changeset::default() };
                match self.master_api.execute(actor.clone(), changes).await {
                    Ok(_) => {}
                    // Another registry was faster: look again at what is latest now.
                    Err(error) if error.code == ErrorCode::Conflict => continue,
                    Err(error) => return Err(error),
                }
            }
            let in_force = self.latest(&candidate.uri).await?;
            let Some(bundle) = in_force.filter(|bundle| plan.is_kept_by(&bundle.version)) else {
                continue;
            };
            if let Some(validator) = &self.validator {
                validator.install(&bundle)?;
            }
            return Ok(Published { version: bundle.version.clone(), ..plan });
        }
        let message = format!("{} is being published by others: try again", candidate.uri);
        Err(Error::new(ErrorCode::Conflict, message))
    }
}

#[async_trait]
impl SchemaRegistry for Registry {
    async fn get(&self, uri: &EventUri) -> Result<Arc<SchemaBundle>> {
        if let (Some(_), Some(foreign)) = (uri.domain(), &self.foreign) {
            return foreign.get(uri).await;
        }
        self.latest(uri).await?.ok_or_else(|| {
            Error::new(ErrorCode::UnknownEventType, format!("no schema is known for {uri}"))
        })
    }

    async fn refresh(&self, uri: &EventUri) -> Result<Arc<SchemaBundle>> {
        match (uri.domain(), &self.foreign) {
            (Some(_), Some(foreign)) => foreign.refresh(uri).await,
            _ => self.get(uri).await,
        }
    }

    async fn list(&self) -> Result<Vec<SchemaVersion>> {
        let rules = Arc::clone(&self.master_api.rules().borrow());
        Ok(rules.schemas.values().map(|version| SchemaVersion::clone(version)).collect())
    }

    async fn publish(&self, actor: Actor, source: SchemaSource) -> Result<Published> {
        let uri = source.uri.clone();
        let result = self.try_publish(actor, source).await;
        self.metrics.published(&result);
        match &result {
            Ok(published) => {
                let (minor, changed) = (published.version.minor, published.changed);
                tracing::info!(%uri, minor, changed, "schema published");
            }
            Err(error) => tracing::info!(%uri, code = %error.code, "schema refused"),
        }
        result
    }

    async fn check(&self, source: SchemaSource) -> Result<Published> {
        let candidate = self.candidate(source).await?;
        let latest = self.latest(&candidate.uri).await?;
        candidate.plan(latest.as_deref(), self.clock.as_ref())
    }
}

/// A schema that compiles and might be published.
struct Candidate {
    uri: EventUri,
    unknown_fields: UnknownFields,
    compiled: Compiled,
    digest: [u8; 32],
    bytes: Bytes,
}

impl Candidate {
    fn new(source: &SchemaSource, config: &Config) -> Result<Self> {
        let compiled = compile(source, config)?;
        let bytes = bundle::encode(&compiled.descriptor_set, &compiled.files)?;
        let (uri, unknown_fields) = (source.uri.clone(), source.unknown_fields);
        Ok(Self { uri, unknown_fields, compiled, digest: bundle::digest(&bytes), bytes })
    }

    /// What publishing would do. Errors: `invalid_definition` when it would break the contract.
    fn plan(&self, latest: Option<&SchemaBundle>, clock: &dyn Clock) -> Result<Published> {
        let version = |minor| SchemaVersion {
            uri: self.uri.clone(),
            minor,
            message: self.compiled.message.clone(),
            digest: self.digest,
            unknown_fields: self.unknown_fields,
            published_at: clock.now(),
        };
        let Some(latest) = latest else {
            return Ok(Published { version: version(0), changed: true, differences: Vec::new() });
        };
        if self.is_same(latest) {
            let version = latest.version.clone();
            return Ok(Published { version, changed: false, differences: Vec::new() });
        }
        let differences = self.differences(latest)?;
        let breaking: Vec<_> = differences.iter().filter(|found| found.breaking).collect();
        if !breaking.is_empty() {
            return Err(refusal(&latest.version, &breaking));
        }
        let minor = latest.version.minor.checked_add(1);
        let minor = minor.ok_or_else(|| Error::internal("too many minor versions"))?;
        let differences = differences.into_iter().map(|found| found.text).collect();
        Ok(Published { version: version(minor), changed: true, differences })
    }

    /// Sources decide: a newer compiler may describe the same text by other bytes.
    fn is_same(&self, latest: &SchemaBundle) -> bool {
        latest.version.message == self.compiled.message
            && latest.version.unknown_fields == self.unknown_fields
            && latest.files == self.compiled.files
    }

    fn differences(&self, latest: &SchemaBundle) -> Result<Vec<Difference>> {
        let uri = &self.uri;
        let pool = DescriptorPool::decode(latest.descriptor_set.as_ref())
            .map_err(|error| Error::internal(format!("the latest bundle of {uri}: {error}")))?;
        let old = Version { pool: &pool, message: &latest.version.message };
        let new = Version { pool: &self.compiled.pool, message: &self.compiled.message };
        let mut differences = compare(old, new);
        if latest.version.unknown_fields != self.unknown_fields {
            let text = match self.unknown_fields {
                UnknownFields::Ignore => "unknown fields pass now",
                UnknownFields::Reject => "unknown fields are refused now",
            };
            differences.push(Difference { breaking: false, text: text.to_owned() });
        }
        Ok(differences)
    }
}

/// Is the version in force the one that was planned?
trait KeptBy {
    fn is_kept_by(&self, in_force: &SchemaVersion) -> bool;
}

impl KeptBy for Published {
    fn is_kept_by(&self, in_force: &SchemaVersion) -> bool {
        let planned = &self.version;
        planned.digest == in_force.digest
            && planned.minor == in_force.minor
            && planned.message == in_force.message
            && planned.unknown_fields == in_force.unknown_fields
    }
}

fn refusal(latest: &SchemaVersion, breaking: &[&Difference]) -> Error {
    let (uri, minor, major) = (&latest.uri, latest.minor, latest.uri.major());
    let shown: Vec<_> =
        breaking.iter().take(DIFFERENCES_SHOWN_MAX).map(|found| found.text.as_str()).collect();
    let more = match breaking.len() - shown.len() {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    invalid(format!(
        "this breaks the contract of {uri} (version {major}.{minor}): {}{more}. Publish it as major \
         {} instead",
        shown.join("; "),
        u64::from(major) + 1
    ))
}

#[cfg(test)]
mod tests;

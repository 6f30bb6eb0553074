//! The registry: the code flow of a contract, from text to a version in force.

use crate::{
    BundleStore, Config, LocalValidator, Metrics, bundle,
    compare::Version,
    foreign::Foreign,
    plan::{Candidate, Plan, differences, refused},
};
use async_trait::async_trait;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    clock::Clock,
    command::{ChangeKind, Changeset, Command, Target},
    master_api::Configuration,
    registry::SchemaRegistry,
    rules::Rules,
    schema::{
        Difference, Published, Rulebook, SchemaBundle, SchemaSource, SchemaVersion, VersionNumber,
    },
    subscription::SubscriptionStatus,
    uri::EventUri,
};
use prost_reflect::DescriptorPool;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::timeout;

/// How long a lost race waits until the winner's version is known here.
const NEWS_PATIENCE: Duration = Duration::from_secs(2);

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
        let config = self.config.clone();
        // Compiling takes milliseconds: too long for a thread that serves others.
        let now = self.clock.now();
        let work = tokio::task::spawn_blocking(move || Candidate::new(source, &config, now));
        work.await.map_err(Error::internal)?
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

    /// The minor version that comes next. Numbers of a deleted schema are not given again.
    async fn next_minor(&self, uri: &EventUri) -> Result<u32> {
        let newest = self.master_api.schema_versions(uri).await?.pop();
        let next = newest.map_or(Some(0), |newest| newest.minor.checked_add(1));
        next.ok_or_else(|| Error::internal("too many minor versions"))
    }

    /// What publishing would do.
    async fn plan(&self, candidate: &Candidate) -> Result<Plan> {
        let uri = &candidate.uri;
        let Some(latest) = self.latest(uri).await? else {
            let number = self.next_minor(uri).await?;
            let (now, rulebook) = (self.clock.now(), Rulebook::default());
            return Ok(candidate.next(uri.clone(), number, now, rulebook));
        };
        let plan = candidate.compared_with(&latest)?;
        if !plan.is_breaking() {
            return match plan.same {
                true => Ok(plan),
                false => {
                    let number = self.next_minor(uri).await?;
                    let (now, rulebook) = (self.clock.now(), plan.version.rulebook);
                    let next = candidate.next(uri.clone(), number, now, rulebook);
                    Ok(Plan { differences: plan.differences, ..next })
                }
            };
        }
        let plan = Plan { subscriptions: receivers(&self.rules(), uri), ..plan };
        match candidate.next_major {
            true => self.next_major(candidate, plan).await,
            false => Ok(plan),
        }
    }

    /// The major after the highest one in force, unless that one has the content already.
    async fn next_major(&self, candidate: &Candidate, breaking: Plan) -> Result<Plan> {
        let uri = &candidate.uri;
        let rules = self.rules();
        let of_type = rules.schemas.keys().filter(|known| is_major_of(uri, known));
        let highest = of_type.map(EventUri::major).max().unwrap_or_else(|| uri.major());
        if highest > uri.major()
            && let Some(bundle) = self.latest(&uri.with_major(highest)?).await?
            && candidate.is_same(&bundle)
        {
            return Ok(Plan { version: bundle.version.clone(), same: true, ..breaking });
        }
        let next = highest.checked_add(1).ok_or_else(|| Error::internal("too many majors"))?;
        let target = uri.with_major(next)?;
        let number = self.next_minor(&target).await?;
        let Plan { version, differences, subscriptions, .. } = breaking;
        let next = candidate.next(target, number, self.clock.now(), version.rulebook);
        Ok(Plan { differences, subscriptions, ..next })
    }

    /// A store that lost its bundles, as memory does, gets back what is published again.
    async fn heal(&self, candidate: &Candidate) -> Result<()> {
        let in_force = self.in_force(&candidate.uri).map(|version| version.digest);
        if in_force == Some(candidate.digest) && self.store.get(candidate.digest).await?.is_none() {
            self.store.put(candidate.digest, candidate.bytes.clone()).await?;
        }
        Ok(())
    }

    async fn try_publish(&self, actor: Actor, source: SchemaSource) -> Result<Published> {
        // What the publisher could have looked at: whatever comes after it is news to them.
        let base = self.in_force(&source.uri);
        let candidate = self.candidate(source).await?;
        let _turn = self.publishing.lock().await;
        self.heal(&candidate).await?;
        let plan = self.plan(&candidate).await?;
        if plan.same {
            self.install(&plan.version.uri).await?;
            return Ok(plan.into_published());
        }
        if candidate.uri.is_own() && !matches!(actor, Actor::Component(_)) {
            return Err(not_yours(&candidate.uri));
        }
        let current = self.in_force(&candidate.uri);
        if current != base {
            return Err(overtaken(&candidate.uri, current.as_deref()));
        }
        if plan.is_refused() {
            return Err(refused(&plan));
        }
        self.carry_out(actor, &candidate, plan).await
    }

    /// Bundle first, then the fact: what is in force is always in the store.
    async fn carry_out(
        &self,
        actor: Actor,
        candidate: &Candidate,
        plan: Plan,
    ) -> Result<Published> {
        self.store.put(candidate.digest, candidate.bytes.clone()).await?;
        let command = Command::PublishSchema(plan.version.clone());
        let changes = Changeset { commands: vec![command], ..Changeset::default() };
        let uri = plan.version.uri.clone();
        let before = self.in_force(&uri);
        let done = match self.master_api.execute(actor, changes).await {
            // Another registry was faster.
            Err(error) if error.code == ErrorCode::Conflict => {
                let mut rules = self.master_api.rules();
                let news = rules.wait_for(|rules| rules.schemas.get(&uri) != before.as_ref());
                if !matches!(timeout(NEWS_PATIENCE, news).await, Ok(Ok(_))) {
                    return Err(error);
                }
                let plan = self.plan(candidate).await?;
                match plan.same {
                    true => plan,
                    false => return Err(overtaken(&uri, self.in_force(&uri).as_deref())),
                }
            }
            Err(error) => return Err(error),
            Ok(changes) => {
                let same = changes.iter().all(|change| change.kind == ChangeKind::Unchanged);
                Plan { same, ..plan }
            }
        };
        self.install(&done.version.uri).await?;
        Ok(done.into_published())
    }

    /// Lets the validator of this process use the latest version.
    async fn install(&self, uri: &EventUri) -> Result<()> {
        match (&self.validator, self.latest(uri).await?) {
            (Some(validator), Some(bundle)) => validator.install(&bundle),
            _ => Ok(()),
        }
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

    async fn publish(&self, actor: Actor, source: SchemaSource) -> Result<Published> {
        let uri = source.uri.clone();
        let result = self.try_publish(actor, source).await;
        self.metrics.published(&result);
        match &result {
            Ok(published) => {
                let (version, changed) = (published.version.number(), published.changed);
                tracing::info!(%uri, %version, changed, "schema published");
            }
            Err(error) => tracing::info!(%uri, code = %error.code, "schema refused"),
        }
        result
    }

    async fn check(&self, source: SchemaSource) -> Result<Published> {
        let candidate = self.candidate(source).await?;
        let plan = self.plan(&candidate).await?;
        let own = (!plan.same && candidate.uri.is_own()).then(|| not_yours(&candidate.uri).message);
        let published = plan.into_published();
        Ok(Published { refusal: own.or(published.refusal), ..published })
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
        let pool = DescriptorPool::decode(new.descriptor_set.as_ref());
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
        match self.master_api.execute(actor, changes).await {
            Ok(_) => {}
            Err(error) if error.code == ErrorCode::NotFound => return Err(unknown(uri)),
            Err(error) => return Err(error),
        }
        self.bundles().remove(uri);
        tracing::info!(%uri, "schema deleted");
        Ok(())
    }
}

/// Names of the subscriptions that receive events of this type, by name.
fn receivers(rules: &Rules, uri: &EventUri) -> Vec<String> {
    let live = rules.subscriptions.values().filter(|found| {
        found.status != SubscriptionStatus::Disabled
            && found.spec.events.iter().any(|pattern| pattern.matches(uri))
    });
    let mut names: Vec<_> = live.map(|found| found.spec.name.clone()).collect();
    names.sort_unstable();
    names
}

/// Is it the same type, in this or another major?
fn is_major_of(uri: &EventUri, other: &EventUri) -> bool {
    (uri.domain(), uri.namespace(), uri.name()) == (other.domain(), other.namespace(), other.name())
}

fn unknown(uri: &EventUri) -> Error {
    Error::new(ErrorCode::UnknownEventType, format!("no schema is known for {uri}"))
}

fn not_yours(uri: &EventUri) -> Error {
    let message = format!("{uri} is a type of the server's own: its schema ships with the server");
    Error::new(ErrorCode::PermissionDenied, message)
}

fn overtaken(uri: &EventUri, current: Option<&SchemaVersion>) -> Error {
    let news = match current {
        Some(current) => format!("the current version is {} now", current.number()),
        None => "it was deleted".to_owned(),
    };
    let message = format!("{uri} was changed meanwhile: {news}; look at it and publish again");
    Error::new(ErrorCode::Conflict, message)
}

#[cfg(test)]
mod tests;

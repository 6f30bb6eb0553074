//! Every contract compiled and at hand: checking an event takes no lock, no wait and no call.

mod contracts;
mod foreign;

use crate::{
    Config, Metrics, bundle,
    skeleton::{self, FieldNames},
    validate::Contract,
};
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    clock::{BoxFuture, Clock, SystemClock, Timestamp},
    id::Sequence,
    registry::SchemaRegistry,
    rules::RulesReceiver,
    schema::{
        Encoding, EventValidator, Example, PayloadConverter, SchemaBundle, SchemaVersion, Validated,
    },
    uri::EventUri,
};
use contracts::{Contracts, Held};
use foreign::ForeignContracts;
use futures_util::{StreamExt as _, stream};
use std::{
    borrow::Borrow,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

/// Checks payloads against the latest version of each contract.
///
/// It learns of versions in two ways: [`Self::run`] follows the rules in force and fetches what
/// changed, and a [`crate::Registry`] in the same process installs what it publishes before it
/// answers. Both only ever move a contract forward.
#[derive(Debug)]
pub struct LocalValidator {
    config: Config,
    metrics: Metrics,
    /// For rules such as "in the past".
    clock: Arc<dyn Clock>,
    contracts: Contracts,
    /// The rules whose contracts are all at hand; None before the first time.
    complete: watch::Sender<Option<Sequence>>,
    /// Told whenever `contracts` changes.
    changed: watch::Sender<()>,
    /// Why the registry could not be asked the last time.
    failure: Mutex<Option<Error>>,
    foreign: Arc<ForeignContracts>,
}

/// The first pause before the registry is asked again for what it did not give.
const FETCH_RETRY_FIRST: Duration = Duration::from_millis(20);
/// So many contracts are asked for at the same time, so that the way to the registry and back is
/// not waited for each time.
const FETCHES_AT_ONCE: usize = 16;

impl LocalValidator {
    /// A validator without contracts.
    pub fn new(config: Config, metrics: Metrics) -> Self {
        Self {
            foreign: ForeignContracts::new(config.clone()),
            config,
            contracts: Contracts::new(metrics.clone()),
            metrics,
            clock: Arc::new(SystemClock),
            complete: watch::Sender::new(None),
            changed: watch::Sender::default(),
            failure: Mutex::default(),
        }
    }

    /// With another clock than the system's, for rules such as "in the past".
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Uses a version from now on, unless a newer one is in use.
    /// Errors: `internal` when the bundle is not what its digest says.
    pub fn install(&self, bundle: &SchemaBundle) -> Result<()> {
        self.install_all(std::slice::from_ref(bundle))
    }

    /// The same with several: none is used unless all of them compile.
    pub fn install_all<B: Borrow<SchemaBundle>>(&self, bundles: &[B]) -> Result<()> {
        let mut fresh = Vec::new();
        for bundle in bundles.iter().map(Borrow::borrow).filter(|bundle| !self.has(&bundle.version))
        {
            bundle::verify(bundle)?;
            fresh.push(Box::new(Contract::new(bundle, self.config.payload_depth())?));
        }
        if fresh.is_empty() {
            return Ok(());
        }
        for contract in fresh {
            let SchemaVersion { uri, minor, .. } = contract.version().clone();
            self.contracts.put(contract);
            tracing::info!(%uri, minor, "contract in use");
        }
        self.changed.send_replace(());
        Ok(())
    }

    /// Fetches every contract in force that is not at hand, and drops those no longer in force.
    /// Errors: the first one, after all the others were tried.
    pub async fn sync(&self, registry: &dyn SchemaRegistry, rules: &RulesReceiver) -> Result<()> {
        let wanted = Arc::clone(&rules.borrow());
        let missing = wanted.schemas.values().filter(|version| !self.has(version));
        let missing: Vec<_> = missing.map(Arc::clone).collect();
        let asked = !missing.is_empty();
        let fetches = stream::iter(missing).map(async |version| {
            let fetched = self.fetch(registry, &version).await;
            fetched.inspect_err(|error| {
                tracing::warn!(uri = %version.uri, %error, "cannot get a contract");
            })
        });
        let failures = fetches.buffered(FETCHES_AT_ONCE).filter_map(async |it| it.err());
        let failure = failures.fold(None, async |first, next| first.or(Some(next))).await;
        self.align(rules);
        if asked {
            self.note(failure.clone());
        }
        match failure {
            Some(error) => Err(error),
            None => {
                self.complete.send_replace(Some(wanted.sequence));
                Ok(())
            }
        }
    }

    /// Keeps the contracts as the rules want them, until `stop`, and looks from time to time
    /// whether the registry is there.
    pub async fn run(
        &self,
        registry: Arc<dyn SchemaRegistry>,
        rules: RulesReceiver,
        stop: CancellationToken,
    ) {
        self.foreign.follow(Arc::clone(&registry));
        let news = stop.run_until_cancelled(self.foreign.hear(registry.as_ref()));
        let _both_ended = tokio::join!(self.keep_up(registry.as_ref(), rules, &stop), news);
        self.foreign.leave();
    }

    async fn keep_up(
        &self,
        registry: &dyn SchemaRegistry,
        mut rules: RulesReceiver,
        stop: &CancellationToken,
    ) {
        let mut pause = FETCH_RETRY_FIRST;
        loop {
            rules.mark_unchanged();
            let sync = self.sync(registry, &rules);
            let Some(synced) = stop.run_until_cancelled(sync).await else { break };
            // A replica may hear of a version a moment later than this process: ask again soon.
            let limit = match synced {
                Ok(()) => {
                    pause = FETCH_RETRY_FIRST;
                    self.config.registry_probe.0
                }
                Err(_) => {
                    let longer = self.config.fetch_retry.0.min(pause * 2);
                    std::mem::replace(&mut pause, longer)
                }
            };
            let changed = stop.run_until_cancelled(timeout(limit, rules.changed())).await;
            match changed {
                None | Some(Ok(Err(_))) => break,
                Some(Ok(Ok(()))) => {}
                Some(Err(_elapsed)) => {
                    let probe = self.probe(registry);
                    if stop.run_until_cancelled(probe).await.is_none() {
                        break;
                    }
                }
            }
        }
    }

    /// Asks the registry whether it is there.
    async fn probe(&self, registry: &dyn SchemaRegistry) {
        let answer = timeout(self.config.fetch_timeout.0, registry.ping()).await;
        self.note(match answer {
            Ok(answer) => answer.err(),
            Err(_elapsed) => {
                let message = "the schema registry did not answer in time";
                Some(Error::new(ErrorCode::DeadlineExceeded, message))
            }
        });
    }

    fn note(&self, failure: Option<Error>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// What operators should know: contracts that are in force and not at hand keep their events
    /// out, and without the registry everybody goes on with what is at hand. Empty: all is well.
    pub fn warnings(&self) -> Vec<String> {
        let missing = self.contracts.count_missing();
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let missing = (missing > 0).then(|| format!("{missing} contracts are not at hand"));
        let failure = failure.map(|error| format!("the schema registry: {}", error.message));
        missing.into_iter().chain(failure).collect()
    }

    /// Returns once every contract in force at `sequence` has been at hand. With
    /// [`Sequence`] 0 that is: once the validator may be used at all. The caller sets the deadline.
    pub async fn wait_for(&self, sequence: Sequence) {
        let mut complete = self.complete.subscribe();
        // The sender lives as long as `self`, so waiting can only end by the condition.
        drop(complete.wait_for(|complete| *complete >= Some(sequence)).await);
    }

    /// Have all contracts been at hand at least once since the start?
    pub fn is_complete(&self) -> bool {
        self.complete.borrow().is_some()
    }

    /// The time, if a check needs it.
    fn time_for(&self, contract: &Contract) -> Timestamp {
        if contract.uses_now() { self.clock.now() } else { Timestamp::default() }
    }

    /// The version in use for a type.
    pub fn version(&self, uri: &EventUri) -> Option<SchemaVersion> {
        self.contracts.see(uri, |held| match held? {
            Held::Ready(contract) => Some(contract.version().clone()),
            Held::Missing => None,
        })
    }

    /// Is this version or a newer one in use?
    fn has(&self, version: &SchemaVersion) -> bool {
        self.contracts.see(&version.uri, |held| match held {
            Some(Held::Ready(contract)) => {
                let held = contract.version();
                held.digest == version.digest && held.minor == version.minor
                    || held.minor > version.minor
            }
            Some(Held::Missing) | None => false,
        })
    }

    async fn fetch(&self, registry: &dyn SchemaRegistry, version: &SchemaVersion) -> Result<()> {
        let bundle = timeout(self.config.fetch_timeout.0, registry.get(&version.uri)).await;
        let bundle = bundle.map_err(|_elapsed| {
            let message = format!("the schema registry did not give {} in time", version.uri);
            Error::new(ErrorCode::DeadlineExceeded, message)
        })??;
        self.install(&bundle)?;
        if self.has(version) {
            return Ok(());
        }
        let message = format!("the schema registry gave an older version of {}", version.uri);
        Err(Error::new(ErrorCode::Unavailable, message))
    }

    /// Drops what is not in force, and marks what is and has never been at hand.
    pub(crate) fn align(&self, rules: &RulesReceiver) {
        // Read only when nothing can be installed: what was installed before is in force by now.
        self.contracts.align(|| Arc::clone(&rules.borrow()));
        self.changed.send_replace(());
    }
}

impl PayloadConverter for LocalValidator {
    fn convert(
        &self,
        uri: &EventUri,
        content_type: &str,
        payload: &Bytes,
        to: Encoding,
    ) -> Result<Bytes> {
        if uri.domain().is_some() {
            return self.foreign.convert(uri, content_type, payload, to);
        }
        self.contracts.see(uri, |held| match held {
            Some(Held::Ready(contract)) => contract.convert(content_type, payload, to),
            Some(Held::Missing) => {
                let message = format!("the contract of {uri} is not at hand yet");
                Err(Error::new(ErrorCode::Unavailable, message))
            }
            None => {
                let message = format!("no contract of {uri} is in force");
                Err(Error::new(ErrorCode::UnknownEventType, message))
            }
        })
    }
}

impl EventValidator for LocalValidator {
    fn validate(&self, uri: &EventUri, content_type: &str, payload: &[u8]) -> Result<Validated> {
        if uri.domain().is_some() {
            let result = self.foreign.check(uri, content_type, payload, self.clock.now());
            self.metrics.validated(result.as_ref());
            return result.unwrap_or(Ok(Validated::NoSchema));
        }
        let result = self.contracts.see(uri, |held| match held? {
            Held::Ready(contract) => {
                let checked = contract.check(content_type, payload, self.time_for(contract));
                Some(checked.map(|()| Validated::Against(contract.version().minor)))
            }
            Held::Missing => {
                let message = format!("the contract of {uri} is not at hand yet");
                let after = self.config.fetch_retry.0;
                Some(Err(Error::new(ErrorCode::Unavailable, message).retry_after(after)))
            }
        });
        self.metrics.validated(result.as_ref());
        result.unwrap_or(Ok(Validated::NoSchema))
    }

    fn example(&self, uri: &EventUri) -> Result<Option<Example>> {
        self.contracts.see(uri, |held| {
            let Some(Held::Ready(contract)) = held else { return Ok(None) };
            if let Some(payload) = contract.example().cloned() {
                return Ok(Some(Example { payload, published: true }));
            }
            let made = skeleton::of_contract(contract, FieldNames::default(), self.clock.now())?;
            if let Some(broken) = made.broken.first() {
                let message = format!(
                    "no example of {uri} can be made: `{}` has a rule that no value was found for",
                    broken.path
                );
                return Err(Error::new(ErrorCode::InvalidDefinition, message));
            }
            Ok(Some(Example { payload: made.payload.to_string().into(), published: false }))
        })
    }

    fn is_current(&self, uri: &EventUri, in_force: Option<&SchemaVersion>) -> bool {
        match in_force {
            _ if uri.domain().is_some() => self.foreign.is_current(uri),
            Some(version) => self.has(version),
            None => self.contracts.see(uri, |held| held.is_none()),
        }
    }

    fn expire(&self, domain: &str) {
        self.foreign.expire(domain);
        self.foreign.announce(domain);
    }

    fn catch_up<'a>(
        &'a self,
        uri: &'a EventUri,
        in_force: Option<&'a SchemaVersion>,
    ) -> BoxFuture<'a, ()> {
        let mut changed = self.changed.subscribe();
        Box::pin(async move {
            if uri.domain().is_some() {
                return self.foreign.catch_up(uri).await;
            }
            // The sender lives as long as `self`, so waiting ends by the condition alone.
            while !self.is_current(uri, in_force) && changed.changed().await.is_ok() {}
        })
    }
}

#[cfg(test)]
mod tests;

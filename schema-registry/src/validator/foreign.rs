//! Contracts of other deployments, compiled, as far as events have asked for them.

use crate::{Config, foreign::size, lru::Lru, validate::Contract};
use contract::{
    ErrorCode, Result, clock::Timestamp, registry::SchemaRegistry, schema::Validated, uri::EventUri,
};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

/// Compiled contracts take several times what their descriptors do.
const COMPILED_BYTES_FACTOR: usize = 4;
/// What an entry takes without a contract, roughly.
const ENTRY_BYTES: usize = 512;

/// Shared with the tasks that fetch: a fetch goes on when the event that asked has been put off.
#[derive(Debug)]
pub(super) struct ForeignContracts {
    config: Config,
    held: Mutex<Lru<EventUri, Held>>,
    fetching: Mutex<HashSet<EventUri>>,
    /// Told when a fetch has ended.
    fetched: watch::Sender<()>,
    registry: Mutex<Option<Registry>>,
}

struct Registry(Arc<dyn SchemaRegistry>);

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Registry")
    }
}

#[derive(Debug)]
struct Held {
    /// None: there is no such type, as far as we are told.
    contract: Option<Arc<Contract>>,
    until: Instant,
}

impl ForeignContracts {
    pub(super) fn new(config: Config) -> Arc<Self> {
        let held = Lru::new(config.foreign.schemas_max, config.foreign.bytes_max);
        Arc::new(Self {
            config,
            held: Mutex::new(held),
            fetching: Mutex::default(),
            fetched: watch::Sender::default(),
            registry: Mutex::default(),
        })
    }

    /// From now on, contracts can be asked for there.
    pub(super) fn follow(&self, registry: Arc<dyn SchemaRegistry>) {
        *self.registry() = Some(Registry(registry));
    }

    /// From now on, nobody is asked. In one process the registry holds the validator, too.
    pub(super) fn leave(&self) {
        *self.registry() = None;
    }

    pub(super) fn check(
        &self,
        uri: &EventUri,
        content_type: &str,
        payload: &[u8],
        now: Timestamp,
    ) -> Option<Result<Validated>> {
        let contract = self.held().get(uri)?.contract.clone()?;
        let checked = contract.check(content_type, payload, now);
        Some(checked.map(|()| Validated::Against(contract.version().minor)))
    }

    /// Was it asked for lately?
    pub(super) fn is_current(&self, uri: &EventUri) -> bool {
        self.registry().is_none()
            || self.held().get(uri).is_some_and(|held| held.until > Instant::now())
    }

    /// What is held of `domain` is asked for again when it matters.
    pub(super) fn expire(&self, domain: &str) {
        let now = Instant::now();
        for (uri, held) in self.held().iter_mut() {
            if uri.domain() == Some(domain) {
                held.until = now;
            }
        }
    }

    pub(super) async fn catch_up(self: &Arc<Self>, uri: &EventUri) {
        let mut fetched = self.fetched.subscribe();
        while !self.is_current(uri) {
            if self.fetching().insert(uri.clone()) {
                let (this, uri) = (Arc::clone(self), uri.clone());
                drop(tokio::spawn(async move {
                    let pause = this.fetch(&uri).await;
                    sleep(pause).await;
                    this.fetching().remove(&uri);
                    this.fetched.send_replace(());
                }));
            }
            if fetched.changed().await.is_err() {
                return;
            }
        }
    }

    /// Asks once; how long to wait before anybody asks again.
    async fn fetch(&self, uri: &EventUri) -> Duration {
        let registry = self.registry().as_ref().map(|Registry(registry)| Arc::clone(registry));
        let Some(registry) = registry else { return Duration::ZERO };
        let asked = tokio::time::timeout(self.config.fetch_timeout.0, registry.refresh(uri)).await;
        let foreign = &self.config.foreign;
        let (contract, bytes, ttl) = match asked {
            Ok(Ok(bundle)) => match Contract::new(&bundle, self.config.payload_depth()) {
                Ok(contract) => {
                    let bytes = size(&bundle) * COMPILED_BYTES_FACTOR;
                    (Some(Arc::new(contract)), bytes, foreign.ttl.0)
                }
                Err(error) => {
                    tracing::warn!(%uri, %error, "a foreign contract cannot be used");
                    return self.config.fetch_retry.0;
                }
            },
            Ok(Err(error)) if error.code == ErrorCode::UnknownEventType => {
                (None, 0, foreign.negative_ttl.0)
            }
            Ok(Err(error)) => {
                tracing::warn!(%uri, %error, "cannot get a foreign contract");
                return self.config.fetch_retry.0;
            }
            Err(_elapsed) => return self.config.fetch_retry.0,
        };
        let held = Held { contract, until: Instant::now() + ttl };
        self.held().put(uri.clone(), held, bytes + ENTRY_BYTES);
        Duration::ZERO
    }

    fn registry(&self) -> MutexGuard<'_, Option<Registry>> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, Lru<EventUri, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fetching(&self) -> MutexGuard<'_, HashSet<EventUri>> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Contracts of other deployments, compiled, as far as events have asked for them.

use crate::{Config, foreign::size, lru::Lru, validate::Contract};
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    clock::Timestamp,
    registry::SchemaRegistry,
    schema::{Encoding, Validated},
    uri::EventUri,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

/// Compiled contracts take several times what their descriptors do.
const COMPILED_BYTES_FACTOR: usize = 4;
/// What an entry takes without a contract, roughly.
const ENTRY_BYTES: usize = 512;
/// How often the registry is told in a row before it is given up.
const ANNOUNCEMENTS_MAX: usize = 100;
/// The registry is not told twice of the same domain within this time.
const ANNOUNCED_AFTER_MIN: Duration = Duration::from_millis(200);

/// Shared with the tasks that fetch: a fetch goes on when the event that asked has been put off.
#[derive(Debug)]
pub(super) struct ForeignContracts {
    config: Config,
    held: Mutex<Lru<EventUri, Held>>,
    fetching: Mutex<HashSet<EventUri>>,
    /// Domains that the registry is being told of; true: once more after that.
    announcing: Mutex<HashMap<String, bool>>,
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
            announcing: Mutex::default(),
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

    /// The payload in another encoding, by what is held of its type.
    pub(super) fn convert(
        &self,
        uri: &EventUri,
        content_type: &str,
        payload: &Bytes,
        to: Encoding,
    ) -> Result<Bytes> {
        let held = self.held().get(uri).map(|held| held.contract.clone());
        match held {
            Some(Some(contract)) => contract.convert(content_type, payload, to),
            Some(None) => {
                let message = format!("{uri} is not among the types of its deployment");
                Err(Error::new(ErrorCode::UnknownEventType, message))
            }
            None => {
                let message = format!("the contract of {uri} is not at hand");
                Err(Error::new(ErrorCode::UnknownEventType, message))
            }
        }
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

    /// Follows what the registry knows of other deployments' publications; never ends by itself.
    pub(super) async fn hear(&self, registry: &dyn SchemaRegistry) {
        let mut seen = BTreeMap::new();
        loop {
            match timeout(self.config.fetch_timeout.0, registry.peer_marks()).await {
                Ok(Ok(marks)) => {
                    for (domain, _) in
                        marks.iter().filter(|(domain, mark)| seen.get(*domain) != Some(*mark))
                    {
                        self.expire(domain);
                    }
                    seen = marks;
                }
                Ok(Err(error)) => tracing::debug!(%error, "cannot hear of other deployments"),
                Err(_elapsed) => tracing::debug!("the schema registry did not answer in time"),
            }
            // Without peers there is nothing to hear.
            sleep(match seen.is_empty() {
                true => self.config.registry_probe.0,
                false => self.config.foreign.news_interval.0,
            })
            .await;
        }
    }

    /// Tells the registry, and by it all other validators, that `domain` has published.
    pub(super) fn announce(self: &Arc<Self>, domain: &str) {
        let asked = self.announcing().insert(domain.to_owned(), true);
        if asked.is_none() {
            let (this, domain) = (Arc::clone(self), domain.to_owned());
            drop(tokio::spawn(async move { this.announce_now(&domain).await }));
        }
    }

    /// Tells it until it was told after the last time that somebody wanted it.
    async fn announce_now(&self, domain: &str) {
        for _ in 0..ANNOUNCEMENTS_MAX {
            self.announcing().insert(domain.to_owned(), false);
            let registry = self.registry().as_ref().map(|Registry(registry)| Arc::clone(registry));
            let Some(registry) = registry else { break };
            let told = timeout(self.config.fetch_timeout.0, registry.announce(domain)).await;
            let told = matches!(told, Ok(Ok(())));
            sleep(if told { ANNOUNCED_AFTER_MIN } else { self.config.fetch_retry.0 }).await;
            let mut announcing = self.announcing();
            if told && announcing.get(domain) == Some(&false) {
                announcing.remove(domain);
                return;
            }
        }
        self.announcing().remove(domain);
        tracing::warn!(domain, "cannot tell the registry what another deployment has published");
    }

    /// Returns when `uri` was asked for once more, if that is of use.
    pub(super) async fn catch_up(self: &Arc<Self>, uri: &EventUri) {
        let mut fetched = self.fetched.subscribe();
        if self.is_current(uri) {
            return;
        }
        if self.fetching().insert(uri.clone()) {
            let (this, uri) = (Arc::clone(self), uri.clone());
            drop(tokio::spawn(async move {
                let pause = this.fetch(&uri).await;
                sleep(pause).await;
                this.fetching().remove(&uri);
                this.fetched.send_replace(());
            }));
        }
        while self.fetching().contains(uri) && fetched.changed().await.is_ok() {}
    }

    /// Asks once; how long to wait before anybody asks again.
    async fn fetch(&self, uri: &EventUri) -> Duration {
        let registry = self.registry().as_ref().map(|Registry(registry)| Arc::clone(registry));
        let Some(registry) = registry else { return Duration::ZERO };
        // At first what the registry holds will do: most events keep it. What breaks it is checked
        // once more against what the other side says now.
        let first = self.held().get(uri).is_none();
        let ask = async {
            if first && let Ok(bundle) = registry.get(uri).await {
                return (Ok(bundle), Duration::ZERO);
            }
            (registry.refresh(uri).await, self.config.foreign.ttl.0)
        };
        let asked = timeout(self.config.fetch_timeout.0, ask).await;
        let foreign = &self.config.foreign;
        let (contract, bytes, ttl) = match asked {
            Ok((Ok(bundle), ttl)) => match Contract::within(
                &bundle,
                self.config.payload_depth(),
                self.config.pattern_bytes_max,
            ) {
                Ok(contract) => {
                    let bytes = size(&bundle) * COMPILED_BYTES_FACTOR;
                    (Some(Arc::new(contract)), bytes, ttl)
                }
                Err(error) => {
                    tracing::warn!(%uri, %error, "a foreign contract cannot be used");
                    return self.config.fetch_retry.0;
                }
            },
            Ok((Err(error), _)) if error.code == ErrorCode::UnknownEventType => {
                (None, 0, foreign.negative_ttl.0)
            }
            Ok((Err(error), _)) => {
                tracing::warn!(%uri, %error, "cannot get a foreign contract");
                return self.config.fetch_retry.0;
            }
            Err(_elapsed) => return self.config.fetch_retry.0,
        };
        let held = Held { contract, until: Instant::now() + ttl };
        self.held().put(uri.clone(), held, bytes + ENTRY_BYTES);
        Duration::ZERO
    }

    fn announcing(&self) -> MutexGuard<'_, HashMap<String, bool>> {
        self.announcing.lock().unwrap_or_else(PoisonError::into_inner)
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

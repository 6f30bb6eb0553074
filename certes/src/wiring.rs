//! The diagram as code: which part holds which, and whether it is here or behind a channel.

mod channels;
mod own_schemas;
mod parts;
mod registry_watch;

pub use parts::{Door, Loop, Parts};

use crate::{
    config::{Config, Role, variables},
    environment::Environment,
};
use anyhow::Result;
use axum::Router;
use broker::{Announcer, Broker, Feeder};
use channels::Channels;
use consumer::{Consumer, Receivers};
use contract::{
    authenticate::{Authenticate, KeyUses},
    broker::EventBroker,
    master_api::MasterApi,
    pull::Pull,
    queue::MessageQueue,
    registry::SchemaRegistry,
    schema::{NoContracts, PayloadConverter},
};
use gateway::{Gateway, Mounts, Readiness, auth::Authenticator, login::Login, schemas::Schemas};
use identity::Identity;
use master_api::{Health, MasterApi as Store};
use prometheus_client::registry::Registry as Metrics;
use proto::{
    config::PublicConfig,
    server::{self, PublicPorts},
};
use queue::MemoryQueue;
use registry_watch::RegistryWatch;
use schema_registry::{LocalValidator, Registry};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::ServingStatus;

/// How long a broker waits for contracts when it starts.
const CONTRACTS_PATIENCE: Duration = Duration::from_secs(5);

/// Makes the parts that this process runs, and channels to those it only calls.
pub async fn wire(config: &Config, environment: &Environment) -> Result<Parts> {
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let streams = CancellationToken::new();
    let mut metrics = Metrics::default();
    let roles = &config.roles;
    let channels = Channels(&config.peers);

    let store = match roles.has(Role::MasterApi) {
        true => Some(open_store(config, environment, &mut metrics).await?),
        false => None,
    };
    let master_api: Arc<dyn MasterApi> = match &store {
        Some(local) => local.clone(),
        None => channels.master_api(streams.clone()).await?,
    };
    let who = Identity::new(&config.identity, master_api.rules(), environment.clock.clone())?;
    let key_uses = who.key_uses();
    let mut wiring = Wiring {
        config,
        environment,
        channels,
        master_api,
        who: Arc::new(who),
        store,
        metrics,
        validator: None,
        registry: None,
        registry_watch: None,
        queue: None,
        consumer: None,
        broker: None,
        routers: HashMap::new(),
        loops: Vec::new(),
        stopping: CancellationToken::new(),
        streams,
    };
    if roles.has(Role::Queue) {
        wiring.queue()?;
    }
    if roles.has(Role::SchemaRegistry) {
        wiring.registry().await?;
    }
    if roles.has(Role::Broker) {
        wiring.broker().await?;
    }
    if roles.has(Role::Consumer) {
        wiring.consumer().await?;
    }
    if roles.has(Role::MasterApi) {
        wiring.master_api();
        wiring.master_api_http()?;
    }
    if roles.has(Role::Gateway) {
        wiring.gateway().await?;
    }
    wiring.key_uses(key_uses);
    Ok(wiring.finish())
}

async fn open_store(
    config: &Config,
    environment: &Environment,
    metrics: &mut Metrics,
) -> Result<Arc<Store>> {
    let Environment { clock, random, .. } = environment;
    let settings = master_api::Config {
        data_dir: config.data_dir.clone(),
        retention: config.retention.clone(),
        limits: config.store.clone(),
        ..config.master_api.clone()
    };
    let metrics = master_api::Metrics::new(metrics);
    Store::reach(&settings).await?;
    Ok(Store::open(settings, clock.clone(), random.clone(), metrics)?)
}

struct Wiring<'a> {
    config: &'a Config,
    environment: &'a Environment,
    channels: Channels<'a>,
    master_api: Arc<dyn MasterApi>,
    /// Knows who calls.
    who: Arc<dyn Authenticate>,
    /// Master API itself, where it is in this process.
    store: Option<Arc<Store>>,
    metrics: Metrics,
    // Parts of this process, as far as they are made.
    validator: Option<Arc<LocalValidator>>,
    registry: Option<Arc<dyn SchemaRegistry>>,
    /// Where there is no validator that would know whether the registry is there.
    registry_watch: Option<Arc<RegistryWatch>>,
    queue: Option<Arc<dyn MessageQueue>>,
    consumer: Option<Arc<Consumer>>,
    broker: Option<Arc<dyn EventBroker>>,
    // What becomes of them.
    routers: HashMap<Door, Router>,
    loops: Vec<Loop>,
    /// Cancelled when the process begins to stop.
    stopping: CancellationToken,
    /// Ends the streams of rules when the process stops.
    streams: CancellationToken,
}

impl Wiring<'_> {
    /// Hop 3b.
    fn master_api(&mut self) {
        let routes = server::master_api_routes(self.master_api.clone(), self.streams.clone());
        self.open(Door::MasterApiGrpc, routes);
    }

    /// Hop 3b over HTTP. Its GraphQL needs broker and registry, if this process
    /// knows them.
    fn master_api_http(&mut self) -> Result<()> {
        let authenticator = Authenticator::knowing(self.who.clone());
        let known = self.broker.is_some() || !self.config.peers.broker.is_empty();
        let broker = if known { Some(self.broker_port()?) } else { None };
        let api = authenticator.guard(self.graphql(broker)).merge(self.login());
        let http = Router::new().nest("/api", api);
        self.routers.insert(Door::MasterApiHttp, http);
        Ok(())
    }

    /// Hop 3c.
    fn queue(&mut self) -> Result<()> {
        let rules = self.master_api.rules();
        let metrics = queue::Metrics::new(&mut self.metrics);
        let clock = self.environment.clock.clone();
        let settings = self.config.queue_settings();
        let queue = MemoryQueue::new(settings, rules, clock, metrics)?;
        self.open(Door::Queue, server::queue_routes(queue.clone()));
        self.queue = Some(queue);
        Ok(())
    }

    /// Hop 3a.
    async fn registry(&mut self) -> Result<()> {
        let metrics = schema_registry::Metrics::new(&mut self.metrics);
        let config = self.config.schema_registry.clone();
        let dir = self.config.data_dir.join("schemas");
        let store = schema_registry::open_store(&config, dir, variables("AWS_"))?;
        let clock = self.environment.clock.clone();
        let mut registry =
            Registry::new(config.clone(), store, self.master_api.clone(), clock, metrics.clone());
        if self.config.roles.has(Role::Broker) {
            // Published here means enforced here before the answer.
            let validator = Arc::new(LocalValidator::new(config, metrics));
            registry = registry.announcing_to(validator.clone());
            self.validator = Some(validator);
        }
        let registry: Arc<dyn SchemaRegistry> = Arc::new(registry.asking_peers()?);
        own_schemas::publish(registry.as_ref()).await;
        self.open(Door::SchemaRegistry, server::registry_routes(registry.clone()));
        self.registry = Some(registry);
        Ok(())
    }

    /// Hop 2, with the feeder and the announcer.
    async fn broker(&mut self) -> Result<()> {
        let validator = self.start_validator().await?;
        let config = self.config.broker.clone();
        let metrics = broker::Metrics::new(&mut self.metrics);
        let Environment { clock, ids, .. } = self.environment;
        let (log, queue) = (self.master_api.clone(), self.queue_port()?);
        let feeder =
            Feeder::new(config.feeder.clone(), log.clone(), queue, clock.clone(), metrics.clone());
        let feeder = feeder.ruled_by(log.rules());
        let feeder = feeder.known_as(uuid::Uuid::from_bytes(ids.uuid()).to_string());
        let own = self.config.has_own_queue();
        let feeder = Arc::new(if own { feeder.with_own_queue() } else { feeder });
        let announcing = config.announcer.clone();
        let broker = Broker::new(
            config,
            validator,
            log.clone(),
            feeder.clone(),
            ids.clone(),
            metrics.clone(),
        );
        let broker = Arc::new(broker);
        self.run(|stop| feeder.run(stop));
        if announcing.enabled {
            let announcer = Announcer::new(announcing, log, broker.clone(), metrics);
            self.run(|stop| announcer.run(stop));
        }
        let broker: Arc<dyn EventBroker> = broker;
        self.open(Door::Broker, server::broker_routes(broker.clone()));
        self.broker = Some(broker);
        Ok(())
    }

    /// A validator that gets every contract and follows them. A registry that is not there does not
    /// hold up the start: until a contract is at hand, its events are put off.
    async fn start_validator(&mut self) -> Result<Arc<LocalValidator>> {
        let validator = match self.validator.take() {
            Some(announced) => announced,
            None => {
                let metrics = schema_registry::Metrics::new(&mut self.metrics);
                Arc::new(LocalValidator::new(self.config.schema_registry.clone(), metrics))
            }
        };
        self.validator = Some(validator.clone());
        let (registry, rules) = (self.registry_port()?, self.master_api.rules());
        let first = validator.sync(registry.as_ref(), &rules);
        if !matches!(tokio::time::timeout(CONTRACTS_PATIENCE, first).await, Ok(Ok(()))) {
            tracing::warn!(
                "starting without all contracts: the schema registry does not give them"
            );
        }
        let following = validator.clone();
        self.run(|stop| async move { following.run(registry, rules, stop).await });
        Ok(validator)
    }

    /// Hop 4.
    async fn consumer(&mut self) -> Result<()> {
        let consumer = self.new_consumer().await?;
        self.consumer = Some(consumer.clone());
        self.run(|stop| consumer.run(stop));
        Ok(())
    }

    /// What converts payloads: the contracts of this process, or of a registry that it knows.
    async fn converter(&mut self) -> Result<Arc<dyn PayloadConverter>> {
        if let Some(validator) = &self.validator {
            return Ok(validator.clone());
        }
        let known = self.registry.is_some() || !self.config.peers.schema_registry.is_empty();
        match known {
            true => Ok(self.start_validator().await?),
            false => Ok(Arc::new(NoContracts)),
        }
    }

    async fn new_consumer(&mut self) -> Result<Arc<Consumer>> {
        let converter = self.converter().await?;
        let Environment { clock, random, .. } = self.environment;
        let (config, metrics) = (self.config.consumer.clone(), &mut self.metrics);
        let metrics = consumer::Metrics::new(metrics);
        let (master_api, queue) = (self.master_api.clone(), self.queue_port()?);
        let (clock, random) = (clock.clone(), random.clone());
        Ok(Consumer::new(config, master_api, queue, converter, clock, random, metrics)?)
    }

    /// Hop 4 of those who take their deliveries over a stream: where the stream ends. None: this
    /// process does not know where the queue is.
    async fn receivers(&mut self) -> Result<Option<Arc<dyn Pull>>> {
        if self.queue.is_none() && self.config.peers.queue.is_empty() {
            return Ok(None);
        }
        let consumer = match self.consumer.clone() {
            Some(consumer) => consumer,
            None => self.new_consumer().await?,
        };
        let receivers = Receivers::new(consumer);
        let running = receivers.clone();
        self.run(|stop| running.run(stop));
        Ok(Some(Arc::new(receivers)))
    }

    /// Hop 1.
    async fn gateway(&mut self) -> Result<()> {
        let Environment { clock, random, .. } = self.environment;
        let receivers = self.receivers().await?;
        if self.validator.is_none() && self.registry.is_none() {
            self.watch_registry()?;
        }
        let (config, broker) = (self.config.gateway.clone(), self.broker_port()?);
        let ports = PublicPorts {
            broker: broker.clone(),
            registry: self.registry_port()?,
            master_api: self.master_api.clone(),
            who: self.who.clone(),
            receivers,
            clock: clock.clone(),
            random: random.clone(),
            stop: self.stopping.clone(),
        };
        let mut public = PublicConfig {
            unvalidated: config.unvalidated,
            payload_bytes_max: config.body_bytes_max,
            ..PublicConfig::default()
        };
        public.credential_headers.extend(config.credential_headers.iter().cloned());
        let (grpc, health) = server::public_routes(ports, public).await?;
        let stopping = self.stopping.clone();
        self.run(|_stop| async move {
            stopping.cancelled().await;
            health.set_service_status("", ServingStatus::NotServing).await;
        });
        let grpc = grpc.into_axum_router();
        let public_schemas = config.public_schemas;
        let metrics = gateway::Metrics::new(&mut self.metrics);
        let rules = self.master_api.rules();
        let (clock, random) = (clock.clone(), random.clone());
        let gateway = Gateway::new(config, broker, rules, clock, random, metrics);
        let gateway = Arc::new(gateway.knowing(self.who.clone()));
        let api = gateway.authenticator().guard(self.graphql(Some(self.broker_port()?)));
        let asked_for = (!public_schemas).then(|| gateway.authenticator().clone());
        let api = api.merge(Schemas::new(self.registry_port()?, asked_for).router());
        let api = api.merge(self.login());
        let mounts = Mounts { api, grpc: Some(grpc.clone()), readiness: Some(self.readiness()) };
        self.routers.insert(Door::PublicHttp, gateway.router(mounts));
        self.routers.insert(Door::PublicGrpc, grpc);
        Ok(())
    }

    fn watch_registry(&mut self) -> Result<()> {
        let (watch, registry) = (Arc::new(RegistryWatch::default()), self.registry_port()?);
        let config = &self.config.schema_registry;
        let times = (config.registry_probe.0, config.fetch_timeout.0);
        self.registry_watch = Some(watch.clone());
        self.run(move |stop| async move { watch.run(registry.as_ref(), times, stop).await });
        Ok(())
    }

    /// Has Master API told when keys were used at the doors of this process.
    fn key_uses(&mut self, uses: Arc<KeyUses>) {
        let (master_api, every) = (self.master_api.clone(), self.config.identity.key_uses_every.0);
        self.run(move |stop| async move {
            let telling = identity::uses::tell(uses.clone(), master_api.clone(), every);
            stop.run_until_cancelled(telling).await;
            identity::uses::tell_once(&uses, &*master_api).await;
        });
    }

    /// Where users get their tokens: the same wherever it is served.
    fn login(&self) -> Router {
        let lifetime = self.config.master_api.token_lifetime.0;
        let who = Authenticator::knowing(self.who.clone());
        let clock = self.environment.clock.clone();
        Login::new(self.master_api.clone(), who, clock, lifetime)
            .behind(&self.config.gateway.trusted_proxies)
            .router()
    }

    /// GraphQL over the ports: the same wherever it is served.
    fn graphql(&self, broker: Option<Arc<dyn EventBroker>>) -> Router {
        let registry = self.registry_port().ok();
        let master_api = self.master_api.clone();
        let schema = master_api::graphql::schema(master_api, broker, registry);
        let router = master_api::http::router(schema, self.who.clone());
        // A backup is taken where the log is.
        match &self.store {
            Some(store) => router.merge(master_api::backup::router(store.clone())),
            None => router,
        }
    }

    fn queue_port(&self) -> Result<Arc<dyn MessageQueue>> {
        self.queue.clone().map_or_else(|| self.channels.queue(), Ok)
    }

    fn registry_port(&self) -> Result<Arc<dyn SchemaRegistry>> {
        let rules = self.master_api.rules();
        self.registry.clone().map_or_else(|| self.channels.registry(rules), Ok)
    }

    fn broker_port(&self) -> Result<Arc<dyn EventBroker>> {
        self.broker.clone().map_or_else(|| self.channels.broker(), Ok)
    }

    fn open(&mut self, door: Door, routes: Routes) {
        self.routers.insert(door, routes.into_axum_router());
    }

    fn run<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        run: impl FnOnce(CancellationToken) -> F + Send + 'static,
    ) {
        self.loops.push(Box::new(move |stop| Box::pin(run(stop))));
    }

    /// Able to work? Only the parts that hold state can be not, and everything when it stops.
    fn readiness(&self) -> Readiness {
        let (store, validator) = (self.store.clone(), self.validator.clone());
        let (stopping, warned) = (self.stopping.clone(), self.validator.clone());
        let kept = self.store.clone();
        let is_broker = self.broker.is_some();
        let readiness = Readiness::new(move || {
            let health = store.as_ref().map(|store| *store.health().borrow());
            let store = health.into_iter().flat_map(Health::reasons).map(str::to_owned);
            let bare = is_broker && validator.as_ref().is_some_and(|held| !held.is_complete());
            let reasons = [
                (stopping.is_cancelled(), "it is stopping"),
                (bare, "the contracts of the registry are not at hand yet"),
            ];
            let hold = reasons.into_iter().filter(|(holds, _)| *holds);
            hold.map(|(_, reason)| reason.to_owned()).chain(store).collect()
        });
        let watch = self.registry_watch.clone();
        readiness.warning(move || {
            let mut warnings = match (&warned, &watch) {
                (Some(validator), _) => validator.warnings(),
                (None, Some(watch)) => watch.warnings(),
                (None, None) => Vec::new(),
            };
            let health = kept.as_ref().map(|store| *store.health().borrow());
            warnings.extend(health.into_iter().flat_map(Health::warnings).map(str::to_owned));
            warnings
        })
    }

    fn finish(mut self) -> Parts {
        let admin =
            gateway::admin::router(Arc::new(std::mem::take(&mut self.metrics)), self.readiness());
        let Self { routers, loops, store, stopping, streams, .. } = self;
        Parts { routers, admin, loops, store, stopping, streams }
    }
}

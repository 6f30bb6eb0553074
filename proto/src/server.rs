//! Servers: each serves any implementation of its port. One function mounts what a listener needs.

mod trace;

// The public API. Behind [`crate::auth`] for the holders of keys; for peers as it is.
mod event_broker;
mod events;
mod deliveries;
mod registry;
mod configuration;
mod log;
mod past;
mod live;
mod retention;
mod pull;
mod replays;

// What only peers may call.
mod broker;
mod store;
mod lanes;
mod rules;
mod queue;

use crate::{
    PUBLIC_DESCRIPTORS,
    auth::AuthLayer,
    config::{PublicConfig, Tls},
    door::Door,
    v1::{
        configuration_server::ConfigurationServer,
        deliveries_server::DeliveriesServer,
        event_broker_server::EventBrokerServer,
        events_server::EventsServer,
        internal::{
            broker_server::BrokerServer, followers_server::FollowersServer,
            lanes_server::LanesServer, message_queue_server::MessageQueueServer,
            rules_server::RulesServer, store_server::StoreServer,
        },
        live_server::LiveServer,
        log_service_server::LogServiceServer,
        past_server::PastServer,
        pull_server::PullServer,
        replays_server::ReplaysServer,
        retention_server::RetentionServer,
        schema_registry_server::SchemaRegistryServer,
    },
};
use contract::{
    Error, Result, authenticate::Authenticate, broker::EventBroker, clock::Clock,
    master_api::MasterApi, pull::Pull, queue::MessageQueue, random::Random,
    registry::SchemaRegistry,
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::{
    server::NamedService,
    service::Routes,
    transport::{Certificate, Identity, ServerTlsConfig},
};
use tonic_health::{ServingStatus, server::HealthReporter};

/// What stands behind the public port.
#[derive(Clone)]
pub struct PublicPorts {
    /// Takes events.
    pub broker: Arc<dyn EventBroker>,
    /// Gives out and publishes contracts.
    pub registry: Arc<dyn SchemaRegistry>,
    /// All else, and the rules with the keys.
    pub master_api: Arc<dyn MasterApi>,
    /// Knows who calls.
    pub who: Arc<dyn Authenticate>,
    /// Hands deliveries to receivers; None: this process does not know where the queue is.
    pub receivers: Option<Arc<dyn Pull>>,
    /// When events were received.
    pub clock: Arc<dyn Clock>,
    /// For trace ids.
    pub random: Arc<dyn Random>,
    /// Ends what waits for news, so that the server can drain.
    pub stop: CancellationToken,
}

/// The public port (9601): the public API behind the lock, health and reflection for everybody.
/// The reporter starts with everything serving; set it otherwise before draining.
pub async fn public_routes(
    ports: PublicPorts,
    config: PublicConfig,
) -> Result<(Routes, HealthReporter)> {
    let rules = ports.master_api.rules();
    let door = Door::Public(rules);
    let lock = AuthLayer::new(Arc::clone(&ports.who));
    let broker = event_broker::Service { door: door.clone(), ports: ports.clone(), config };
    let live = live::Service {
        door: door.clone(),
        log: ports.master_api.clone(),
        who: Arc::clone(&ports.who),
        stop: ports.stop.clone(),
        room: live::room(),
    };
    let pull = pull::Service {
        door: door.clone(),
        rules: ports.master_api.rules(),
        receivers: ports.receivers.clone(),
        who: Arc::clone(&ports.who),
        stop: ports.stop.clone(),
    };
    let api = public_api(&door, &ports)
        .add_service(limited!(PullServer::new(pull)))
        .add_service(limited!(EventBrokerServer::new(broker)))
        .add_service(limited!(LiveServer::new(live)));

    let (health, health_server) = tonic_health::server::health_reporter();
    for name in PUBLIC_SERVICES {
        health.set_service_status(name, ServingStatus::Serving).await;
    }
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(PUBLIC_DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = api
        .add_service(health_server)
        .add_service(reflection().build_v1().map_err(Error::internal)?)
        .add_service(reflection().build_v1alpha().map_err(Error::internal)?);
    Ok((Routes::from(routes.into_axum_router().layer(lock)).prepare(), health))
}

/// Names of the public services, as health knows them.
const PUBLIC_SERVICES: [&str; 11] = [
    EventBrokerServer::<event_broker::Service>::NAME,
    EventsServer::<events::Service>::NAME,
    DeliveriesServer::<deliveries::Service>::NAME,
    ConfigurationServer::<configuration::Service>::NAME,
    SchemaRegistryServer::<registry::Service>::NAME,
    LogServiceServer::<log::Service>::NAME,
    PastServer::<past::Service>::NAME,
    LiveServer::<live::Service>::NAME,
    RetentionServer::<retention::Service>::NAME,
    PullServer::<pull::Service>::NAME,
    ReplaysServer::<replays::Service>::NAME,
];

/// The services that are the same for the public and for peers.
fn public_api(door: &Door, ports: &PublicPorts) -> Routes {
    let PublicPorts { registry, master_api, .. } = ports;
    Routes::new(limited!(EventsServer::new(events::Service {
        door: door.clone(),
        events: master_api.clone(),
    })))
    .add_service(limited!(DeliveriesServer::new(deliveries::Service {
        door: door.clone(),
        deliveries: master_api.clone(),
    })))
    .add_service(limited!(ConfigurationServer::new(configuration::Service {
        door: door.clone(),
        configuration: master_api.clone(),
    })))
    .add_service(limited!(RetentionServer::new(retention::Service {
        door: door.clone(),
        retention: master_api.clone(),
    })))
    .add_service(limited!(ReplaysServer::new(replays::Service {
        door: door.clone(),
        replays: master_api.clone(),
    })))
    .add_service(limited!(SchemaRegistryServer::new(registry::Service {
        door: door.clone(),
        registry: Arc::clone(registry),
    })))
    .add_service(limited!(LogServiceServer::new(log::Service {
        door: door.clone(),
        log: master_api.clone(),
        stop: ports.stop.clone(),
    })))
    .add_service(limited!(PastServer::new(past::Service {
        door: door.clone(),
        past: master_api.clone(),
    })))
}

/// A broker for its peers (9620).
pub fn broker_routes(broker: Arc<dyn EventBroker>) -> Routes {
    Routes::new(limited!(BrokerServer::new(broker::Service { broker }))).prepare()
}

/// A schema registry for its peers (9630).
pub fn registry_routes(registry: Arc<dyn SchemaRegistry>) -> Routes {
    let service = registry::Service { door: Door::Internal, registry };
    Routes::new(limited!(SchemaRegistryServer::new(service))).prepare()
}

/// Master API for its peers (9611). Cancel `stop` when the server is to drain: it ends the streams
/// of rules, which would otherwise keep it open, and what waits for facts.
pub fn master_api_routes(master_api: Arc<dyn MasterApi>, stop: CancellationToken) -> Routes {
    let door = Door::Internal;
    let log = || log::Service { door: Door::Internal, log: master_api.clone(), stop: stop.clone() };
    let (facts, followers) = (log(), log());
    Routes::new(limited!(EventsServer::new(events::Service {
        door: door.clone(),
        events: master_api.clone(),
    })))
    .add_service(limited!(DeliveriesServer::new(deliveries::Service {
        door: door.clone(),
        deliveries: master_api.clone(),
    })))
    .add_service(limited!(RetentionServer::new(retention::Service {
        door: door.clone(),
        retention: master_api.clone(),
    })))
    .add_service(limited!(ReplaysServer::new(replays::Service {
        door: door.clone(),
        replays: master_api.clone(),
    })))
    .add_service(limited!(PastServer::new(past::Service { door, past: master_api.clone() })))
    .add_service(limited!(StoreServer::new(store::Service { master_api: master_api.clone() })))
    .add_service(limited!(LanesServer::new(lanes::Service { lanes: master_api.clone() })))
    .add_service(limited!(LogServiceServer::new(facts)))
    .add_service(limited!(FollowersServer::new(followers)))
    .add_service(limited!(RulesServer::new(rules::Service { configuration: master_api, stop })))
    .prepare()
}

/// A message queue for its peers (9640).
pub fn queue_routes(queue: Arc<dyn MessageQueue>) -> Routes {
    Routes::new(limited!(MessageQueueServer::new(queue::Service { queue }))).prepare()
}

/// Mutual TLS for a listener of peers: only they, with a certificate of the same authority, get in.
pub fn peers_only(tls: &Tls) -> ServerTlsConfig {
    ServerTlsConfig::new()
        .identity(Identity::from_pem(&tls.cert, &tls.key))
        .client_ca_root(Certificate::from_pem(&tls.ca))
}

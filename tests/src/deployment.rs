//! A deployment of Certes in either wiring, on chosen ports and a directory of its own.

use crate::{
    GITHUB_SECRET, SIGNING_SECRET,
    http::{Answer, get, post},
};
use anyhow::{Context, Result};
use certes::{
    config::{Config, PeersConfig, Role, Roles},
    environment::Environment,
    manifest,
    remote::Remote,
    serve::Server,
};
use contract::{
    clock::{Clock, SystemClock},
    command::Change,
    secret::Secret,
};
use serde_json::{Value, json};
use std::{net::Ipv4Addr, path::PathBuf, sync::Arc};
use tempfile::TempDir;

/// How the parts find each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wiring {
    /// All in one process, by calls.
    OneProcess,
    /// Each a server of its own, over gRPC.
    Split,
}

/// The parts, in the order in which they need each other.
const PARTS: [Role; 6] = [
    Role::MasterApi,
    Role::Queue,
    Role::SchemaRegistry,
    Role::Broker,
    Role::Consumer,
    Role::Gateway,
];

/// A server with the configuration it can be started by again, at the same addresses.
struct Part {
    config: Config,
    environment: Environment,
    server: Option<Server>,
}

impl Part {
    async fn start(mut config: Config, environment: Environment) -> Result<Self> {
        let server = Box::pin(Server::start(config.clone(), environment.clone())).await?;
        let addresses = server.addresses();
        config.admin.http = addresses.admin;
        config.broker.grpc = addresses.broker;
        config.schema_registry.grpc = addresses.schema_registry;
        Ok(Self { config, environment, server: Some(server) })
    }

    async fn stop(&mut self) -> Result<()> {
        match self.server.take() {
            Some(server) => server.stop().await,
            None => Ok(()),
        }
    }
}

/// A running deployment. It stops when it is dropped; [`Self::stop`] drains first.
pub struct Deployment {
    parts: Vec<Part>,
    /// URL of the public HTTP listener.
    pub http: String,
    /// URL of the public gRPC listener.
    pub grpc: String,
    /// URL of the listener for operators.
    pub admin: String,
    /// The first key.
    pub key: Secret,
    dir: Arc<TempDir>,
}

impl Deployment {
    /// A deployment on the system's clock.
    pub async fn start(wiring: Wiring) -> Result<Self> {
        Self::on(wiring, Arc::new(SystemClock)).await
    }

    /// A deployment on this clock.
    pub async fn on(wiring: Wiring, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::in_dir(wiring, clock, Arc::new(tempfile::tempdir()?), |_config| {}).await
    }

    /// A deployment with settings of its own.
    pub async fn configured(wiring: Wiring, adjust: impl Fn(&mut Config)) -> Result<Self> {
        Self::in_dir(wiring, Arc::new(SystemClock), Arc::new(tempfile::tempdir()?), adjust).await
    }

    /// The same on this clock.
    pub async fn configured_on(
        wiring: Wiring,
        clock: Arc<dyn Clock>,
        adjust: impl Fn(&mut Config),
    ) -> Result<Self> {
        Self::in_dir(wiring, clock, Arc::new(tempfile::tempdir()?), adjust).await
    }

    /// Stops this deployment and starts it again on the same data.
    pub async fn restart(self, wiring: Wiring) -> Result<Self> {
        let dir = self.dir.clone();
        self.stop().await?;
        Self::in_dir(wiring, Arc::new(SystemClock), dir, |_config| {}).await
    }

    /// The same with settings of its own.
    pub async fn restart_configured(
        self,
        wiring: Wiring,
        adjust: impl Fn(&mut Config),
    ) -> Result<Self> {
        let dir = self.dir.clone();
        self.stop().await?;
        Self::in_dir(wiring, Arc::new(SystemClock), dir, adjust).await
    }

    /// Starts one more process with a gateway and a broker of its own beside a split deployment;
    /// gives the URL of its public HTTP listener.
    pub async fn second_door(&mut self) -> Result<String> {
        let gateway = self.parts.last().context("no gateway")?;
        let mut config = gateway.config.clone();
        config.roles = "broker,gateway".parse().map_err(anyhow::Error::msg)?;
        config.admin.http = any_port();
        config.broker.grpc = Some(any_port());
        let part = Part::start(config, gateway.environment.clone()).await?;
        let http = part.server.as_ref().and_then(|server| server.addresses().http);
        self.parts.push(part);
        http.map(|address| format!("http://{address}")).context("not bound")
    }

    async fn in_dir(
        wiring: Wiring,
        clock: Arc<dyn Clock>,
        dir: Arc<TempDir>,
        adjust: impl Fn(&mut Config),
    ) -> Result<Self> {
        let environment = Environment::with_clock(clock);
        let mut base = Config { data_dir: dir.path().join("data"), ..Config::default() };
        base.admin.http = any_port();
        base.gateway.http = any_port();
        base.gateway.grpc = any_port();
        base.consumer.allowed_networks = vec!["127.0.0.0/8".parse()?];
        adjust(&mut base);
        let given = base.master_api.admin_key.clone();
        let parts = match wiring {
            Wiring::OneProcess => vec![Part::start(base, environment).await?],
            Wiring::Split => start_split(&base, &environment).await?,
        };
        let gateway = parts.last().and_then(|part| part.server.as_ref());
        let gateway = gateway.context("no server")?.addresses();
        let url = |address: Option<std::net::SocketAddr>| {
            address.map(|address| format!("http://{address}")).context("not bound")
        };
        let key = match given {
            Some(key) => key,
            None => {
                let key = std::fs::read_to_string(dir.path().join("data/admin.key"))?;
                Secret::new(key.trim())
            }
        };
        Ok(Self {
            http: url(gateway.http)?,
            grpc: url(gateway.grpc)?,
            admin: url(Some(gateway.admin))?,
            key,
            parts,
            dir,
        })
    }

    /// Directory for a story's own files.
    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// The ports as an operator's program has them.
    pub async fn remote(&self) -> Result<Remote> {
        Remote::connect(&self.http, self.key.clone()).await
    }

    /// Applies a manifest as `certes apply` does. Schemas are those of this repository.
    pub async fn apply(&self, text: &str) -> Result<Vec<Change>> {
        let file = self.dir.path().join("certes.yaml");
        let schemas = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas");
        std::fs::write(&file, text.replace("SCHEMAS", schemas))?;
        let environment = |name: &str| match name {
            "GITHUB_SECRET" => Some(GITHUB_SECRET.to_owned()),
            "SIGNING_SECRET" => Some(SIGNING_SECRET.to_owned()),
            _ => None,
        };
        let wanted = manifest::read(&file, &environment)?;
        certes::commands::apply::carry_out(&self.remote().await?, wanted).await
    }

    /// Asks GraphQL; gives `data`, or fails with the errors.
    pub async fn graphql(&self, query: &str) -> Result<Value> {
        let answer = self.graphql_as(self.key.expose(), query).await?;
        let mut json = answer.json();
        anyhow::ensure!(json["errors"].is_null(), "{query}: {}", json["errors"]);
        Ok(json["data"].take())
    }

    /// Asks GraphQL with this key.
    pub async fn graphql_as(&self, key: &str, query: &str) -> Result<Answer> {
        let bearer = format!("Bearer {key}");
        let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
        let body = json!({ "query": query }).to_string();
        post(&format!("{}/api/graphql", self.http), &headers, body).await
    }

    /// Drains and stops every part.
    pub async fn stop(self) -> Result<()> {
        for mut part in self.parts.into_iter().rev() {
            part.stop().await?;
        }
        Ok(())
    }

    /// Stops one part of a split deployment.
    pub async fn stop_part(&mut self, role: Role) -> Result<()> {
        self.part(role)?.stop().await
    }

    /// Starts a part again that was stopped, where it was.
    pub async fn start_part(&mut self, role: Role) -> Result<()> {
        let part = self.part(role)?;
        part.server =
            Some(Box::pin(Server::start(part.config.clone(), part.environment.clone())).await?);
        Ok(())
    }

    /// What the server says of its health; where it is split, the gateway.
    pub async fn health(&self) -> Result<Answer> {
        get(&format!("{}/health/ready", self.admin)).await
    }

    /// Does it say that it is able to work?
    pub async fn is_ready(&self) -> Result<bool> {
        Ok(self.health().await?.status.is_success())
    }

    /// What a part says of its health.
    pub async fn health_of(&self, role: Role) -> Result<Answer> {
        let part = self.parts.iter().find(|part| part.config.roles.has(role));
        let admin = part.context("no such part")?.config.admin.http;
        get(&format!("http://{admin}/health/ready")).await
    }

    fn part(&mut self, role: Role) -> Result<&mut Part> {
        let mut parts = self.parts.iter_mut();
        parts.find(|part| part.config.roles.has(role)).context("no such part")
    }
}

fn any_port() -> std::net::SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// One server a part; each is told where those before it listen.
async fn start_split(base: &Config, environment: &Environment) -> Result<Vec<Part>> {
    let mut peers = PeersConfig::default();
    let mut parts = Vec::new();
    for role in PARTS {
        let mut config = Config { roles: Roles::only(role), peers: peers.clone(), ..base.clone() };
        config.broker.grpc = Some(any_port());
        config.schema_registry.grpc = Some(any_port());
        config.queue.grpc = Some(any_port());
        config.master_api.grpc = Some(any_port());
        config.master_api.http = Some(any_port());
        let part = Part::start(config, environment.clone()).await?;
        let addresses = part.server.as_ref().context("it was just started")?.addresses();
        let known = |address: Option<std::net::SocketAddr>| {
            address.map(|address| format!("http://{address}")).into_iter().collect::<Vec<_>>()
        };
        peers.master_api.extend(known(addresses.master_api_grpc));
        peers.queue.extend(known(addresses.queue));
        peers.schema_registry.extend(known(addresses.schema_registry));
        peers.broker.extend(known(addresses.broker));
        parts.push(part);
    }
    Ok(parts)
}

//! The configuration of a process: one struct, layered from defaults, file, environment and flags.

mod layers;

use anyhow::{Result, anyhow, bail};
use contract::backoff::Span;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

pub use identity::config::IssuerConfig as Issuer;
pub use layers::{Layers, Origin, load, variable, variables};
pub use schema_registry::PeerConfig as SchemaPeer;

/// The reference of all settings: every key with its default, commented. `certes config default`
/// prints it, and a test holds it against [`Config::default`].
pub const DEFAULT_TOML: &str = include_str!("../certes.default.toml");

/// Everything a process can be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the embedded store, keys and schemas live.
    pub data_dir: PathBuf,
    /// Which parts this process runs.
    pub roles: Roles,
    /// How long a stop may take.
    pub drain: Span,
    /// What is logged, and how.
    pub log: LogConfig,
    /// The listener for operators.
    pub admin: AdminConfig,
    /// Hop 1.
    pub gateway: gateway::Config,
    /// Hop 2.
    pub broker: broker::Config,
    /// Hop 3a.
    pub schema_registry: schema_registry::Config,
    /// Hop 3b.
    pub master_api: master_api::Config,
    /// Who calls.
    pub identity: identity::Config,
    /// How long things are kept.
    pub retention: master_api::RetentionConfig,
    /// How much the store may take.
    pub store: master_api::StoreConfig,
    /// Hop 3c.
    pub queue: queue::Config,
    /// Hop 4.
    pub consumer: consumer::Config,
    /// Where the parts are that run elsewhere.
    pub peers: PeersConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            roles: Roles::all(),
            drain: Span(Duration::from_secs(30)),
            log: LogConfig::default(),
            admin: AdminConfig::default(),
            gateway: gateway::Config::default(),
            broker: broker::Config::default(),
            schema_registry: schema_registry::Config::default(),
            master_api: master_api::Config::default(),
            identity: identity::Config::default(),
            retention: master_api::RetentionConfig::default(),
            store: master_api::StoreConfig::default(),
            queue: queue::Config::default(),
            consumer: consumer::Config::default(),
            peers: PeersConfig::default(),
        }
    }
}

impl Config {
    /// What no single value shows: that values fit each other.
    fn check(&self) -> Result<()> {
        let component = |name: &'static str| move |why: String| anyhow!("`{name}`: {why}");
        self.gateway.check().map_err(component("gateway"))?;
        self.retention.check().map_err(component("retention"))?;
        self.consumer.check().map_err(component("consumer"))?;
        self.master_api.postgres.check().map_err(component("master_api.postgres"))?;
        self.master_api.breaker.check().map_err(component("master_api.breaker"))?;
        self.schema_registry.check().map_err(|error| anyhow!("`schema_registry`: {error}"))?;
        self.identity.check().map_err(|error| anyhow!("`identity`: {error}"))?;
        self.queue.check().map_err(|error| anyhow!("`queue`: {error}"))?;
        crate::logging::check(&self.log)?;
        self.peers.check(&self.roles)?;
        for (key, address) in self.inner_listeners() {
            if !address.ip().is_loopback() {
                bail!("`{key}` is {address}; the parts talk in the clear, so only on loopback");
            }
        }
        Ok(())
    }

    /// What is allowed, and seldom meant; one sentence for each.
    pub(crate) fn warnings(&self) -> Vec<&'static str> {
        let replicated = matches!(self.master_api.store, master_api::StoreKind::Postgres(_));
        let own_schemas = self.roles.has(Role::SchemaRegistry)
            && self.schema_registry.store == schema_registry::StoreKind::Directory;
        let alone = "`master_api.store` is a database that several processes may share, and \
                     `schema_registry.store` is a directory of this one: unless it is alone, or \
                     all share the directory, give them one bucket (`s3://bucket/prefix`)";
        if replicated && own_schemas { vec![alone] } else { Vec::new() }
    }

    /// The queue is in this process and has no door: nobody else fills it or takes from it.
    pub(crate) fn has_own_queue(&self) -> bool {
        self.roles.is_all() && self.queue.grpc.is_none()
    }

    /// The settings of the queue. Where the only consumer is in this process, its slots are all
    /// that there are to divide.
    pub(crate) fn queue_settings(&self) -> queue::Config {
        let mut settings = self.queue.clone();
        if self.has_own_queue() {
            settings.max_in_flight = self.consumer.max_in_flight;
        }
        settings
    }

    /// Listeners of the parts for each other, as far as they are set.
    fn inner_listeners(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let all = [
            ("broker.grpc", self.broker.grpc),
            ("schema_registry.grpc", self.schema_registry.grpc),
            ("master_api.grpc", self.master_api.grpc),
            ("master_api.http", self.master_api.http),
            ("queue.grpc", self.queue.grpc),
        ];
        all.into_iter().filter_map(|(key, address)| Some((key, address?)))
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// Lines for people or for machines.
    pub format: LogFormat,
    /// A filter as in `info,consumer=debug`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info,fjall=warn,lsm_tree=warn".to_owned() }
    }
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The listener for operators: metrics and health. Not public.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    /// Its address.
    pub http: SocketAddr,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { http: (Ipv4Addr::LOCALHOST, 9602).into() }
    }
}

/// Addresses of the parts that run in other processes of this machine: `http://127.0.0.1:port`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PeersConfig {
    /// Brokers, port 9620.
    pub broker: Vec<String>,
    /// Schema registries, port 9630.
    pub schema_registry: Vec<String>,
    /// Master APIs, port 9611.
    pub master_api: Vec<String>,
    /// Queues, port 9640. For a gateway too, if receivers take deliveries there.
    pub queue: Vec<String>,
}

impl PeersConfig {
    /// Every part that is needed and not in this process has an address.
    fn check(&self, roles: &Roles) -> Result<()> {
        use Role::{Broker, Consumer, Gateway, MasterApi, Queue, SchemaRegistry};
        let needs: [(&str, &Vec<String>, Role, &[Role]); 4] = [
            (
                "master_api",
                &self.master_api,
                MasterApi,
                &[Gateway, Broker, SchemaRegistry, Queue, Consumer],
            ),
            ("queue", &self.queue, Queue, &[Broker, Consumer]),
            ("schema_registry", &self.schema_registry, SchemaRegistry, &[Gateway, Broker]),
            ("broker", &self.broker, Broker, &[Gateway]),
        ];
        for (key, addresses, part, callers) in needs {
            let needed = callers.iter().any(|caller| roles.has(*caller)) && !roles.has(part);
            if needed && addresses.is_empty() {
                bail!("`roles` is {roles}: where the {key} runs must be in `peers.{key}`");
            }
        }
        Ok(())
    }
}

/// A part of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Hop 1.
    Gateway,
    /// Hop 2.
    Broker,
    /// Hop 3a.
    SchemaRegistry,
    /// Hop 3b.
    MasterApi,
    /// Hop 3c.
    Queue,
    /// Hop 4.
    Consumer,
}

const ROLES: [(Role, &str); 6] = [
    (Role::Gateway, "gateway"),
    (Role::Broker, "broker"),
    (Role::SchemaRegistry, "schema-registry"),
    (Role::MasterApi, "master-api"),
    (Role::Queue, "queue"),
    (Role::Consumer, "consumer"),
];

/// The parts that a process runs. Text form: `all`, or a comma list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// Every part.
    pub fn all() -> Self {
        Self(ROLES.iter().map(|(role, _)| *role).collect())
    }

    /// One part alone.
    pub fn only(role: Role) -> Self {
        Self(BTreeSet::from([role]))
    }

    /// Is the part in this process?
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Is this one process for everything?
    pub fn is_all(&self) -> bool {
        self.0.len() == ROLES.len()
    }
}

impl FromStr for Roles {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::all());
        }
        let role = |name: &str| {
            let found = ROLES.iter().find(|(_, known)| *known == name.trim());
            let names: Vec<_> = ROLES.iter().map(|(_, name)| *name).collect();
            found.map(|(role, _)| *role).ok_or_else(|| {
                format!("`{name}` is no role; allowed: all, or a list of {}", names.join(","))
            })
        };
        text.split(',').map(role).collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for Roles {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Roles> for String {
    fn from(roles: Roles) -> Self {
        roles.to_string()
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("all");
        }
        let names = ROLES.iter().filter(|(role, _)| self.has(*role)).map(|(_, name)| *name);
        f.write_str(&names.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::setting::{self, Definition, SettingValue};

    #[test]
    fn the_reference_file_holds_every_default() {
        let written: toml::Table = toml::from_str(DEFAULT_TOML).unwrap();
        let defaults = toml::Table::try_from(Config::default()).unwrap();
        assert_eq!(toml::to_string(&written).unwrap(), toml::to_string(&defaults).unwrap());
    }

    #[test]
    fn settings_name_the_defaults_of_the_configuration() {
        let Config { retention, consumer, .. } = Config::default();
        let table = [
            (setting::DELIVERY_TIMEOUT, SettingValue::Duration(consumer.timeout)),
            (setting::RETENTION_AGE, SettingValue::Duration(retention.age)),
            (setting::RETENTION_UNFINISHED, SettingValue::Duration(retention.unfinished)),
            (setting::RETENTION_SIZE, SettingValue::Integer(retention.size)),
        ];
        for (key, value) in table {
            assert_eq!(Definition::of(key).unwrap().default_value, value, "{key}");
        }
    }

    #[test]
    fn a_shared_database_beside_a_directory_of_schemas_is_warned_of() {
        let shared = "postgres://certes@db/certes".parse::<master_api::StoreKind>().unwrap();
        let bucket =
            schema_registry::StoreKind::try_from("s3://schemas/certes".to_owned()).unwrap();
        let mut config = Config::default();
        assert!(config.warnings().is_empty());
        config.master_api.store = shared;
        let [warning] = config.warnings()[..] else { panic!("{:?}", config.warnings()) };
        assert!(warning.contains("schema_registry.store"), "{warning}");
        config.schema_registry.store = bucket;
        assert!(config.warnings().is_empty());
        config.schema_registry.store = schema_registry::StoreKind::Directory;
        config.roles = Roles::only(Role::MasterApi);
        assert!(config.warnings().is_empty(), "it has no schemas");
    }

    #[test]
    fn the_queue_divides_the_slots_of_the_only_consumer() {
        let mut config = Config::default();
        config.consumer.max_in_flight = 7;
        config.queue.max_in_flight = 100;
        assert_eq!(config.queue_settings().max_in_flight, 7);
        // Others may come through its door, or are elsewhere.
        config.queue.grpc = Some((Ipv4Addr::LOCALHOST, 9640).into());
        assert_eq!(config.queue_settings().max_in_flight, 100);
        config.queue.grpc = None;
        config.roles = Roles::only(Role::Queue);
        assert_eq!(config.queue_settings().max_in_flight, 100);
    }

    #[test]
    fn roles_have_a_text_form() {
        assert_eq!("all".parse::<Roles>().unwrap(), Roles::all());
        assert_eq!("queue,broker".parse::<Roles>().unwrap().to_string(), "broker,queue");
        assert!("brokr".parse::<Roles>().is_err());
    }
}

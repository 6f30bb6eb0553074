//! The command line: what can be typed, and what `--help` teaches.

use crate::config::Layers;
use clap::{Args, Parser, Subcommand};
use std::{net::SocketAddr, path::PathBuf};

/// An event-sourced webhook and event bus server.
#[derive(Debug, Parser)]
#[command(name = "certes", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 done; 1 refused or failed; 2 wrong usage, configuration or manifest.";

/// All commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server: everything in one process, or the parts named by --roles.
    Serve(ServeArgs),
    /// Run everything on loopback with an example source, schemas and a receiver that prints; its
    /// data is in ./data/dev unless --data-dir says otherwise.
    Dev(DevArgs),
    /// Make sources, schemas, subscriptions and back-offs as a manifest declares them.
    Apply(ApplyArgs),
    /// Sign and post a webhook as a third party would.
    Send(SendArgs),
    /// Look at events.
    #[command(subcommand)]
    Event(EventCommand),
    /// Look at events that were kept aside; have them taken after all.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Look at deliveries; send one again.
    #[command(subcommand)]
    Delivery(DeliveryCommand),
    /// Follow events as they come.
    Tail(TailArgs),
    /// Look at subscriptions; pause and resume them.
    #[command(subcommand)]
    Subscription(SubscriptionCommand),
    /// Look at sources.
    #[command(subcommand)]
    Source(SourceCommand),
    /// Look at schemas; check and publish them.
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// API keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show when a back-off policy would try again.
    #[command(subcommand)]
    Backoff(BackoffCommand),
    /// The log of facts.
    #[command(subcommand)]
    Log(LogCommand),
    /// The configuration of the server.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check this machine, the configuration and a running server, and say what is wrong.
    Doctor(DoctorArgs),
}

/// Flags that lie over file and environment.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// Configuration file [default: ./certes.toml if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where store, keys and schemas live [default: ./data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Public HTTP [default: 0.0.0.0:9600]
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Public gRPC [default: 0.0.0.0:9601]
    #[arg(long, value_name = "ADDR")]
    pub grpc: Option<SocketAddr>,
    /// Metrics and health, for operators only [default: 127.0.0.1:9602]
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<SocketAddr>,
    /// Parts to run: all, or a list of gateway,broker,schema-registry,master-api,queue,consumer
    #[arg(long, value_name = "LIST")]
    pub roles: Option<String>,
}

impl ConfigArgs {
    /// The layers these flags complete.
    pub fn layers(&self) -> Layers {
        let address = |address: &Option<SocketAddr>| address.map(|address| address.to_string());
        let flags = [
            ("data_dir", self.data_dir.as_ref().map(|dir| dir.display().to_string())),
            ("gateway.http", address(&self.http)),
            ("gateway.grpc", address(&self.grpc)),
            ("admin.http", address(&self.admin)),
            ("roles", self.roles.clone()),
        ];
        let given = flags.into_iter().filter_map(|(key, text)| Some((key, text?)));
        Layers::of_process(self.config.clone(), given.collect())
    }
}

/// `certes serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
}

/// `certes dev`
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Address of the built-in receiver
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9700")]
    pub receiver: SocketAddr,
}

/// How a command finds the server and its key.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// The server [default: the one that runs in ./data or ./data/dev, else http://127.0.0.1:9600]
    #[arg(long, env = "CERTES_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// File with the API key; or the variable CERTES_KEY holds the key itself [default: admin.key
    /// in the server's data directory]
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// The API key itself; only as a variable, so that it stays out of the shell's history
    #[arg(long = "key-from-environment", env = "CERTES_KEY", hide = true, hide_env_values = true)]
    pub key: Option<String>,
    /// Print JSON for machines
    #[arg(long)]
    pub json: bool,
}

/// `certes apply`
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// Manifest, or a directory of them (*.yaml, *.yml, *.json)
    #[arg(short, long, value_name = "FILE|DIR")]
    pub file: PathBuf,
    /// Only say what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Remove what an earlier apply made and this one does not name
    #[arg(long)]
    pub prune: bool,
    /// Server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `certes send`
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Name of the source, as in `github`
    pub source: String,
    /// Name of the event, as the third party calls it, as in `push`
    pub event: String,
    /// The payload; `-` reads standard input
    pub file: PathBuf,
    /// How to sign [default: as the source's name says, else standard-webhooks]
    #[arg(long, value_name = "SCHEME")]
    pub verify: Option<contract::source::Scheme>,
    /// File with the source's secret; or the variable CERTES_SOURCE_SECRET holds it [default:
    /// SOURCE.secret in the server's data directory]
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// The secret itself; only as a variable
    #[arg(
        long = "secret-from-environment",
        env = "CERTES_SOURCE_SECRET",
        hide = true,
        hide_env_values = true
    )]
    pub secret: Option<String>,
    /// Delivery id [default: a new one]
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `certes event ...`
#[derive(Debug, Subcommand)]
pub enum EventCommand {
    /// List events, newest first
    List {
        /// Only this type, as in github/1/push
        #[arg(long = "type", value_name = "URI")]
        uri: Option<String>,
        /// Only from this source
        #[arg(long)]
        source: Option<String>,
        /// Only in this state: accepted, quarantined
        #[arg(long)]
        state: Option<String>,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show an event with its deliveries and attempts
    Get {
        /// evt_...
        id: String,
        /// Print only the payload, byte for byte
        #[arg(long)]
        payload: bool,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// `certes quarantine ...`
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List events that were kept aside, newest first, with the reason
    List {
        /// Only this type, as in github/1/push
        #[arg(long = "type", value_name = "URI")]
        uri: Option<String>,
        /// Only from this source
        #[arg(long)]
        source: Option<String>,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show an event that was kept aside
    Get {
        /// evt_...
        id: String,
        /// Print only the payload, byte for byte
        #[arg(long)]
        payload: bool,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Check an event anew, or all of them, oldest first; those that keep their contract now are
    /// delivered under the ids they have. Exit 1 if some stay aside
    Resubmit {
        /// evt_...
        #[arg(required_unless_present = "all", conflicts_with_all = ["all", "uri", "source"])]
        id: Option<String>,
        /// All of them
        #[arg(long)]
        all: bool,
        /// Only this type, as in github/1/push
        #[arg(long = "type", value_name = "URI", requires = "all")]
        uri: Option<String>,
        /// Only from this source
        #[arg(long, requires = "all")]
        source: Option<String>,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// `certes delivery ...`
#[derive(Debug, Subcommand)]
pub enum DeliveryCommand {
    /// List deliveries, newest first
    List {
        /// Only in this state: waiting, delivered, dead, cancelled
        #[arg(long)]
        state: Option<String>,
        /// Only of this subscription
        #[arg(long)]
        subscription: Option<String>,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show a delivery with its attempts
    Get {
        /// dlv_...
        id: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Make a finished delivery wait again, due at once
    Resend {
        /// dlv_...
        id: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// `certes tail`
#[derive(Debug, Args)]
pub struct TailArgs {
    /// Only this type, as in github/1/push
    #[arg(long = "type", value_name = "URI")]
    pub uri: Option<String>,
    /// Stop after so many events
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `certes subscription ...`
#[derive(Debug, Subcommand)]
pub enum SubscriptionCommand {
    /// List subscriptions
    List {
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Stop delivering; deliveries are kept
    Pause {
        /// Its name
        name: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Deliver again, beginning with what was kept
    Resume {
        /// Its name
        name: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// `certes source ...`
#[derive(Debug, Subcommand)]
pub enum SourceCommand {
    /// List sources
    List {
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// `certes schema ...`
#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// List schemas
    List {
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Publish the schemas of a directory
    Publish {
        /// NAMESPACE/MAJOR/NAME.proto below it, or below a folder named after the namespace
        dir: PathBuf,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Do all that publish does but the last step; exit 1 if something would be refused
    Check {
        /// NAMESPACE/MAJOR/NAME.proto below it, or below a folder named after the namespace
        dir: PathBuf,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// `certes key ...`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key; its token is shown once
    Create {
        /// A name for people
        #[arg(long, default_value = "key")]
        name: String,
        /// producer, admin, or NOUN:read|write with NOUN one of subscriptions, events, backoffs,
        /// config, schemas, sources, users, keys; may be given several times
        #[arg(long = "role", required = true, value_delimiter = ',')]
        roles: Vec<String>,
        /// Let it see this subscriber only
        #[arg(long)]
        subscriber: Option<String>,
        /// When it stops working, from now, as in 90d
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<String>,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List keys, without tokens
    List {
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Make a key stop working
    Revoke {
        /// key_...
        id: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// `certes backoff ...`
#[derive(Debug, Subcommand)]
pub enum BackoffCommand {
    /// Print the schedule of a policy, as in '{kind: exponential, base: 5s, max_retries: 8}'
    Preview {
        /// The policy as in a manifest
        policy: String,
        /// How many retries to print at most
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Print JSON for machines
        #[arg(long)]
        json: bool,
    },
}

/// `certes log ...`
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Check the chain, the order, and that state and indices follow from the facts
    Verify {
        /// Data directory of a server that is not running
        #[arg(long, value_name = "DIR", default_value = "./data")]
        data_dir: PathBuf,
        /// Print JSON for machines
        #[arg(long)]
        json: bool,
    },
    /// Say what a damaged log has lost; with --accept-loss make it usable again
    Repair {
        /// Data directory of a server that is not running
        #[arg(long, value_name = "DIR", default_value = "./data")]
        data_dir: PathBuf,
        /// Go on without what is lost
        #[arg(long)]
        accept_loss: bool,
    },
}

/// `certes config ...`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the effective configuration and where each value comes from
    Show {
        /// Configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON for machines
        #[arg(long)]
        json: bool,
    },
    /// Print the reference: every key, its meaning and its default
    Default,
}

/// `certes doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Server.
    #[command(flatten)]
    pub server: ServerArgs,
}

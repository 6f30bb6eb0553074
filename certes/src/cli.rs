//! The command line: what can be typed, and what `--help` teaches.

use crate::{
    commands::{
        apply::ApplyArgs,
        backoff::BackoffCommand,
        backup::{BackupArgs, RestoreArgs},
        config::ConfigCommand,
        delivery::DeliveryCommand,
        doctor::DoctorArgs,
        event::{EventCommand, TailArgs},
        key::KeyCommand,
        listen::ListenArgs,
        log::LogCommand,
        login::{LoginArgs, LogoutArgs},
        past::{HistoryArgs, StateArgs, WhyArgs},
        quarantine::QuarantineCommand,
        replay::ReplayArgs,
        retention::{RetentionCommand, SubscriberCommand},
        schema::SchemaCommand,
        secret::SecretCommand,
        send::SendArgs,
        setting::SettingCommand,
        source::SourceCommand,
        subscription::SubscriptionCommand,
        user::UserCommand,
        verify::VerifyArgs,
    },
    config::Layers,
};
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
    /// Look at events; erase the payload of one.
    #[command(subcommand)]
    Event(EventCommand),
    /// Look at events that were kept aside; have them taken after all.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// Look at deliveries; send one again.
    #[command(subcommand)]
    Delivery(DeliveryCommand),
    /// Deliver once more what is in the log: dead letters, a time, a type, named events.
    Replay(ReplayArgs),
    /// Say why an event went to a subscription, or why not.
    Why(WhyArgs),
    /// Say who changed an object, when, and what.
    History(HistoryArgs),
    /// Show the configuration as it stood at a moment.
    State(StateArgs),
    /// Follow events as they come.
    Tail(TailArgs),
    /// Say to the receiver of a delivery why its signature is right or wrong.
    Verify(VerifyArgs),
    /// Take deliveries and post them to a local URL, through any firewall.
    Listen(ListenArgs),
    /// Look at subscriptions; pause and resume them; try one.
    #[command(subcommand)]
    Subscription(SubscriptionCommand),
    /// Erase what was addressed to a subscriber.
    #[command(subcommand)]
    Subscriber(SubscriberCommand),
    /// Look at sources.
    #[command(subcommand)]
    Source(SourceCommand),
    /// Look at schemas and their versions; check, publish and delete them.
    #[command(subcommand)]
    Schema(SchemaCommand),
    /// API keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// Those who log in with a name and a password.
    #[command(subcommand)]
    User(UserCommand),
    /// Log in: what follows is done as that user, until `certes logout`.
    Login(LoginArgs),
    /// Forget a login.
    Logout(LogoutArgs),
    /// The keys that seal, stamp and sign.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// What operators set while everything runs, and feature flags.
    #[command(subcommand)]
    Setting(SettingCommand),
    /// Show when a back-off policy would try again.
    #[command(subcommand)]
    Backoff(BackoffCommand),
    /// Look at what is kept and what goes when; let go of what is due.
    #[command(subcommand)]
    Retention(RetentionCommand),
    /// The log of facts.
    #[command(subcommand)]
    Log(LogCommand),
    /// Copy everything into a directory, while the server runs or from its data directory.
    Backup(BackupArgs),
    /// Make a data directory from a backup.
    Restore(RestoreArgs),
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
    /// File with the API key; or the variable CERTES_KEY holds the key itself [default: the last
    /// `certes login`, else admin.key in the server's data directory]
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// The API key itself; only as a variable, so that it stays out of the shell's history
    #[arg(long = "key-from-environment", env = "CERTES_KEY", hide = true, hide_env_values = true)]
    pub key: Option<String>,
    /// Print JSON for machines
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    /// Two arguments of one id, as of a command and of [`super::ServerArgs`], are found here alone:
    /// otherwise each command is checked when it is typed.
    #[test]
    fn no_two_arguments_of_a_command_clash() {
        Cli::command().debug_assert();
    }
}

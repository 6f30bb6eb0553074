//! `certes secret`: new keys in the place of those that seal, stamp and sign.

use crate::{
    cli::{ConfigArgs, ServerArgs},
    config,
    environment::Environment,
    output,
    remote::Remote,
};
use anyhow::Result;
use clap::Subcommand;
use contract::{command::Command, master_api::Configuration};
use prometheus_client::registry::Registry;
use std::path::PathBuf;

/// `certes secret ...`
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Seal all stored secrets anew, under a new key
    RotateKey {
        /// Data directory of a server that is not running [default: a running server does it]
        #[arg(long, value_name = "DIR", conflicts_with = "server")]
        data_dir: Option<PathBuf>,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Stamp events with a new key; old stamps still verify
    RotateStamp {
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Sign the tokens of users with a new key; what the old one signed works on for its time
    RotateToken {
        /// Let all tokens so far work no more
        #[arg(long)]
        forget: bool,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Runs `certes secret`.
pub async fn run(command: SecretCommand) -> Result<()> {
    let (command, server) = match command {
        SecretCommand::RotateKey { data_dir: Some(data_dir), .. } => {
            rotate_offline(data_dir).await?;
            return output::line("all secrets are sealed anew");
        }
        SecretCommand::RotateKey { data_dir: None, server } => {
            Remote::find(&server).await?.rotate_secret_key().await?;
            return output::line("all secrets are sealed anew");
        }
        SecretCommand::RotateStamp { server } => (Command::RotateStampKey, server),
        SecretCommand::RotateToken { forget, server } => {
            (Command::RotateTokenKey { forget }, server)
        }
    };
    let change = Remote::find(&server).await?.execute_one(command).await?;
    match server.json {
        true => output::json(&change),
        false => output::line(&format!("the new key is {}", change.name)),
    }
}

/// The store is opened as a server would, so that no server has it.
async fn rotate_offline(data_dir: PathBuf) -> Result<()> {
    let args = ConfigArgs { data_dir: Some(data_dir), ..ConfigArgs::default() };
    let (config, _origins) = config::load(&args.layers())?;
    let settings = master_api::Config { data_dir: config.data_dir, ..config.master_api };
    let Environment { clock, random, .. } = Environment::system();
    let metrics = master_api::Metrics::new(&mut Registry::default());
    let store = master_api::MasterApi::open(settings, clock, random, metrics)?;
    let rotated = store.rotate_secret_key().await;
    store.close().await;
    Ok(rotated?)
}

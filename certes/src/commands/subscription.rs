//! `certes subscription`: looks at subscriptions, pauses and resumes them.

use crate::{cli::ServerArgs, output, remote::Remote};
use anyhow::{Context, Result};
use clap::Subcommand;
use contract::{backoff::Span, command::Command, subscription::SubscriptionStatus};
use std::time::Duration;

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
    /// Sign its deliveries with a new secret, which is shown; the one before it goes on signing
    /// beside it for a while
    RotateSecret {
        /// Its name
        name: String,
        /// How long the one before it goes on signing, as in 36h; at most 90d
        #[arg(long, default_value = "24h", conflicts_with = "forget")]
        keep: Span,
        /// Let the secrets so far sign no more
        #[arg(long)]
        forget: bool,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show the secret that signs its deliveries; that it was shown is recorded
    RevealSecret {
        /// Its name
        name: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Runs `certes subscription`.
pub async fn run(command: SubscriptionCommand) -> Result<()> {
    let (name, status, server) = match command {
        SubscriptionCommand::List { server } => {
            let found = Remote::find(&server).await?.subscriptions().await?;
            if server.json {
                return output::json(&found);
            }
            let rows = found.iter().map(|subscription| {
                let spec = &subscription.spec;
                let events: Vec<_> = spec.events.iter().map(ToString::to_string).collect();
                vec![
                    spec.name.clone(),
                    subscription.status.to_string(),
                    spec.priority.map(|priority| priority.to_string()).unwrap_or_default(),
                    spec.subscriber.clone().unwrap_or_default(),
                    spec.url.clone(),
                    events.join(" "),
                ]
            });
            let headings = ["name", "status", "priority", "subscriber", "url", "events"];
            return output::table(&headings, rows);
        }
        SubscriptionCommand::RotateSecret { name, keep, forget, server } => {
            let keep = Some(if forget { Span(Duration::ZERO) } else { keep });
            return show_secret(Command::RotateSecret { name, keep }, &server).await;
        }
        SubscriptionCommand::RevealSecret { name, server } => {
            return show_secret(Command::RevealSecret { name }, &server).await;
        }
        SubscriptionCommand::Pause { name, server } => (name, SubscriptionStatus::Paused, server),
        SubscriptionCommand::Resume { name, server } => (name, SubscriptionStatus::Active, server),
    };
    let command = Command::SetSubscriptionStatus { name, status, reason: None };
    let change = Remote::find(&server).await?.execute_one(command).await?;
    match server.json {
        true => output::json(&change),
        false => output::line(&format!("{} is {status}", change.name)),
    }
}

async fn show_secret(command: Command, server: &ServerArgs) -> Result<()> {
    let change = Remote::find(server).await?.execute_one(command).await?;
    if server.json {
        return output::json(&change);
    }
    let secret = change.revealed.context("the server showed no secret")?;
    // Exposed to whoever asked for it.
    output::line(secret.expose())
}

//! `certes subscription`: looks at subscriptions, pauses and resumes them.

use crate::{cli::ServerArgs, output, remote::Remote};
use anyhow::Result;
use clap::Subcommand;
use contract::{command::Command, subscription::SubscriptionStatus};

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

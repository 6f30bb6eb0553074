//! `certes source`: looks at sources.

use crate::{cli::ServerArgs, output, remote::Remote};
use anyhow::Result;
use clap::Subcommand;

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

/// Runs `certes source`.
pub async fn run(command: SourceCommand) -> Result<()> {
    let SourceCommand::List { server } = command;
    let found = Remote::find(&server).await?.sources().await?;
    if server.json {
        return output::json(&found);
    }
    let rows = found.iter().map(|source| {
        let spec = &source.spec;
        let secrets: Vec<_> = source.secrets.iter().map(|s| s.fingerprint.clone()).collect();
        vec![
            spec.name.clone(),
            spec.verify.to_string(),
            spec.event_type.0.clone(),
            secrets.join(" "),
        ]
    });
    output::table(&["name", "verify", "event type", "secrets"], rows)
}

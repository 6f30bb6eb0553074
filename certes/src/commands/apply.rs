//! `certes apply`: makes the server as a manifest declares it.

use crate::{
    cli::ServerArgs,
    commands::schema,
    manifest::{self, Wanted},
    output,
    remote::Remote,
};
use anyhow::{Context, Result};
use clap::Args;
use contract::{
    command::{Change, ChangeKind},
    schema::Published,
};
use std::path::PathBuf;

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

/// Runs the command.
pub async fn run(args: ApplyArgs) -> Result<()> {
    let mut wanted = manifest::read(&args.file, &crate::config::variable)?;
    wanted.changes.dry_run = args.dry_run;
    wanted.changes.prune = args.prune;
    let remote = Remote::find(&args.server).await?;
    let changes = carry_out(&remote, wanted).await?;
    if args.server.json {
        return output::json(&changes);
    }
    let mut unchanged = 0;
    for change in &changes {
        match change.kind {
            ChangeKind::Unchanged => unchanged += 1,
            kind => output::line(&format!("{kind:9} {} {}", change.noun, change.name))?,
        }
        if let Some(secret) = &change.revealed {
            output::line(&format!("          its secret, shown this once: {}", secret.expose()))?;
        }
    }
    let would = if args.dry_run { "would be " } else { "" };
    let changed = changes.len() - unchanged;
    output::line(&format!("{changed} {would}changed, {unchanged} as declared already"))
}

/// Publishes the schemas, all or none, then makes the changes, all or none.
pub async fn carry_out(remote: &Remote, wanted: Wanted) -> Result<Vec<Change>> {
    let dry_run = wanted.changes.dry_run;
    let published = schema::publish_all(remote, wanted.schemas, dry_run).await?;
    let mut changes: Vec<_> = published.iter().map(change_of).collect();
    let made = remote.execute(wanted.changes).await.context("the changes of the manifest")?;
    changes.extend(made);
    Ok(changes)
}

fn change_of(published: &Published) -> Change {
    let kind = match (published.changed, published.version.minor) {
        (false, _) => ChangeKind::Unchanged,
        (true, 0) => ChangeKind::Created,
        (true, _) => ChangeKind::Changed,
    };
    Change {
        kind,
        noun: "schema".to_owned(),
        name: format!("{} {}", published.version.uri, published.version.number()),
        revealed: None,
        id: None,
    }
}

//! `certes replay`: deliver once more what is in the log.

use crate::{cli::ServerArgs, output, progress, remote::Remote};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use contract::{
    clock::Timestamp,
    id::{EventId, ReplayId},
    replay::{Replay, ReplayProgress, ReplaySpec, ReplayState},
    uri::EventPattern,
};
use std::{io::IsTerminal, time::Duration};

/// How often it is asked how far a replay is.
const EVERY: Duration = Duration::from_millis(500);

/// `certes replay ...`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ReplayArgs {
    #[command(subcommand)]
    command: Option<ReplayCommand>,
    #[command(flatten)]
    start: StartArgs,
}

/// What is there, and what is to be done with it.
#[derive(Debug, Subcommand)]
enum ReplayCommand {
    /// List replays, newest first
    List {
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show a replay and how far it is
    Show {
        /// rpl_...
        id: ReplayId,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// End a replay; what waits of it is taken back
    Cancel {
        /// rpl_...
        id: ReplayId,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// What is to be delivered once more. All given conditions hold together.
#[derive(Debug, Args)]
struct StartArgs {
    /// What this subscription has deliveries of, to it once more, or to the one of --to
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,
    /// This event; may be given more than once
    #[arg(long = "event", value_name = "ID")]
    events: Vec<EventId>,
    /// Of this type, as in github/1/push; `*` is one whole segment
    #[arg(long = "type", value_name = "PATTERN")]
    uri: Option<EventPattern>,
    /// Taken at or after, RFC 3339
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Taken before, RFC 3339
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Dead letters only
    #[arg(long)]
    dead: bool,
    /// To this subscription, as far as its patterns select it and it may get it
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    /// Deliveries a second [default: as fast as they are delivered]
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// With a `webhook-id` of their own, for receivers that would drop a repeat
    #[arg(long)]
    new_ids: bool,
    /// Only say what would be made
    #[arg(long)]
    dry_run: bool,
    /// Start it and return at once; it goes on by itself
    #[arg(long)]
    no_wait: bool,
    /// Server.
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command.
pub async fn run(args: ReplayArgs) -> Result<()> {
    match args.command {
        None => start(args.start).await,
        Some(ReplayCommand::List { server }) => {
            let replays = Remote::find(&server).await?.replays().await?;
            if server.json {
                return output::json(&replays);
            }
            let headings = ["started", "id", "state", "made", "waiting", "delivered", "dead"];
            output::table(&headings, replays.iter().map(row))
        }
        Some(ReplayCommand::Show { id, server }) => {
            let replay = Remote::find(&server).await?.replay(id).await?;
            let replay = replay.with_context(|| format!("there is no {id}"))?;
            if server.json { output::json(&replay) } else { show(&replay) }
        }
        Some(ReplayCommand::Cancel { id, server }) => {
            let replay = Remote::find(&server).await?.cancel_replay(id).await?;
            if server.json { output::json(&replay) } else { show(&replay) }
        }
    }
}

async fn start(args: StartArgs) -> Result<()> {
    let StartArgs { subscription, events, uri, since, until, dead, to, rate, new_ids, .. } = args;
    let spec = ReplaySpec { events, subscription, uri, since, until, dead, to, rate, new_ids };
    let (remote, as_json) = (Remote::find(&args.server).await?, args.server.json);
    if args.dry_run {
        let preview = remote.preview_replay(spec).await?;
        if as_json {
            return output::json(&preview);
        }
        let more = if preview.through { "" } else { ", and there is more to look at" };
        return output::line(&format!("would make {}{more}", counts(&preview)));
    }
    // Only for the bar: how much there is.
    let watched = !args.no_wait && !as_json && std::io::stderr().is_terminal();
    let all = match watched {
        true => Some(remote.preview_replay(spec.clone()).await?),
        false => None,
    };
    let replay = remote.start_replay(spec).await?;
    let replay = match args.no_wait {
        true => replay,
        false => follow(&remote, replay, all).await?,
    };
    if as_json { output::json(&replay) } else { show(&replay) }
}

/// Waits until it is over. It goes on whether somebody waits for it or not.
async fn follow(remote: &Remote, replay: Replay, all: Option<ReplayProgress>) -> Result<Replay> {
    let id = replay.id;
    let bar = all.map(|all| Ok::<_, anyhow::Error>((progress::bar("replaying")?, all)));
    let bar = bar.transpose()?;
    let mut replay = replay;
    while !replay.state.is_over() {
        if let Some((bar, all)) = &bar {
            let ReplayProgress { delivered, dead, cancelled, .. } = replay.progress;
            let known = if all.through { all.made.max(replay.progress.made) } else { 0 };
            bar.tell("replaying", delivered + dead + cancelled, known);
        }
        tokio::time::sleep(EVERY).await;
        let found = remote.replay(id).await?;
        replay = found.with_context(|| format!("{id} is gone"))?;
    }
    bar.iter().for_each(|(bar, _)| bar.finish());
    Ok(replay)
}

fn row(replay: &Replay) -> Vec<String> {
    let ReplayProgress { made, waiting, delivered, dead, .. } = replay.progress;
    vec![
        replay.started_at.to_string(),
        replay.id.to_string(),
        replay.state.to_string(),
        made.to_string(),
        waiting.to_string(),
        delivered.to_string(),
        dead.to_string(),
    ]
}

fn counts(progress: &ReplayProgress) -> String {
    let ReplayProgress { made, skipped_expired, skipped_unwanted, skipped_waiting, .. } = progress;
    format!(
        "{made} deliveries; passed over: {skipped_expired} without payload, {skipped_unwanted} not \
         wanted, {skipped_waiting} still to be attempted"
    )
}

fn show(replay: &Replay) -> Result<()> {
    output::line(&format!("{} {}: made {}", replay.id, replay.state, counts(&replay.progress)))?;
    let ReplayProgress { waiting, delivered, dead, cancelled, .. } = replay.progress;
    output::line(&format!(
        "  {waiting} waiting, {delivered} delivered, {dead} dead, {cancelled} cancelled"
    ))?;
    match replay.state {
        ReplayState::Running => output::line(&format!("  `certes replay cancel {}`", replay.id)),
        ReplayState::Cancelling | ReplayState::Finished | ReplayState::Cancelled => Ok(()),
    }
}

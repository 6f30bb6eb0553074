//! `certes quarantine`: look at what was kept aside, and have it taken after all.

use super::event;
use crate::{cli::ServerArgs, output, remote::Remote};
use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Subcommand};
use contract::{
    Error,
    event::EventState,
    id::EventId,
    limits::PAGE_MAX,
    master_api::{EventFilter, PageRequest},
    uri::EventPattern,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

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
    #[command(group = ArgGroup::new("which").required(true).args(["id", "all"]))]
    Resubmit {
        /// evt_...
        #[arg(conflicts_with_all = ["uri", "source"])]
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

/// Runs `certes quarantine`.
pub async fn run(command: QuarantineCommand) -> Result<()> {
    match command {
        QuarantineCommand::List { uri, source, limit, server } => {
            let remote = Remote::find(&server).await?;
            let uri = uri.as_deref().map(str::parse).transpose()?;
            let page = PageRequest { first: limit, after: None };
            let events = remote.events(filter(uri, source), page).await?.items;
            if server.json {
                return output::json(&events);
            }
            let row = |event: &contract::event::Event| {
                vec![
                    event.received_at.to_string(),
                    event.id.to_string(),
                    event.uri.to_string(),
                    event::from(event),
                    event.reason.clone().unwrap_or_default(),
                ]
            };
            output::table(&["received", "id", "type", "from", "why"], events.iter().map(row))
        }
        QuarantineCommand::Get { id, payload, server } => {
            let remote = Remote::find(&server).await?;
            event::get(&remote, id.parse()?, payload, server.json).await
        }
        QuarantineCommand::Resubmit { id, all, uri, source, server } => {
            let remote = Remote::find(&server).await?;
            let ids = match (id, all) {
                (Some(id), _) => vec![id.parse()?],
                (None, true) => {
                    let uri = uri.as_deref().map(str::parse).transpose()?;
                    oldest_first(&remote, filter(uri, source)).await?
                }
                (None, false) => bail!("name an event, or say --all"),
            };
            resubmit(&remote, ids, server.json).await
        }
    }
}

fn filter(uri: Option<EventPattern>, source: Option<String>) -> EventFilter {
    let state = Some(EventState::Quarantined);
    EventFilter { uri, source, state, ..EventFilter::default() }
}

/// All ids, so that subscribers get the events in the order in which they came.
async fn oldest_first(remote: &Remote, filter: EventFilter) -> Result<Vec<EventId>> {
    let mut ids = Vec::new();
    let mut page = PageRequest { first: PAGE_MAX, after: None };
    loop {
        let found = remote.events(filter.clone(), page).await?;
        ids.extend(found.items.into_iter().map(|event| event.id));
        let Some(after) = found.next else { break };
        page = PageRequest { first: PAGE_MAX, after: Some(after) };
    }
    ids.reverse();
    Ok(ids)
}

/// What became of them.
#[derive(Default)]
struct Tally {
    released: u64,
    before: u64,
    /// Those that stay, with the reason.
    aside: Vec<(EventId, Error)>,
}

async fn resubmit(remote: &Remote, ids: Vec<EventId>, as_json: bool) -> Result<()> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} resubmitted, {eta} left")?;
    let bar = ProgressBar::new(ids.len().try_into()?).with_style(style);
    let mut tally = Tally::default();
    for id in ids {
        let answer = remote.try_resubmit(id).await;
        match answer.with_context(|| format!("{id}; what came before it is done"))? {
            Ok(accepted) if accepted.duplicate => tally.before += 1,
            Ok(_) => tally.released += 1,
            Err(refusal) => tally.aside.push((id, refusal)),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let Tally { released, before, aside } = tally;
    if as_json {
        let reason = |(id, error): &(EventId, Error)| {
            json!({"id": id, "code": error.code, "message": error.message,
                   "errors": error.violations})
        };
        let aside: Vec<_> = aside.iter().map(reason).collect();
        output::json(&json!({"released": released, "before": before, "aside": aside}))?;
    } else {
        for (id, error) in &aside {
            output::line(&format!("{id} stays: {} ({})", error.message, error.code))?;
            for violation in &error.violations {
                let (path, rule) = (&violation.path, &violation.rule);
                let (expected, found) = (&violation.expected, &violation.found);
                output::line(&format!("  {path}: expected {expected}, found {found} ({rule})"))?;
            }
        }
        let stay = aside.len();
        output::line(&format!("{released} released, {before} released before, {stay} stay aside"))?;
    }
    match aside.len() {
        0 => Ok(()),
        1 => bail!("1 event still breaks its contract"),
        stay => bail!("{stay} events still break their contract"),
    }
}

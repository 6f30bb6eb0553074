//! `certes event` and `certes tail`: look at events, erase one.

use crate::{cli::ServerArgs, misuse::Misuse, output, remote::Remote};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use contract::{
    delivery::Delivery,
    event::{Event, EventState, Origin},
    id::EventId,
    master_api::{EventFilter, PageRequest},
    retention::{ErasureTarget, PayloadState},
};
use serde_json::json;
use std::{collections::VecDeque, time::Duration};

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
    /// Erase the payload of an event; deliveries of it that wait are given up
    Erase {
        /// evt_...
        id: String,
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

/// How often `tail` looks for new events.
const TAIL_INTERVAL: Duration = Duration::from_millis(300);
/// How many events `tail` looks back for on each look.
const TAIL_PAGE: u32 = 200;

/// Runs `certes event`.
pub async fn run(command: EventCommand) -> Result<()> {
    match command {
        EventCommand::List { uri, source, state, limit, server } => {
            let filter = filter(uri.as_deref(), source, state.as_deref())?;
            let remote = Remote::find(&server).await?;
            let page = PageRequest { first: limit, after: None };
            let events = remote.events(filter, page).await?.items;
            if server.json {
                return output::json(&events);
            }
            output::table(
                &["received", "id", "type", "state", "from", "lanes"],
                events.iter().map(row),
            )
        }
        EventCommand::Erase { id, server } => {
            super::retention::erase(ErasureTarget::Event(id.parse()?), &server).await
        }
        EventCommand::Get { id, payload, server } => {
            let remote = Remote::find(&server).await?;
            get(&remote, id.parse()?, payload, server.json).await
        }
    }
}

/// Prints an event, or only its payload.
pub(super) async fn get(remote: &Remote, id: EventId, payload: bool, as_json: bool) -> Result<()> {
    if payload {
        let bytes = remote.payload(id).await?;
        return match bytes {
            Some(bytes) => output::raw(&bytes),
            None => bail!(match remote.payload_state(id).await? {
                Some(PayloadState::Erased) => format!("the payload of {id} was erased"),
                Some(PayloadState::Expired) => format!("the payload of {id} has expired"),
                Some(PayloadState::Present) | None => format!("there is no {id}"),
            }),
        };
    }
    let event = remote.event(id).await?.with_context(|| format!("there is no {id}"))?;
    let deliveries = remote.deliveries_of(id).await?;
    if as_json {
        return output::json(&json!({"event": event, "deliveries": deliveries}));
    }
    show(remote, &event, &deliveries).await?;
    match remote.payload_state(id).await? {
        Some(PayloadState::Present) | None => Ok(()),
        Some(gone) => output::line(&format!("\nthe payload is {gone}")),
    }
}

/// Runs `certes tail`.
pub async fn tail(args: TailArgs) -> Result<()> {
    let remote = Remote::find(&args.server).await?;
    let filter = filter(args.uri.as_deref(), None, None)?;
    let page = |first| PageRequest { first, after: None };
    let newest = remote.events(filter.clone(), page(1)).await?.items;
    let mut last = newest.first().map(|event| event.id);
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut interval = tokio::time::interval(TAIL_INTERVAL);
    while left > 0 {
        interval.tick().await;
        let mut fresh = VecDeque::new();
        let mut request = page(TAIL_PAGE);
        // Walk back, newest first, to where the last look ended.
        'looking: loop {
            let found = remote.events(filter.clone(), request).await?;
            for event in found.items {
                if last.is_some_and(|last| event.id <= last) {
                    break 'looking;
                }
                fresh.push_front(event);
            }
            let Some(after) = found.next else { break };
            request = PageRequest { first: TAIL_PAGE, after: Some(after) };
        }
        for event in fresh {
            if left == 0 {
                break;
            }
            left -= 1;
            last = Some(event.id);
            match args.server.json {
                true => output::json(&event)?,
                false => output::line(&row(&event).join("  "))?,
            }
        }
    }
    Ok(())
}

fn filter(uri: Option<&str>, source: Option<String>, state: Option<&str>) -> Result<EventFilter> {
    let state = match state {
        None => None,
        Some("accepted") => Some(EventState::Accepted),
        Some("quarantined") => Some(EventState::Quarantined),
        Some(other) => {
            let text = format!("`{other}` is no state; allowed: accepted, quarantined");
            bail!(Misuse::new(text))
        }
    };
    let uri = uri.map(str::parse).transpose()?;
    Ok(EventFilter { uri, source, state, ..EventFilter::default() })
}

/// Who sent it.
pub(super) fn from(event: &Event) -> String {
    match &event.origin {
        Origin::Source(name) => name.clone(),
        Origin::Producer(key) => key.to_string(),
        Origin::Server => "certes".to_owned(),
    }
}

fn row(event: &Event) -> Vec<String> {
    vec![
        event.received_at.to_string(),
        event.id.to_string(),
        event.uri.to_string(),
        event.state.to_string(),
        from(event),
        event.lanes.len().to_string(),
    ]
}

async fn show(remote: &Remote, event: &Event, deliveries: &[Delivery]) -> Result<()> {
    let checked = match event.schema_minor {
        Some(minor) => format!("against {}.{minor}", event.uri.major()),
        None => "not checked".to_owned(),
    };
    let mut facts = vec![
        ("id", event.id.to_string()),
        ("type", event.uri.to_string()),
        ("state", event.state.to_string()),
        ("from", from(event)),
        ("received", event.received_at.to_string()),
        ("payload", format!("{} bytes of {}, {checked}", event.size, event.content_type)),
        ("trail", event.trace.trail.join(" > ")),
        ("sequence", event.sequence.to_string()),
    ];
    facts.extend(event.reason.clone().map(|reason| ("reason", reason)));
    facts.extend(event.idempotency_key.clone().map(|key| ("idempotency", key)));
    for (name, value) in facts {
        output::line(&format!("{name:12} {value}"))?;
    }
    let subscriptions = remote.subscriptions().await?;
    for delivery in deliveries {
        let number = delivery.id.lane.subscription();
        let found = subscriptions.iter().find(|subscription| subscription.number == number);
        let name = found.map_or("(removed)", |found| found.spec.name.as_str());
        output::line(&format!("\n{} to {name}: {}", delivery.id, delivery.state))?;
        super::delivery::show_attempts(delivery)?;
    }
    Ok(())
}

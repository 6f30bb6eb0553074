//! `certes event` and `certes tail`: look at events, erase one.

use crate::{
    cli::ServerArgs,
    misuse::Misuse,
    output,
    remote::{Followed, Lost, Remote},
};
use anyhow::{Context, Result, bail};
use backon::{BackoffBuilder, ExponentialBuilder};
use clap::{Args, Subcommand};
use contract::{
    clock::Timestamp,
    delivery::Delivery,
    event::{Direction, Event, EventState, Origin},
    id::{EventId, Sequence},
    master_api::{EventFilter, PageRequest},
    retention::{ErasureTarget, PayloadState},
};
use serde_json::json;
use std::time::Duration;

/// `certes event ...`
#[derive(Debug, Subcommand)]
pub enum EventCommand {
    /// List events, newest first
    List {
        /// Which ones.
        #[command(flatten)]
        filter: Box<FilterArgs>,
        /// Only in this state: accepted, quarantined
        #[arg(long)]
        state: Option<String>,
        /// Only received at or after, RFC 3339
        #[arg(long, value_name = "TIME")]
        since: Option<Timestamp>,
        /// Only received before, RFC 3339
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
        /// Only with this idempotency key
        #[arg(long, value_name = "KEY")]
        idempotency_key: Option<String>,
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

/// What events are chosen by.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Only this type, as in github/1/push; `*` is one whole segment
    #[arg(long = "type", value_name = "URI")]
    uri: Option<String>,
    /// Only types that start with this text, as in github/
    #[arg(long, value_name = "TEXT")]
    type_prefix: Option<String>,
    /// Only from this source
    #[arg(long)]
    source: Option<String>,
    /// Only from the producer with this key: key_...
    #[arg(long, value_name = "KEY")]
    producer: Option<String>,
    /// Only addressed to this subscriber; `*`: addressed to all of them
    #[arg(long)]
    subscriber: Option<String>,
    /// Only this way: incoming, outgoing
    #[arg(long)]
    direction: Option<String>,
}

/// `certes tail`
#[derive(Debug, Args)]
pub struct TailArgs {
    /// Which ones.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Stop after so many events
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
    /// Server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// A stream that broke is opened again after so long, at first and at most.
const REOPEN_AFTER_MIN: Duration = Duration::from_millis(100);
const REOPEN_AFTER_MAX: Duration = Duration::from_secs(5);

/// Runs `certes event`.
pub async fn run(command: EventCommand) -> Result<()> {
    match command {
        EventCommand::List { filter, state, since, until, idempotency_key, limit, server } => {
            let state = state.as_deref().map(event_state).transpose()?;
            let chosen = filter.chosen()?;
            let filter = EventFilter { state, since, until, idempotency_key, ..chosen };
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
    let state = remote.payload_state(id).await?;
    if as_json {
        let event = json!({"event": event, "deliveries": deliveries, "payload_state": state});
        return output::json(&event);
    }
    show(remote, &event, &deliveries).await?;
    match state {
        Some(PayloadState::Present) | None => Ok(()),
        Some(gone) => output::line(&format!("\nthe payload is {gone}")),
    }
}

/// Runs `certes tail`: opens the stream again when it breaks, where it was.
pub async fn tail(args: TailArgs) -> Result<()> {
    let mut remote = Remote::find(&args.server).await?;
    let filter = args.filter.chosen()?;
    let mut tail = Tail { json: args.server.json, left: args.count.unwrap_or(u64::MAX), at: None };
    let schedule = ExponentialBuilder::default()
        .with_min_delay(REOPEN_AFTER_MIN)
        .with_max_delay(REOPEN_AFTER_MAX)
        .without_max_times();
    let mut breaks = schedule.build();
    while tail.left > 0 {
        let before = tail.at;
        let broke = match tail.follow(&remote, filter.clone()).await {
            Ok(()) => "the server ended the stream".to_owned(),
            Err(error) if error.is::<Lost>() => error.to_string(),
            Err(refusal) => return Err(refusal),
        };
        if tail.left == 0 {
            break;
        }
        if tail.at != before {
            breaks = schedule.build();
        }
        eprintln!("certes: {broke}; connecting again");
        tokio::time::sleep(breaks.next().unwrap_or(REOPEN_AFTER_MAX)).await;
        if let Ok(found) = Remote::find(&args.server).await {
            remote = found;
        }
    }
    Ok(())
}

/// How far `tail` is.
struct Tail {
    json: bool,
    left: u64,
    /// All up to here was shown.
    at: Option<Sequence>,
}

impl Tail {
    /// Prints what a stream brings, to its end.
    async fn follow(&mut self, remote: &Remote, filter: EventFilter) -> Result<()> {
        let mut events = remote.follow(filter, self.at).await?;
        while let Some(Followed { event, position, passed_over }) = events.next().await? {
            if passed_over > 0 {
                eprintln!(
                    "certes: too slow: {passed_over} facts were passed over; \
                     the events among them are not shown"
                );
            }
            if let Some(event) = event {
                match self.json {
                    true => output::json(&event)?,
                    false => output::line(&row(&event).join("  "))?,
                }
                self.left -= 1;
            }
            self.at = Some(position);
            if self.left == 0 {
                break;
            }
        }
        Ok(())
    }
}

impl FilterArgs {
    fn chosen(self) -> Result<EventFilter> {
        let Self { uri, type_prefix, source, producer, subscriber, direction } = self;
        let direction = direction.as_deref().map(|direction| match direction {
            "incoming" => Ok(Direction::Incoming),
            "outgoing" => Ok(Direction::Outgoing),
            other => {
                let text = format!("`{other}` is no direction; allowed: incoming, outgoing");
                bail!(Misuse::new(text))
            }
        });
        Ok(EventFilter {
            uri: uri.map(|uri| uri.parse()).transpose()?,
            prefix: type_prefix,
            source,
            producer: producer.map(|id| id.parse()).transpose()?,
            subscriber,
            direction: direction.transpose()?,
            ..EventFilter::default()
        })
    }
}

fn event_state(name: &str) -> Result<EventState> {
    match name {
        "accepted" => Ok(EventState::Accepted),
        "quarantined" => Ok(EventState::Quarantined),
        other => {
            let text = format!("`{other}` is no state; allowed: accepted, quarantined");
            bail!(Misuse::new(text))
        }
    }
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

//! `certes delivery`: look at deliveries, send one again.

mod exchange;

use crate::{cli::ServerArgs, misuse::Misuse, output, remote::Remote};
use anyhow::{Context, Result};
use clap::Subcommand;
use contract::{
    clock::Timestamp,
    delivery::{Attempt, Delivery},
    id::DeliveryId,
    master_api::{DeliveryFilter, PageRequest},
};

/// `certes delivery ...`
#[derive(Debug, Subcommand)]
pub enum DeliveryCommand {
    /// List deliveries, newest first
    List {
        /// Only in this state: waiting, delivered, dead, cancelled
        #[arg(long)]
        state: Option<String>,
        /// Only of this subscription
        #[arg(long)]
        subscription: Option<String>,
        /// Only of any subscription that this subscriber has now
        #[arg(long)]
        subscriber: Option<String>,
        /// Only of events of this type, as in github/1/push; `*` is one whole segment
        #[arg(long = "type", value_name = "URI")]
        uri: Option<String>,
        /// Only made at or after, RFC 3339
        #[arg(long, value_name = "TIME")]
        since: Option<Timestamp>,
        /// Only made before, RFC 3339
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
        /// How many
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show a delivery with its attempts
    Get {
        /// dlv_...
        id: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show what went over the wire in the attempts of a delivery: headers, and the answers
    Attempts {
        /// dlv_...
        id: String,
        /// Only this attempt, from 1
        #[arg(long)]
        number: Option<u32>,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Make a finished delivery wait again, due at once
    Resend {
        /// dlv_...
        id: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Runs the command.
pub async fn run(command: DeliveryCommand) -> Result<()> {
    match command {
        DeliveryCommand::List {
            state,
            subscription,
            subscriber,
            uri,
            since,
            until,
            limit,
            server,
        } => {
            let uri = uri.map(|uri| uri.parse()).transpose()?;
            let remote = Remote::find(&server).await?;
            let state = state.map(|state| state.parse()).transpose().map_err(Misuse::new)?;
            let subscription = match subscription {
                None => None,
                Some(name) => Some(remote.subscription(&name).await?.id),
            };
            let filter = DeliveryFilter { state, subscription, subscriber, uri, since, until };
            let page = PageRequest { first: limit, after: None };
            let deliveries = remote.deliveries(filter, page).await?.items;
            if server.json {
                return output::json(&deliveries);
            }
            output::table(
                &["created", "id", "event", "state", "attempts", "due"],
                deliveries.iter().map(row),
            )
        }
        DeliveryCommand::Get { id, server } => {
            let remote = Remote::find(&server).await?;
            let id: DeliveryId = id.parse()?;
            let delivery = remote.delivery(id).await?;
            let delivery = delivery.with_context(|| format!("there is no {id}"))?;
            if server.json {
                return output::json(&delivery);
            }
            output::line(&format!("{} of {}: {}", delivery.id, delivery.event, delivery.state))?;
            show_attempts(&delivery)
        }
        DeliveryCommand::Attempts { id, number, server } => {
            let remote = Remote::find(&server).await?;
            let id: DeliveryId = id.parse()?;
            let delivery = remote.delivery(id).await?;
            let mut delivery = delivery.with_context(|| format!("there is no {id}"))?;
            if let Some(number) = number {
                delivery.attempts.retain(|attempt| attempt.number == number);
            }
            let exchanges = exchange::of(&remote, id, number).await?;
            exchange::show(&delivery, &exchanges, server.json)
        }
        DeliveryCommand::Resend { id, server } => {
            let remote = Remote::find(&server).await?;
            let delivery = remote.resend(id.parse()?).await?;
            match server.json {
                true => output::json(&delivery),
                false => output::line(&format!("{} is {} again", delivery.id, delivery.state)),
            }
        }
    }
}

fn row(delivery: &Delivery) -> Vec<String> {
    vec![
        delivery.created_at.to_string(),
        delivery.id.to_string(),
        delivery.event.to_string(),
        match delivery.cause {
            Some(cause) => format!("{} ({cause})", delivery.state),
            None => delivery.state.to_string(),
        },
        delivery.attempts.len().to_string(),
        delivery.due.map(|due| due.to_string()).unwrap_or_default(),
    ]
}

/// Prints the attempts of a delivery, one a line.
pub(super) fn show_attempts(delivery: &Delivery) -> Result<()> {
    delivery.attempts.iter().try_for_each(show_attempt)?;
    match delivery.due {
        Some(due) => output::line(&format!("  next attempt at {due}")),
        None => Ok(()),
    }
}

fn show_attempt(attempt: &Attempt) -> Result<()> {
    let outcome = match (&attempt.status, &attempt.cause) {
        (Some(status), None) => format!("{status}"),
        (Some(status), Some(cause)) => format!("{status} {cause}"),
        (None, Some(cause)) => cause.to_string(),
        (None, None) => String::new(),
    };
    let error = attempt.error.as_deref().unwrap_or_default();
    let to = attempt.address.as_deref().map(|to| format!(" to {to}")).unwrap_or_default();
    output::line(&format!(
        "  attempt {} at {}{to}, {} ms: {outcome} {error}",
        attempt.number, attempt.started_at, attempt.duration_ms
    ))
}

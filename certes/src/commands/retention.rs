//! `certes retention`, and erasing: what is kept, what goes, what somebody wants gone.

use crate::{cli::ServerArgs, misuse::Misuse, output, remote::Remote};
use anyhow::{Result, bail};
use clap::Subcommand;
use contract::{
    backoff::Span,
    retention::{Erased, ErasureTarget, RetentionPlan},
};

/// `certes retention ...`
#[derive(Debug, Subcommand)]
pub enum RetentionCommand {
    /// Show what is kept, what goes when, and how many bytes it takes
    Plan {
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Let go of what is due, now
    Run {
        /// Also rewrite the tables, so that what was erased is in no file of the store any more
        #[arg(long)]
        compact: bool,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// `certes subscriber ...`
#[derive(Debug, Subcommand)]
pub enum SubscriberCommand {
    /// Erase the payloads of all events that are addressed to a subscriber
    Erase {
        /// The subscriber's id, as in org_123
        id: String,
        /// Yes: this cannot be undone
        #[arg(long)]
        yes: bool,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Runs `certes retention`.
pub async fn run(command: RetentionCommand) -> Result<()> {
    match command {
        RetentionCommand::Plan { server } => {
            let plan = Remote::find(&server).await?.retention_plan().await?;
            if server.json { output::json(&plan) } else { show(&plan) }
        }
        RetentionCommand::Run { compact, server } => {
            let done = Remote::find(&server).await?.run_retention(compact).await?;
            if server.json {
                return output::json(&done);
            }
            output::line(&format!(
                "{} days dropped, {} deliveries carried, {} expired; {} before, {} now",
                done.days_dropped,
                done.deliveries_carried,
                done.deliveries_expired,
                bytes(done.bytes_before),
                bytes(done.bytes_after)
            ))
        }
    }
}

/// Runs `certes subscriber`.
pub async fn subscriber(command: SubscriberCommand) -> Result<()> {
    let SubscriberCommand::Erase { id, yes, server } = command;
    if !yes {
        bail!(Misuse::new(format!(
            "this erases every payload addressed to `{id}`, for ever; say --yes if you mean it"
        )));
    }
    erase(ErasureTarget::Subscriber(id), &server).await
}

/// Erases, and says what became of it.
pub(super) async fn erase(target: ErasureTarget, server: &ServerArgs) -> Result<()> {
    let of = match &target {
        ErasureTarget::Event(id) => id.to_string(),
        ErasureTarget::Subscriber(id) => format!("subscriber `{id}`"),
    };
    let erased = Remote::find(server).await?.erase(target).await?;
    if server.json {
        return output::json(&erased);
    }
    if is_nothing(erased) {
        return output::line(&format!(
            "nothing erased: there is no payload and no delivery of {of}"
        ));
    }
    let Erased { events, deliveries, done } = erased;
    let rest = if done { "" } else { "; there is more, which follows by itself" };
    output::line(&format!("{events} payloads erased, {deliveries} deliveries given up{rest}"))?;
    output::line("`certes retention run --compact` removes what is left of them in the files")
}

/// There was nothing of whom it was about.
fn is_nothing(erased: Erased) -> bool {
    erased == Erased { done: true, ..Erased::default() }
}

fn show(plan: &RetentionPlan) -> Result<()> {
    let size = match plan.size_bytes_max {
        0 => "no bound".to_owned(),
        max => bytes(max),
    };
    let last_run = plan.last_run.map_or_else(|| "not yet".to_owned(), |time| time.to_string());
    let kept = [
        ("age", Span(plan.age).to_string()),
        ("unfinished", Span(plan.unfinished).to_string()),
        ("size", size),
        ("last run", last_run),
        ("days dropped", plan.days_dropped.to_string()),
        ("erasures", format!("{} waiting", plan.erasures_waiting)),
    ];
    let kinds = plan.bytes.by_kind().map(|(kind, count)| (kind, bytes(count)));
    for (name, value) in kept.into_iter().chain(kinds) {
        output::line(&format!("{name:14} {value}"))?;
    }
    output::line("")?;
    let rows = plan.days.iter().map(|day| {
        let goes = if day.due { "now".to_owned() } else { day.goes_at.to_string() };
        vec![day.starts_at.to_string(), day.facts.to_string(), bytes(day.bytes), goes]
    });
    output::table(&["day", "facts", "bytes", "goes"], rows)
}

/// For people: `1.5 MiB`.
fn bytes(count: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.into_iter().find(|(_, unit)| count >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", count / unit, count % unit * 10 / unit),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Erased, is_nothing};

    #[test]
    fn nothing_is_nothing_only_when_no_more_follows() {
        assert!(is_nothing(Erased { done: true, ..Erased::default() }));
        assert!(!is_nothing(Erased::default()));
        assert!(!is_nothing(Erased { events: 1, done: true, ..Erased::default() }));
        assert!(!is_nothing(Erased { deliveries: 1, done: true, ..Erased::default() }));
    }

    #[test]
    fn bytes_are_shown_in_units() {
        let shown = [0, 1023, 1024, 1536, 5 << 20, (3 << 30) + (1 << 29)].map(super::bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 MiB", "3.5 GiB"]);
    }
}

//! `certes backoff preview`: when a policy would try again.

use crate::output;
use anyhow::{Context, Result, anyhow};
use clap::Subcommand;
use contract::backoff::{BackoffPolicy, Jitter, Span};
use serde_json::json;
use std::time::Duration;

/// `certes backoff ...`
#[derive(Debug, Subcommand)]
pub enum BackoffCommand {
    /// Print the schedule of a policy, as in '{kind: exponential, base: 5s, max_retries: 8}'
    Preview {
        /// The policy as in a manifest
        policy: String,
        /// How many retries to print at most
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// Print JSON for machines
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub fn run(command: BackoffCommand) -> Result<()> {
    let BackoffCommand::Preview { policy, limit, json } = command;
    let policy: BackoffPolicy = serde_saphyr::from_str(&policy).context("the policy")?;
    policy.check().map_err(|why| anyhow!("the policy: {why}"))?;
    let rows = schedule(&policy, limit);
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({"retry": row.retry, "earliest_ms": row.earliest.as_millis(),
                       "latest_ms": row.latest.as_millis(), "at_most_after_ms": row.total.as_millis()})
            })
            .collect();
        return output::json(&rows);
    }
    let shown = |duration: Duration| Span(round(duration)).to_string();
    let rows = rows.into_iter().map(|row| {
        vec![row.retry.to_string(), shown(row.earliest), shown(row.latest), shown(row.total)]
    });
    output::table(&["retry", "delay from", "delay to", "since the event, at most"], rows)
}

struct Row {
    retry: u32,
    earliest: Duration,
    latest: Duration,
    total: Duration,
}

/// Each retry with the bounds that jitter leaves, until the policy stops.
fn schedule(policy: &BackoffPolicy, limit: u32) -> Vec<Row> {
    let mut total = Duration::ZERO;
    let row = |retry: u32| {
        let latest = policy.delay(retry)?;
        let earliest = match policy.jitter {
            Jitter::None => latest,
            Jitter::Full => Duration::ZERO,
            Jitter::Equal => latest / 2,
        };
        // Without jitter's luck: the longest delay must still be in the policy's bounds.
        policy.next(retry, total, 0.0)?;
        total += latest;
        Some(Row { retry, earliest, latest, total })
    };
    (1..=limit).map_while(row).collect()
}

/// Whole seconds from a minute on: nobody reads milliseconds of an hour.
fn round(duration: Duration) -> Duration {
    if duration < Duration::from_secs(60) {
        return duration;
    }
    Duration::from_secs(duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_ends_with_the_policy() {
        let policy: BackoffPolicy =
            serde_saphyr::from_str("{kind: linear, base: 10s, jitter: none, max_retries: 3}")
                .unwrap();
        let rows = schedule(&policy, 20);
        let totals: Vec<_> = rows.iter().map(|row| row.total.as_secs()).collect();
        assert_eq!(totals, [10, 30, 60]);
    }
}

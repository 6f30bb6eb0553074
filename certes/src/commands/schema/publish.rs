//! `certes schema publish` and `check`: hand in schemas together, and tell what became of each.

use super::shown;
use crate::{cli::ServerArgs, output, remote::Remote};
use anyhow::{Context, Result, bail};
use clap::Args;
use contract::{
    ErrorCode,
    schema::{
        PublishSettings, Published, Rulebook, SchemaSet, SchemaSource, SchemaVerdict,
        UnknownFields, VersionNumber, Violation,
    },
    uri::EventUri,
};
use indicatif::ProgressBar;
use serde::Serialize;
use std::{path::PathBuf, time::Duration};

/// How often the sign of life moves.
const TICK: Duration = Duration::from_millis(100);

/// `certes schema publish` and `certes schema check`
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// Directory, .tar or .tar.gz with NAMESPACE/MAJOR/NAME.proto, and beside each, if you
    /// like, NAME.example.json; a directory with majors directly in it, as in schemas/github, is
    /// taken for the namespace
    #[arg(value_name = "DIR|FILE")]
    pub path: PathBuf,
    /// Compare by this rulebook: certes, confluent, wire [default: as the version before, else certes]
    #[arg(long)]
    pub rulebook: Option<Rulebook>,
    /// Publish what breaks its contract as the next major version instead of refusing it
    #[arg(long)]
    pub next_major: bool,
    /// Refuse payloads with fields that the contract does not know
    /// [default: as the version before, else as the registry is configured]
    #[arg(long)]
    pub reject_unknown_fields: bool,
    /// Let payloads with such fields pass
    #[arg(long, conflicts_with = "reject_unknown_fields")]
    pub ignore_unknown_fields: bool,
    /// Publish only if the latest version is this one, as in 1.2; for a single schema
    #[arg(long, value_name = "VERSION")]
    pub expect: Option<VersionNumber>,
    /// Server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Publishes schemas together (or only checks them). Errors: a refusal, with every schema's verdict.
pub async fn publish_all(
    remote: &Remote,
    schemas: Vec<SchemaSource>,
    dry_run: bool,
) -> Result<Vec<Published>> {
    if schemas.is_empty() {
        return Ok(Vec::new());
    }
    let verdicts = offer(remote, schemas, dry_run).await?;
    if let Some(summary) = refusals(&verdicts) {
        let lines: Vec<_> = verdicts.iter().flat_map(explained).collect();
        bail!("{summary}\n{}", lines.join("\n"));
    }
    Ok(verdicts.into_iter().filter_map(|verdict| verdict.published).collect())
}

/// Has them published or checked; a sign of life on a terminal meanwhile.
async fn offer(
    remote: &Remote,
    schemas: Vec<SchemaSource>,
    dry_run: bool,
) -> Result<Vec<SchemaVerdict>> {
    let bar = ProgressBar::new_spinner().with_message(format!("{} schemas", schemas.len()));
    bar.enable_steady_tick(TICK);
    let set = SchemaSet::Sources(schemas);
    let verdicts = match dry_run {
        true => remote.check_all(set).await,
        false => remote.publish_all(set).await,
    };
    bar.finish_and_clear();
    verdicts.context("schemas")
}

/// What is to be said of a set of which something is refused.
fn refusals(verdicts: &[SchemaVerdict]) -> Option<String> {
    let (refused, all) =
        (verdicts.iter().filter(|verdict| verdict.is_refused()).count(), verdicts.len());
    match refused {
        0 => None,
        refused => Some(format!("{refused} of {all} schemas are refused, so none is published")),
    }
}

/// The schemas of a directory or archive, with what the flags say of each.
fn read(args: &PublishArgs) -> Result<Vec<SchemaSource>> {
    let schemas = schema_registry::load(&args.path, &schema_registry::Config::default())?;
    let unknown_fields = match (args.reject_unknown_fields, args.ignore_unknown_fields) {
        (true, _) => Some(UnknownFields::Reject),
        (false, true) => Some(UnknownFields::Ignore),
        (false, false) => None,
    };
    let settings = PublishSettings {
        unknown_fields,
        rulebook: args.rulebook,
        next_major: args.next_major,
        expected: args.expect,
    };
    settings.apply(schemas).context("--expect")
}

pub(super) async fn publish(args: PublishArgs) -> Result<()> {
    let schemas = read(&args)?;
    let remote = Remote::find(&args.server).await?;
    let verdicts = offer(&remote, schemas, false).await?;
    if let Some(summary) = refusals(&verdicts) {
        report(&verdicts, args.server.json)?;
        let breaks = |verdict: &SchemaVerdict| {
            verdict.is_refused() && verdict.published.as_ref().is_some_and(Published::is_breaking)
        };
        let hint = match !args.next_major && verdicts.iter().any(breaks) {
            true => "; --next-major publishes what breaks its contract as the next major version",
            false => "",
        };
        bail!("{summary}{hint}");
    }
    let done: Vec<_> = verdicts.iter().filter_map(|verdict| verdict.published.as_ref()).collect();
    if args.server.json {
        return output::json(&done);
    }
    for published in done {
        let verdict = if published.changed { "published" } else { "unchanged" };
        output::line(&format!("{verdict} {}", name(published)))?;
        differences(published).iter().try_for_each(|line| output::line(line))?;
    }
    Ok(())
}

/// A verdict, for machines.
#[derive(Serialize)]
struct Checked<'v> {
    uri: &'v EventUri,
    #[serde(flatten)]
    published: Option<&'v Published>,
    /// Why it is refused.
    error: Option<&'v contract::Error>,
}

impl<'v> From<&'v SchemaVerdict> for Checked<'v> {
    fn from(verdict: &'v SchemaVerdict) -> Self {
        let SchemaVerdict { uri, published, error } = verdict;
        Self { uri, published: published.as_ref(), error: error.as_ref() }
    }
}

/// Checks all of them, whatever becomes of one: a reader of the output wants to see every mistake.
pub(super) async fn check(args: PublishArgs) -> Result<()> {
    let schemas = read(&args)?;
    let remote = Remote::find(&args.server).await?;
    let verdicts = offer(&remote, schemas, true).await?;
    report(&verdicts, args.server.json)?;
    match verdicts.iter().filter(|verdict| verdict.is_refused()).count() {
        0 => Ok(()),
        refused => bail!("{refused} of {} schemas would be refused", verdicts.len()),
    }
}

fn report(verdicts: &[SchemaVerdict], as_json: bool) -> Result<()> {
    if as_json {
        return output::json(&verdicts.iter().map(Checked::from).collect::<Vec<_>>());
    }
    verdicts.iter().flat_map(explained).try_for_each(|line| output::line(&line))
}

/// A verdict in lines, with every difference and everybody who is hit.
fn explained(verdict: &SchemaVerdict) -> Vec<String> {
    let SchemaVerdict { uri, published, error } = verdict;
    let broken = published.as_ref().filter(|published| published.is_breaking());
    let mut lines = vec![match (error, published) {
        (Some(error), Some(_))
            if broken.is_some() && error.code == ErrorCode::InvalidDefinition =>
        {
            let number = published.as_ref().map(|published| published.version.number());
            format!("refused {uri}: breaks {}", number.map(|n| n.to_string()).unwrap_or_default())
        }
        (Some(error), _) => format!("refused {uri}: {} ({})", error.message, error.code),
        (None, Some(published)) if published.changed => {
            format!("would be published {}", name(published))
        }
        (None, Some(published)) => format!("unchanged {}", name(published)),
        (None, None) => format!("no verdict {uri}"),
    }];
    let Some(published) = published else {
        let violations = error.iter().flat_map(|error| &error.violations);
        lines.extend(violations.map(|Violation { path, expected, found, rule }| {
            format!("  {path}: expected {expected}, found {found} ({rule})")
        }));
        return lines;
    };
    lines.extend(differences(published));
    if let names @ [_, ..] = published.subscriptions.as_slice() {
        let (names, left_out) = (names.join(", "), published.subscriptions_left_out);
        let more = if left_out > 0 { format!(" and {left_out} more") } else { String::new() };
        lines.push(format!("  hits the subscriptions {names}{more}"));
    }
    lines
}

/// The differences in lines, and how many are not listed.
fn differences(published: &Published) -> Vec<String> {
    let mut lines: Vec<_> = published.differences.iter().map(shown).collect();
    if published.differences_left_out > 0 {
        lines.push(format!("  and {} more", published.differences_left_out));
    }
    lines
}

/// Type and version, as in `github/1/push 1.2`.
fn name(published: &Published) -> String {
    format!("{} {}", published.version.uri, published.version.number())
}

//! `certes log list|tail|export`: the facts themselves.

use crate::{cli::ServerArgs, misuse::Misuse, output, remote::Remote};
use anyhow::{Context, Result};
use clap::Args;
use contract::{
    clock::Timestamp,
    id::Sequence,
    limits::{LOG_WAIT_MAX, PAGE_MAX},
    log::{Chain, LogFilter, LogPage, LogQuery, LoggedFact},
};
use indicatif::{ProgressBar, ProgressStyle};
use master_api::{fact::check_kinds, log::Archive};
use std::{path::PathBuf, time::Duration};

/// How much of a fact is shown to people.
const WHAT_CHARS_MAX: usize = 120;

/// Which facts.
#[derive(Debug, Args)]
pub struct FactsArgs {
    /// Only this chain: configuration, traffic
    #[arg(long)]
    pub chain: Option<String>,
    /// Only this kind, as in event_accepted; may be given several times. An unknown one is an error
    /// that lists all
    #[arg(long = "kind", value_name = "KIND")]
    pub kinds: Vec<String>,
}

/// `certes log list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Which.
    #[command(flatten)]
    pub facts: FactsArgs,
    /// Only after this fact
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    pub after: u64,
    /// Only from this moment on, as in 2026-11-21T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// How many
    #[arg(long, default_value_t = 20)]
    pub limit: usize,
    /// Server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `certes log tail`
#[derive(Debug, Args)]
pub struct TailArgs {
    /// Which.
    #[command(flatten)]
    pub facts: FactsArgs,
    /// From after this fact on [default: the newest]
    #[arg(long, value_name = "SEQUENCE")]
    pub after: Option<u64>,
    /// Stop after so many facts
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// Server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `certes log export`
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// From this moment (2026-11-21T12:00:00Z) or this fact (its sequence) on [default: all]
    #[arg(long, value_name = "TIME|SEQUENCE")]
    pub since: Option<String>,
    /// Data directory of a server that is not running [default: ask the running server]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Server. Facts are printed as JSON, one on a line, with --json and without.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Runs `certes log list`.
pub async fn list(args: ListArgs) -> Result<()> {
    let mut filter = filter(args.facts)?;
    filter.since = args.since.as_deref().map(moment).transpose()?;
    let mut facts = Facts::from(Source::find(&args.server).await?, Sequence(args.after), filter);
    facts.limit = args.limit;
    let mut found = Vec::new();
    while found.len() < args.limit
        && let Some(page) = facts.next(Duration::ZERO).await?
    {
        found.extend(page.facts);
    }
    found.truncate(args.limit);
    if args.server.json {
        return output::json(&found);
    }
    let headings = ["sequence", "time", "actor", "chain", "kind", "what"];
    output::table(&headings, found.iter().map(row))
}

/// Runs `certes log tail`.
pub async fn tail(args: TailArgs) -> Result<()> {
    let source = Source::find(&args.server).await?;
    let after = match args.after {
        Some(after) => Sequence(after),
        None => source.ask(LogQuery { first: 1, ..LogQuery::default() }).await?.head,
    };
    let mut facts = Facts::from(source, after, filter(args.facts)?);
    let mut left = args.count.unwrap_or(usize::MAX);
    while left > 0 {
        facts.limit = left;
        let Some(page) = facts.next(LOG_WAIT_MAX).await? else { continue };
        for fact in page.facts.iter().take(left) {
            match args.server.json {
                true => output::json(fact)?,
                false => output::line(&row(fact).join("  "))?,
            }
        }
        left = left.saturating_sub(page.facts.len());
    }
    Ok(())
}

/// Runs `certes log export`.
pub async fn export(args: ExportArgs) -> Result<()> {
    let mut filter = LogFilter::default();
    let mut after = Sequence(0);
    if let Some(since) = args.since.as_deref() {
        match since.parse::<u64>() {
            Ok(sequence) => after = Sequence(sequence.saturating_sub(1)),
            Err(_) => filter.since = Some(moment(since)?),
        }
    }
    let source = match &args.data_dir {
        Some(dir) => {
            super::require_log(dir)?;
            Source::Closed(Box::new(Archive::open(dir).with_context(|| super::cannot_read(dir))?))
        }
        None => Source::find(&args.server).await?,
    };
    // On a terminal only; it writes to standard error.
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len} facts, {eta} left")?;
    let bar = ProgressBar::new(0).with_style(style);
    let mut facts = Facts::from(source, after, filter);
    let mut end = None;
    while let Some(page) = facts.next(Duration::ZERO).await? {
        // What is written meanwhile does not keep the export from ending.
        let end = *end.get_or_insert(page.head);
        let first = page.facts.first().map_or(page.read_to, |fact| fact.sequence);
        bar.set_length(end.0.saturating_sub(after.0));
        for fact in page.facts.iter().filter(|fact| fact.sequence <= end) {
            output::json(fact)?;
        }
        bar.set_position(page.read_to.0.saturating_sub(after.0));
        if page.read_to >= end || first > end {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// Facts page by page.
struct Facts {
    source: Source,
    after: Sequence,
    filter: LogFilter,
    limit: usize,
    finished: bool,
}

impl Facts {
    fn from(source: Source, after: Sequence, filter: LogFilter) -> Self {
        Self { source, after, filter, limit: usize::MAX, finished: false }
    }

    /// The next page; None: there is none (yet).
    async fn next(&mut self, wait: Duration) -> Result<Option<LogPage>> {
        if self.finished {
            return Ok(None);
        }
        let first = u32::try_from(self.limit).unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
        let query = LogQuery { after: self.after, first, filter: self.filter.clone(), wait };
        let page = self.source.ask(query).await?;
        self.after = page.read_to;
        self.finished = !page.more && wait.is_zero();
        Ok(Some(page))
    }
}

/// Where facts come from.
enum Source {
    /// A running server.
    Server(Remote),
    /// The directory of one that is not running.
    Closed(Box<Archive>),
}

impl Source {
    async fn find(args: &ServerArgs) -> Result<Self> {
        Ok(Self::Server(Remote::find(args).await?))
    }

    async fn ask(&self, query: LogQuery) -> Result<LogPage> {
        match self {
            Self::Server(remote) => remote.facts(query).await,
            Self::Closed(log) => Ok(log.facts(&query)?),
        }
    }
}

fn filter(args: FactsArgs) -> Result<LogFilter> {
    let chain = args.chain.as_deref().map(str::parse::<Chain>).transpose();
    let chain = chain.map_err(Misuse::new)?;
    check_kinds(&args.kinds).map_err(|refusal| Misuse::new(refusal.message))?;
    Ok(LogFilter { chain, kinds: args.kinds, ..LogFilter::default() })
}

fn moment(text: &str) -> Result<Timestamp> {
    let wrong = |_| Misuse::new(format!("`{text}` is no moment, as in 2026-11-21T12:00:00Z"));
    Ok(text.parse().map_err(wrong)?)
}

/// What a fact is about goes first, whatever else it says.
const NAMING: [&str; 6] = ["uri", "name", "id", "delivery", "spec", "event"];

/// What happened, as JSON that is cut where it is too long for people.
fn what(body: &serde_json::Value) -> String {
    let Some(object) = body.as_object() else { return body.to_string() };
    let mut parts: Vec<_> = object.iter().collect();
    parts
        .sort_by_key(|(key, _)| NAMING.iter().position(|name| name == key).unwrap_or(NAMING.len()));
    let parts: Vec<_> = parts
        .into_iter()
        .map(|(key, value)| format!("{}:{value}", serde_json::Value::from(key.as_str())))
        .collect();
    format!("{{{}}}", parts.join(","))
}

/// A fact on one line.
fn row(fact: &LoggedFact) -> Vec<String> {
    let what: String = what(&fact.body).chars().take(WHAT_CHARS_MAX).collect();
    let LoggedFact { sequence, time, actor, chain, kind, .. } = fact;
    vec![
        sequence.to_string(),
        time.to_string(),
        actor.to_string(),
        chain.to_string(),
        kind.clone(),
        what,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_fact_is_about_is_not_cut_away() {
        let body = json!({"digest": "d".repeat(200), "minor": 1, "uri": "shop/1/paid"});
        assert!(
            what(&body).starts_with(r#"{"uri":"shop/1/paid","digest":"ddd"#),
            "{}",
            what(&body)
        );
        let body = json!({"number": 7, "status": "paused"});
        assert_eq!(what(&body), r#"{"number":7,"status":"paused"}"#);
        assert_eq!(what(&json!(null)), "null");
    }
}

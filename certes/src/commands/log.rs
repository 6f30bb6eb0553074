//! `certes log`: the log of a server.

mod facts;

use crate::{misuse::Misuse, output, progress};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use contract::clock::{Clock, SystemClock};
use indicatif::{ProgressBar, ProgressStyle};
use master_api::{
    PostgresConfig, StoreKind,
    log::{self, Loss},
};
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// `certes log ...`
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Check the chain, the order, and that state and indices follow from the facts
    Verify(VerifyArgs),
    /// Build all indices and read models anew from the facts. Needs space for a second store
    Rebuild {
        /// Data directory of a server that is not running
        #[arg(long, value_name = "DIR", default_value = "./data")]
        data_dir: PathBuf,
        /// Print JSON for machines
        #[arg(long)]
        json: bool,
    },
    /// Say what a damaged log has lost; with --accept-loss make it usable again
    Repair {
        /// Data directory of a server that is not running
        #[arg(long, value_name = "DIR", default_value = "./data")]
        data_dir: PathBuf,
        /// Go on without what is lost; the damaged store is put aside in the data directory
        #[arg(long)]
        accept_loss: bool,
        /// Print JSON for machines
        #[arg(long)]
        json: bool,
    },
    /// List facts, oldest first
    List(facts::ListArgs),
    /// Follow facts as they are recorded
    Tail(facts::TailArgs),
    /// Print facts as JSON, one on a line
    Export(facts::ExportArgs),
}

/// `certes log verify`
#[derive(Debug, Default, Args)]
#[command(after_help = "A log in PostgreSQL is verified while its servers run, as of one moment. \
    Nothing is written there. What it needs beside it, it has in the directory for temporary \
    files.")]
pub struct VerifyArgs {
    /// Data directory of a server that is not running [default: ./data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// URL of the PostgreSQL database that keeps the log, if no data directory is named
    #[arg(long, value_name = "URL", env = "CERTES_MASTER_API__STORE", hide_env_values = true)]
    pub store: Option<StoreKind>,
    /// Schema of the tables in that database
    #[arg(long, value_name = "NAME", env = "CERTES_MASTER_API__POSTGRES__SCHEMA",
          default_value_t = PostgresConfig::default().schema)]
    pub schema: String,
    /// PEM file with the authorities that the certificate of that database may be from
    #[arg(long, value_name = "FILE", env = "CERTES_MASTER_API__POSTGRES__TLS_CA")]
    pub tls_ca: Option<PathBuf>,
    /// Print JSON for machines
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub async fn run(command: LogCommand) -> Result<()> {
    match command {
        LogCommand::Verify(args) => tokio::task::spawn_blocking(|| verify(args)).await?,
        LogCommand::Rebuild { data_dir, json } => rebuild(&data_dir, json),
        LogCommand::Repair { data_dir, accept_loss, json } => repair(&data_dir, accept_loss, json),
        LogCommand::List(args) => facts::list(args).await,
        LogCommand::Tail(args) => facts::tail(args).await,
        LogCommand::Export(args) => facts::export(args).await,
    }
}

fn verify(args: VerifyArgs) -> Result<()> {
    let VerifyArgs { data_dir, store, schema, tls_ca, json: as_json } = args;
    let style = ProgressStyle::with_template("{spinner} verifying {msg}, {elapsed}")?;
    let spinner = ProgressBar::new_spinner().with_style(style);
    spinner.enable_steady_tick(Duration::from_millis(100));
    let report = match (data_dir, store) {
        (None, Some(StoreKind::Postgres(url))) => {
            spinner.set_message("the state database");
            let config = PostgresConfig { schema, tls_ca, ..PostgresConfig::default() };
            let scratch = tempfile::tempdir()?;
            log::verify_database(&url, config, &scratch.path().join("indices"))
                .context("cannot read the log in the state database")?
        }
        (data_dir, _) => {
            let data_dir = data_dir.unwrap_or_else(|| PathBuf::from("./data"));
            spinner.set_message(data_dir.display().to_string());
            require_log(&data_dir)?;
            log::verify(&data_dir).with_context(|| cannot_read(&data_dir))?
        }
    };
    spinner.finish_and_clear();
    let (facts, head) = (report.facts, report.head.0);
    if as_json {
        let problems = &report.problems;
        output::json(
            &json!({"facts": facts, "head": head, "problems": problems, "notes": report.notes}),
        )?;
    } else {
        for problem in report.problems.iter().chain(&report.notes) {
            output::line(problem)?;
        }
    }
    match (report.problems.is_empty(), as_json) {
        (true, true) => Ok(()),
        (true, false) => output::line(&format!("ok: {facts} facts, the last is number {head}")),
        (false, _) => bail!("the log does not verify: {} problems", report.problems.len()),
    }
}

fn rebuild(data_dir: &Path, as_json: bool) -> Result<()> {
    require_log(data_dir)?;
    let bar = progress::bar("rebuilding")?;
    let rebuilt = log::rebuild(data_dir, &|what, done, all| bar.tell(what, done, all))
        .with_context(|| format!("cannot rebuild the log in {}", data_dir.display()))?;
    bar.finish();
    let (facts, head) = (rebuilt.facts, rebuilt.head.0);
    match as_json {
        true => output::json(&json!({"facts": facts, "head": head})),
        false => {
            output::line(&format!("ok: rebuilt from {facts} facts, the last is number {head}"))
        }
    }
}

fn repair(data_dir: &Path, accept_loss: bool, as_json: bool) -> Result<()> {
    require_log(data_dir)?;
    let bar = progress::bar("looking")?;
    let at = accept_loss.then(|| SystemClock.now());
    let loss = log::repair(data_dir, at, &|what, done, all| bar.tell(what, done, all))
        .with_context(|| format!("cannot repair the log in {}", data_dir.display()))?;
    bar.finish();
    if as_json {
        output::json(&loss.as_ref().map(|loss| {
            json!({"damage": loss.damage, "found": loss.found, "reached": loss.reached,
                   "facts": loss.facts, "payloads": loss.payloads, "secrets": loss.secrets,
                   "accepted": loss.accepted, "kept": loss.kept})
        }))?;
    } else {
        for line in loss.as_ref().map_or_else(nothing_lost, list_loss) {
            output::line(&line)?;
        }
    }
    match loss {
        Some(loss) if !loss.accepted => {
            bail!("nothing was changed; --accept-loss goes on without what is lost")
        }
        Some(_) | None => Ok(()),
    }
}

fn nothing_lost() -> Vec<String> {
    vec!["ok: nothing is damaged, and nothing is known to be missing".to_owned()]
}

/// Everything that is lost, a line each.
fn list_loss(loss: &Loss) -> Vec<String> {
    let mut lines: Vec<_> = loss.damage.iter().map(|place| format!("damaged: {place}")).collect();
    lines.push(match loss.reached {
        Some(reached) if reached == loss.found => match loss.facts() {
            0 => format!("the log ends at fact {reached}, where it ended: no fact is lost"),
            lost => {
                format!("the log ends at fact {reached}, where it ended; {lost} before it are lost")
            }
        },
        Some(reached) => format!(
            "the log reached fact {reached} and now ends at {}: at least {} facts are lost",
            loss.found,
            loss.facts()
        ),
        None => format!(
            "the head file is missing or does not read, so how far the log had come is not known; \
             what is there ends at fact {}",
            loss.found
        ),
    });
    lines.extend(loss.facts.iter().map(|(first, last)| match first == last {
        true => format!("lost: fact {first}"),
        false => format!("lost: facts {first} to {last}"),
    }));
    lines.extend(loss.payloads.iter().map(|event| format!("lost: the payload of {event}")));
    lines.extend(loss.secrets.iter().map(|secret| format!("lost: the secret {secret}")));
    if loss.accepted {
        let kept = loss.kept.as_ref();
        let kept = kept.map(|path| format!("; the damaged store is in {}", path.display()));
        let kept = kept.unwrap_or_default();
        lines.push(format!("accepted: the server starts again from what is left{kept}"));
    }
    lines
}

/// Opening a log begins one: that is not what looking at it may do.
pub(super) fn require_log(data_dir: &Path) -> Result<()> {
    match log::store_in(data_dir).is_dir() {
        true => Ok(()),
        false => bail!(Misuse::new(format!(
            "there is no log in {}; one that is in PostgreSQL is verified by `certes log verify \
             --store URL`, asked and backed up through a running server, and mended and put back \
             by the database's own tools",
            data_dir.display()
        ))),
    }
}

fn cannot_read(data_dir: &Path) -> String {
    format!("cannot read the log in {}", data_dir.display())
}

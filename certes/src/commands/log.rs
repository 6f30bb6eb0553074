//! `certes log`: the log of a server that is not running.

use crate::{misuse::Misuse, output, progress};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};
use master_api::log;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// `certes log ...`
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Check the chain, the order, and that state and indices follow from the facts
    Verify {
        /// Data directory of a server that is not running
        #[arg(long, value_name = "DIR", default_value = "./data")]
        data_dir: PathBuf,
        /// Print JSON for machines
        #[arg(long)]
        json: bool,
    },
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
        /// Go on without what is lost
        #[arg(long)]
        accept_loss: bool,
    },
}

/// Runs the command.
pub fn run(command: LogCommand) -> Result<()> {
    match command {
        LogCommand::Verify { data_dir, json } => verify(&data_dir, json),
        LogCommand::Rebuild { data_dir, json } => rebuild(&data_dir, json),
        LogCommand::Repair { data_dir, accept_loss } => repair(&data_dir, accept_loss),
    }
}

fn verify(data_dir: &Path, as_json: bool) -> Result<()> {
    let style = ProgressStyle::with_template("{spinner} verifying {msg}, {elapsed}")?;
    let spinner = ProgressBar::new_spinner().with_style(style);
    spinner.set_message(data_dir.display().to_string());
    spinner.enable_steady_tick(Duration::from_millis(100));
    require_log(data_dir)?;
    let report = log::verify(data_dir).with_context(|| cannot_read(data_dir))?;
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
        false => output::line(&format!("ok: rebuilt from {facts} facts, the last is number {head}")),
    }
}

fn repair(data_dir: &Path, accept_loss: bool) -> Result<()> {
    require_log(data_dir)?;
    let loss = log::repair(data_dir, accept_loss).with_context(|| cannot_read(data_dir))?;
    let Some(loss) = loss else { return output::line("ok: nothing is known to be missing") };
    let found = loss.found;
    output::line(&match loss.reached {
        Some(reached) => format!(
            "the log reached fact {reached} and now ends at {found}: at least {} facts are lost",
            loss.facts()
        ),
        None => format!(
            "the head file is missing or does not read, so how far the log had come is not known; \
             what is there ends at fact {found}"
        ),
    })?;
    match loss.accepted {
        true => output::line("accepted: the server starts again from what is left"),
        false => bail!("nothing was changed; --accept-loss goes on without them"),
    }
}

/// Opening a log begins one: that is not what looking at it may do.
pub(super) fn require_log(data_dir: &Path) -> Result<()> {
    match log::store_in(data_dir).is_dir() {
        true => Ok(()),
        false => bail!(Misuse::new(format!("there is no log in {}", data_dir.display()))),
    }
}

fn cannot_read(data_dir: &Path) -> String {
    format!("cannot read the log in {}; is a server running there?", data_dir.display())
}

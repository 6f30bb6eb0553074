//! `certes doctor`: checks this machine, the configuration and a running server.

use crate::{
    cli::{ConfigArgs, ServerArgs},
    config::{Role, load},
    output,
    remote::Remote,
};
use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;
use std::{net::TcpListener, path::Path};

/// `certes doctor`
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Configuration.
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// What a check found.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    found: String,
}

impl Finding {
    fn from(check: &'static str, result: Result<String>) -> Self {
        match result {
            Ok(found) => Self { check, ok: true, found },
            Err(error) => Self { check, ok: false, found: format!("{error:#}") },
        }
    }
}

/// Runs the command.
pub async fn run(args: DoctorArgs) -> Result<()> {
    let mut findings = Vec::new();
    let remote = Remote::find(&args.server).await;
    let running = remote.is_ok();
    match load(&args.config.layers()) {
        Ok((config, _origins)) => {
            findings.push(Finding::from("configuration", Ok("it can be read".to_owned())));
            findings.push(Finding::from("data directory", data_dir(&config.data_dir)));
            let public = config.roles.has(Role::Gateway) && !running;
            let addresses = [
                ("http port", config.gateway.http, public),
                ("grpc port", config.gateway.grpc, public),
                ("admin port", config.admin.http, !running),
            ];
            for (check, address, _) in addresses.into_iter().filter(|(_, _, wanted)| *wanted) {
                let free = TcpListener::bind(address).map(|_| format!("{address} is free"));
                let result = free.map_err(|error| anyhow::anyhow!("{address}: {error}"));
                findings.push(Finding::from(check, result));
            }
        }
        Err(error) => findings.push(Finding::from("configuration", Err(error))),
    }
    let server = match remote {
        Ok(remote) => ask(&remote).await,
        Err(error) => Err(error),
    };
    findings.push(Finding::from("server", server));
    report(&findings, args.server.json)
}

fn data_dir(dir: &Path) -> Result<String> {
    std::fs::create_dir_all(dir)?;
    let probe = dir.join(".doctor");
    let written = std::fs::write(&probe, b"probe").and_then(|()| std::fs::remove_file(&probe));
    match written {
        Ok(()) => Ok(format!("{} can be written", dir.display())),
        Err(error) => bail!("{} cannot be written: {error}", dir.display()),
    }
}

async fn ask(remote: &Remote) -> Result<String> {
    let stats = remote.stats().await?;
    let subscriptions = remote.subscriptions().await?;
    let idle = subscriptions
        .iter()
        .filter(|found| found.status != contract::subscription::SubscriptionStatus::Active);
    let names: Vec<_> =
        idle.map(|found| format!("{} ({})", found.spec.name, found.status)).collect();
    let mut text = format!(
        "it answers; {} waiting, {} dead, {} subscriptions",
        stats.waiting,
        stats.dead,
        subscriptions.len()
    );
    if !names.is_empty() {
        text = format!("{text}, of which these get nothing: {}", names.join(", "));
    }
    Ok(text)
}

fn report(findings: &[Finding], json: bool) -> Result<()> {
    if json {
        output::json(&findings)?;
    } else {
        for finding in findings {
            let mark = if finding.ok { "ok  " } else { "FAIL" };
            output::line(&format!("{mark} {}: {}", finding.check, finding.found))?;
        }
    }
    if findings.iter().all(|finding| finding.ok) {
        return Ok(());
    }
    bail!("something is wrong, see above")
}

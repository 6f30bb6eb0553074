//! Structured logs, on standard error.

use crate::config::{LogConfig, LogFormat};
use anyhow::{Context, Result, anyhow};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Can the filter be read?
pub fn check(config: &LogConfig) -> Result<()> {
    let filter = EnvFilter::try_new(&config.filter);
    filter.map(drop).with_context(|| format!("`log.filter` is `{}`", config.filter))
}

/// Starts logging as configured.
pub fn start(config: &LogConfig) -> Result<()> {
    let filter = EnvFilter::try_new(&config.filter)
        .with_context(|| format!("`log.filter` is `{}`", config.filter))?;
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    };
    started.map_err(|error| anyhow!("{error}"))
}

/// Starts logging for a person who looks at something else: warnings only.
pub fn start_quietly() {
    let logs = tracing_subscriber::fmt().with_env_filter(EnvFilter::new("warn"));
    let logs = logs.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    if let Err(error) = logs.try_init() {
        eprintln!("certes: no logs: {error}");
    }
}

//! Running other programs, and saying which.

use anyhow::{Context, Result, bail};
use std::{ffi::OsStr, path::PathBuf, process::Command};

/// The root of the repository.
pub fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Runs cargo in the root of the repository.
pub fn cargo(arguments: &[&str], variables: &[(&str, PathBuf)]) -> Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
    command_in_root(command)
}

/// Runs the random tests for so many seconds. They print where they are.
pub fn soak(seconds: u64, seed: u64, debug: bool) -> Result<()> {
    let mut arguments = vec!["test", "--package", "schema-registry", "--lib", "--features", "soak"];
    if !debug {
        arguments.push("--release");
    }
    arguments.extend(["--", "--nocapture", "--exact", "validate::soak::soak"]);
    let text = |number: u64| PathBuf::from(number.to_string());
    cargo(&arguments, &[("CERTES_SOAK_SECONDS", text(seconds)), ("CERTES_SOAK_SEED", text(seed))])
}

/// Cuts the power for so many seconds, beginning with this seed.
pub fn soak_power(seconds: u64, seed: u64, debug: bool) -> Result<()> {
    let mut arguments = vec!["test", "--package", "tests", "--features", "all", "--test", "power"];
    if !debug {
        arguments.push("--release");
    }
    arguments.extend(["--", "--nocapture"]);
    let text = |number: u64| PathBuf::from(number.to_string());
    let variables = [("CERTES_POWER_SECONDS", text(seconds)), ("CERTES_POWER_SEED", text(seed))];
    cargo(&arguments, &variables)
}

/// Runs a program in the root of the repository; fails if it does.
pub fn program(name: impl AsRef<OsStr>, arguments: &[&OsStr]) -> Result<()> {
    let mut command = Command::new(name);
    command.args(arguments);
    command_in_root(command)
}

fn command_in_root(mut command: Command) -> Result<()> {
    let shown = format!("{command:?}");
    eprintln!("xtask: {shown}");
    let status = command.current_dir(root()).status().with_context(|| format!("start {shown}"))?;
    if !status.success() {
        bail!("{shown}: {status}");
    }
    Ok(())
}

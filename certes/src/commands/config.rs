//! `certes config`: the effective configuration, and the reference.

use crate::{
    cli::ConfigArgs,
    config::{DEFAULT_TOML, load},
    output,
};
use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};

/// `certes config ...`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the effective configuration and where each value comes from
    Show {
        /// Configuration.
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON for machines
        #[arg(long)]
        json: bool,
    },
    /// Print the reference: every key, its meaning and its default
    Default,
}

/// Runs the command.
pub fn run(command: ConfigCommand) -> Result<()> {
    let (args, as_json) = match command {
        ConfigCommand::Default => return output::line(DEFAULT_TOML.trim_end()),
        ConfigCommand::Show { config, json } => (config, json),
    };
    let (config, origins) = load(&args.layers())?;
    let values = serde_json::to_value(&config)?;
    let rows = origins.iter().map(|(key, origin)| {
        let pointer = format!("/{}", key.replace('.', "/"));
        let value = values.pointer(&pointer).cloned().unwrap_or(Value::Null);
        let shown = if is_secret(key) { Value::from("***") } else { value };
        (key, shown, origin.to_string())
    });
    if as_json {
        let rows: serde_json::Map<_, _> = rows
            .map(|(key, value, origin)| (key.clone(), json!({"value": value, "from": origin})))
            .collect();
        return output::json(&rows);
    }
    let rows = rows.map(|(key, value, origin)| vec![key.clone(), value.to_string(), origin]);
    output::table(&["key", "value", "from"], rows)
}

/// Keys whose value nobody should read over a shoulder.
fn is_secret(key: &str) -> bool {
    ["secret", "password", "token"].iter().any(|word| key.contains(word))
}

//! `certes setting`: what operators set while everything runs.

use crate::{
    cli::ServerArgs,
    misuse::Misuse,
    output,
    remote::{ListedSetting, Remote},
};
use anyhow::{Context, Result};
use clap::Subcommand;
use contract::{
    command::Command,
    log::{Chain, LogFilter, LogQuery, LoggedFact},
};

/// `certes setting ...`
#[derive(Debug, Subcommand)]
pub enum SettingCommand {
    /// List settings, and the feature flags that were ever set
    List {
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Print the value of a setting; nothing if it is not set
    Get {
        /// Its name, as in retention.age or feature.new_checkout
        name: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Change a setting, in every process within a second
    Set {
        /// Its name
        name: String,
        /// true or false, a number, or a duration as in 30d
        value: String,
        /// Refuse unless it has this version; 0: it was never set
        #[arg(long)]
        expect_version: Option<u64>,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Have the configuration count again
    Reset {
        /// Its name
        name: String,
        /// Refuse unless it has this version
        #[arg(long)]
        expect_version: Option<u64>,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show who changed a setting, when, and to what
    History {
        /// Its name
        name: String,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Runs the command.
pub async fn run(command: SettingCommand) -> Result<()> {
    match command {
        SettingCommand::List { server } => {
            let found = Remote::find(&server).await?.settings().await?;
            if server.json {
                return output::json(&found);
            }
            let headings = ["setting", "value", "type", "version", "about"];
            output::table(&headings, found.iter().map(row))
        }
        SettingCommand::Get { name, server } => {
            let found = Remote::find(&server).await?.settings().await?;
            let found = found.into_iter().find(|setting| setting.key == name);
            let found =
                found.ok_or_else(|| Misuse::new(format!("there is no setting `{name}`")))?;
            match (server.json, found.value.as_deref()) {
                (true, _) => output::json(&found),
                (false, Some(value)) => output::line(value),
                (false, None) => Ok(()),
            }
        }
        SettingCommand::Set { name, value, expect_version, server } => {
            change(name, Some(value), expect_version, &server).await
        }
        SettingCommand::Reset { name, expect_version, server } => {
            change(name, None, expect_version, &server).await
        }
        SettingCommand::History { name, server } => {
            let facts = history(&Remote::find(&server).await?, &name).await?;
            if server.json {
                return output::json(&facts);
            }
            let rows = facts.iter().map(|fact| {
                let setting = &fact.body["setting"];
                let (version, value) = (setting["version"].to_string(), shown(&setting["value"]));
                vec![version, fact.time.to_string(), fact.actor.to_string(), value]
            });
            output::table(&["version", "time", "by", "value"], rows)
        }
    }
}

fn row(setting: &ListedSetting) -> Vec<String> {
    let ListedSetting { key, r#type, value, default, default_value, version, about, .. } = setting;
    let unset = || match default_value {
        Some(value) if value != default => format!("({value}, or {default})"),
        _ => format!("({default})"),
    };
    let value = value.clone().unwrap_or_else(unset);
    vec![key.clone(), value, r#type.clone(), version.to_string(), about.clone()]
}

async fn change(
    key: String,
    value: Option<String>,
    expect: Option<u64>,
    server: &ServerArgs,
) -> Result<()> {
    let command = Command::SetSetting { key, value, expect };
    let change = Remote::find(server).await?.execute_one(command).await?;
    if server.json {
        return output::json(&change);
    }
    let version = change.id.context("the server named no version")?;
    output::line(&format!("{} {}, version {version}", change.name, change.kind))
}

/// All facts about a setting, oldest first.
async fn history(remote: &Remote, key: &str) -> Result<Vec<LoggedFact>> {
    let filter = LogFilter {
        chain: Some(Chain::Configuration),
        kinds: vec!["config_set".to_owned()],
        ..LogFilter::default()
    };
    let mut query = LogQuery { filter, first: 500, ..LogQuery::default() };
    let mut facts = Vec::new();
    loop {
        let page = remote.facts(query.clone()).await?;
        facts.extend(page.facts.into_iter().filter(|fact| fact.body["key"] == key));
        if !page.more {
            return Ok(facts);
        }
        query.after = page.read_to;
    }
}

/// A value of a fact: `{"bool": true}`.
fn shown(value: &serde_json::Value) -> String {
    let inner = value.as_object().and_then(|object| object.values().next());
    match inner {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "(reset)".to_owned(),
    }
}

//! `certes subscription`, `source`, `schema`, `key`: look at the configuration, and small changes.

use crate::{
    cli::{KeyCommand, SchemaCommand, SourceCommand, SubscriptionCommand},
    misuse::Misuse,
    output,
    remote::Remote,
};
use anyhow::{Result, bail};
use contract::{
    access::Roles,
    backoff::Span,
    clock::{Clock, SystemClock},
    command::Command,
    subscription::SubscriptionStatus,
};
use std::path::Path;

/// Runs `certes subscription`.
pub async fn subscription(command: SubscriptionCommand) -> Result<()> {
    let (name, status, server) = match command {
        SubscriptionCommand::List { server } => {
            let found = Remote::find(&server).await?.subscriptions().await?;
            if server.json {
                return output::json(&found);
            }
            let rows = found.iter().map(|subscription| {
                let spec = &subscription.spec;
                let events: Vec<_> = spec.events.iter().map(ToString::to_string).collect();
                vec![
                    spec.name.clone(),
                    subscription.status.to_string(),
                    spec.priority.map(|priority| priority.to_string()).unwrap_or_default(),
                    spec.subscriber.clone().unwrap_or_default(),
                    spec.url.clone(),
                    events.join(" "),
                ]
            });
            let headings = ["name", "status", "priority", "subscriber", "url", "events"];
            return output::table(&headings, rows);
        }
        SubscriptionCommand::Pause { name, server } => (name, SubscriptionStatus::Paused, server),
        SubscriptionCommand::Resume { name, server } => (name, SubscriptionStatus::Active, server),
    };
    let command = Command::SetSubscriptionStatus { name, status, reason: None };
    let change = Remote::find(&server).await?.execute_one(command).await?;
    match server.json {
        true => output::json(&change),
        false => output::line(&format!("{} is {status}", change.name)),
    }
}

/// Runs `certes source`.
pub async fn source(command: SourceCommand) -> Result<()> {
    let SourceCommand::List { server } = command;
    let found = Remote::find(&server).await?.sources().await?;
    if server.json {
        return output::json(&found);
    }
    let rows = found.iter().map(|source| {
        let spec = &source.spec;
        let secrets: Vec<_> = source.secrets.iter().map(|s| s.fingerprint.clone()).collect();
        vec![
            spec.name.clone(),
            spec.verify.to_string(),
            spec.event_type.0.clone(),
            secrets.join(" "),
        ]
    });
    output::table(&["name", "verify", "event type", "secrets"], rows)
}

/// Runs `certes schema`.
pub async fn schema(command: SchemaCommand) -> Result<()> {
    match command {
        SchemaCommand::List { server } => {
            let found = Remote::find(&server).await?.schemas().await?;
            if server.json {
                return output::json(&found);
            }
            let rows = found.iter().map(|version| {
                let number = format!("{}.{}", version.uri.major(), version.minor);
                let published = version.published_at.to_string();
                vec![version.uri.to_string(), number, version.message.clone(), published]
            });
            output::table(&["type", "version", "message", "published"], rows)
        }
        SchemaCommand::Publish { dir, server } => publish(&dir, &server, false).await,
        SchemaCommand::Check { dir, server } => publish(&dir, &server, true).await,
    }
}

async fn publish(dir: &Path, server: &crate::cli::ServerArgs, dry_run: bool) -> Result<()> {
    let schemas = schema_registry::load(dir, &schema_registry::Config::default())?;
    let remote = Remote::find(server).await?;
    let done = super::apply::publish_all(&remote, schemas, dry_run).await?;
    if server.json {
        return output::json(&done.iter().map(|(_, published)| published).collect::<Vec<_>>());
    }
    for (schema, published) in &done {
        let verdict = match (published.changed, dry_run) {
            (false, _) => "unchanged",
            (true, false) => "published",
            (true, true) => "would be published",
        };
        let version = format!("{}.{}", schema.uri.major(), published.version.minor);
        output::line(&format!("{verdict} {} {version}", schema.uri))?;
        for difference in &published.differences {
            output::line(&format!("  {difference}"))?;
        }
    }
    Ok(())
}

/// Runs `certes key`.
pub async fn key(command: KeyCommand) -> Result<()> {
    match command {
        KeyCommand::Create { name, roles, subscriber, expires_in, server } => {
            let roles = Roles::parse(roles.iter().map(String::as_str)).map_err(Misuse::new)?;
            let lifetime = expires_in.map(|text| text.parse::<Span>()).transpose();
            let lifetime = lifetime.map_err(Misuse::new)?;
            let expires_at = lifetime.map(|span| SystemClock.now().after(span.0));
            let command = Command::IssueKey { name, roles, subscriber, expires_at };
            let change = Remote::find(&server).await?.execute_one(command).await?;
            if server.json {
                return output::json(&change);
            }
            let Some(token) = change.revealed else { bail!("the server showed no token") };
            output::line(token.expose())
        }
        KeyCommand::List { server } => {
            let found = Remote::find(&server).await?.keys().await?;
            if server.json {
                return output::json(&found);
            }
            let rows = found.iter().map(|key| {
                let expires = key.expires_at.map(|time| time.to_string()).unwrap_or_default();
                let subscriber = key.subscriber.clone().unwrap_or_default();
                let begins = format!("{}...", key.prefix);
                let (id, name) = (key.id.clone(), key.name.clone());
                vec![id, name, begins, key.roles.join(" "), subscriber, expires]
            });
            output::table(&["id", "name", "token", "roles", "subscriber", "expires"], rows)
        }
        KeyCommand::Revoke { id, server } => {
            let command = Command::RevokeKey(id.parse()?);
            let change = Remote::find(&server).await?.execute_one(command).await?;
            output::line(&format!("{} works no more", change.name))
        }
    }
}

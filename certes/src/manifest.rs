//! The manifest of `certes apply`: what an operator declares in YAML, and the commands it means.

mod auth;
mod source;

use crate::misuse::Misuse;
use anyhow::{Context, Result, anyhow, bail};
use auth::AuthEntry;
use contract::{
    backoff::{BackoffPolicy, BackoffRule, BackoffTarget, Jitter, Kind, Span},
    command::{Changeset, Command},
    event::Direction,
    rate_limit::RateLimit,
    schema::{Rulebook, SchemaSource, UnknownFields},
    secret::Secret,
    sending::{PayloadFormat, custom_headers},
    subscription::{EventType, Ordering, Priority, Subscriber, SubscriptionSpec},
    uri::{EventPattern, EventUri},
};
use serde::Deserialize;
use source::SourceEntry;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// One manifest file, or several together.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Manifest {
    subscribers: Vec<SubscriberEntry>,
    event_types: Vec<EventTypeEntry>,
    sources: Vec<SourceEntry>,
    schemas: Vec<SchemaEntry>,
    backoffs: Vec<BackoffEntry>,
    subscriptions: Vec<SubscriptionEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscriberEntry {
    id: String,
    #[serde(default)]
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventTypeEntry {
    uri: EventUri,
    priority: Option<Priority>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaEntry {
    /// A directory or an archive.
    dir: PathBuf,
    unknown_fields: Option<UnknownFields>,
    rulebook: Option<Rulebook>,
    #[serde(default)]
    next_major: bool,
}

/// A policy and what it is for. (Spelled out, because a flattened policy would let unknown keys
/// pass.)
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackoffEntry {
    r#for: BackoffTarget,
    direction: Direction,
    kind: Kind,
    base: Option<Span>,
    factor: Option<f64>,
    #[serde(default)]
    delays: Vec<Span>,
    cap: Option<Span>,
    #[serde(default)]
    jitter: Jitter,
    max_retries: Option<u32>,
    max_elapsed: Option<Span>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscriptionEntry {
    name: String,
    subscriber: Option<String>,
    #[serde(default)]
    url: String,
    #[serde(default)]
    pull: bool,
    events: Vec<EventPattern>,
    priority: Option<Priority>,
    backoff: Option<BackoffPolicy>,
    secret: Option<SecretEntry>,
    #[serde(default)]
    secrets: Vec<SecretEntry>,
    max_in_flight: Option<u32>,
    rate_limit: Option<RateLimit>,
    timeout: Option<Span>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    auth: Option<AuthEntry>,
    filter: Option<String>,
    transform: Option<String>,
    #[serde(default)]
    format: PayloadFormat,
    #[serde(default)]
    ordering: Ordering,
}

/// A secret: a value, or where to find it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum SecretEntry {
    Value(Secret),
    Elsewhere(Elsewhere),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Elsewhere {
    Env(String),
    File(PathBuf),
}

/// What a manifest asks for.
#[derive(Debug, Default)]
pub struct Wanted {
    /// Schemas to publish first.
    pub schemas: Vec<SchemaSource>,
    /// Then these, all or nothing.
    pub changes: Changeset,
}

/// Looks a variable of the environment up.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a manifest, or all manifests of a directory (`*.yaml`, `*.yml`, `*.json`). Fails with a
/// [`Misuse`].
pub fn read(path: &Path, environment: Environment<'_>) -> Result<Wanted> {
    read_files(path, environment).map_err(|error| Misuse::of(&error).into())
}

fn read_files(path: &Path, environment: Environment<'_>) -> Result<Wanted> {
    let mut wanted = Wanted::default();
    for file in files(path)? {
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read the manifest {}", file.display()))?;
        let base = file.parent().unwrap_or(Path::new("."));
        parse(&text, base, environment, &mut wanted)
            .with_context(|| format!("manifest {}", file.display()))?;
    }
    wanted.changes.managed = true;
    Ok(wanted)
}

fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let is_manifest = |file: &PathBuf| {
        file.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json")
    };
    let entries = std::fs::read_dir(path)?.map(|entry| Ok(entry?.path()));
    let mut files: Vec<PathBuf> = entries.collect::<Result<_>>()?;
    files.retain(is_manifest);
    files.sort();
    if files.is_empty() {
        bail!("{} holds no *.yaml, *.yml or *.json", path.display());
    }
    Ok(files)
}

/// Adds what `text` declares to `wanted`, in the order in which one thing needs the other.
fn parse(text: &str, base: &Path, environment: Environment<'_>, wanted: &mut Wanted) -> Result<()> {
    // Without the lines around a mistake: secrets may stand there.
    let options = serde_saphyr::options! { with_snippet: false };
    let manifest: Manifest =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| anyhow!("{error}"))?;
    let secrets = |one: Option<SecretEntry>, many: Vec<SecretEntry>| -> Result<Vec<Secret>> {
        one.into_iter().chain(many).map(|entry| resolve(entry, base, environment)).collect()
    };
    for entry in &manifest.schemas {
        let dir = base.join(&entry.dir);
        for mut schema in schema_registry::load(&dir, &schema_registry::Config::default())? {
            schema.unknown_fields = entry.unknown_fields;
            schema.rulebook = entry.rulebook;
            schema.next_major = entry.next_major;
            // One directory may lie in another that is declared, too.
            if !wanted.schemas.contains(&schema) {
                wanted.schemas.push(schema);
            }
        }
    }
    let commands = &mut wanted.changes.commands;
    for SubscriberEntry { id, name } in manifest.subscribers {
        commands.push(Command::PutSubscriber(Subscriber { id, name }));
    }
    for EventTypeEntry { uri, priority } in manifest.event_types {
        commands.push(Command::PutEventType(EventType { uri, priority }));
    }
    for mut entry in manifest.sources {
        let given = secrets(entry.secret.take(), std::mem::take(&mut entry.secrets))
            .with_context(|| format!("source `{}`", entry.name))?;
        commands.push(Command::PutSource { spec: entry.into(), secrets: given });
    }
    commands.extend(manifest.backoffs.into_iter().map(|entry| Command::PutBackoff(entry.into())));
    for mut entry in manifest.subscriptions {
        let given = secrets(entry.secret.take(), std::mem::take(&mut entry.secrets))
            .with_context(|| format!("subscription `{}`", entry.name))?;
        let auth = entry.auth.take();
        let auth = auth.map(|auth| auth.read(|secret| resolve(secret, base, environment)));
        let auth = auth.transpose().with_context(|| format!("subscription `{}`", entry.name))?;
        let spec = SubscriptionSpec { auth, ..entry.try_into()? };
        commands.push(Command::PutSubscription { spec, secrets: given });
    }
    Ok(())
}

fn resolve(entry: SecretEntry, base: &Path, environment: Environment<'_>) -> Result<Secret> {
    match entry {
        SecretEntry::Value(secret) => Ok(secret),
        SecretEntry::Elsewhere(Elsewhere::Env(name)) => {
            environment(&name).map(Secret::new).with_context(|| {
                format!("its secret is to be in the variable {name}, which is not set")
            })
        }
        SecretEntry::Elsewhere(Elsewhere::File(file)) => {
            let file = base.join(file);
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read its secret from {}", file.display()))?;
            Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
        }
    }
}

impl From<BackoffEntry> for BackoffRule {
    fn from(entry: BackoffEntry) -> Self {
        Self {
            target: entry.r#for,
            direction: entry.direction,
            policy: BackoffPolicy {
                kind: entry.kind,
                base: entry.base,
                factor: entry.factor,
                delays: entry.delays,
                cap: entry.cap,
                jitter: entry.jitter,
                max_retries: entry.max_retries,
                max_elapsed: entry.max_elapsed,
            },
        }
    }
}

impl TryFrom<SubscriptionEntry> for SubscriptionSpec {
    type Error = anyhow::Error;

    fn try_from(entry: SubscriptionEntry) -> Result<Self> {
        let timeout_ms = entry.timeout.map(|span| u32::try_from(span.0.as_millis()));
        let timeout_ms = timeout_ms.transpose().context("`timeout` is too long")?;
        Ok(Self {
            name: entry.name,
            subscriber: entry.subscriber,
            url: entry.url,
            events: entry.events,
            priority: entry.priority,
            backoff: entry.backoff,
            max_in_flight: entry.max_in_flight,
            rate_limit: entry.rate_limit,
            timeout_ms,
            pull: entry.pull,
            headers: custom_headers(entry.headers),
            auth: None,
            filter: entry.filter,
            transform: entry.transform,
            format: entry.format,
            ordering: entry.ordering,
        })
    }
}

#[cfg(test)]
mod tests;

//! `certes schema`: looks at contracts and their versions, checks, publishes and deletes them.

mod publish;

pub use publish::{PublishArgs, publish_all};

use crate::{cli::ServerArgs, output, remote::Remote};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use contract::{
    clock::{Clock as _, SystemClock},
    schema::{
        Difference, Rulebook, SchemaBundle, SchemaVersion, Verdict, VersionNumber, Violation,
    },
    uri::EventUri,
};
use schema_registry::FieldNames;
use serde::Serialize;
use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

/// Most messages that are named as left out of an example.
const NAMED_MAX: usize = 20;

/// `certes schema ...`
#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// List schemas, or all versions of one
    List {
        /// Event URI whose versions to list, as in github/1/push
        uri: Option<EventUri>,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Print the sources of a schema, or write them to a directory
    Get {
        /// Event URI, as in github/1/push
        uri: EventUri,
        /// Which version, as in 1.2 [default: the latest]
        #[arg(long, value_name = "VERSION")]
        version: Option<VersionNumber>,
        /// Directory to write the files into, by the paths that imports name
        #[arg(short, long, value_name = "DIR")]
        out: Option<PathBuf>,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// List the differences between two versions
    Diff {
        /// Event URI, as in github/1/push
        uri: EventUri,
        /// Old version, as in 1.0 [default: the one before the new one]
        from: Option<VersionNumber>,
        /// New version, also of another major, as in 2.0 [default: the latest]
        to: Option<VersionNumber>,
        /// Judge by this rulebook: certes, confluent, wire [default: that of the new version]
        #[arg(long)]
        rulebook: Option<Rulebook>,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Publish the schemas of a directory or archive in one step: all of them, or none; exit 1 if
    /// something is refused
    Publish(PublishArgs),
    /// Do all that publish does but the last step, and name the live subscriptions that a breaking
    /// change would hit; exit 1 if something would be refused
    Check(PublishArgs),
    /// Take one major of a type out of force; refused while subscriptions need it
    Delete {
        /// Event URI, as in github/1/push
        uri: EventUri,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Print an event's payload as JSON, made from its schema: every field, with a value that fits,
    /// named as in the .proto file; exit 1 if a rule of the schema is broken all the same
    Example {
        /// Event URI, as in github/1/push
        uri: EventUri,
        /// Which version, as in 1.2 [default: the latest]
        #[arg(long, value_name = "VERSION")]
        version: Option<VersionNumber>,
        /// Print the example that was published with the version instead
        #[arg(long)]
        stored: bool,
        /// Name fields as the JSON mapping of protobuf does, as in createdAt
        #[arg(long, conflicts_with = "stored")]
        camel_case: bool,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// Runs `certes schema`.
pub async fn run(command: SchemaCommand) -> Result<()> {
    match command {
        SchemaCommand::List { uri, server } => list(uri, &server).await,
        SchemaCommand::Get { uri, version, out, server } => {
            let bundle = bundle(&uri, version, &server).await?;
            match (out, server.json) {
                (Some(dir), _) => write(&bundle, &dir),
                (None, true) => output::json(&Shown::of(&bundle)?),
                (None, false) => print(&bundle),
            }
        }
        SchemaCommand::Diff { uri, from, to, rulebook, server } => {
            diff(&uri, (from, to), rulebook, &server).await
        }
        SchemaCommand::Publish(args) => publish::publish(args).await,
        SchemaCommand::Check(args) => publish::check(args).await,
        SchemaCommand::Delete { uri, server } => {
            Remote::find(&server).await?.delete_schema(&uri).await?;
            match server.json {
                true => output::json(&serde_json::json!({ "deleted": uri })),
                false => output::line(&format!("deleted {uri}")),
            }
        }
        SchemaCommand::Example { uri, version, stored, camel_case, server } => {
            let bundle = bundle(&uri, version, &server).await?;
            if stored {
                let number = bundle.version.number();
                let example = bundle
                    .example
                    .with_context(|| format!("no example was published with {uri} {number}"))?;
                return output::line(example.trim_end());
            }
            let names = if camel_case { FieldNames::CamelCase } else { FieldNames::Proto };
            let skeleton = schema_registry::skeleton(&bundle, names, SystemClock.now())?;
            output::line(&serde_json::to_string_pretty(&skeleton.payload)?)?;
            for broken in &skeleton.broken {
                let Violation { path, expected, found, rule } = broken;
                eprintln!("to be changed by hand: `{path}` breaks {rule}: {expected}; {found}");
            }
            if let Some(said) = left_out(skeleton.left_out) {
                eprintln!("{said}");
            }
            match skeleton.broken.len() {
                0 => Ok(()),
                count => bail!("it breaks the contract in {count} places"),
            }
        }
    }
}

/// Which messages an example payload lacks because it would be too large.
fn left_out(messages: BTreeSet<String>) -> Option<String> {
    let more = match messages.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names: Vec<_> = messages.into_iter().take(NAMED_MAX).collect();
    let text = "left out here and there, because the payload is large enough: messages of";
    (!names.is_empty()).then(|| format!("{text} {}{more}", names.join(", ")))
}

async fn list(uri: Option<EventUri>, server: &ServerArgs) -> Result<()> {
    let remote = Remote::find(server).await?;
    let found = match &uri {
        Some(uri) => remote.schema_versions(uri).await?,
        None => remote.schemas().await?,
    };
    if let (Some(uri), true) = (&uri, found.is_empty()) {
        bail!("no schema is known for {uri}");
    }
    if server.json {
        return output::json(&found.iter().map(for_machines).collect::<Result<Vec<_>>>()?);
    }
    let rows = found.iter().map(|version| {
        vec![
            version.uri.to_string(),
            version.number().to_string(),
            version.rulebook.to_string(),
            version.message.clone(),
            version.published_at.to_string(),
        ]
    });
    output::table(&["type", "version", "rulebook", "message", "published"], rows)
}

async fn bundle(
    uri: &EventUri,
    version: Option<VersionNumber>,
    server: &ServerArgs,
) -> Result<SchemaBundle> {
    let remote = Remote::find(server).await?;
    match version {
        Some(number) => remote.schema_version(uri, number).await,
        None => remote.schema(uri).await,
    }
}

/// A version, for machines: the rulebook is said even where it is the usual one.
fn for_machines(version: &SchemaVersion) -> Result<serde_json::Value> {
    let mut shown = serde_json::to_value(version)?;
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("rulebook".to_owned(), version.rulebook.as_str().into());
    }
    Ok(shown)
}

/// A version with its sources, for machines.
#[derive(Serialize)]
struct Shown<'a> {
    version: serde_json::Value,
    files: &'a [contract::schema::ProtoFile],
    example: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(bundle: &'a SchemaBundle) -> Result<Self> {
        let SchemaBundle { version, files, example, .. } = bundle;
        Ok(Self { version: for_machines(version)?, files, example: example.as_deref() })
    }
}

fn print(bundle: &SchemaBundle) -> Result<()> {
    let SchemaVersion { uri, message, rulebook, .. } = &bundle.version;
    let number = bundle.version.number();
    output::line(&format!("// {uri} {number}, message {message}, rulebook {rulebook}"))?;
    for file in &bundle.files {
        output::line(&format!("\n// {}", file.path))?;
        output::line(file.text.trim_end())?;
    }
    Ok(())
}

/// Writes the sources below `dir`, where they can be changed and published again.
fn write(bundle: &SchemaBundle, dir: &Path) -> Result<()> {
    let uri = &bundle.version.uri;
    let example = bundle.example.as_ref().map(|text| (format!("{uri}.example.json"), text));
    let files = bundle.files.iter().map(|file| (file.path.clone(), &file.text)).chain(example);
    for (name, text) in files {
        let path = Path::new(&name);
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            bail!("`{name}` would be written outside of {}", dir.display());
        }
        let path = dir.join(path);
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::write(&path, text))
            .with_context(|| format!("cannot write {}", path.display()))?;
        output::line(&path.display().to_string())?;
    }
    Ok(())
}

async fn diff(
    uri: &EventUri,
    (from, to): (Option<VersionNumber>, Option<VersionNumber>),
    rulebook: Option<Rulebook>,
    server: &ServerArgs,
) -> Result<()> {
    let remote = Remote::find(server).await?;
    let to = match to {
        Some(to) => to,
        None => remote.schema(uri).await?.version.number(),
    };
    let before = to.minor.checked_sub(1).map(|minor| VersionNumber { minor, ..to });
    let from = from.or(before).with_context(|| format!("{to} is the first version of {uri}"))?;
    let differences = remote.diff_schema(uri, from, to, rulebook).await?;
    if server.json {
        return output::json(&differences);
    }
    if differences.is_empty() {
        output::line(&format!("{uri} {from} and {to} do not differ in what payloads may hold"))?;
    }
    differences.iter().try_for_each(show)
}

fn show(difference: &Difference) -> Result<()> {
    output::line(&shown(difference))
}

fn shown(difference: &Difference) -> String {
    let mark = match difference.verdict {
        Verdict::Compatible => "compatible",
        Verdict::Breaking => "breaking",
    };
    format!("  {mark:10} {} ({})", difference.text, difference.rule)
}

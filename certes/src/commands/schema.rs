//! `certes schema`: looks at contracts and their versions, checks, publishes and deletes them.

use crate::{cli::ServerArgs, output, remote::Remote};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use contract::{
    ErrorCode,
    clock::{Clock as _, SystemClock},
    schema::{
        Difference, PublishSettings, Published, Rulebook, SchemaBundle, SchemaSet, SchemaSource,
        SchemaVerdict, SchemaVersion, UnknownFields, Verdict, VersionNumber, Violation,
    },
    uri::EventUri,
};
use indicatif::ProgressBar;
use serde::Serialize;
use std::{
    path::{Component, Path, PathBuf},
    time::Duration,
};

/// How often the sign of life moves.
const TICK: Duration = Duration::from_millis(100);

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
    /// Print an event's payload as JSON, made from its schema: every field, with a value that fits
    Example {
        /// Event URI, as in github/1/push
        uri: EventUri,
        /// Which version, as in 1.2 [default: the latest]
        #[arg(long, value_name = "VERSION")]
        version: Option<VersionNumber>,
        /// Print the example that was published with the version instead
        #[arg(long)]
        stored: bool,
        /// Server.
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// `certes schema publish` and `certes schema check`
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// Directory, .tar or .tar.gz with NAMESPACE/MAJOR/NAME.proto, and beside each, if you
    /// like, NAME.example.json; a directory may also be a folder named after the namespace
    #[arg(value_name = "DIR|FILE")]
    pub path: PathBuf,
    /// Compare by this rulebook: certes, confluent, wire [default: as the version before, else certes]
    #[arg(long)]
    pub rulebook: Option<Rulebook>,
    /// Publish what breaks its contract as the next major version instead of refusing it
    #[arg(long)]
    pub next_major: bool,
    /// Refuse payloads with fields that the contract does not know
    /// [default: as the version before, else as the registry is configured]
    #[arg(long)]
    pub reject_unknown_fields: bool,
    /// Let payloads with such fields pass
    #[arg(long, conflicts_with = "reject_unknown_fields")]
    pub ignore_unknown_fields: bool,
    /// Publish only if the latest version is this one, as in 1.2; for a single schema
    #[arg(long, value_name = "VERSION")]
    pub expect: Option<VersionNumber>,
    /// Server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Runs `certes schema`.
pub async fn run(command: SchemaCommand) -> Result<()> {
    match command {
        SchemaCommand::List { uri, server } => list(uri, &server).await,
        SchemaCommand::Get { uri, version, out, server } => {
            let bundle = bundle(&uri, version, &server).await?;
            match (out, server.json) {
                (Some(dir), _) => write(&bundle, &dir),
                (None, true) => output::json(&Shown::from(&bundle)),
                (None, false) => print(&bundle),
            }
        }
        SchemaCommand::Diff { uri, from, to, rulebook, server } => {
            diff(&uri, (from, to), rulebook, &server).await
        }
        SchemaCommand::Publish(args) => publish(args).await,
        SchemaCommand::Check(args) => check(args).await,
        SchemaCommand::Delete { uri, server } => {
            Remote::find(&server).await?.delete_schema(&uri).await?;
            match server.json {
                true => output::json(&serde_json::json!({ "deleted": uri })),
                false => output::line(&format!("deleted {uri}")),
            }
        }
        SchemaCommand::Example { uri, version, stored, server } => {
            let bundle = bundle(&uri, version, &server).await?;
            if stored {
                let number = bundle.version.number();
                let example = bundle
                    .example
                    .with_context(|| format!("no example was published with {uri} {number}"))?;
                return output::line(example.trim_end());
            }
            let skeleton = schema_registry::skeleton(&bundle, SystemClock.now())?;
            for broken in &skeleton.broken {
                let Violation { path, expected, found, rule } = broken;
                eprintln!("to be changed by hand: `{path}` breaks {rule}: {expected}; {found}");
            }
            output::line(&serde_json::to_string_pretty(&skeleton.payload)?)
        }
    }
}

/// Publishes schemas together (or only checks them). Errors: a refusal, with every schema's verdict.
pub async fn publish_all(
    remote: &Remote,
    schemas: Vec<SchemaSource>,
    dry_run: bool,
) -> Result<Vec<Published>> {
    if schemas.is_empty() {
        return Ok(Vec::new());
    }
    let verdicts = offer(remote, schemas, dry_run).await?;
    if let Some(summary) = refusals(&verdicts) {
        let lines: Vec<_> = verdicts.iter().flat_map(explained).collect();
        bail!("{summary}\n{}", lines.join("\n"));
    }
    Ok(verdicts.into_iter().filter_map(|verdict| verdict.published).collect())
}

/// Has them published or checked; a sign of life on a terminal meanwhile.
async fn offer(
    remote: &Remote,
    schemas: Vec<SchemaSource>,
    dry_run: bool,
) -> Result<Vec<SchemaVerdict>> {
    let bar = ProgressBar::new_spinner().with_message(format!("{} schemas", schemas.len()));
    bar.enable_steady_tick(TICK);
    let set = SchemaSet::Sources(schemas);
    let verdicts = match dry_run {
        true => remote.check_all(set).await,
        false => remote.publish_all(set).await,
    };
    bar.finish_and_clear();
    verdicts.context("schemas")
}

/// What is to be said of a set of which something is refused.
fn refusals(verdicts: &[SchemaVerdict]) -> Option<String> {
    let (refused, all) =
        (verdicts.iter().filter(|verdict| verdict.is_refused()).count(), verdicts.len());
    match refused {
        0 => None,
        refused => Some(format!("{refused} of {all} schemas are refused, so none is published")),
    }
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
        return output::json(&found);
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

/// A version with its sources, for machines.
#[derive(Serialize)]
struct Shown<'a> {
    version: &'a SchemaVersion,
    files: &'a [contract::schema::ProtoFile],
    example: Option<&'a str>,
}

impl<'a> From<&'a SchemaBundle> for Shown<'a> {
    fn from(bundle: &'a SchemaBundle) -> Self {
        let SchemaBundle { version, files, example, .. } = bundle;
        Self { version, files, example: example.as_deref() }
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

/// The schemas of a directory or archive, with what the flags say of each.
fn read(args: &PublishArgs) -> Result<Vec<SchemaSource>> {
    let schemas = schema_registry::load(&args.path, &schema_registry::Config::default())?;
    let unknown_fields = match (args.reject_unknown_fields, args.ignore_unknown_fields) {
        (true, _) => Some(UnknownFields::Reject),
        (false, true) => Some(UnknownFields::Ignore),
        (false, false) => None,
    };
    let settings = PublishSettings {
        unknown_fields,
        rulebook: args.rulebook,
        next_major: args.next_major,
        expected: args.expect,
    };
    settings.apply(schemas).context("--expect")
}

async fn publish(args: PublishArgs) -> Result<()> {
    let schemas = read(&args)?;
    let remote = Remote::find(&args.server).await?;
    let verdicts = offer(&remote, schemas, false).await?;
    if let Some(summary) = refusals(&verdicts) {
        report(&verdicts, args.server.json)?;
        bail!("{summary}");
    }
    let done: Vec<_> = verdicts.iter().filter_map(|verdict| verdict.published.as_ref()).collect();
    if args.server.json {
        return output::json(&done);
    }
    for published in done {
        let verdict = if published.changed { "published" } else { "unchanged" };
        output::line(&format!("{verdict} {}", name(published)))?;
        published.differences.iter().try_for_each(show)?;
    }
    Ok(())
}

/// A verdict, for machines.
#[derive(Serialize)]
struct Checked<'v> {
    uri: &'v EventUri,
    #[serde(flatten)]
    published: Option<&'v Published>,
    /// Why it is refused.
    error: Option<&'v contract::Error>,
}

impl<'v> From<&'v SchemaVerdict> for Checked<'v> {
    fn from(verdict: &'v SchemaVerdict) -> Self {
        let SchemaVerdict { uri, published, error } = verdict;
        Self { uri, published: published.as_ref(), error: error.as_ref() }
    }
}

/// Checks all of them, whatever becomes of one: a reader of the output wants to see every mistake.
async fn check(args: PublishArgs) -> Result<()> {
    let schemas = read(&args)?;
    let remote = Remote::find(&args.server).await?;
    let verdicts = offer(&remote, schemas, true).await?;
    report(&verdicts, args.server.json)?;
    match verdicts.iter().filter(|verdict| verdict.is_refused()).count() {
        0 => Ok(()),
        refused => bail!("{refused} of {} schemas would be refused", verdicts.len()),
    }
}

fn report(verdicts: &[SchemaVerdict], as_json: bool) -> Result<()> {
    if as_json {
        return output::json(&verdicts.iter().map(Checked::from).collect::<Vec<_>>());
    }
    verdicts.iter().flat_map(explained).try_for_each(|line| output::line(&line))
}

/// A verdict in lines, with every difference and everybody who is hit.
fn explained(verdict: &SchemaVerdict) -> Vec<String> {
    let SchemaVerdict { uri, published, error } = verdict;
    let broken = published.as_ref().filter(|published| published.is_breaking());
    let mut lines = vec![match (error, published) {
        (Some(error), Some(_))
            if broken.is_some() && error.code == ErrorCode::InvalidDefinition =>
        {
            let number = published.as_ref().map(|published| published.version.number());
            format!("refused {uri}: breaks {}", number.map(|n| n.to_string()).unwrap_or_default())
        }
        (Some(error), _) => format!("refused {uri}: {} ({})", error.message, error.code),
        (None, Some(published)) if published.changed => {
            format!("would be published {}", name(published))
        }
        (None, Some(published)) => format!("unchanged {}", name(published)),
        (None, None) => format!("no verdict {uri}"),
    }];
    let Some(published) = published else {
        let violations = error.iter().flat_map(|error| &error.violations);
        lines.extend(violations.map(|Violation { path, expected, found, rule }| {
            format!("  {path}: expected {expected}, found {found} ({rule})")
        }));
        return lines;
    };
    lines.extend(published.differences.iter().map(shown));
    if let [_, ..] = published.subscriptions.as_slice() {
        let names = published.subscriptions.join(", ");
        lines.push(format!("  hits the subscriptions {names}"));
    }
    lines
}

/// Type and version, as in `github/1/push 1.2`.
fn name(published: &Published) -> String {
    format!("{} {}", published.version.uri, published.version.number())
}

//! `certes backup` and `certes restore`: the log and the contracts in a directory, and back.

use crate::{
    cli::ServerArgs, client::Locator, http_client, misuse::Misuse, output, progress, remote::Remote,
};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use contract::schema::SchemaVersion;
use http::Request;
use master_api::{
    backup::{self, Restored},
    log,
};
use schema_registry::{BundleStore, DirectoryStore};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Version of the manifest.
const VERSION: u32 = 1;
/// What a data directory has and a backup does not.
const LEFT_OUT: [&str; 2] = ["secret.key", "admin.key"];

/// `certes backup`
#[derive(Debug, Args)]
#[command(after_help = "In DIR: `log` (all facts, payloads and sealed secrets, as of one fact), \
    `schemas/` (the bundles of all contracts) and `manifest.json`. Left out are secret.key, without \
    which the sealed secrets tell nothing and which has to be kept elsewhere, and admin.key. The \
    backup is proven by restoring it into DIR/verify.tmp, which is removed again. With --server \
    or without --data-dir it is taken from the running server, while it goes on.")]
pub struct BackupArgs {
    /// Directory to make; it must not be there, or be empty
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Data directory of a server that is not running, to take the backup from
    #[arg(long, value_name = "DIR", conflicts_with = "server")]
    pub data_dir: Option<PathBuf>,
    /// Server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// `certes restore`
#[derive(Debug, Args)]
#[command(after_help = "Put the secret.key of the server that was backed up into the new data \
    directory before you start a server there. API keys are in the log and work as before.")]
pub struct RestoreArgs {
    /// Directory that `certes backup` made
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Data directory to make; it must not be there, or be empty
    #[arg(long, value_name = "NEW")]
    pub data_dir: PathBuf,
    /// Print JSON for machines
    #[arg(long)]
    pub json: bool,
}

/// What is in a backup. Written last: without it a backup is not complete.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    version: u32,
    /// Of the program that wrote it.
    program: String,
    /// The last fact.
    sequence: u64,
    facts: u64,
    payloads: u64,
    secrets: u64,
    /// Size of the file `log`.
    log_bytes: u64,
    /// SHA-256 of the bundles in `schemas/`.
    schemas: Vec<String>,
    /// Contracts whose bundles could not be had, and why.
    missing_schemas: Vec<String>,
    /// Files of the data directory that are not in it.
    left_out: Vec<String>,
}

/// Runs `certes backup`.
pub async fn backup(args: BackupArgs) -> Result<()> {
    let dir = &args.dir;
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    if fs::read_dir(dir)?.next().is_some() {
        bail!(Misuse::new(format!("{} is not empty: nothing is overwritten", dir.display())));
    }
    let file = dir.join("log");
    match &args.data_dir {
        Some(data_dir) => copy_stopped(data_dir, &file)?,
        None => copy_running(&args.server, &file).await?,
    }
    let bar = progress::bar("verifying")?;
    let scratch = dir.join("verify.tmp");
    let checked = backup::check(open(&file)?, &scratch, &|what, n, all| bar.tell(what, n, all));
    let checked = checked.context("the backup that was made does not verify")?;
    bar.finish();
    let mut missing = Vec::new();
    let mut schemas = Vec::new();
    let bundles = DirectoryStore::open(dir.join("schemas"))?;
    let source = Bundles::of(&args).await?;
    for version in &checked.schemas {
        let kept = match source.get(version).await {
            Ok(bytes) => bundles.put(version.digest, bytes).await.map_err(Into::into),
            Err(error) => Err(error),
        };
        match kept {
            Ok(()) => schemas.push(hex::encode(version.digest)),
            Err(error) => missing.push(format!("{} {}: {error:#}", version.uri, version.number())),
        }
    }
    schemas.sort_unstable();
    schemas.dedup();
    let manifest = manifest(&checked, file.metadata()?.len(), schemas, missing);
    write_manifest(dir, &manifest)?;
    report(&manifest, args.server.json, "is backed up")
}

/// Runs `certes restore`.
pub async fn restore(args: RestoreArgs) -> Result<()> {
    let RestoreArgs { dir, data_dir, json } = args;
    let manifest = read_manifest(&dir)?;
    let bundles = DirectoryStore::open(dir.join("schemas"))?;
    let mut found = Vec::new();
    for digest in &manifest.schemas {
        let address: [u8; 32] = hex::decode(digest)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .with_context(|| format!("manifest.json names a bundle `{digest}`, which cannot be"))?;
        let bytes = bundles.get(address).await.context("the backup is damaged")?;
        let bytes = bytes.with_context(|| {
            format!("the backup is damaged: schemas/{digest}.bundle is missing")
        })?;
        found.push((address, bytes));
    }
    let file = dir.join("log");
    let bar = progress::bar("restoring")?;
    let restored = backup::restore(open(&file)?, &data_dir, &|what, n, all| bar.tell(what, n, all))
        .with_context(|| format!("cannot restore {}", file.display()))?;
    if restored.begin.sequence.0 != manifest.sequence {
        bail!("manifest.json is not of this backup: it names fact {}", manifest.sequence);
    }
    let kept = DirectoryStore::open(data_dir.join("schemas"))?;
    for (address, bytes) in found {
        kept.put(address, bytes).await?;
    }
    bar.tell("verifying", 0, 0);
    let verified = log::verify(&data_dir)?;
    bar.finish();
    if let Some(problem) = verified.problems.first() {
        bail!("what was restored does not verify: {problem}");
    }
    report(&manifest, json, "is restored and verified; put secret.key there before you start it")
}

fn open(file: &Path) -> Result<BufReader<File>> {
    let opened = File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(BufReader::with_capacity(1 << 20, opened))
}

fn copy_stopped(data_dir: &Path, file: &Path) -> Result<()> {
    super::log::require_log(data_dir)?;
    let bar = progress::bar("copying")?;
    let out = BufWriter::with_capacity(1 << 20, File::create_new(file)?);
    backup::of_stopped(data_dir, out, &|what, n, all| bar.tell(what, n, all))
        .with_context(|| format!("cannot take a backup of {}", data_dir.display()))?;
    File::open(file)?.sync_all()?;
    bar.finish();
    Ok(())
}

async fn copy_running(server: &ServerArgs, file: &Path) -> Result<()> {
    let locator = Locator::find(server).await?;
    // Exposed to be sent.
    let bearer = format!("Bearer {}", locator.key(server).await?.expose());
    let request = Request::get(format!("{}/api/backup", locator.http))
        .header(http::header::AUTHORIZATION, bearer)
        .body(Bytes::new())?;
    let bar = progress::bar("copying")?;
    let mut out = BufWriter::with_capacity(1 << 20, File::create_new(file)?);
    let mut received = 0;
    http_client::stream(request, |piece| {
        received += piece.len() as u64;
        bar.tell("bytes copied", received, 0);
        Ok(out.write_all(piece)?)
    })
    .await?;
    out.into_inner().map_err(|error| error.into_error())?.sync_all()?;
    bar.finish();
    Ok(())
}

/// Where the bundles of contracts come from.
enum Bundles {
    Server(Box<Remote>),
    Directory(DirectoryStore),
}

impl Bundles {
    async fn of(args: &BackupArgs) -> Result<Self> {
        Ok(match &args.data_dir {
            Some(data_dir) => Self::Directory(DirectoryStore::open(data_dir.join("schemas"))?),
            None => Self::Server(Box::new(Remote::find(&args.server).await?)),
        })
    }

    async fn get(&self, version: &SchemaVersion) -> Result<Bytes> {
        match self {
            Self::Server(remote) => {
                let bundle = remote.schema_version(&version.uri, version.number()).await?;
                Ok(schema_registry::encoded(&bundle)?)
            }
            Self::Directory(store) => {
                let bytes = store.get(version.digest).await?;
                bytes.context("its bundle is not in the data directory")
            }
        }
    }
}

fn manifest(
    checked: &Restored,
    log_bytes: u64,
    schemas: Vec<String>,
    missing_schemas: Vec<String>,
) -> Manifest {
    Manifest {
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        sequence: checked.begin.sequence.0,
        facts: checked.contents.facts,
        payloads: checked.contents.payloads,
        secrets: checked.contents.secrets,
        log_bytes,
        schemas,
        missing_schemas,
        left_out: LEFT_OUT.map(str::to_owned).to_vec(),
    }
}

fn write_manifest(dir: &Path, manifest: &Manifest) -> Result<()> {
    let unfinished = dir.join("manifest.tmp");
    let mut file = File::create_new(&unfinished)?;
    file.write_all(&serde_json::to_vec_pretty(manifest)?)?;
    file.sync_all()?;
    fs::rename(unfinished, dir.join("manifest.json"))?;
    Ok(File::open(dir)?.sync_all()?)
}

fn read_manifest(dir: &Path) -> Result<Manifest> {
    let file = dir.join("manifest.json");
    let text = fs::read(&file).with_context(|| {
        format!("{} is no complete backup: manifest.json cannot be read", dir.display())
    })?;
    let manifest: Manifest = serde_json::from_slice(&text)
        .with_context(|| format!("the backup is damaged: {}", file.display()))?;
    if manifest.version > VERSION {
        let found = manifest.version;
        bail!("the backup has version {found}, and this program reads up to {VERSION}");
    }
    Ok(manifest)
}

fn report(manifest: &Manifest, json: bool, done: &str) -> Result<()> {
    if json {
        return output::json(manifest);
    }
    for missing in &manifest.missing_schemas {
        output::line(&format!("without the contract {missing}"))?;
    }
    let Manifest { sequence, facts, payloads, secrets, .. } = manifest;
    let schemas = manifest.schemas.len();
    output::line(&format!(
        "ok: fact {sequence} and all before it: {facts} facts, {payloads} payloads, {secrets} sealed \
         secrets, {schemas} contracts; left out: {}",
        manifest.left_out.join(", ")
    ))?;
    output::line(done)
}

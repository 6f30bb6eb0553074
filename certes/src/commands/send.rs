//! `certes send`: signs and posts a webhook as a third party would.

use crate::{cli::ServerArgs, client::Locator, http_client, remote::Remote};
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Args;
use contract::{
    clock::{Clock, SystemClock},
    secret::Secret,
    source::{Scheme, SourceSpec},
};
use gateway::sign::{Outgoing, sign};
use http::Request;
use std::{io::Read, path::PathBuf};

/// `certes send`
#[derive(Debug, Args)]
pub struct SendArgs {
    /// Name of the source, as in `github`
    pub source: String,
    /// Name of the event, as the third party calls it, as in `push`
    pub event: String,
    /// The payload; `-` reads standard input
    pub file: PathBuf,
    /// How to sign [default: as the server says of the source, else as its name does, else
    /// standard-webhooks]
    #[arg(long, value_name = "SCHEME")]
    pub verify: Option<contract::source::Scheme>,
    /// File with the source's secret; or the variable CERTES_SOURCE_SECRET holds it [default:
    /// SOURCE.secret in the server's data directory]
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// The secret itself; only as a variable
    #[arg(
        long = "secret-from-environment",
        env = "CERTES_SOURCE_SECRET",
        hide = true,
        hide_env_values = true
    )]
    pub secret: Option<String>,
    /// The URL that the third party was given, for schemes that sign it [default: as the server
    /// says of the source]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Media type of the payload
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    pub content_type: String,
    /// Delivery id [default: a new one]
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// Server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Runs the command.
pub async fn run(args: SendArgs) -> Result<()> {
    let locator = Locator::find(&args.server).await?;
    let body = read(&args)?;
    let spec = spec(&args, &locator).await;
    let secret = match spec.verify {
        Scheme::None => None,
        _ => Some(find_secret(&args, &locator)?),
    };
    let id = args.id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let outgoing = Outgoing {
        id: &id,
        event: &args.event,
        content_type: &args.content_type,
        body: &body,
        now: SystemClock.now(),
    };
    let signed = sign(&spec, secret.as_ref(), outgoing).await.map_err(anyhow::Error::msg)?;
    let query = signed.query.map(|query| format!("?{query}")).unwrap_or_default();
    let uri = format!("{}/events/{}{query}", locator.http, args.source);
    let mut request = Request::post(&uri).header("content-type", &args.content_type).body(body)?;
    request.headers_mut().extend(signed.headers);
    let response = http_client::call(request).await?;
    let answer = String::from_utf8_lossy(response.body()).into_owned();
    if args.server.json {
        crate::output::line(&answer)?;
    } else {
        crate::output::line(&format!("{} {answer}", response.status()))?;
    }
    if !response.status().is_success() {
        bail!("the server did not take the event");
    }
    Ok(())
}

/// What is known of the source: from the server, if it tells holders of this key; what was given
/// with the command counts more.
async fn spec(args: &SendArgs, locator: &Locator) -> SourceSpec {
    let known = known(args, locator).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "the server does not tell of its sources");
        None
    });
    let by_name = match args.source.as_str() {
        "github" => Scheme::Github,
        _ => Scheme::StandardWebhooks,
    };
    let mut spec = match (known, args.verify) {
        (Some(known), verify) if verify.is_none_or(|verify| verify == known.verify) => known,
        (_, verify) => SourceSpec::new(&args.source, verify.unwrap_or(by_name), ""),
    };
    if let Some(url) = &args.public_url {
        spec.public_url = Some(url.clone());
    }
    spec
}

async fn known(args: &SendArgs, locator: &Locator) -> Result<Option<SourceSpec>> {
    let remote = Remote::connect(&locator.http, locator.key(&args.server).await?).await?;
    let sources = remote.sources().await?;
    Ok(sources.into_iter().map(|source| source.spec).find(|spec| spec.name == args.source))
}

fn read(args: &SendArgs) -> Result<Bytes> {
    if args.file.as_os_str() == "-" {
        let mut body = Vec::new();
        std::io::stdin().read_to_end(&mut body)?;
        return Ok(body.into());
    }
    let body = std::fs::read(&args.file);
    Ok(body.with_context(|| format!("cannot read {}", args.file.display()))?.into())
}

fn find_secret(args: &SendArgs, locator: &Locator) -> Result<Secret> {
    if let Some(secret) = &args.secret {
        return Ok(Secret::new(secret));
    }
    let file = match &args.secret_file {
        Some(file) => file.clone(),
        None => locator.data_dir.join(format!("{}.secret", args.source)),
    };
    let text = std::fs::read_to_string(&file).with_context(|| {
        format!(
            "cannot read the secret of `{}` from {}; give --secret-file or set \
             CERTES_SOURCE_SECRET",
            args.source,
            file.display()
        )
    })?;
    Ok(Secret::new(text.trim()))
}

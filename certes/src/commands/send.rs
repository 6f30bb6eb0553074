//! `certes send`: signs and posts a webhook as a third party would.

use crate::{cli::ServerArgs, client::Locator, http_client};
use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::Args;
use contract::{
    clock::{Clock, SystemClock, Timestamp},
    secret::Secret,
    source::Scheme,
};
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, StatusCode};
use sha2::Sha256;
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
    /// How to sign [default: as the source's name says, else standard-webhooks]
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
    let scheme = args.verify.unwrap_or(match args.source.as_str() {
        "github" => Scheme::Github,
        _ => Scheme::StandardWebhooks,
    });
    let secret = match scheme {
        Scheme::None => None,
        Scheme::Github | Scheme::StandardWebhooks => Some(find_secret(&args, &locator)?),
    };
    let uri = format!("{}/events/{}", locator.http, args.source);
    let request = Request::post(&uri).header("content-type", "application/json");
    let id = args.id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    let signed = Signed { id: &id, event: &args.event, body: &body, now: SystemClock.now() };
    let request = signed.headers(scheme, secret.as_ref(), request)?.body(body.clone())?;
    let response = http_client::call(request).await?;
    let answer = String::from_utf8_lossy(response.body()).into_owned();
    if args.server.json {
        crate::output::line(&answer)?;
    } else {
        crate::output::line(&format!("{} {answer}", response.status()))?;
    }
    if response.status() != StatusCode::ACCEPTED {
        bail!("the server did not take the event");
    }
    Ok(())
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

/// What is signed.
struct Signed<'a> {
    id: &'a str,
    event: &'a str,
    body: &'a [u8],
    now: Timestamp,
}

impl Signed<'_> {
    /// The headers that the third party of this scheme sends.
    fn headers(
        &self,
        scheme: Scheme,
        secret: Option<&Secret>,
        request: http::request::Builder,
    ) -> Result<http::request::Builder> {
        Ok(match (scheme, secret) {
            (Scheme::Github, Some(secret)) => {
                let signature = hex::encode(hmac(secret.expose().as_bytes(), &[self.body]));
                request
                    .header("user-agent", "GitHub-Hookshot/certes")
                    .header("x-github-event", self.event)
                    .header("x-github-delivery", self.id)
                    .header("x-hub-signature-256", format!("sha256={signature}"))
            }
            (Scheme::StandardWebhooks, Some(secret)) => {
                let key = secret.webhook_key().context("the secret is no `whsec_` and base64")?;
                let time = self.now.unix_seconds().to_string();
                let parts = [self.id.as_bytes(), b".", time.as_bytes(), b".", self.body];
                let signature = STANDARD.encode(hmac(&key, &parts));
                request
                    .header("webhook-id", self.id)
                    .header("webhook-timestamp", time)
                    .header("webhook-signature", format!("v1,{signature}"))
                    .header("webhook-event", self.event)
            }
            (Scheme::None, _) => request.header("webhook-event", self.event),
            (_, None) => bail!("`{scheme}` needs a secret"),
        })
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104)")]
fn hmac(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any key length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

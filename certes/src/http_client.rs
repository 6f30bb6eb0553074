//! A small HTTP client for the command line: one request, one answer, deadlines.

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::time::Duration;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How large an answer may be, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long each next piece of a long answer may take.
const PIECE_DEADLINE: Duration = Duration::from_secs(60);

/// Sends a request and reads the whole answer.
pub async fn call(request: Request<Bytes>) -> Result<Response<Bytes>> {
    call_within(request, DEADLINE).await
}

/// The same, where the whole answer may take `limit`.
pub async fn call_within(request: Request<Bytes>, limit: Duration) -> Result<Response<Bytes>> {
    let uri = request.uri().clone();
    let exchange = async {
        let response = send(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow!("{error}"))?.to_bytes();
        anyhow::Ok(Response::from_parts(head, body))
    };
    tokio::time::timeout(limit, exchange)
        .await
        .with_context(|| format!("{uri} did not answer within {limit:?}"))?
        .with_context(|| format!("cannot reach {uri}"))
}

/// Sends a request and hands on its answer, which may be long, as it comes. An answer that is no
/// success, or that breaks off, is an error.
pub async fn stream(
    request: Request<Bytes>,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let uri = request.uri().clone();
    let response = tokio::time::timeout(DEADLINE, send(request))
        .await
        .with_context(|| format!("{uri} did not answer within {DEADLINE:?}"))?
        .with_context(|| format!("cannot reach {uri}"))?;
    let (head, mut body) = response.into_parts();
    if !head.status.is_success() {
        let text = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let text = text.map_err(|error| anyhow!("{error}"))?.to_bytes();
        bail!("{uri}: {}: {}", head.status, String::from_utf8_lossy(&text));
    }
    loop {
        let frame = tokio::time::timeout(PIECE_DEADLINE, body.frame())
            .await
            .with_context(|| format!("{uri} went silent for {PIECE_DEADLINE:?}"))?;
        let Some(frame) = frame else { return Ok(()) };
        let frame = frame.with_context(|| format!("the answer of {uri} broke off"))?;
        if let Some(piece) = frame.data_ref() {
            take(piece)?;
        }
    }
}

async fn send(request: Request<Bytes>) -> Result<Response<Incoming>> {
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_all_versions()
        .build();
    let client = Client::builder(TokioExecutor::new()).build(connector);
    Ok(client.request(request.map(Full::new)).await?)
}

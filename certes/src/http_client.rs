//! A small HTTP client for the command line: one request, one answer, a deadline.

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::time::Duration;

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How large an answer may be, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Sends a request and reads the whole answer.
pub async fn call(request: Request<Bytes>) -> Result<Response<Bytes>> {
    let uri = request.uri().clone();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_all_versions()
        .build();
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let exchange = async {
        let response = client.request(request.map(Full::new)).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow!("{error}"))?.to_bytes();
        anyhow::Ok(Response::from_parts(head, body))
    };
    tokio::time::timeout(DEADLINE, exchange)
        .await
        .with_context(|| format!("{uri} did not answer within {DEADLINE:?}"))?
        .with_context(|| format!("cannot reach {uri}"))
}

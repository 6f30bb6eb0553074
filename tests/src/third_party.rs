//! Third parties: they sign as the real ones do.

use crate::{
    GITHUB_SECRET,
    http::{Answer, post},
};
use anyhow::Result;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Posts a webhook as GitHub does (docs.github.com, "Validating webhook deliveries").
pub async fn github(base: &str, event: &str, delivery: &str, body: &[u8]) -> Result<Answer> {
    let mut mac = Hmac::<Sha256>::new_from_slice(GITHUB_SECRET.as_bytes())?;
    mac.update(body);
    let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
    let headers = [
        ("content-type", "application/json"),
        ("user-agent", "GitHub-Hookshot/044aadd"),
        ("x-github-event", event),
        ("x-github-delivery", delivery),
        ("x-hub-signature-256", &signature),
    ];
    post(&format!("{base}/events/github"), &headers, body.to_vec()).await
}

/// Posts a webhook that the `standardwebhooks` crate signed.
pub async fn standard_webhook(
    base: &str,
    source: &str,
    secret: &str,
    (id, timestamp): (&str, i64),
    body: &[u8],
) -> Result<Answer> {
    let signer = standardwebhooks::Webhook::new(secret)?;
    let signature = signer.sign(id, timestamp, body)?;
    let timestamp = timestamp.to_string();
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", id),
        ("webhook-timestamp", &timestamp),
        ("webhook-signature", &signature),
    ];
    post(&format!("{base}/events/{source}"), &headers, body.to_vec()).await
}

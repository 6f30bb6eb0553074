//! The built-in receiver of `certes dev`: an endpoint that verifies each delivery and prints it.

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use contract::{limits::BODY_BYTES_MAX_GITHUB, secret::Secret};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, StatusCode};
use sha2::Sha256;
use std::sync::Arc;

/// Something to tell about a delivery.
pub type Printer = Arc<dyn Fn(&str) + Send + Sync>;

/// Routes of a receiver that verifies with `secret` (Standard Webhooks 1.0.0, `v1`).
pub fn router(secret: Secret, printer: Printer) -> Router {
    Router::new()
        .route("/hook", post(receive))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX_GITHUB))
        .with_state((secret, printer))
}

async fn receive(
    State((secret, print)): State<(Secret, Printer)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
    if !verified(&secret, &headers, &body) {
        print(&format!("✗ refused: the signature of {} is wrong", header("webhook-id")));
        return StatusCode::UNAUTHORIZED;
    }
    print(&format!(
        "✓ delivered and verified: {} {}, attempt {}, {} bytes",
        header("certes-event-type"),
        header("webhook-id"),
        header("certes-attempt"),
        body.len()
    ));
    StatusCode::NO_CONTENT
}

/// Does one of the signatures cover `id.timestamp.body`?
fn verified(secret: &Secret, headers: &HeaderMap, body: &[u8]) -> bool {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let signed = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    let (Some(id), Some(time), Some(signatures)) = signed else { return false };
    let Some(Ok(mut mac)) = secret.webhook_key().map(|key| Hmac::<Sha256>::new_from_slice(&key))
    else {
        return false;
    };
    for part in [id.as_bytes(), b".", time.as_bytes(), b".", body] {
        mac.update(part);
    }
    signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,")).any(|signature| {
        STANDARD.decode(signature).is_ok_and(|raw| mac.clone().verify_slice(&raw).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_of_the_field_verifies() {
        // Published by Svix with its worker's tests.
        let secret = Secret::new("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek".parse().unwrap());
        headers.insert("webhook-timestamp", "1614265330".parse().unwrap());
        let signature = "v1a,x v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        headers.insert("webhook-signature", signature.parse().unwrap());
        assert!(verified(&secret, &headers, br#"{"test": 2432232314}"#));
        assert!(!verified(&secret, &headers, br#"{"test": 2432232315}"#));
    }
}

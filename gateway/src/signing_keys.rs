//! `GET /.well-known/webhook-keys/{subscription}`: the public keys by which its receiver verifies
//! `v1a` signatures, for everybody.

use crate::respond;
use axum::{
    Json, Router,
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use contract::{
    Error, ErrorCode,
    id::SubscriptionId,
    rules::{Rules, RulesReceiver},
    subscription::SecretRef,
};
use http::header;
use serde::Serialize;

/// Receivers may hold what they got for so long, in seconds: a key is there before it signs alone.
const CACHED: &str = "public, max-age=300";

/// A JSON Web Key for Ed25519 (RFC 8037), and the same as Standard Webhooks writes it.
#[derive(Debug, Serialize)]
struct Jwk {
    kty: &'static str,
    crv: &'static str,
    r#use: &'static str,
    alg: &'static str,
    kid: String,
    x: String,
    whpk: String,
    /// It signs until then, beside the one that took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

#[derive(Debug, Serialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// The route.
pub(crate) fn router(rules: RulesReceiver) -> Router {
    Router::new().route("/.well-known/webhook-keys/{subscription}", get(answer)).with_state(rules)
}

async fn answer(
    State(rules): State<RulesReceiver>,
    path: Result<Path<String>, PathRejection>,
) -> Response {
    let id = path.ok().and_then(|Path(id)| id.parse::<SubscriptionId>().ok());
    let rules = rules.borrow().clone();
    match id.map(|id| keys(&rules, id)) {
        Some(keys) if !keys.is_empty() => {
            ([(header::CACHE_CONTROL, CACHED)], Json(JwkSet { keys })).into_response()
        }
        _ => {
            let message = "there is no subscription of this id with keys of its own";
            respond::problem(&Error::new(ErrorCode::NotFound, message))
        }
    }
}

fn keys(rules: &Rules, id: SubscriptionId) -> Vec<Jwk> {
    let found = rules.subscriptions.values().find(|subscription| subscription.id == id);
    found.into_iter().flat_map(|found| &found.secrets).filter_map(jwk).collect()
}

fn jwk(secret: &SecretRef) -> Option<Jwk> {
    let whpk = secret.public_key.clone()?;
    let bytes = STANDARD.decode(whpk.strip_prefix("whpk_")?).ok()?;
    Some(Jwk {
        kty: "OKP",
        crv: "Ed25519",
        r#use: "sig",
        alg: "EdDSA",
        kid: secret.fingerprint.clone(),
        x: URL_SAFE_NO_PAD.encode(bytes),
        whpk,
        until: secret.until.map(|until| until.to_string()),
    })
}

//! What is accepted and what is not.

mod vectors;
mod claims;

use super::{Head, Proof, Verifier};
use contract::{
    Result,
    clock::Timestamp,
    secret::Secret,
    source::{Scheme, SourceSpec},
};
use http::{HeaderMap, Method};

/// What the gateway says where a source says nothing.
const TOLERANCE_S: u32 = 300;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())
    };
    pairs.iter().map(pair).collect()
}

fn spec(scheme: Scheme) -> SourceSpec {
    SourceSpec::new("source", scheme, "a/1/b")
}

fn verifier(spec: &SourceSpec, secrets: &[&str]) -> Result<Verifier, String> {
    let secrets: Vec<_> = secrets.iter().map(|text| Secret::new(*text)).collect();
    Verifier::new(spec, secrets.iter(), TOLERANCE_S)
}

async fn check(
    verifier: &Verifier,
    headers: &HeaderMap,
    now_s: i64,
    body: &[u8],
) -> Result<Option<Proof>> {
    let now = Timestamp(now_s * 1_000_000);
    let head = Head { method: &Method::POST, query: None, headers, now };
    match verifier.claim(head)? {
        Some(claim) => verifier.verify(&claim, body).await.map(Some),
        None => Ok(None),
    }
}

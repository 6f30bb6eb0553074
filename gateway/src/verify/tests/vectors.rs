//! Requests that the providers' own libraries have signed (`test-data/signatures`): accepted as
//! they are, refused once a byte is another.

use super::{TOLERANCE_S, spec};
use crate::verify::{Head, Verifier};
use contract::{
    ErrorCode, Result,
    clock::Timestamp,
    secret::Secret,
    source::{Scheme, SourceSpec, Tolerance},
};
use http::{HeaderMap, Method};
use serde::Deserialize;
use std::collections::BTreeMap;

const FILES: [&str; 2] = [
    include_str!("../../../test-data/signatures/python.json"),
    include_str!("../../../test-data/signatures/javascript.json"),
];

#[derive(Debug, Clone, Deserialize)]
struct Vector {
    scheme: Scheme,
    by: String,
    secret: String,
    method: String,
    url: String,
    public_url: Option<String>,
    now_s: i64,
    headers: BTreeMap<String, String>,
    signature_header: String,
    time_header: Option<String>,
    body: String,
}

fn vectors() -> Vec<Vector> {
    FILES.iter().flat_map(|file| serde_json::from_str::<Vec<Vector>>(file).unwrap()).collect()
}

impl Vector {
    fn spec(&self) -> SourceSpec {
        SourceSpec { public_url: self.public_url.clone(), ..spec(self.scheme) }
    }

    async fn check(&self) -> Result<()> {
        self.check_with(&self.spec(), &[&self.secret]).await
    }

    async fn check_with(&self, spec: &SourceSpec, secrets: &[&str]) -> Result<()> {
        let secrets: Vec<_> = secrets.iter().map(|text| Secret::new(*text)).collect();
        let verifier = Verifier::new(spec, secrets.iter(), TOLERANCE_S).unwrap();
        let pair = |(name, value): (&String, &String)| {
            (name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap())
        };
        let headers: HeaderMap = self.headers.iter().map(pair).collect();
        let method: Method = self.method.parse().unwrap();
        let query = self.url.split_once('?').map(|(_, query)| query);
        let now = Timestamp(self.now_s * 1_000_000);
        let head = Head { method: &method, query, headers: &headers, now };
        let claim = verifier.claim(head)?.expect("every vector proves something");
        verifier.verify(&claim, self.body.as_bytes()).await.map(drop)
    }

    async fn refused(&self, what: &str) {
        let found = self.check().await;
        let code = found.as_ref().map_err(|error| error.code);
        assert_eq!(code, Err(ErrorCode::InvalidSignature), "{what}: {self:?}");
    }
}

/// Every text that differs from `text` in one character; none of them is another way to write it.
fn changed(text: &str) -> impl Iterator<Item = String> {
    let other = |c: char| match c {
        '0'..='8' | 'a'..='y' | 'A'..='Y' => char::from(u8::try_from(c).unwrap() + 1),
        '9' => '0',
        _ => 'x',
    };
    let at = text.char_indices().map(move |(at, c)| (at, c, other(c)));
    at.map(|(at, c, other)| {
        let mut text = text.to_owned();
        text.replace_range(at..at + c.len_utf8(), other.encode_utf8(&mut [0; 4]));
        text
    })
}

#[tokio::test]
async fn each_is_accepted_as_it_is_and_under_each_of_several_secrets() {
    let vectors = vectors();
    let other = |scheme: Scheme| match scheme {
        Scheme::StandardWebhooks => "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        Scheme::Discord => "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        Scheme::Sendgrid => {
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
        }
        _ => "other:secret",
    };
    for vector in &vectors {
        vector.check().await.unwrap_or_else(|error| panic!("{error}: {vector:?}"));
        let (spec, secret) = (vector.spec(), vector.secret.as_str());
        let other = other(vector.scheme);
        for secrets in [[other, secret], [secret, other]] {
            vector.check_with(&spec, &secrets).await.unwrap();
        }
        vector.check_with(&spec, &[other]).await.unwrap_err();
    }
    let kept = |scheme: &Scheme| vectors.iter().any(|vector| vector.scheme == *scheme);
    let described =
        [Scheme::Hmac, Scheme::Basic, Scheme::ApiKey, Scheme::MicrosoftGraph, Scheme::None];
    let missing: Vec<_> = Scheme::ALL.iter().filter(|scheme| !kept(scheme)).collect();
    assert!(missing.iter().all(|scheme| described.contains(scheme)), "{missing:?}");
    let by = vectors.iter().filter(|vector| vector.by != "formula");
    assert!(by.count() >= 25);
}

#[tokio::test]
async fn one_changed_byte_of_the_body_is_refused() {
    for vector in vectors().iter().filter(|vector| vector.scheme.facts().signs) {
        for body in changed(&vector.body) {
            Vector { body, ..vector.clone() }.refused("body").await;
        }
        for body in [format!("{} ", vector.body), String::new()] {
            Vector { body, ..vector.clone() }.refused("body").await;
        }
    }
}

#[tokio::test]
async fn one_changed_byte_of_the_signature_the_time_or_what_else_is_signed_is_refused() {
    for vector in vectors() {
        let mut names = vec![vector.signature_header.clone()];
        names.extend(vector.time_header.clone());
        names.extend(["webhook-id", "svix-id", "x-event-id", "x-event-type"].map(str::to_owned));
        let signed =
            vector.headers.contains_key("webhook-signature") || vector.scheme != Scheme::Gitlab;
        names.retain(|name| signed || *name == vector.signature_header);
        for name in names.iter().filter(|name| vector.headers.contains_key(*name)) {
            for value in changed(&vector.headers[name]) {
                let mut changed = vector.clone();
                changed.headers.insert(name.clone(), value);
                changed.refused(name).await;
            }
            let mut missing = vector.clone();
            missing.headers.remove(name);
            missing.refused(name).await;
        }
    }
}

#[tokio::test]
async fn one_changed_byte_of_the_secret_is_refused() {
    for vector in vectors() {
        // The first part is for a challenge, and no part of the key.
        let at = vector.secret.rfind(':').map_or(0, |colon| colon + 1);
        let (before, key) = vector.secret.split_at(at);
        for key in changed(key) {
            let secret = Secret::new(format!("{before}{key}"));
            if vector.scheme.check_secret(&secret).is_ok() {
                Vector { secret: secret.expose().to_owned(), ..vector.clone() }
                    .refused("key")
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn the_method_and_the_url_count_where_they_are_signed() {
    for vector in vectors().iter().filter(|vector| vector.scheme.facts().signs_url) {
        let url = vector.public_url.clone().unwrap();
        for url in [format!("{url}/"), url.replace("https", "http"), url.replace("in.", "out.")] {
            Vector { public_url: Some(url), ..vector.clone() }.refused("URL").await;
        }
        let with_method = [Scheme::Hubspot, Scheme::HubspotV2];
        if with_method.contains(&vector.scheme) {
            Vector { method: "PUT".into(), ..vector.clone() }.refused("method").await;
        }
        if vector.scheme != Scheme::Square {
            let more = if vector.url.contains('?') { "&x=1" } else { "?x=1" };
            Vector { url: format!("{}{more}", vector.url), ..vector.clone() }
                .refused("query")
                .await;
        }
    }
}

#[tokio::test]
async fn a_signed_time_holds_both_ways_for_as_long_as_the_scheme_says() {
    for vector in vectors() {
        let timed = vector.time_header.is_some() || vector.scheme == Scheme::Linear;
        let tolerance = match vector.scheme.facts().tolerance {
            Tolerance::Gateway if timed => i64::from(TOLERANCE_S),
            Tolerance::Seconds(seconds) => i64::from(seconds),
            Tolerance::Gateway | Tolerance::Any => {
                let later = Vector { now_s: vector.now_s + 10 * 365 * 86_400, ..vector.clone() };
                later.check().await.unwrap();
                if !timed {
                    continue;
                }
                60
            }
        };
        let spec = SourceSpec { tolerance_s: Some(60), ..vector.spec() };
        for way in [-1, 1] {
            if vector.scheme.facts().tolerance != Tolerance::Any {
                let now_s = vector.now_s + way * tolerance;
                Vector { now_s, ..vector.clone() }.check().await.unwrap();
                Vector { now_s: now_s + way, ..vector.clone() }.refused("time").await;
            }
            let late = Vector { now_s: vector.now_s + way * 61, ..vector.clone() };
            late.check_with(&spec, &[&vector.secret]).await.unwrap_err();
        }
    }
}

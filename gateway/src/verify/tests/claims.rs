//! Claims: published vectors, what cannot be right, and proofs that a source describes itself.

use super::{check, headers, spec, verifier};
use crate::verify::{Claim, Head, Verifier, key::HASHED_AT_ONCE_BYTES};
use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{
    ErrorCode, Result,
    clock::Timestamp,
    source::{Algorithm, Encoding, Scheme, SignatureRule, SourceSpec, TimeUnit},
};
use http::{HeaderMap, Method};
use ring::{
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};

type Header = (&'static str, &'static str);

const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn claim(verifier: &Verifier, headers: &HeaderMap) -> Result<Option<Claim>> {
    let now = Timestamp(0);
    verifier.claim(Head { method: &Method::POST, query: None, headers, now })
}

fn mac(algorithm: hmac::Algorithm, content: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(algorithm, b"s"), content).as_ref().to_vec()
}

/// The test values that docs.github.com publishes in "Validating webhook deliveries".
#[tokio::test]
async fn github_published_vector() {
    let verifier = verifier(&spec(Scheme::Github), &["It's a Secret to Everybody"]).unwrap();
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let signed = headers(&[("x-hub-signature-256", signature)]);
    check(&verifier, &signed, 0, b"Hello, World!").await.unwrap();
    let error = check(&verifier, &signed, 0, b"Hello, World?").await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidSignature);
    assert!(!error.message.contains("757107ea"), "{error}");
}

/// The vector that Svix publishes in the tests of its server.
#[tokio::test]
async fn standard_webhooks_published_vector() {
    let verifier = verifier(&spec(Scheme::StandardWebhooks), &[WHSEC]).unwrap();
    for prefix in ["webhook", "svix"] {
        let names = ["id", "timestamp", "signature"].map(|name| format!("{prefix}-{name}"));
        let values = [
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            "v1,AAAA v1a,x v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ];
        let signed = names
            .iter()
            .zip(values)
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        let body = br#"{"test": 2432232314}"#;
        for now_s in [1_614_265_330 - 300, 1_614_265_330, 1_614_265_330 + 300] {
            check(&verifier, &signed, now_s, body).await.unwrap();
        }
        for now_s in [1_614_265_330 - 301, 1_614_265_330 + 301] {
            let error = check(&verifier, &signed, now_s, body).await.unwrap_err();
            assert!(error.message.contains("300 s"), "{error}");
        }
        assert!(check(&verifier, &signed, 1_614_265_330, b"{}").await.is_err());
    }
}

#[test]
fn claims_that_cannot_be_right_are_refused_before_the_body() {
    let github = verifier(&spec(Scheme::Github), &["s"]).unwrap();
    for value in ["", "sha256=", "sha1=00", "sha256=zz", "757107ea"] {
        let error = claim(&github, &headers(&[("x-hub-signature-256", value)]));
        assert_eq!(error.unwrap_err().code, ErrorCode::InvalidSignature, "{value}");
    }
    assert!(claim(&github, &HeaderMap::new()).is_err());

    let standard = verifier(&spec(Scheme::StandardWebhooks), &[WHSEC]).unwrap();
    let rows = [
        ("a.b", "0", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "dot"),
        ("a", "now", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "unix seconds"),
        ("a", "9223372036854775807", "v1,AA==", "300 s"),
        ("a", "-9223372036854775808", "v1,AA==", "300 s"),
        ("a", "0", "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "v1,BASE64"),
        ("", "0", "v1,AA==", "webhook-id"),
    ];
    for (id, timestamp, signature, why) in rows {
        let given = headers(&[
            ("webhook-id", id),
            ("webhook-timestamp", timestamp),
            ("webhook-signature", signature),
        ]);
        let error = claim(&standard, &given).unwrap_err();
        assert!(error.message.contains(why), "{error}");
    }
}

#[test]
fn a_source_without_usable_secrets_is_broken_and_not_open() {
    for scheme in Scheme::ALL {
        assert_eq!(verifier(&spec(*scheme), &[]).is_ok(), *scheme == Scheme::None, "{scheme}");
    }
    assert!(verifier(&spec(Scheme::StandardWebhooks), &["not base64!"]).is_err());
    assert!(verifier(&spec(Scheme::Github), &[""]).is_err());
}

#[tokio::test]
async fn large_bodies_are_hashed_whole() {
    let github = verifier(&spec(Scheme::Github), &["s"]).unwrap();
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let public = hex::encode(pair.public_key());
    let discord = verifier(&spec(Scheme::Discord), &[&public]).unwrap();

    let mut body = vec![7; 3 * HASHED_AT_ONCE_BYTES + 5];
    let hub = format!("sha256={}", hex::encode(mac(hmac::HMAC_SHA256, &body)));
    let ed25519 = hex::encode(pair.sign(&[b"0", &body[..]].concat()));
    let signed = headers(&[
        ("x-hub-signature-256", &hub),
        ("x-signature-timestamp", "0"),
        ("x-signature-ed25519", &ed25519),
    ]);
    for verifier in [&github, &discord] {
        check(verifier, &signed, 0, &body).await.unwrap();
    }
    *body.last_mut().unwrap() = 8;
    for verifier in [&github, &discord] {
        check(verifier, &signed, 0, &body).await.unwrap_err();
    }
}

/// A rule, the headers that fit it, and what is signed.
fn described() -> Vec<(SignatureRule, Vec<Header>, &'static str)> {
    let some = |text: &str| Some(text.to_owned());
    vec![
        (SignatureRule::default(), vec![], "body"),
        (
            SignatureRule {
                header: some("x-shop-signature"),
                prefix: some("v1="),
                algorithm: Algorithm::Sha384,
                encoding: Encoding::Base64,
                content: some("{id}.{timestamp}.{body}"),
                id_header: some("x-shop-id"),
                timestamp_header: some("x-shop-time"),
                timestamp_unit: TimeUnit::Milliseconds,
            },
            vec![("x-shop-id", "d1"), ("x-shop-time", "1000000")],
            "d1.1000000.body",
        ),
        (
            SignatureRule {
                algorithm: Algorithm::Sha512,
                content: some("{body}|{method} {url}"),
                ..SignatureRule::default()
            },
            vec![],
            "body|POST https://in.example.com/x",
        ),
        (SignatureRule { algorithm: Algorithm::Sha1, ..SignatureRule::default() }, vec![], "body"),
    ]
}

#[tokio::test]
async fn a_described_signature_is_made_as_it_is_described() {
    for (rule, given, content) in described() {
        let spec = SourceSpec {
            signature: Some(Box::new(rule.clone())),
            public_url: Some("https://in.example.com/x".to_owned()),
            ..spec(Scheme::Hmac)
        };
        let verifier = verifier(&spec, &["other", "s"]).unwrap();
        let algorithm = match rule.algorithm {
            Algorithm::Sha256 => hmac::HMAC_SHA256,
            Algorithm::Sha384 => hmac::HMAC_SHA384,
            Algorithm::Sha512 => hmac::HMAC_SHA512,
            Algorithm::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        };
        let digest = mac(algorithm, content.as_bytes());
        let text = match rule.encoding {
            Encoding::Hex => hex::encode(&digest),
            Encoding::Base64 => STANDARD.encode(&digest),
        };
        let value = format!("{}{text}", rule.prefix.as_deref().unwrap_or(""));
        let name = rule.header.as_deref().unwrap_or("x-signature");
        let with = |value: &str, given: &[(&str, &str)]| {
            let mut all = headers(given);
            all.insert(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
            all
        };
        let good = with(&value, &given);
        check(&verifier, &good, 1000, b"body").await.unwrap();
        assert_eq!(verifier.delivery_id(&good), given.first().map(|(_, id)| *id));
        check(&verifier, &good, 1000, b"bodY").await.unwrap_err();
        check(&verifier, &with(&text[1..], &given), 1000, b"body").await.unwrap_err();
        if rule.timestamp_header.is_some() {
            for now_s in [699, 1301] {
                check(&verifier, &good, now_s, b"body").await.unwrap_err();
            }
            let others = [("x-shop-id", "d2"), ("x-shop-time", "1000000")];
            check(&verifier, &with(&value, &others), 1000, b"body").await.unwrap_err();
        }
    }
}

#[tokio::test]
async fn what_is_shown_is_compared_as_it_is() {
    let basic = verifier(&spec(Scheme::Basic), &["u:other", "user:pass:word"]).unwrap();
    let of = |text: &str| headers(&[("authorization", text)]);
    for good in ["Basic dXNlcjpwYXNzOndvcmQ=", "basic dXNlcjpwYXNzOndvcmQ="] {
        check(&basic, &of(good), 0, b"").await.unwrap();
    }
    for bad in ["Basic dXNlcjpwYXNz", "Basic x", "Bearer dXNlcjpwYXNzOndvcmQ=", "Basic", "é"] {
        let error = check(&basic, &of(bad), 0, b"").await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidSignature, "{bad}");
    }

    let rule = SignatureRule {
        header: Some("authorization".to_owned()),
        prefix: Some("Bearer ".to_owned()),
        ..SignatureRule::default()
    };
    let bearer = SourceSpec { signature: Some(Box::new(rule)), ..spec(Scheme::ApiKey) };
    let bearer = verifier(&bearer, &["k1"]).unwrap();
    check(&bearer, &of("Bearer k1"), 0, b"").await.unwrap();
    for bad in ["Bearer k2", "Bearer k", "k1", "Bearer k12"] {
        check(&bearer, &of(bad), 0, b"").await.unwrap_err();
    }
    let plain = verifier(&spec(Scheme::ApiKey), &["k1", "k2"]).unwrap();
    check(&plain, &headers(&[("x-api-key", "k2")]), 0, b"").await.unwrap();
    check(&plain, &headers(&[("x-api-key", "k3")]), 0, b"").await.unwrap_err();
}

#[tokio::test]
async fn gitlab_with_signing_tokens_alone_takes_no_token_that_is_shown() {
    let signing = verifier(&spec(Scheme::Gitlab), &[WHSEC]).unwrap();
    let shown = headers(&[("x-gitlab-token", WHSEC)]);
    check(&signing, &shown, 0, b"{}").await.unwrap_err();
    let both = verifier(&spec(Scheme::Gitlab), &[WHSEC, "old"]).unwrap();
    check(&both, &headers(&[("x-gitlab-token", "old")]), 0, b"{}").await.unwrap();
}

#[tokio::test]
async fn a_proof_is_the_same_however_it_is_written() {
    let github = verifier(&spec(Scheme::Github), &["other", "s"]).unwrap();
    let digest = hex::encode(mac(hmac::HMAC_SHA256, b"{}"));
    let mut proofs = Vec::new();
    for text in [digest.clone(), digest.to_uppercase()] {
        let signed = headers(&[("x-hub-signature-256", &format!("sha256={text}"))]);
        proofs.push(check(&github, &signed, 0, b"{}").await.unwrap().unwrap().bytes);
    }
    assert_eq!(proofs[0], proofs[1]);
}

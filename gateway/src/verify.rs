//! Proof of who sent a webhook: one signature over the raw bytes, under any valid secret.

use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{Error, ErrorCode, Result, clock::Timestamp, secret::Secret, source::Scheme};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// Signatures looked at in one header; a rotation needs two.
const SIGNATURES_MAX: usize = 16;
/// Bytes hashed before other requests get their turn: about a quarter of a millisecond.
const HASHED_AT_ONCE_BYTES: usize = 256 * 1024;

/// How requests of one source are verified; its keys are set up once.
#[derive(Clone)]
pub(crate) struct Verifier {
    scheme: Scheme,
    keys: Vec<Hmac<Sha256>>,
    tolerance_s: u32,
}

/// What the headers of a request claim, before its body is read.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The signed bytes before the body.
    prefix: Vec<u8>,
    /// The signatures; one of them must be right.
    digests: Vec<[u8; 32]>,
    /// The header that carried them.
    header: &'static str,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier with every valid secret of a source, or a sentence on what is wrong with them.
    pub(crate) fn new<'a>(
        scheme: Scheme,
        secrets: impl Iterator<Item = &'a Secret>,
        tolerance_s: u32,
    ) -> Result<Self, String> {
        let key = |secret: &Secret| {
            let bytes = match scheme {
                Scheme::StandardWebhooks => secret.webhook_key(),
                // GitHub takes the characters of its secret as they are.
                Scheme::Github | Scheme::None => Some(secret.expose().as_bytes().to_vec()),
            };
            bytes.and_then(|bytes| Hmac::new_from_slice(&bytes).ok()).ok_or_else(|| {
                format!("the secret {} is not `whsec_` and base64", secret.fingerprint())
            })
        };
        let keys = secrets.map(key).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() && scheme != Scheme::None {
            return Err(format!("it verifies by `{scheme}` and has no secret"));
        }
        Ok(Self { scheme, keys, tolerance_s })
    }

    /// Reads the claim from the headers; None where nothing needs to be proved. What is missing or
    /// out of date is refused here, before the body costs anything.
    pub(crate) fn claim(&self, headers: &HeaderMap, now: Timestamp) -> Result<Option<Claim>> {
        match self.scheme {
            Scheme::None => Ok(None),
            Scheme::Github => github(headers).map(Some),
            Scheme::StandardWebhooks => self.standard_webhooks(headers, now).map(Some),
        }
    }

    /// Is one of the claimed signatures right, under one of the keys? In constant time.
    pub(crate) async fn verify(&self, claim: &Claim, body: &[u8]) -> Result<()> {
        let mut right = Choice::from(0);
        for key in &self.keys {
            let mut mac = key.clone();
            mac.update(&claim.prefix);
            let mut pieces = body.chunks(HASHED_AT_ONCE_BYTES).peekable();
            while let Some(piece) = pieces.next() {
                mac.update(piece);
                if pieces.peek().is_some() {
                    tokio::task::yield_now().await;
                }
            }
            let digest = mac.finalize().into_bytes();
            for claimed in &claim.digests {
                right |= digest.as_slice().ct_eq(claimed);
            }
        }
        if right.into() {
            return Ok(());
        }
        let header = claim.header;
        Err(refuse(format!("`{header}` does not fit the body under any secret of the source")))
    }

    /// The key against repeats that the scheme itself provides.
    pub(crate) fn delivery_id<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        match self.scheme {
            Scheme::Github => text(headers, "x-github-delivery"),
            Scheme::StandardWebhooks => {
                let [id, ..] = webhook_names(headers);
                text(headers, id)
            }
            Scheme::None => None,
        }
    }

    /// Standard Webhooks 1.0.0: base64 of HMAC-SHA256 over `id.timestamp.body`.
    fn standard_webhooks(&self, headers: &HeaderMap, now: Timestamp) -> Result<Claim> {
        let [id_name, timestamp_name, signature_name] = webhook_names(headers);
        let id = required(headers, id_name)?;
        let timestamp = required(headers, timestamp_name)?;
        let signatures = required(headers, signature_name)?;
        if id.contains('.') {
            // The dot separates what is signed: an id with one could borrow from its neighbours.
            return Err(refuse(format!("`{id_name}` must not contain a dot")));
        }
        let seconds: i64 = timestamp
            .parse()
            .map_err(|_digits| refuse(format!("`{timestamp_name}` is not whole unix seconds")))?;
        if seconds.abs_diff(now.unix_seconds()) > u64::from(self.tolerance_s) {
            let tolerance = self.tolerance_s;
            let message = format!("`{timestamp_name}` is more than {tolerance} s from now");
            return Err(refuse(message));
        }
        let v1 = signatures.split(' ').filter_map(|item| item.strip_prefix("v1,"));
        let digests = v1.filter_map(|text| STANDARD.decode(text).ok()?.try_into().ok());
        let digests: Vec<_> = digests.take(SIGNATURES_MAX).collect();
        if digests.is_empty() {
            return Err(refuse(format!("`{signature_name}` has no signature `v1,BASE64`")));
        }
        let prefix = format!("{id}.{timestamp}.").into_bytes();
        Ok(Claim { prefix, digests, header: signature_name })
    }
}

/// GitHub: hex of HMAC-SHA256 over the body (docs.github.com, "Validating webhook deliveries").
fn github(headers: &HeaderMap) -> Result<Claim> {
    let header = "x-hub-signature-256";
    let value = required(headers, header)?;
    let digest = value.strip_prefix("sha256=").and_then(|text| {
        let mut digest = [0; 32];
        hex::decode_to_slice(text, &mut digest).ok().map(|()| digest)
    });
    let digest = digest.ok_or_else(|| {
        refuse(format!("`{header}` must have the form `sha256=` and 64 hexadecimal digits"))
    })?;
    Ok(Claim { prefix: Vec::new(), digests: vec![digest], header })
}

/// The headers of Standard Webhooks, or those of Svix where it came from.
fn webhook_names(headers: &HeaderMap) -> [&'static str; 3] {
    if !headers.contains_key("webhook-id") && headers.contains_key("svix-id") {
        ["svix-id", "svix-timestamp", "svix-signature"]
    } else {
        ["webhook-id", "webhook-timestamp", "webhook-signature"]
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().filter(|value| !value.is_empty())
}

fn required<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str> {
    text(headers, name).ok_or_else(|| refuse(format!("the header `{name}` is missing")))
}

fn refuse(message: String) -> Error {
    Error::new(ErrorCode::InvalidSignature, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    async fn check(
        verifier: &Verifier,
        headers: &HeaderMap,
        now_s: i64,
        body: &[u8],
    ) -> Result<()> {
        let claim = verifier.claim(headers, Timestamp(now_s * 1_000_000))?.unwrap();
        verifier.verify(&claim, body).await
    }

    /// The test values that docs.github.com publishes in "Validating webhook deliveries".
    #[tokio::test]
    async fn github_published_vector() {
        let secret = Secret::new("It's a Secret to Everybody");
        let verifier = Verifier::new(Scheme::Github, [&secret].into_iter(), 300).unwrap();
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
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let verifier = Verifier::new(Scheme::StandardWebhooks, [&secret].into_iter(), 300).unwrap();
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
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let github = Verifier::new(Scheme::Github, [&secret].into_iter(), 300).unwrap();
        for value in ["", "sha256=", "sha1=00", "sha256=zz", "757107ea"] {
            let error = github.claim(&headers(&[("x-hub-signature-256", value)]), Timestamp(0));
            assert_eq!(error.unwrap_err().code, ErrorCode::InvalidSignature, "{value}");
        }
        assert!(github.claim(&HeaderMap::new(), Timestamp(0)).is_err());

        let standard = Verifier::new(Scheme::StandardWebhooks, [&secret].into_iter(), 300).unwrap();
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
            let error = standard.claim(&given, Timestamp(0)).unwrap_err();
            assert!(error.message.contains(why), "{error}");
        }
    }

    #[test]
    fn a_source_without_usable_secrets_is_broken_and_not_open() {
        let text = Secret::new("not base64!");
        assert!(Verifier::new(Scheme::StandardWebhooks, [&text].into_iter(), 300).is_err());
        assert!(Verifier::new(Scheme::Github, std::iter::empty(), 300).is_err());
        assert!(Verifier::new(Scheme::None, std::iter::empty(), 300).is_ok());
    }

    #[tokio::test]
    async fn large_bodies_are_hashed_whole() {
        let secret = Secret::new("s");
        let verifier = Verifier::new(Scheme::Github, [&secret].into_iter(), 300).unwrap();
        let mut body = vec![7; 3 * HASHED_AT_ONCE_BYTES + 5];
        let mut mac = Hmac::<Sha256>::new_from_slice(b"s").unwrap();
        mac.update(&body);
        let signature = format!("sha256={}", hex::encode(mac.finalize().into_bytes()));
        let signed = headers(&[("x-hub-signature-256", &signature)]);
        check(&verifier, &signed, 0, &body).await.unwrap();
        *body.last_mut().unwrap() = 8;
        assert!(check(&verifier, &signed, 0, &body).await.is_err());
    }
}

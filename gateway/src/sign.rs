//! Signing as the third parties do, for whoever plays one: the same reading of a request tells what
//! is signed, so what this signs is what `verify` asks for.

use crate::verify::{Head, Verifier};
use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{
    clock::Timestamp,
    secret::Secret,
    source::{Encoding, Scheme, SignatureRule, SourceSpec, TimeUnit},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use ring::digest;

/// A webhook that is to be signed; it is posted.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'o> {
    /// Id of the delivery.
    pub id: &'o str,
    /// What the third party calls the event.
    pub event: &'o str,
    /// Media type of the body.
    pub content_type: &'o str,
    /// The body.
    pub body: &'o [u8],
    /// When it is signed.
    pub now: Timestamp,
}

/// What is sent with the body.
#[derive(Debug)]
pub struct Signed {
    /// Beside `content-type`.
    pub headers: HeaderMap,
    /// What comes after the `?` of the URL, for schemes that say something there.
    pub query: Option<String>,
}

/// The headers that the third party of a source would send, under `secret`. A sentence where it
/// cannot be done: a public key verifies, and signs nothing.
pub async fn sign(
    spec: &SourceSpec,
    secret: Option<&Secret>,
    outgoing: Outgoing<'_>,
) -> Result<Signed, String> {
    let verifier = Verifier::new(spec, secret.into_iter(), u32::MAX)?;
    let query = (spec.verify == Scheme::Twilio && !crate::template::is_form(outgoing.content_type))
        .then(|| format!("bodySHA256={}", hex::encode(sha256(outgoing.body))));
    // What is signed does not depend on the signature: read it with one that says nothing.
    let blank = headers(spec, secret, outgoing, &[0; 32])?;
    let head =
        Head { method: &Method::POST, query: query.as_deref(), headers: &blank, now: outgoing.now };
    let claim = verifier.claim(head).map_err(|error| error.message)?;
    let signature = match claim {
        Some(claim) => verifier.sign(&claim, outgoing.body).await?,
        None => Vec::new(),
    };
    Ok(Signed { headers: headers(spec, secret, outgoing, &signature)?, query })
}

/// All headers, with this signature where it belongs.
fn headers(
    spec: &SourceSpec,
    secret: Option<&Secret>,
    outgoing: Outgoing<'_>,
    signature: &[u8],
) -> Result<HeaderMap, String> {
    let named = named(spec, secret, outgoing, signature);
    let pair = |(name, value): (String, String)| {
        let refuse = |what: &str| format!("`{name}: {value}` is no {what}");
        let header = name.parse::<HeaderName>().map_err(|_name| refuse("header"))?;
        let value = HeaderValue::from_str(&value).map_err(|_value| refuse("header"))?;
        Ok((header, value))
    };
    named.into_iter().map(pair).collect()
}

fn named(
    spec: &SourceSpec,
    secret: Option<&Secret>,
    outgoing: Outgoing<'_>,
    signature: &[u8],
) -> Vec<(String, String)> {
    let shown = secret.map_or("", Secret::expose);
    let headers = match spec.verify {
        Scheme::Hmac | Scheme::ApiKey => {
            let rule = spec.signature.as_deref().cloned().unwrap_or_default();
            return described(spec.verify, &rule, shown, outgoing, signature);
        }
        Scheme::Basic => vec![("authorization", format!("Basic {}", STANDARD.encode(shown)))],
        Scheme::Gitlab if !shown.starts_with("whsec_") => vec![
            ("x-gitlab-event", outgoing.event.to_owned()),
            ("idempotency-key", outgoing.id.to_owned()),
            ("x-gitlab-token", shown.to_owned()),
        ],
        scheme => {
            let mut headers = of_bodies(scheme, outgoing, signature);
            headers.extend(stamped(scheme, outgoing, signature));
            headers
        }
    };
    let event = [("webhook-event", outgoing.event.to_owned())];
    headers.into_iter().chain(event).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Of third parties that sign no time.
fn of_bodies(
    scheme: Scheme,
    outgoing: Outgoing<'_>,
    signature: &[u8],
) -> Vec<(&'static str, String)> {
    let (id, event) = (outgoing.id.to_owned(), outgoing.event.to_owned());
    let (hex, base64) = (hex::encode(signature), STANDARD.encode(signature));
    match scheme {
        Scheme::Github => vec![
            ("user-agent", "GitHub-Hookshot/certes".to_owned()),
            ("x-github-event", event),
            ("x-github-delivery", id),
            ("x-hub-signature-256", format!("sha256={hex}")),
        ],
        Scheme::Meta => vec![("x-hub-signature-256", format!("sha256={hex}"))],
        Scheme::Shopify => vec![
            ("x-shopify-topic", event),
            ("x-shopify-webhook-id", id),
            ("x-shopify-hmac-sha256", base64),
        ],
        Scheme::Twilio => {
            vec![("i-twilio-idempotency-token", id), ("x-twilio-signature", base64)]
        }
        Scheme::Square => vec![("x-square-hmacsha256-signature", base64)],
        Scheme::HubspotV1 | Scheme::HubspotV2 => vec![("x-hubspot-signature", hex)],
        Scheme::Linear => vec![("linear-delivery", id), ("linear-signature", hex)],
        Scheme::X => vec![("x-twitter-webhooks-signature", format!("sha256={base64}"))],
        Scheme::Outpost => vec![
            ("x-outpost-event-id", id),
            ("x-outpost-topic", event),
            ("x-outpost-signature", format!("v0={hex}")),
        ],
        Scheme::Hookdeck => vec![("x-hookdeck-eventid", id), ("x-hookdeck-signature", base64)],
        _ => Vec::new(),
    }
}

/// Of third parties that sign the time, too.
fn stamped(
    scheme: Scheme,
    outgoing: Outgoing<'_>,
    signature: &[u8],
) -> Vec<(&'static str, String)> {
    let (id, seconds) = (outgoing.id.to_owned(), outgoing.now.unix_seconds());
    let (hex, base64) = (hex::encode(signature), STANDARD.encode(signature));
    match scheme {
        Scheme::StandardWebhooks | Scheme::Gitlab => vec![
            ("webhook-id", id),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", format!("v1,{base64}")),
        ],
        Scheme::Stripe => vec![("stripe-signature", format!("t={seconds},v1={hex}"))],
        Scheme::Slack => vec![
            ("x-slack-request-timestamp", seconds.to_string()),
            ("x-slack-signature", format!("v0={hex}")),
        ],
        Scheme::Zoom => vec![
            ("x-zm-request-timestamp", seconds.to_string()),
            ("x-zm-signature", format!("v0={hex}")),
        ],
        Scheme::Hubspot => vec![
            ("x-hubspot-request-timestamp", (seconds * 1000).to_string()),
            ("x-hubspot-signature-v3", base64),
        ],
        Scheme::Discord => {
            vec![("x-signature-timestamp", seconds.to_string()), ("x-signature-ed25519", hex)]
        }
        Scheme::Sendgrid => vec![
            ("x-twilio-email-event-webhook-timestamp", seconds.to_string()),
            ("x-twilio-email-event-webhook-signature", base64),
        ],
        Scheme::Convoy => vec![
            ("x-convoy-idempotency-key", id),
            ("x-convoy-signature", format!("t={seconds},v1={hex}")),
        ],
        Scheme::Hook0 => vec![
            ("x-event-id", id),
            ("x-event-type", outgoing.event.to_owned()),
            ("x-hook0-signature", format!("t={seconds},h=x-event-id x-event-type,v1={hex}")),
        ],
        _ => Vec::new(),
    }
}

/// Headers as the source itself describes them.
fn described(
    scheme: Scheme,
    rule: &SignatureRule,
    shown: &str,
    outgoing: Outgoing<'_>,
    signature: &[u8],
) -> Vec<(String, String)> {
    let prefix = rule.prefix.as_deref().unwrap_or("");
    let (header, value) = match (scheme, rule.encoding) {
        (Scheme::ApiKey, _) => ("x-api-key", shown.to_owned()),
        (_, Encoding::Hex) => ("x-signature", hex::encode(signature)),
        (_, Encoding::Base64) => ("x-signature", STANDARD.encode(signature)),
    };
    let header = rule.header.clone().unwrap_or_else(|| header.to_owned());
    let seconds = outgoing.now.unix_seconds();
    let time = match rule.timestamp_unit {
        TimeUnit::Seconds => seconds,
        TimeUnit::Milliseconds => seconds * 1000,
    };
    let mut headers = vec![
        (header, format!("{prefix}{value}")),
        ("webhook-event".to_owned(), outgoing.event.to_owned()),
    ];
    headers.extend(rule.id_header.clone().map(|name| (name, outgoing.id.to_owned())));
    headers.extend(rule.timestamp_header.clone().map(|name| (name, time.to_string())));
    headers
}

fn sha256(body: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::source::SecretForm;

    #[tokio::test]
    async fn what_is_signed_is_accepted_or_the_reason_is_said() {
        let outgoing = Outgoing {
            id: "d1",
            event: "paid",
            content_type: "application/json",
            body: br#"{"webhookTimestamp": 1795000000000, "value": [{"clientState": "hush"}]}"#,
            now: Timestamp(1_795_000_000 * 1_000_000),
        };
        let form = Outgoing {
            content_type: "application/x-www-form-urlencoded",
            body: b"b=2&a=1",
            ..outgoing
        };
        for scheme in Scheme::ALL.iter().copied() {
            let spec = SourceSpec {
                public_url: Some("https://in.example.com/x".to_owned()),
                ..SourceSpec::new("s", scheme, "a/1/b")
            };
            let secret = match scheme.facts().secret {
                SecretForm::Nothing => None,
                SecretForm::Text => Some("hush".to_owned()),
                SecretForm::Token | SecretForm::StandardWebhooks => {
                    Some(Secret::webhook(&[7; 24]).expose().to_owned())
                }
                SecretForm::UserPassword | SecretForm::TokenAndSecret => Some("a:b".to_owned()),
                SecretForm::Ed25519 => Some("07".repeat(32)),
                SecretForm::P256 => continue,
            };
            let secret = secret.map(Secret::new);
            let found = sign(&spec, secret.as_ref(), outgoing).await;
            if scheme == Scheme::Discord {
                assert!(found.unwrap_err().contains("public key"));
                continue;
            }
            accepted(&spec, secret.as_ref(), &found.unwrap(), outgoing).await;
            if scheme == Scheme::Twilio {
                let found = sign(&spec, secret.as_ref(), form).await.unwrap();
                accepted(&spec, secret.as_ref(), &found, form).await;
            }
        }
    }

    async fn accepted(
        spec: &SourceSpec,
        secret: Option<&Secret>,
        signed: &Signed,
        outgoing: Outgoing<'_>,
    ) {
        let verifier = Verifier::new(spec, secret.into_iter(), 300).unwrap();
        let query = signed.query.as_deref();
        let head =
            Head { method: &Method::POST, query, headers: &signed.headers, now: outgoing.now };
        let Some(claim) = verifier.claim(head).unwrap() else { return };
        verifier.verify(&claim, outgoing.body).await.unwrap();
        if spec.verify.facts().signs {
            verifier.verify(&claim, b"other").await.unwrap_err();
        }
    }
}

//! Proof of who sent a webhook: what the headers claim, and whether it holds for the raw bytes of
//! the body under any secret of the source. [`Scheme::facts`] is the table of all schemes.

// What all have in common.
mod read;
mod key;

// The providers, by what they sign.
mod bodies;
mod stamped;
mod urls;
mod standard;
mod generic;
mod graph;

#[cfg(test)]
mod tests;

use contract::{
    Result,
    clock::Timestamp,
    secret::Secret,
    source::{
        Algorithm, Encoding, Scheme, SecretForm, SignatureRule, SourceSpec, StandardWebhooksKey,
        Tolerance,
    },
};
use http::{HeaderMap, Method};
use key::{Content, Key};
use read::{Window, refuse};
use subtle::ConstantTimeEq;

/// How requests of one source are verified; its keys are set up once.
#[derive(Clone)]
pub(crate) struct Verifier {
    scheme: Scheme,
    keys: Vec<Key>,
    settings: Settings,
}

/// What is known of a request before its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head<'r> {
    pub(crate) method: &'r Method,
    pub(crate) query: Option<&'r str>,
    pub(crate) headers: &'r HeaderMap,
    pub(crate) now: Timestamp,
}

/// What the head of a request claims.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The header that carried the signatures.
    header: String,
    /// One of them must be right.
    signatures: Vec<Vec<u8>>,
    signed: Signed,
}

/// What has been proved.
#[derive(Debug)]
pub(crate) struct Proof {
    /// Bytes that tell this proof from all others that were made with the same key.
    pub(crate) bytes: Vec<u8>,
    /// Which of the source's keys it was.
    pub(crate) key: usize,
}

/// How the signed bytes come from the body.
#[derive(Debug)]
enum Signed {
    /// They do not: a token was shown.
    Nothing,
    /// They are the body with something around it.
    Around { before: Vec<u8>, after: Vec<u8> },
    /// They are the body, which tells when it was signed.
    Timed { window: Window },
    /// They are not: the body shows a token in each of its notifications.
    Shown,
    /// They are one of these URLs and the fields of a form.
    TwilioForm { urls: [String; 2] },
    /// They are one of these URLs, which tell the digest of the body.
    TwilioDigest { urls: [String; 2], digest: Vec<u8> },
}

impl Signed {
    /// What may have been signed: one of these.
    fn contents<'c>(&'c self, made: &'c [Vec<u8>], body: &'c [u8]) -> Vec<Content<'c>> {
        match self {
            Self::Nothing | Self::Shown => vec![Content::default()],
            Self::Timed { .. } => vec![Content { body, ..Content::default() }],
            Self::Around { before, after } => vec![Content { before, body, after }],
            Self::TwilioForm { .. } | Self::TwilioDigest { .. } => {
                made.iter().map(|before| Content { before, ..Content::default() }).collect()
            }
        }
    }

    /// What is signed in place of the body, where that must be made first.
    async fn made(&self, body: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(match self {
            Self::Nothing | Self::Shown | Self::Around { .. } | Self::Timed { .. } => Vec::new(),
            Self::TwilioForm { urls } => {
                urls.iter().map(|url| urls::twilio_form(url, body)).collect()
            }
            Self::TwilioDigest { urls, digest } => {
                urls::twilio_digest(digest, body).await?;
                urls.iter().map(|url| url.clone().into_bytes()).collect()
            }
        })
    }
}

/// What a source says of its proof.
#[derive(Debug, Clone)]
struct Settings {
    /// None: any time is good.
    tolerance_s: Option<u32>,
    public_url: String,
    rule: SignatureRule,
    /// One of the secrets is a signing token of GitLab.
    signing_token: bool,
    /// What Meta shows when it asks for the first time.
    verify_tokens: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

impl Verifier {
    /// A verifier with every valid secret of a source, or a sentence on what is wrong with them.
    /// `tolerance_s` holds where neither the source nor its scheme says anything.
    pub(crate) fn new<'a>(
        spec: &SourceSpec,
        secrets: impl Iterator<Item = &'a Secret>,
        tolerance_s: u32,
    ) -> Result<Self, String> {
        let scheme = spec.verify;
        let rule = spec.signature.as_deref().cloned().unwrap_or_default();
        let mut keys = Vec::new();
        let mut signing_token = false;
        let mut verify_tokens = Vec::new();
        for secret in secrets {
            signing_token |= scheme == Scheme::Gitlab && secret.expose().starts_with("whsec_");
            let fingerprint = secret.fingerprint();
            let refuse = |why| format!("the secret {fingerprint} does not fit: {why}");
            scheme.check_secret(secret).map_err(refuse)?;
            keys.extend(self::keys(scheme, &rule, secret));
            if scheme.facts().secret == SecretForm::TokenAndSecret {
                let token = secret.expose().rsplit_once(':').map(|(token, _)| token);
                verify_tokens.extend(token.map(|token| token.as_bytes().to_vec()));
            }
        }
        if keys.is_empty() && scheme != Scheme::None {
            return Err(format!("it verifies by `{scheme}` and has no secret"));
        }
        rule.content()?;
        let of_scheme = match scheme.facts().tolerance {
            Tolerance::Any => None,
            Tolerance::Gateway => Some(tolerance_s),
            Tolerance::Seconds(seconds) => Some(seconds),
        };
        let settings = Settings {
            tolerance_s: spec.tolerance_s.or(of_scheme),
            public_url: spec.public_url.clone().unwrap_or_default(),
            rule,
            signing_token,
            verify_tokens,
        };
        Ok(Self { scheme, keys, settings })
    }

    /// Reads the claim from the head; None where nothing needs to be proved. What is missing or
    /// out of date is refused here, before the body costs anything.
    pub(crate) fn claim(&self, head: Head<'_>) -> Result<Option<Claim>> {
        let settings = &self.settings;
        let hub = "x-hub-signature-256";
        let claim = match self.scheme {
            Scheme::None => return Ok(None),
            Scheme::StandardWebhooks => standard::claim(settings, head),
            Scheme::Gitlab => standard::gitlab(settings, head),
            Scheme::Github | Scheme::Meta => bodies::claim(head, hub, "sha256=", Encoding::Hex),
            Scheme::Shopify => bodies::claim(head, "x-shopify-hmac-sha256", "", Encoding::Base64),
            Scheme::X => {
                let header = "x-twitter-webhooks-signature";
                bodies::claim(head, header, "sha256=", Encoding::Base64)
            }
            Scheme::Hookdeck => bodies::hookdeck(head),
            Scheme::Outpost => bodies::outpost(head),
            Scheme::HubspotV1 => bodies::hubspot_v1(head),
            Scheme::Linear => bodies::linear(head, settings.window(head.now)),
            Scheme::Slack => stamped::claim(settings, head, &stamped::SLACK),
            Scheme::Zoom => stamped::claim(settings, head, &stamped::ZOOM),
            Scheme::Discord => stamped::claim(settings, head, &stamped::DISCORD),
            Scheme::Sendgrid => stamped::claim(settings, head, &stamped::SENDGRID),
            Scheme::Stripe => stamped::stripe(settings, head),
            Scheme::Convoy => stamped::convoy(settings, head),
            Scheme::Hook0 => stamped::hook0(settings, head),
            Scheme::Twilio => urls::twilio(settings, head),
            Scheme::Square => urls::square(settings, head),
            Scheme::Hubspot => urls::hubspot(settings, head),
            Scheme::HubspotV2 => urls::hubspot_v2(settings, head),
            Scheme::MicrosoftGraph => Ok(graph::claim()),
            Scheme::Hmac => generic::hmac(settings, head),
            Scheme::Basic => generic::basic(head),
            Scheme::ApiKey => generic::api_key(settings, head),
        };
        claim.map(Some)
    }

    /// Is one of the claimed signatures right, under one of the keys? In constant time.
    pub(crate) async fn verify(&self, claim: &Claim, body: &[u8]) -> Result<Proof> {
        if let Signed::Shown = claim.signed {
            return graph::verify(&self.keys, body);
        }
        if self.scheme == Scheme::X && !body.trim_ascii_start().starts_with(b"{") {
            // Whoever asks gets the MAC of other texts (`challenge.rs`).
            return Err(refuse("the body is no JSON object".to_owned()));
        }
        let made = claim.signed.made(body).await?;
        let mut proof = None;
        for content in claim.signed.contents(&made, body) {
            for (at, key) in self.keys.iter().enumerate() {
                let found = key.fits(content, &claim.signatures).await;
                proof = proof.or(found.map(|bytes| Proof { bytes, key: at }));
            }
        }
        let proof = proof.ok_or_else(|| {
            let header = &claim.header;
            refuse(match claim.signed {
                Signed::Nothing => format!("`{header}` is none of the source's"),
                _ => format!("`{header}` does not fit the body under any secret of the source"),
            })
        })?;
        if let Signed::Timed { window } = claim.signed {
            bodies::linear_time(window, body)?;
        }
        Ok(proof)
    }

    /// The signature that the claim should have had. A sentence where the source's key cannot make
    /// one.
    pub(crate) async fn sign(&self, claim: &Claim, body: &[u8]) -> Result<Vec<u8>, String> {
        let made = claim.signed.made(body).await.map_err(|error| error.message)?;
        let content = claim.signed.contents(&made, body).into_iter().next();
        match (self.keys.first(), content) {
            (Some(key), Some(content)) => key.sign(content).await,
            _ => None,
        }
        .ok_or_else(|| {
            format!("`{}` is signed with a private key; a public key is here", self.scheme)
        })
    }

    /// HMAC of a text under one of the keys, for challenges; empty where that key makes none.
    pub(crate) fn mac(&self, key: usize, text: &[u8]) -> Vec<u8> {
        self.keys.get(key).and_then(|key| key.mac(text)).unwrap_or_default()
    }

    /// Is it the verify token of one of the secrets? In constant time.
    pub(crate) fn knows(&self, token: &str) -> bool {
        let tokens = &self.settings.verify_tokens;
        tokens.iter().fold(false, |knows, known| knows | bool::from(known.ct_eq(token.as_bytes())))
    }

    /// The header of the source's own choice that carries a key: nobody else may see it.
    pub(crate) fn key_header(&self) -> Option<&str> {
        let own = self.settings.rule.header.as_deref();
        own.filter(|_| self.scheme == Scheme::ApiKey)
    }

    /// The key against repeats that the scheme itself provides, beside [`Scheme::facts`].
    pub(crate) fn delivery_id<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        match self.scheme {
            Scheme::StandardWebhooks => standard::delivery_id(headers),
            Scheme::Hmac => generic::delivery_id(&self.settings.rule, headers),
            _ => None,
        }
    }
}

/// What a secret is to a scheme.
fn keys(scheme: Scheme, rule: &SignatureRule, secret: &Secret) -> Vec<Key> {
    let text = secret.expose().as_bytes();
    let sha256 = |bytes: &[u8]| Key::hmac(Algorithm::Sha256, bytes);
    let key = match scheme.facts().secret {
        SecretForm::Nothing => None,
        SecretForm::StandardWebhooks => secret.standard_webhooks_key().map(|key| match key {
            StandardWebhooksKey::Hmac(bytes) => sha256(&bytes),
            StandardWebhooksKey::Ed25519(bytes) => Key::Ed25519(bytes),
        }),
        SecretForm::Token => match secret.expose().starts_with("whsec_") {
            true => secret.webhook_key().map(|bytes| sha256(&bytes)),
            false => Some(Key::Token(text.to_vec())),
        },
        SecretForm::Ed25519 => secret.ed25519_key().map(Key::Ed25519),
        SecretForm::P256 => secret.p256_key().map(Key::P256),
        SecretForm::UserPassword => Some(Key::Token(text.to_vec())),
        SecretForm::TokenAndSecret => {
            secret.expose().rsplit_once(':').map(|(_, app)| sha256(app.as_bytes()))
        }
        SecretForm::Text => Some(match scheme {
            Scheme::HubspotV1 | Scheme::HubspotV2 => Key::Prefixed(text.to_vec()),
            Scheme::ApiKey | Scheme::MicrosoftGraph => Key::Token(text.to_vec()),
            Scheme::Hmac => Key::hmac(rule.algorithm, text),
            // Which of the two it was is told by the length of the signature.
            Scheme::Twilio => return vec![Key::hmac(Algorithm::Sha1, text), sha256(text)],
            _ => sha256(text),
        }),
    };
    key.into_iter().collect()
}

impl Settings {
    fn window(&self, now: Timestamp) -> Window {
        Window { now, tolerance_s: self.tolerance_s }
    }
}

impl Claim {
    /// Signatures over the body with something around it.
    fn around(
        header: impl Into<String>,
        signatures: Vec<Vec<u8>>,
        before: Vec<u8>,
        after: Vec<u8>,
    ) -> Self {
        Self { header: header.into(), signatures, signed: Signed::Around { before, after } }
    }

    /// A token that is shown as it is.
    fn shown(header: &str, token: Vec<u8>) -> Self {
        Self { header: header.to_owned(), signatures: vec![token], signed: Signed::Nothing }
    }
}

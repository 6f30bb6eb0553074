//! The ways in which third parties prove that a webhook is theirs: one table, a row for each.

use crate::secret::Secret;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// How a request of a source proves who sent it. The rows of [`Scheme::facts`] say the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// docs.github.com, "Validating webhook deliveries".
    Github,
    /// Standard Webhooks 1.0.0: `v1` and `v1a`; with the headers of Svix, too.
    #[serde(alias = "svix")]
    StandardWebhooks,
    /// No proof at all.
    None,
    /// docs.gitlab.com, "Webhooks": the signing token, or the secret token of old.
    Gitlab,
    /// docs.stripe.com, "Verify webhook signatures manually".
    Stripe,
    /// docs.slack.dev, "Verifying requests from Slack".
    Slack,
    /// shopify.dev, "Verify webhook deliveries".
    Shopify,
    /// twilio.com/docs, "Webhooks security".
    Twilio,
    /// developer.squareup.com, "Validate notifications".
    Square,
    /// developers.zoom.us, "Verify webhook events".
    Zoom,
    /// developers.hubspot.com, "Validating requests": version 3.
    Hubspot,
    /// The same, version 1: without method, URL and time.
    HubspotV1,
    /// The same, version 2: without time.
    HubspotV2,
    /// linear.app/developers, "Webhooks".
    Linear,
    /// discord.com/developers, "Security and authorization".
    Discord,
    /// twilio.com/docs/sendgrid, "Event webhook security features".
    Sendgrid,
    /// docs.x.com, "Webhooks: securing".
    X,
    /// developers.facebook.com, "Webhooks: validating payloads"; WhatsApp and Instagram, too.
    Meta,
    /// learn.microsoft.com, "Microsoft Graph: change notifications": the client state.
    MicrosoftGraph,
    /// docs.getconvoy.io, "Webhook signatures": simple and advanced.
    Convoy,
    /// outpost.hookdeck.com, "Webhook destination".
    Outpost,
    /// documentation.hook0.com, "Verifying signatures".
    Hook0,
    /// hookdeck.com/docs, "Signature verification".
    Hookdeck,
    /// HMAC as the source's `signature` describes it.
    Hmac,
    /// `Authorization: Basic` (RFC 7617).
    Basic,
    /// A key in a header.
    ApiKey,
}

/// What the `secret` of a source holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretForm {
    /// There is none.
    Nothing,
    /// Text whose bytes are the key as they stand.
    Text,
    /// A token as it stands, or a signing token: `whsec_` and base64.
    Token,
    /// `whsec_` and the key in base64, or the public key as `whpk_` and base64.
    StandardWebhooks,
    /// A public key of ed25519 in hex.
    Ed25519,
    /// A public key of P-256: PEM, or its DER in base64.
    P256,
    /// `user:password`.
    UserPassword,
    /// `verify token:app secret`.
    TokenAndSecret,
}

/// What holds of a signed timestamp where the source says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tolerance {
    /// Nothing is signed that tells the time, or none is asked for.
    Any,
    /// As the gateway is configured.
    Gateway,
    /// The provider names so many seconds.
    Seconds(u32),
}

/// What is to be known of a scheme before a request comes.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Its name in manifests and the API.
    pub name: &'static str,
    /// What the secret is.
    pub secret: SecretForm,
    /// Age of a signed timestamp.
    pub tolerance: Tolerance,
    /// It signs the URL that the provider knows.
    pub signs_url: bool,
    /// There is a signature to remember.
    pub signs: bool,
    /// Where the provider's own id of a delivery is: a template; empty: nowhere.
    pub delivery_id: &'static str,
}

use SecretForm::{
    Ed25519, Nothing, P256, StandardWebhooks, Text, Token, TokenAndSecret, UserPassword,
};
use Tolerance::{Any, Gateway, Seconds};

/// Signs the body, perhaps with something beside it.
const fn signs(
    name: &'static str,
    secret: SecretForm,
    tolerance: Tolerance,
    delivery_id: &'static str,
) -> Facts {
    Facts { name, secret, tolerance, signs_url: false, signs: true, delivery_id }
}

/// Signs the URL, too.
const fn signs_url(name: &'static str, tolerance: Tolerance, delivery_id: &'static str) -> Facts {
    Facts { name, secret: Text, tolerance, signs_url: true, signs: true, delivery_id }
}

/// Shows what it has and signs nothing.
const fn shows(name: &'static str, secret: SecretForm) -> Facts {
    Facts { name, secret, tolerance: Any, signs_url: false, signs: false, delivery_id: "" }
}

impl Scheme {
    /// All schemes.
    pub const ALL: &'static [Self] = &[
        Self::Github,
        Self::Gitlab,
        Self::Stripe,
        Self::Slack,
        Self::Shopify,
        Self::StandardWebhooks,
        Self::Twilio,
        Self::Square,
        Self::Zoom,
        Self::Hubspot,
        Self::HubspotV1,
        Self::HubspotV2,
        Self::Linear,
        Self::Discord,
        Self::Sendgrid,
        Self::X,
        Self::Meta,
        Self::MicrosoftGraph,
        Self::Convoy,
        Self::Outpost,
        Self::Hook0,
        Self::Hookdeck,
        Self::Hmac,
        Self::Basic,
        Self::ApiKey,
        Self::None,
    ];

    /// Its row of the table.
    pub const fn facts(self) -> Facts {
        match self {
            Self::Github => signs("github", Text, Any, "{header:x-github-delivery}"),
            Self::Gitlab => Facts {
                signs: false,
                ..signs("gitlab", Token, Gateway, "{header:idempotency-key}")
            },
            Self::Stripe => signs("stripe", Text, Gateway, "{json:id}"),
            Self::Slack => signs("slack", Text, Gateway, "{json:event_id}"),
            Self::Shopify => signs("shopify", Text, Any, "{header:x-shopify-webhook-id}"),
            // Of two pairs of headers: the verifier knows which one was used.
            Self::StandardWebhooks => signs("standard-webhooks", StandardWebhooks, Gateway, ""),
            Self::Twilio => signs_url("twilio", Any, "{header:i-twilio-idempotency-token}"),
            Self::Square => signs_url("square", Any, "{json:event_id}"),
            Self::Zoom => signs("zoom", Text, Gateway, ""),
            Self::Hubspot => signs_url("hubspot", Gateway, ""),
            Self::HubspotV1 => signs("hubspot-v1", Text, Any, ""),
            Self::HubspotV2 => signs_url("hubspot-v2", Any, ""),
            Self::Linear => signs("linear", Text, Seconds(60), "{header:linear-delivery}"),
            Self::Discord => signs("discord", Ed25519, Gateway, "{json:id}"),
            Self::Sendgrid => signs("sendgrid", P256, Any, ""),
            Self::X => signs("x", Text, Any, ""),
            Self::Meta => signs("meta", TokenAndSecret, Any, ""),
            Self::MicrosoftGraph => shows("microsoft-graph", Text),
            Self::Convoy => signs("convoy", Text, Gateway, "{header:x-convoy-idempotency-key}"),
            Self::Outpost => signs("outpost", Text, Any, "{header:x-outpost-event-id}"),
            Self::Hook0 => signs("hook0", Text, Gateway, "{header:x-event-id}"),
            Self::Hookdeck => signs("hookdeck", Text, Any, "{header:x-hookdeck-eventid}"),
            // The source names the header of the id.
            Self::Hmac => signs("hmac", Text, Gateway, ""),
            Self::Basic => shows("basic", UserPassword),
            Self::ApiKey => shows("api-key", Text),
            Self::None => shows("none", Nothing),
        }
    }

    /// Its name in manifests and the API.
    pub const fn as_str(self) -> &'static str {
        self.facts().name
    }

    /// A sentence on what is wrong with a secret of a source that verifies so.
    pub fn check_secret(self, secret: &Secret) -> Result<(), String> {
        let text = secret.expose();
        let expected = |what: &str| Err(format!("secret: expected {what}"));
        match self.facts().secret {
            Nothing => expected("none, because nothing is verified"),
            _ if text.is_empty() => expected("one that is not empty"),
            Text => Ok(()),
            Token => match text.starts_with("whsec_") && secret.webhook_key().is_none() {
                true => expected("base64 after `whsec_`"),
                false => Ok(()),
            },
            StandardWebhooks => match secret.standard_webhooks_key() {
                Some(_) => Ok(()),
                None => expected("`whsec_` and base64, or a public key as `whpk_` and base64"),
            },
            Ed25519 => match secret.ed25519_key() {
                Some(_) => Ok(()),
                None => expected("the public key: 64 hexadecimal digits"),
            },
            P256 => match secret.p256_key() {
                Some(_) => Ok(()),
                None => expected("the public key of P-256: PEM, or its base64 alone"),
            },
            UserPassword => match text.split_once(':') {
                Some((user, password)) if !user.is_empty() && !password.is_empty() => Ok(()),
                _ => expected("`user:password`"),
            },
            TokenAndSecret => match text.rsplit_once(':') {
                Some((token, secret)) if !token.is_empty() && !secret.is_empty() => Ok(()),
                _ => expected("`verify token:app secret`"),
            },
        }
    }
}

/// A key of Standard Webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StandardWebhooksKey {
    /// `v1`: shared.
    Hmac(Vec<u8>),
    /// `v1a`: the public key of ed25519.
    Ed25519([u8; 32]),
}

/// What stands before the point in the DER of a public key of P-256 (RFC 5480).
const P256_HEADER: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

impl Secret {
    /// The key of a source that verifies by Standard Webhooks: shared, or the public half.
    pub fn standard_webhooks_key(&self) -> Option<StandardWebhooksKey> {
        match self.expose().strip_prefix("whpk_") {
            Some(public) => {
                let bytes = STANDARD.decode(public).ok()?.try_into().ok()?;
                Some(StandardWebhooksKey::Ed25519(bytes))
            }
            None => {
                let key = self.webhook_key().filter(|key| !key.is_empty())?;
                Some(StandardWebhooksKey::Hmac(key))
            }
        }
    }

    /// A public key of ed25519 in hex.
    pub fn ed25519_key(&self) -> Option<[u8; 32]> {
        let mut key = [0; 32];
        hex::decode_to_slice(self.expose().trim(), &mut key).ok()?;
        Some(key)
    }

    /// The uncompressed point of a public key of P-256 in PEM, or in the base64 alone.
    pub fn p256_key(&self) -> Option<[u8; 65]> {
        let lines = self.expose().lines().filter(|line| !line.starts_with("-----"));
        let base64: String = lines.flat_map(str::split_whitespace).collect();
        let der = STANDARD.decode(base64).ok()?;
        der.strip_prefix(&P256_HEADER)?.try_into().ok()
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scheme {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = if text == "svix" { Self::StandardWebhooks.as_str() } else { text };
        let found = Self::ALL.iter().copied().find(|scheme| scheme.as_str() == text);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|scheme| scheme.as_str()).collect();
            format!("`{text}` is no verification scheme; allowed: {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Template;

    #[test]
    fn names_are_one_in_text_and_in_what_is_stored() {
        for scheme in Scheme::ALL {
            assert_eq!(scheme.as_str().parse(), Ok(*scheme));
            let stored = serde_json::to_value(scheme).unwrap();
            assert_eq!(stored, scheme.as_str());
            Template(scheme.facts().delivery_id.to_owned()).pieces().unwrap();
        }
        assert_eq!("svix".parse(), Ok(Scheme::StandardWebhooks));
        assert!("gitub".parse::<Scheme>().unwrap_err().contains("github, gitlab"));
    }

    #[test]
    fn secrets_that_cannot_verify_are_named() {
        let p256 = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==";
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{p256}\n-----END PUBLIC KEY-----\n");
        let public = format!("whpk_{}", STANDARD.encode([7; 32]));
        let hex = "0".repeat(64);
        for (scheme, good, bad) in [
            (Scheme::Github, "x", ""),
            (Scheme::StandardWebhooks, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "not base64!"),
            (Scheme::StandardWebhooks, &*public, "whpk_AAAA"),
            (Scheme::Discord, &hex, "00"),
            (Scheme::Sendgrid, p256, "MFkw"),
            (Scheme::Sendgrid, &pem, &hex),
            (Scheme::Basic, "user:pass:word", "hush"),
            (Scheme::Meta, "token:secret", "hush"),
        ] {
            assert_eq!(scheme.check_secret(&Secret::new(good)), Ok(()), "{scheme}");
            let why = scheme.check_secret(&Secret::new(bad)).unwrap_err();
            assert!(why.starts_with("secret: expected "), "{why}");
            assert!(bad.is_empty() || !why.contains(bad), "{why}");
        }
        assert!(Scheme::None.check_secret(&Secret::new("x")).is_err());
    }
}

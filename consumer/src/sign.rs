//! Signatures of a delivery: Standard Webhooks 1.0.0 `v1` and `v1a`, and the code of the first in hex.

use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{clock::Timestamp, secret::Secret};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderValue;
use ring::signature::Ed25519KeyPair;
use sha2::Sha256;
use std::fmt;

/// The valid secrets of a subscription, each keyed once and cloned for every signature.
pub(crate) struct Signer {
    /// Each with the time until which it signs.
    keys: Vec<(Key, Option<Timestamp>)>,
}

/// What signs.
enum Key {
    /// `v1`
    Hmac(Hmac<Sha256>),
    /// `v1a`
    Ed25519(Ed25519KeyPair),
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("keys", &self.keys.len()).finish()
    }
}

/// The codes of all that are valid, in their order.
#[derive(Debug, Default)]
pub(crate) struct Signatures {
    /// `v1`
    hmac: Vec<[u8; 32]>,
    /// `v1a`
    ed25519: Vec<[u8; 64]>,
}

impl Signer {
    /// A signer with `secrets`, the newest first. A sentence if one of them is no secret.
    pub(crate) fn new<'a>(
        secrets: impl Iterator<Item = (&'a Secret, Option<Timestamp>)>,
    ) -> Result<Self, String> {
        let keys: Option<Vec<_>> =
            secrets.map(|(secret, until)| Some((Key::of(secret)?, until))).collect();
        match keys {
            None => Err("a signing secret is not base64 after whsec_ or whsk_".to_owned()),
            Some(keys) if keys.is_empty() => Err("it has no signing secret".to_owned()),
            Some(keys) => Ok(Self { keys }),
        }
    }

    /// Signs `{id}.{timestamp}.{body}`, which is never put together in memory, with each secret
    /// whose time is not over `now`.
    pub(crate) fn sign(&self, id: &str, now: Timestamp, body: &[u8]) -> Signatures {
        let timestamp = now.unix_seconds().to_string();
        let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        let valid = self.keys.iter().filter(|(_, until)| until.is_none_or(|until| now < until));
        let mut signatures = Signatures::default();
        for (key, _) in valid {
            match key {
                Key::Hmac(key) => {
                    let mut mac = key.clone();
                    parts.iter().for_each(|part| mac.update(part));
                    signatures.hmac.push(mac.finalize().into_bytes().into());
                }
                // It reads what it signs twice, so here it is put together.
                Key::Ed25519(key) => {
                    let signature = key.sign(&parts.concat());
                    signatures.ed25519.extend(<[u8; 64]>::try_from(signature.as_ref()));
                }
            }
        }
        signatures
    }
}

impl Key {
    fn of(secret: &Secret) -> Option<Self> {
        if !secret.is_signing_key() {
            return Hmac::new_from_slice(&secret.webhook_key()?).ok().map(Self::Hmac);
        }
        let key = secret.signing_key()?;
        Ed25519KeyPair::from_seed_unchecked(key.get(..32)?).ok().map(Self::Ed25519)
    }
}

impl Signatures {
    /// The value of `webhook-signature`: `v1,<base64>` and `v1a,<base64>` of each, separated by
    /// spaces.
    pub(crate) fn webhook_signature(&self) -> Option<HeaderValue> {
        let hmac = self.hmac.iter().map(|code| format!("v1,{}", STANDARD.encode(code)));
        let ed25519 = self.ed25519.iter().map(|code| format!("v1a,{}", STANDARD.encode(code)));
        let each: Vec<_> = hmac.chain(ed25519).collect();
        HeaderValue::try_from(each.join(" ")).ok()
    }

    /// The values of `hmac-sig`: `SHA256 <hex>`, one for each secret.
    pub(crate) fn hmac_sig(&self) -> impl Iterator<Item = HeaderValue> {
        let value = |code| HeaderValue::try_from(format!("SHA256 {}", hex::encode(code))).ok();
        self.hmac.iter().filter_map(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::clock::{Clock, SystemClock};
    use ring::signature::{ED25519, KeyPair, UnparsedPublicKey};
    use standardwebhooks::Webhook;

    fn signer(secrets: &[&str]) -> Result<Signer, String> {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new(*secret)).collect();
        Signer::new(secrets.iter().map(|secret| (secret, None)))
    }

    #[test]
    fn the_published_vector_comes_out() {
        let signer = signer(&["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]).unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signatures =
            signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", Timestamp(1_614_265_330_000_000), body);
        assert_eq!(
            signatures.webhook_signature().unwrap(),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn the_reference_library_accepts_each_of_several_secrets() {
        let secrets = [
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
            "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        ];
        let body = "{\"größe\": \"\u{1F980}\"}".as_bytes();
        // The library refuses what is older than five minutes by the system's clock.
        let (id, now) = ("evt_1", SystemClock.now());
        let signatures = signer(&secrets).unwrap().sign(id, now, body);
        let mut headers = http::HeaderMap::new();
        headers.insert("webhook-id", HeaderValue::from_static(id));
        headers.insert("webhook-timestamp", HeaderValue::from(now.unix_seconds()));
        headers.insert("webhook-signature", signatures.webhook_signature().unwrap());
        for secret in secrets {
            let receiver = Webhook::new(secret).unwrap();
            receiver.verify(body, &headers).unwrap();
            assert!(receiver.verify(b"{}", &headers).is_err());
        }
        let stranger = Webhook::new("whsec_bm90IHRoZSByaWdodCBzZWNyZXQh").unwrap();
        assert!(stranger.verify(body, &headers).is_err());
    }

    /// From the tests of Svix's own server, whose private keys are `whsk_` with both halves.
    #[test]
    fn a_published_vector_of_v1a_comes_out() {
        let key = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
        let now = Timestamp(1_614_265_330_000_000);
        let signed = signer(&[key]).unwrap().sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            now,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(
            signed.webhook_signature().unwrap(),
            "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
        );
        assert_eq!(signed.hmac_sig().count(), 0);
    }

    #[test]
    fn secrets_and_keys_sign_beside_each_other() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let private = format!("whsk_{}", STANDARD.encode([7; 32]));
        let secrets = [private.as_str(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"];
        let signed = signer(&secrets).unwrap().sign("evt_1", Timestamp(1_000_000), b"body");
        let header = signed.webhook_signature().unwrap();
        let (v1, v1a) = header.to_str().unwrap().split_once(' ').unwrap();
        assert!(v1.starts_with("v1,"), "{v1}");
        let code = STANDARD.decode(v1a.strip_prefix("v1a,").unwrap()).unwrap();
        let public = UnparsedPublicKey::new(&ED25519, pair.public_key().as_ref());
        public.verify(b"evt_1.1.body", &code).unwrap();
        assert!(public.verify(b"evt_1.1.bodY", &code).is_err());
    }

    #[test]
    fn the_hex_form_is_the_same_code() {
        let secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODw=="];
        let signatures = signer(&secrets).unwrap().sign("evt_1", Timestamp(1_000_000), b"body");
        let base64 = signatures.webhook_signature().unwrap();
        let base64: Vec<_> = base64.to_str().unwrap().split(' ').collect();
        let hex: Vec<_> = signatures.hmac_sig().collect();
        assert_eq!((base64.len(), hex.len()), (2, 2));
        for (base64, hex) in base64.iter().zip(&hex) {
            let code = STANDARD.decode(base64.strip_prefix("v1,").unwrap()).unwrap();
            assert_eq!(hex.to_str().unwrap(), format!("SHA256 {}", hex::encode(code)));
        }
    }

    #[test]
    fn a_secret_signs_until_its_time_is_over() {
        let (old, new) = (Secret::webhook(&[1; 24]), Secret::webhook(&[2; 24]));
        let until = Timestamp(5_000_000);
        let both = [(&new, None), (&old, Some(until))];
        let signer = Signer::new(both.into_iter()).unwrap();
        let signed = |now| signer.sign("evt_1", now, b"body").hmac_sig().count();
        assert_eq!(signed(Timestamp(4_999_999)), 2);
        assert_eq!(signed(until), 1);
    }

    #[test]
    fn what_cannot_sign_is_refused() {
        assert!(signer(&[]).unwrap_err().contains("no signing secret"));
        assert!(signer(&["whsec_not base64!"]).unwrap_err().contains("base64"));
    }
}

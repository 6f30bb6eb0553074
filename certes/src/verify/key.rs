//! What a signature is checked with.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use contract::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use sha2::Sha256;

/// A key out of a secret, and the secret's fingerprint.
pub(super) struct Key {
    check: Check,
    secret: Secret,
}

enum Check {
    /// `v1`
    Hmac(Vec<u8>),
    /// `v1a`
    Ed25519(Vec<u8>),
}

/// Base64 as some write it: with the other two characters, or without its end.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

impl Key {
    /// Out of `whsec_`, `whpk_` or `whsk_` and base64. A sentence, which does not show it, if it is
    /// none.
    pub(super) fn of(secret: &Secret) -> Result<Self, String> {
        // Exposed to be checked with.
        let text = secret.expose();
        let check = if let Some(public) = text.strip_prefix("whpk_") {
            let key = STANDARD.decode(public).ok().filter(|key| key.len() == 32);
            Check::Ed25519(key.ok_or("after `whpk_` there have to be 32 bytes in base64")?)
        } else if let Some(private) = text.strip_prefix("whsk_") {
            let seed = STANDARD.decode(private).ok();
            let pair = seed.as_deref().and_then(|seed| seed.get(..32));
            let pair = pair.and_then(|seed| Ed25519KeyPair::from_seed_unchecked(seed).ok());
            let pair = pair.ok_or("after `whsk_` there have to be 32 or 64 bytes in base64")?;
            Check::Ed25519(pair.public_key().as_ref().to_vec())
        } else {
            let key = secret.webhook_key().filter(|key| !key.is_empty());
            Check::Hmac(key.ok_or("after `whsec_` there has to be base64: was it copied whole?")?)
        };
        Ok(Self { check, secret: secret.clone() })
    }

    /// The version of the signatures that it checks.
    pub(super) const fn kind(&self) -> &'static str {
        match self.check {
            Check::Hmac(_) => "v1",
            Check::Ed25519(_) => "v1a",
        }
    }

    pub(super) fn fingerprint(&self) -> String {
        self.secret.fingerprint()
    }

    /// Is `code`, of this kind, the signature of these parts one after the other?
    pub(super) fn fits(&self, kind: &str, parts: &[&[u8]], code: &[u8]) -> bool {
        if kind != self.kind() {
            return false;
        }
        match &self.check {
            Check::Hmac(key) => Hmac::<Sha256>::new_from_slice(key).is_ok_and(|mut mac| {
                parts.iter().for_each(|part| mac.update(part));
                mac.verify_slice(code).is_ok()
            }),
            Check::Ed25519(key) => {
                UnparsedPublicKey::new(&ED25519, key).verify(&parts.concat(), code).is_ok()
            }
        }
    }

    /// The same secret as it is misread, each with how.
    pub(super) fn misused(&self) -> Vec<(&'static str, Self)> {
        if matches!(self.check, Check::Ed25519(_)) {
            return Vec::new();
        }
        let text = self.secret.expose();
        let bare = text.strip_prefix("whsec_").unwrap_or(text);
        let as_key =
            |bytes: &[u8]| Self { check: Check::Hmac(bytes.to_vec()), secret: self.secret.clone() };
        vec![
            ("taken as a text, and not decoded from base64", as_key(text.as_bytes())),
            (
                "taken as a text without `whsec_`, and not decoded from base64",
                as_key(bare.as_bytes()),
            ),
        ]
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn signed_with(key: &[u8], before: &[u8], body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(before);
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }

    #[test]
    fn a_public_key_checks_what_its_private_one_signed() {
        let seed = [7; 32];
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let public = pair.public_key().as_ref();
        let code = pair.sign(b"id.1.body");
        for text in [
            format!("whpk_{}", STANDARD.encode(public)),
            format!("whsk_{}", STANDARD.encode(seed)),
            format!("whsk_{}", STANDARD.encode([&seed[..], public].concat())),
        ] {
            let key = Key::of(&Secret::new(text)).unwrap_or_else(|why| panic!("{why}"));
            assert!(key.fits("v1a", &[b"id.1.", b"body"], code.as_ref()));
            assert!(!key.fits("v1a", &[b"id.1.", b"bodY"], code.as_ref()));
            assert!(!key.fits("v1", &[b"id.1.", b"body"], code.as_ref()));
        }
        for text in ["whpk_AAAA", "whsk_AAAA", "whpk_?"] {
            assert!(Key::of(&Secret::new(text)).is_err());
        }
    }
}

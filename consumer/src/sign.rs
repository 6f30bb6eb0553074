//! Signatures of a delivery: Standard Webhooks 1.0.0 `v1`, and the same code in hex.

use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{clock::Timestamp, secret::Secret};
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderValue;
use sha2::Sha256;
use std::fmt;

/// The valid secrets of a subscription, each keyed once and cloned for every signature.
pub(crate) struct Signer {
    /// Each with the time until which it signs.
    keys: Vec<(Hmac<Sha256>, Option<Timestamp>)>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("keys", &self.keys.len()).finish()
    }
}

/// One code for each valid secret, in their order.
#[derive(Debug)]
pub(crate) struct Signatures(Vec<[u8; 32]>);

impl Signer {
    /// A signer with `secrets`, the newest first. A sentence if one of them is no secret.
    pub(crate) fn new<'a>(
        secrets: impl Iterator<Item = (&'a Secret, Option<Timestamp>)>,
    ) -> Result<Self, String> {
        let key = |(secret, until): (&Secret, _)| {
            Some((Hmac::new_from_slice(&secret.webhook_key()?).ok()?, until))
        };
        let keys: Option<Vec<_>> = secrets.map(key).collect();
        match keys {
            None => Err("a signing secret is not base64 after whsec_".to_owned()),
            Some(keys) if keys.is_empty() => Err("it has no signing secret".to_owned()),
            Some(keys) => Ok(Self { keys }),
        }
    }

    /// Signs `{id}.{timestamp}.{body}`, which is never put together in memory, with each secret
    /// whose time is not over `now`.
    pub(crate) fn sign(&self, id: &str, now: Timestamp, body: &[u8]) -> Signatures {
        let timestamp = now.unix_seconds().to_string();
        let parts = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body];
        let code = |key: &Hmac<Sha256>| {
            let mut mac = key.clone();
            parts.iter().for_each(|part| mac.update(part));
            mac.finalize().into_bytes().into()
        };
        let valid = self.keys.iter().filter(|(_, until)| until.is_none_or(|until| now < until));
        Signatures(valid.map(|(key, _)| code(key)).collect())
    }
}

impl Signatures {
    /// The value of `webhook-signature`: `v1,<base64>` of each, separated by spaces.
    pub(crate) fn webhook_signature(&self) -> Option<HeaderValue> {
        let each: Vec<_> = self.0.iter().map(|c| format!("v1,{}", STANDARD.encode(c))).collect();
        HeaderValue::try_from(each.join(" ")).ok()
    }

    /// The values of `hmac-sig`: `SHA256 <hex>`, one for each.
    pub(crate) fn hmac_sig(&self) -> impl Iterator<Item = HeaderValue> {
        let value = |code| HeaderValue::try_from(format!("SHA256 {}", hex::encode(code))).ok();
        self.0.iter().filter_map(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::clock::{Clock, SystemClock};
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

//! Bytes that must not be seen: signing secrets, keys.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// A secret text. Never printed; wiped when dropped. It is serialised only inside what the parts
/// tell each other ([`crate::rules::Rules`], commands), never in an answer of the public API,
/// which knows a secret by its id and [`Secret::fingerprint`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Name the reason wherever this is called.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// First 8 bytes of SHA-256 in hex: tells two secrets apart without telling them.
    pub fn fingerprint(&self) -> String {
        hex::encode(&Sha256::digest(self.0.as_bytes())[..8])
    }

    /// The key bytes of a Standard Webhooks secret: base64 after the optional prefix `whsec_`
    /// (specification 1.0.0, "Symmetric"). None if it is not base64.
    pub fn webhook_key(&self) -> Option<Vec<u8>> {
        STANDARD.decode(self.0.strip_prefix("whsec_").unwrap_or(&self.0)).ok()
    }

    /// Is it a private key that signs (`whsk_...`), and no secret that both sides know?
    pub fn is_signing_key(&self) -> bool {
        self.0.starts_with("whsk_")
    }

    /// The bytes of an ed25519 key: base64 after `whsk_`, of 32 bytes, or of 64 with the public half
    /// behind. None if it is none.
    pub fn signing_key(&self) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = Zeroizing::new(STANDARD.decode(self.0.strip_prefix("whsk_")?).ok()?);
        matches!(bytes.len(), 32 | 64).then_some(bytes)
    }

    /// A Standard Webhooks secret of these bytes.
    pub fn webhook(bytes: &[u8]) -> Self {
        Self(format!("whsec_{}", STANDARD.encode(bytes)))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

//! The stamp: proof that an event reaches the consumer as the broker checked it.

use crate::{
    event::Headers,
    id::{EventId, SecretId},
    uri::EventUri,
};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// A key id and an HMAC-SHA256 over id, event URI, content type, kept headers and payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Which stamp key made it.
    pub key: SecretId,
    /// The code, 32 bytes.
    #[serde(with = "hex_or_bytes")]
    pub mac: [u8; 32],
}

/// What a stamp covers.
#[derive(Debug, Clone, Copy)]
pub struct Stamped<'a> {
    /// The event's id.
    pub id: EventId,
    /// Its type.
    pub uri: &'a EventUri,
    /// Media type.
    pub content_type: &'a str,
    /// Kept headers.
    pub headers: &'a Headers,
    /// The payload.
    pub payload: &'a [u8],
}

/// A key that makes and checks stamps. Keyed once, cloned for each event.
#[derive(Clone)]
pub struct StampKey {
    id: SecretId,
    mac: Hmac<Sha256>,
}

impl std::fmt::Debug for StampKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StampKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl StampKey {
    /// A key named `id` of these bytes.
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length (RFC 2104)")]
    pub fn new(id: SecretId, key: &[u8]) -> Self {
        Self { id, mac: Hmac::new_from_slice(key).expect("any key length") }
    }

    /// Its id.
    pub const fn id(&self) -> SecretId {
        self.id
    }

    /// Makes the stamp.
    pub fn stamp(&self, stamped: Stamped<'_>) -> Stamp {
        Stamp { key: self.id, mac: self.digest(stamped).finalize().into_bytes().into() }
    }

    /// Is it the stamp of exactly this? In constant time.
    pub fn verify(&self, stamp: &Stamp, stamped: Stamped<'_>) -> bool {
        stamp.key == self.id && self.digest(stamped).verify_slice(&stamp.mac).is_ok()
    }

    /// Each part is preceded by its length, so that no two different events read alike.
    fn digest(&self, stamped: Stamped<'_>) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        let mut part = |bytes: &[u8]| {
            mac.update(&(bytes.len() as u64).to_le_bytes());
            mac.update(bytes);
        };
        part(&stamped.id.to_bytes());
        part(stamped.uri.as_str().as_bytes());
        part(stamped.content_type.as_bytes());
        part(&(stamped.headers.0.len() as u64).to_le_bytes());
        for (name, value) in &stamped.headers.0 {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        part(stamped.payload);
        mac
    }
}

/// 32 bytes: hex where people read, raw where they do not.
pub(crate) mod hex_or_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8; 32], s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            s.serialize_str(&hex::encode(bytes))
        } else {
            s.serialize_bytes(bytes)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<[u8; 32], D::Error> {
        let bytes = if d.is_human_readable() {
            hex::decode(String::deserialize(d)?).map_err(D::Error::custom)?
        } else {
            bytes::Bytes::deserialize(d)?.to_vec()
        };
        bytes.try_into().map_err(|_bytes| D::Error::custom("expected 32 bytes"))
    }
}

/// Bytes of any length: base64 where people read, raw where they do not.
pub(crate) mod base64_or_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            s.serialize_str(&STANDARD.encode(bytes))
        } else {
            s.serialize_bytes(bytes)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
        if d.is_human_readable() {
            let text = String::deserialize(d)?;
            STANDARD.decode(text).map(Bytes::from).map_err(D::Error::custom)
        } else {
            Bytes::deserialize(d)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_breaks_the_stamp() {
        let key = StampKey::new(SecretId::from_bytes([1; 16]), b"key");
        let id = EventId::from_bytes([7; 16]);
        let uri: EventUri = "github/1/push".parse().unwrap();
        let headers = Headers(vec![("a".into(), "b".into())]);
        let stamped =
            Stamped { id, uri: &uri, content_type: "x/y", headers: &headers, payload: b"body" };
        let stamp = key.stamp(stamped);
        assert!(key.verify(&stamp, stamped));

        let other_headers = Headers(vec![("ab".into(), String::new())]);
        let other_uri: EventUri = "github/1/pull".parse().unwrap();
        assert!(!key.verify(&stamp, Stamped { id: EventId::from_bytes([8; 16]), ..stamped }));
        assert!(!key.verify(&stamp, Stamped { uri: &other_uri, ..stamped }));
        assert!(!key.verify(&stamp, Stamped { content_type: "x/z", ..stamped }));
        assert!(!key.verify(&stamp, Stamped { headers: &other_headers, ..stamped }));
        assert!(!key.verify(&stamp, Stamped { payload: b"bodz", ..stamped }));
        let other_key = StampKey::new(SecretId::from_bytes([2; 16]), b"key");
        assert!(!other_key.verify(&stamp, stamped));
    }
}

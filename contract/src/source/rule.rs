//! How a signature of our own description is found and made: `verify: hmac` and `api-key`.

use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Where a proof stands in a request, and over what it was made. What is left out has a default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SignatureRule {
    /// The header that carries the signature or the key; None: `x-signature`, `x-api-key`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// What stands before the signature or the key, as in `sha256=` or `Bearer `.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Which HMAC.
    #[serde(skip_serializing_if = "is_default")]
    pub algorithm: Algorithm,
    /// How the signature is written.
    #[serde(skip_serializing_if = "is_default")]
    pub encoding: Encoding,
    /// What is signed, with the holes `{id}`, `{timestamp}`, `{url}`, `{method}` and `{body}`;
    /// None: the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The header that fills `{id}`; it is the key against repeats, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_header: Option<String>,
    /// The header that fills `{timestamp}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<String>,
    /// What the timestamp counts.
    #[serde(skip_serializing_if = "is_default")]
    pub timestamp_unit: TimeUnit,
}

/// A hash function under HMAC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA-1: only for providers that have nothing better.
    Sha1,
}

/// How bytes are written as text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Hexadecimal digits, in either case.
    #[default]
    Hex,
    /// Base64 of the standard alphabet, padded (RFC 4648, 4).
    Base64,
}

/// What a timestamp counts since the beginning of 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimeUnit {
    /// Seconds.
    #[default]
    #[serde(rename = "s")]
    Seconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
}

/// A piece of what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentPiece<'a> {
    /// Fixed text.
    Text(&'a str),
    /// The value of `id_header`.
    Id,
    /// The value of `timestamp_header`.
    Timestamp,
    /// The public URL of the source.
    Url,
    /// The method, in capitals.
    Method,
    /// The bytes of the body.
    Body,
}

/// What is against repeats of a request that were not meant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// The id of the delivery, as far as there is one.
    #[default]
    DeliveryId,
    /// The signature: whoever sends it again is told of the first time, whatever the id says.
    Signature,
}

/// Text forms, one for each value.
macro_rules! names {
    ($type:ty, $what:literal, $($value:path = $name:literal),+) => {
        impl $type {
            /// Its name in manifests and the API.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($value => $name,)+
                }
            }
        }

        impl FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok($value),)+
                    _ => Err(format!("`{text}` is no {}; allowed: {}", $what, [$($name),+].join(", "))),
                }
            }
        }
    };
}

names!(
    Algorithm,
    "algorithm",
    Self::Sha256 = "sha256",
    Self::Sha384 = "sha384",
    Self::Sha512 = "sha512",
    Self::Sha1 = "sha1"
);
names!(Encoding, "encoding", Self::Hex = "hex", Self::Base64 = "base64");
names!(TimeUnit, "unit of time", Self::Seconds = "s", Self::Milliseconds = "ms");
names!(Replay, "defence", Self::DeliveryId = "delivery_id", Self::Signature = "signature");

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Replay {
    /// Is it what holds where nothing is said?
    pub fn is_default(&self) -> bool {
        is_default(self)
    }
}

impl SignatureRule {
    /// The pieces of what is signed, or a sentence on what is wrong with them. The body is one of
    /// them, exactly once; the id and the time are where their headers are.
    pub fn content(&self) -> Result<Vec<ContentPiece<'_>>, String> {
        let text = self.content.as_deref().unwrap_or("{body}");
        let pieces = pieces(text)?;
        let count = |wanted| pieces.iter().filter(|piece| **piece == wanted).count();
        if count(ContentPiece::Body) != 1 {
            return Err(format!("content: `{text}` must hold `{{body}}` once"));
        }
        for (hole, piece, field, header) in [
            ("{id}", ContentPiece::Id, "id_header", &self.id_header),
            ("{timestamp}", ContentPiece::Timestamp, "timestamp_header", &self.timestamp_header),
        ] {
            if count(piece) > 0 && header.is_none() {
                return Err(format!("content has `{hole}`: `{field}` must say where it is"));
            }
        }
        if self.timestamp_header.is_some() && count(ContentPiece::Timestamp) == 0 {
            return Err(
                "content has no `{timestamp}`: a time that is not signed proves nothing".to_owned()
            );
        }
        Ok(pieces)
    }

    /// Is the URL signed, too?
    pub fn signs_url(&self) -> bool {
        self.content.as_deref().is_some_and(|content| content.contains("{url}"))
    }
}

fn pieces(text: &str) -> Result<Vec<ContentPiece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, hole)) = rest.split_once('{') {
        let unclosed = || format!("content: `{text}` has a `{{` without a `}}`");
        let (hole, after) = hole.split_once('}').ok_or_else(unclosed)?;
        if !before.is_empty() {
            pieces.push(ContentPiece::Text(before));
        }
        pieces.push(match hole {
            "id" => ContentPiece::Id,
            "timestamp" => ContentPiece::Timestamp,
            "url" => ContentPiece::Url,
            "method" => ContentPiece::Method,
            "body" => ContentPiece::Body,
            _ => {
                let allowed = "{id}, {timestamp}, {url}, {method}, {body}";
                return Err(format!("content: `{{{hole}}}` is unknown; allowed: {allowed}"));
            }
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(ContentPiece::Text(rest));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_has_the_body_and_a_place_for_each_hole() {
        let rule = |content: &str, id: bool, time: bool| SignatureRule {
            content: Some(content.to_owned()),
            id_header: id.then(|| "x-id".to_owned()),
            timestamp_header: time.then(|| "x-time".to_owned()),
            ..SignatureRule::default()
        };
        assert_eq!(SignatureRule::default().content(), Ok(vec![ContentPiece::Body]));
        let full = rule("v0:{method} {url}{id}.{timestamp}.{body}", true, true);
        assert_eq!(full.content().unwrap().len(), 9);
        assert!(full.signs_url());
        for (wrong, why) in [
            (rule("{timestamp}", false, true), "once"),
            (rule("{body}{body}", false, false), "once"),
            (rule("{timestamp}{body}", false, false), "timestamp_header"),
            (rule("{id}{body}", false, false), "id_header"),
            (rule("{body}", false, true), "not signed"),
            (rule("{boby}", false, false), "boby"),
            (rule("{body", false, false), "without"),
        ] {
            let found = wrong.content().unwrap_err();
            assert!(found.contains(why), "{found}");
        }
    }

    #[test]
    fn defaults_are_not_stored() {
        assert_eq!(serde_json::to_string(&SignatureRule::default()).unwrap(), "{}");
        let text = r#"{"header":"x-sig","algorithm":"sha512","timestamp_unit":"ms"}"#;
        let rule: SignatureRule = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&rule).unwrap(), text);
        for (stored, name) in [
            (serde_json::to_value(Algorithm::Sha1).unwrap(), Algorithm::Sha1.as_str()),
            (serde_json::to_value(Encoding::Base64).unwrap(), Encoding::Base64.as_str()),
            (
                serde_json::to_value(TimeUnit::Milliseconds).unwrap(),
                TimeUnit::Milliseconds.as_str(),
            ),
            (serde_json::to_value(Replay::Signature).unwrap(), Replay::Signature.as_str()),
        ] {
            assert_eq!(stored, name);
        }
        assert_eq!("sha1".parse(), Ok(Algorithm::Sha1));
        assert!("md5".parse::<Algorithm>().unwrap_err().contains("sha384"));
    }
}

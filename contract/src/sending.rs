//! How the deliveries of a subscription are sent: headers that it adds, what proves who sends them,
//! the form of the body, and by what it is signed.

mod headers;
mod auth;

pub use auth::{Auth, AuthMethod, ClientCredentials, Credential};
pub use headers::{check_headers, custom_headers, travels};

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// In which form a subscription wants its payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PayloadFormat {
    /// Byte for byte as they came.
    #[default]
    AsReceived,
    /// JSON in the one way in which RFC 8785 writes it.
    Json,
    /// Binary protobuf.
    Protobuf,
    /// A CloudEvent with its attributes in headers.
    CloudeventsBinary,
    /// A CloudEvent in one JSON document.
    CloudeventsStructured,
}

impl PayloadFormat {
    /// All forms.
    pub const ALL: [Self; 5] = [
        Self::AsReceived,
        Self::Json,
        Self::Protobuf,
        Self::CloudeventsBinary,
        Self::CloudeventsStructured,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AsReceived => "as_received",
            Self::Json => "json",
            Self::Protobuf => "protobuf",
            Self::CloudeventsBinary => "cloudevents-binary",
            Self::CloudeventsStructured => "cloudevents-structured",
        }
    }

    /// Is it [`Self::AsReceived`]?
    pub fn is_as_received(&self) -> bool {
        *self == Self::AsReceived
    }
}

impl fmt::Display for PayloadFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PayloadFormat {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|format| format.as_str() == text);
        let names = Self::ALL.map(Self::as_str).join(", ");
        found.ok_or_else(|| format!("`{text}` is no format; allowed: {names}"))
    }
}

impl TryFrom<String> for PayloadFormat {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PayloadFormat> for String {
    fn from(format: PayloadFormat) -> Self {
        format.as_str().to_owned()
    }
}

/// By what a delivery is signed (Standard Webhooks 1.0.0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureScheme {
    /// HMAC-SHA256 with a secret that both sides know.
    #[default]
    V1,
    /// Ed25519: whoever verifies needs the public key alone.
    V1a,
}

impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V1a => "v1a",
        })
    }
}

impl FromStr for SignatureScheme {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "v1" => Ok(Self::V1),
            "v1a" => Ok(Self::V1a),
            _ => Err(format!("`{text}` is no kind of signature; allowed: v1, v1a")),
        }
    }
}

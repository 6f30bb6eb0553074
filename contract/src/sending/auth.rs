//! What proves to an endpoint who sends, beside the signatures.

use super::headers::{check_name, check_value};
use crate::{
    limits::{AUTH_SECRET_BYTES_MAX, AUTH_TEXT_LENGTH_MAX, CERTIFICATES_BYTES_MAX, SCOPES_MAX},
    secret::Secret,
    subscription::SecretRef,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a delivery proves to its endpoint who sends it, beside its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Auth {
    /// The part that people may see.
    pub method: AuthMethod,
    /// The part that they may not.
    pub credential: Credential,
}

/// The part of an [`Auth`] that people may see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// `authorization: Basic ...` (RFC 7617). The credential is the password.
    Basic {
        /// Who logs in.
        username: String,
    },
    /// `authorization: Bearer ...` (RFC 6750). The credential is the token.
    Bearer,
    /// A header such as `x-api-key`. The credential is its value.
    Header {
        /// Name of the header, in lower case.
        name: String,
    },
    /// OAuth 2.0 client credentials (RFC 6749, section 4.4). The credential is the client's secret.
    Oauth2(Box<ClientCredentials>),
    /// A client certificate in TLS. The credential is its private key, in PEM.
    Mtls {
        /// The certificate and those that lead to its root, in PEM.
        certificate: String,
    },
}

/// Where tokens come from, and for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCredentials {
    /// The endpoint that gives tokens.
    pub token_url: String,
    /// Who asks for them.
    pub client_id: String,
    /// What they are to be good for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// For whom they are, where the endpoint wants to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Give id and secret in the body of the request, and not by the basic scheme.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret_in_body: bool,
}

/// The part of an [`Auth`] that people may not see. What is stored has it as [`Self::Stored`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// Not given: the subscription keeps the one it has.
    Kept,
    /// To be stored.
    Given(Secret),
    /// By id and fingerprint.
    Stored(SecretRef),
}

impl Credential {
    /// The stored one, if it is.
    pub const fn stored(&self) -> Option<&SecretRef> {
        match self {
            Self::Stored(secret) => Some(secret),
            Self::Kept | Self::Given(_) => None,
        }
    }
}

impl From<Option<Secret>> for Credential {
    fn from(given: Option<Secret>) -> Self {
        given.map_or(Self::Kept, Self::Given)
    }
}

impl AuthMethod {
    /// Its name, as in `basic`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Basic { .. } => "basic",
            Self::Bearer => "bearer",
            Self::Header { .. } => "header",
            Self::Oauth2(_) => "oauth2",
            Self::Mtls { .. } => "mtls",
        }
    }

    /// What its credential is called.
    pub const fn credential(&self) -> &'static str {
        match self {
            Self::Basic { .. } => "password",
            Self::Bearer => "token",
            Self::Header { .. } => "value",
            Self::Oauth2(_) => "client_secret",
            Self::Mtls { .. } => "key",
        }
    }
}

impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Auth {
    /// A sentence on what is wrong with it, if anything is. URLs and PEM are for others to check.
    pub fn check(&self) -> Result<(), String> {
        let method = &self.method;
        let refuse = |why: String| Err(format!("auth: {method}: {why}"));
        let checked = match method {
            AuthMethod::Basic { username } => match username.contains(':') {
                // RFC 7617, section 2.
                true => Err("a username has no colon".to_owned()),
                false => text("username", username),
            },
            AuthMethod::Bearer => Ok(()),
            AuthMethod::Header { name } => check_name(name),
            AuthMethod::Oauth2(client) => client.check(),
            AuthMethod::Mtls { certificate } if certificate.len() > CERTIFICATES_BYTES_MAX => {
                Err(format!("the certificates have more than {CERTIFICATES_BYTES_MAX} bytes"))
            }
            AuthMethod::Mtls { .. } => Ok(()),
        };
        if let Err(why) = checked {
            return refuse(why);
        }
        let Credential::Given(secret) = &self.credential else { return Ok(()) };
        // Exposed to be checked.
        let (secret, noun) = (secret.expose(), method.credential());
        if secret.is_empty() || secret.len() > AUTH_SECRET_BYTES_MAX {
            return refuse(format!("{noun}: expected 1 to {AUTH_SECRET_BYTES_MAX} bytes"));
        }
        match method {
            AuthMethod::Bearer | AuthMethod::Header { .. } => {
                check_value(secret).or_else(|why| refuse(format!("{noun} {why}")))
            }
            AuthMethod::Basic { .. } if secret.chars().any(char::is_control) => {
                refuse(format!("{noun}: it has control characters"))
            }
            AuthMethod::Basic { .. } | AuthMethod::Oauth2(_) | AuthMethod::Mtls { .. } => Ok(()),
        }
    }
}

impl ClientCredentials {
    fn check(&self) -> Result<(), String> {
        text("client_id", &self.client_id)?;
        self.audience.as_deref().map_or(Ok(()), |audience| text("audience", audience))?;
        if self.scopes.len() > SCOPES_MAX {
            return Err(format!("scopes: at most {SCOPES_MAX}"));
        }
        let spaced = |scope: &&String| scope.contains(char::is_whitespace);
        if let Some(scope) = self.scopes.iter().find(spaced) {
            return Err(format!("scopes: `{scope}` has a space: write a list"));
        }
        self.scopes.iter().try_for_each(|scope| text("scopes", scope))
    }
}

fn text(field: &str, value: &str) -> Result<(), String> {
    let fits = !value.is_empty() && value.len() <= AUTH_TEXT_LENGTH_MAX;
    match fits && !value.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(format!(
            "{field}: expected 1 to {AUTH_TEXT_LENGTH_MAX} bytes without control characters"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_that_cannot_be_sent_are_refused_without_being_shown() {
        let client = |scopes: &[&str]| {
            AuthMethod::Oauth2(Box::new(ClientCredentials {
                token_url: "https://login.example/token".into(),
                client_id: "certes".into(),
                scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
                audience: None,
                secret_in_body: false,
            }))
        };
        let basic = |username: &str| AuthMethod::Basic { username: username.into() };
        let header = |name: &str| AuthMethod::Header { name: name.into() };
        let check = |method: AuthMethod, secret: &str| {
            Auth { method, credential: Credential::Given(Secret::new(secret)) }.check()
        };
        for (method, secret) in [
            (basic("ada"), "p:ss wörd"),
            (AuthMethod::Bearer, "abc.def"),
            (header("x-api-key"), "k"),
            (header("authorization"), "Token k"),
            (client(&["a", "b:c"]), "s"),
        ] {
            assert_eq!(check(method, secret), Ok(()));
        }
        for (method, secret, part) in [
            (basic("a:b"), "hush", "no colon"),
            (basic(""), "hush", "username"),
            (basic("ada"), "", "password"),
            (AuthMethod::Bearer, "hush\r\nx: 1", "printable"),
            (header("host"), "hush", "connection"),
            (header("webhook-id"), "hush", "server's own"),
            (client(&["a b"]), "hush", "write a list"),
        ] {
            let why = check(method, secret).unwrap_err();
            assert!(why.contains(part) && !why.contains("hush"), "{why}");
        }
    }
}

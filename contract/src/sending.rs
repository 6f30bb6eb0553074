//! How the deliveries of a subscription are sent: headers that it adds, and what proves to its
//! endpoint, beside the signatures, who sends them.

use crate::{
    event::{CREDENTIAL_HEADERS, Headers},
    limits::{
        AUTH_SECRET_BYTES_MAX, AUTH_TEXT_LENGTH_MAX, CERTIFICATES_BYTES_MAX,
        CUSTOM_HEADERS_BYTES_MAX, CUSTOM_HEADERS_MAX, SCOPES_MAX,
    },
    secret::Secret,
    subscription::SecretRef,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Headers that belong to one connection or to one request, not to the event (RFC 9110, section
/// 7.6.1, and those that proxies on our side of the door have added).
const OF_ONE_REQUEST: [&str; 26] = [
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// A name that contains one of these carries a credential, or a signature that was made for
/// another request.
const OF_A_CREDENTIAL: [&str; 12] = [
    "signature",
    "-sig",
    "hmac",
    "authorization",
    "authenticat",
    "x-auth",
    "token",
    "secret",
    "password",
    "cookie",
    "api-key",
    "apikey",
];

/// What the server alone may say.
const OF_THE_SERVER: [&str; 4] = ["webhook-", "svix-", "certes-", "hmac-sig"];
/// What describes the body, which is the server's to say where it sends one.
const OF_THE_BODY: [&str; 2] = ["content-", "ce-"];

/// Does a header that was kept with an event go to its subscribers? `name` is in lower case.
pub fn travels(name: &str) -> bool {
    !OF_ONE_REQUEST.contains(&name) && !carries_credential(name) && !starts(name, &OF_THE_SERVER)
}

fn carries_credential(name: &str) -> bool {
    CREDENTIAL_HEADERS.contains(&name) || OF_A_CREDENTIAL.iter().any(|part| name.contains(part))
}

fn starts(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Headers that a subscription adds, names in lower case, sorted.
pub fn custom_headers(given: impl IntoIterator<Item = (String, String)>) -> Headers {
    let lower = given.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
    let mut headers: Vec<_> = lower.collect();
    headers.sort();
    Headers(headers)
}

/// A sentence on what is wrong with the headers that a subscription adds, if anything is.
pub fn check_headers(headers: &Headers) -> Result<(), String> {
    let Headers(pairs) = headers;
    if pairs.len() > CUSTOM_HEADERS_MAX {
        return Err(format!("headers: at most {CUSTOM_HEADERS_MAX}"));
    }
    if pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
        > CUSTOM_HEADERS_BYTES_MAX
    {
        return Err(format!("headers: at most {CUSTOM_HEADERS_BYTES_MAX} bytes together"));
    }
    if let Some([(name, _), _]) = pairs.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("headers: `{name}` comes twice"));
    }
    pairs.iter().try_for_each(|(name, value)| {
        check_name(name).map_err(|why| format!("headers: {why}"))?;
        if carries_credential(name) {
            let how = format!("auth: {{header: {{name: {name}, value: ...}}}}");
            return Err(format!(
                "headers: `{name}` carries a credential, which people would see here; write {how}"
            ));
        }
        check_value(value).map_err(|why| format!("headers: the value of `{name}` {why}"))
    })
}

/// May a subscription set the header of this name?
fn check_name(name: &str) -> Result<(), String> {
    let shown: String = name.chars().take(80).collect();
    let is_token =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(format!("`{shown}` is no name of a header in lower case"));
    }
    let whose = match name {
        _ if starts(name, &OF_THE_SERVER) => "the server's own",
        _ if starts(name, &OF_THE_BODY) => "the server's own, which describes the body",
        _ if OF_ONE_REQUEST.contains(&name) => "of one connection or request",
        _ => return Ok(()),
    };
    Err(format!("`{shown}` cannot be set: it is {whose}"))
}

/// What a header may have as its value (RFC 9110, section 5.5, without obsolete bytes).
fn check_value(value: &str) -> Result<(), &'static str> {
    let fits = |b: u8| b == b'\t' || (b' '..=b'~').contains(&b);
    match value.bytes().all(fits) && value.trim() == value {
        true => Ok(()),
        false => Err("has to be printable ASCII without space at its ends"),
    }
}

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
    Oauth2(ClientCredentials),
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

    fn one(name: &str, value: &str) -> Headers {
        custom_headers([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn headers_that_are_not_a_subscriptions_to_set_are_refused() {
        for name in ["X-Tenant", "x-env", "accept", "cache-control", "tracestate", "from"] {
            assert_eq!(check_headers(&one(name, "a, b;c=\"d\"")), Ok(()), "{name}");
        }
        #[rustfmt::skip]
        let forbidden = [
            ("Host", "connection"), ("Connection", "connection"), ("transfer-encoding", "connection"),
            ("TE", "connection"), ("upgrade", "connection"), ("trailer", "connection"),
            ("proxy-authorization", "connection"), ("User-Agent", "connection"),
            ("traceparent", "connection"), ("x-forwarded-for", "connection"),
            ("content-type", "describes the body"), ("Content-Length", "describes the body"),
            ("content-encoding", "describes the body"), ("ce-id", "describes the body"),
            ("Webhook-Id", "server's own"), ("webhook-x", "server's own"), ("svix-id", "server's own"),
            ("certes-attempt", "server's own"), ("Hmac-Sig", "server's own"),
            ("Authorization", "auth: {header:"), ("x-api-key", "auth: {header:"),
            ("x-gitlab-token", "auth: {header:"), ("cookie", "auth: {header:"),
            ("x tenant", "no name of a header"), ("", "no name of a header"), ("x:y", "no name"),
            ("größe", "no name of a header"),
        ];
        for (name, part) in forbidden {
            let why = check_headers(&one(name, "1")).unwrap_err();
            assert!(why.contains(part), "{name}: {why}");
        }
    }

    #[test]
    fn values_and_numbers_of_headers_are_bounded() {
        for value in ["a\r\nx-evil: 1", "a\0", " a", "größe"] {
            assert!(check_headers(&one("x-a", value)).unwrap_err().contains("printable ASCII"));
        }
        let many = |count: usize, bytes: usize| {
            let value = "v".repeat(bytes);
            let each = (0..count).map(|n| (format!("x-{n}"), value.clone()));
            check_headers(&custom_headers(each))
        };
        assert_eq!(many(CUSTOM_HEADERS_MAX, 1), Ok(()));
        assert!(many(CUSTOM_HEADERS_MAX + 1, 1).unwrap_err().contains("at most"));
        assert!(many(2, CUSTOM_HEADERS_BYTES_MAX / 2).unwrap_err().contains("bytes together"));
        let twice = custom_headers([("X-A", "1"), ("x-a", "2")].map(|(n, v)| (n.into(), v.into())));
        assert!(check_headers(&twice).unwrap_err().contains("`x-a` comes twice"));
    }

    #[test]
    fn credentials_that_cannot_be_sent_are_refused_without_being_shown() {
        let client = |scopes: &[&str]| {
            AuthMethod::Oauth2(ClientCredentials {
                token_url: "https://login.example/token".into(),
                client_id: "certes".into(),
                scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
                audience: None,
                secret_in_body: false,
            })
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

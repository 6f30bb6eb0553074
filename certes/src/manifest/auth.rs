//! What a manifest says of how a subscription proves itself to its endpoint.

use super::SecretEntry;
use anyhow::{Context, Result, bail};
use contract::{
    secret::Secret,
    sending::{Auth, AuthMethod, ClientCredentials},
};
use serde::Deserialize;

/// As in `{basic: {username: ada, password: {env: PASSWORD}}}`: one of these.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub(super) struct AuthEntry {
    basic: Option<BasicEntry>,
    bearer: Option<BearerEntry>,
    header: Option<HeaderEntry>,
    oauth2: Option<ClientEntry>,
    mtls: Option<MtlsEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BasicEntry {
    username: String,
    password: Option<SecretEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BearerEntry {
    token: Option<SecretEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderEntry {
    name: String,
    value: Option<SecretEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientEntry {
    token_url: String,
    client_id: String,
    client_secret: Option<SecretEntry>,
    #[serde(default)]
    scopes: Vec<String>,
    audience: Option<String>,
    #[serde(default)]
    secret_in_body: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MtlsEntry {
    certificate: SecretEntry,
    key: Option<SecretEntry>,
}

impl AuthEntry {
    /// With its secrets as `resolve` finds them.
    pub(super) fn read(self, resolve: impl Fn(SecretEntry) -> Result<Secret>) -> Result<Auth> {
        let (method, secret) = match self {
            Self { basic: Some(basic), bearer: None, header: None, oauth2: None, mtls: None } => {
                (AuthMethod::Basic { username: basic.username }, basic.password)
            }
            Self { basic: None, bearer: Some(bearer), header: None, oauth2: None, mtls: None } => {
                (AuthMethod::Bearer, bearer.token)
            }
            Self { basic: None, bearer: None, header: Some(header), oauth2: None, mtls: None } => {
                (AuthMethod::Header { name: header.name.to_ascii_lowercase() }, header.value)
            }
            Self { basic: None, bearer: None, header: None, oauth2: Some(entry), mtls: None } => {
                let client = ClientCredentials {
                    token_url: entry.token_url,
                    client_id: entry.client_id,
                    scopes: entry.scopes,
                    audience: entry.audience,
                    secret_in_body: entry.secret_in_body,
                };
                (AuthMethod::Oauth2(Box::new(client)), entry.client_secret)
            }
            Self { basic: None, bearer: None, header: None, oauth2: None, mtls: Some(mtls) } => {
                // A certificate is no secret, and is found like one.
                let certificate = resolve(mtls.certificate).context("auth: certificate")?;
                let certificate = certificate.expose().to_owned();
                (AuthMethod::Mtls { certificate }, mtls.key)
            }
            _ => bail!("auth: write one of basic, bearer, header, oauth2 and mtls"),
        };
        let secret = secret.map(resolve).transpose().context("auth")?;
        Ok(Auth { method, credential: secret.into() })
    }
}

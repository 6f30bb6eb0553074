//! How the deliveries of a subscription are sent: what is declared of it, and what is shown.

use async_graphql::{InputObject, OneofObject, SimpleObject};
use contract::{
    event::Headers,
    secret::Secret,
    sending::{Auth, AuthMethod, ClientCredentials, custom_headers},
};

/// A header that is added to each delivery.
#[derive(Debug, InputObject)]
pub(super) struct HeaderInput {
    /// Its name.
    name: String,
    /// Its value, for everybody to see.
    value: String,
}

pub(super) fn headers_of(inputs: Vec<HeaderInput>) -> Headers {
    custom_headers(inputs.into_iter().map(|input| (input.name, input.value)))
}

/// What proves who sends, beside the signatures: one of these. Secrets are never shown again; one
/// that is not given stays as it is.
#[derive(OneofObject)]
pub(super) enum AuthInput {
    /// `authorization: Basic ...`
    Basic(BasicAuthInput),
    /// `authorization: Bearer ...`
    Bearer(BearerAuthInput),
    /// A header such as `x-api-key`.
    Header(HeaderAuthInput),
    /// OAuth 2.0 client credentials.
    #[graphql(name = "oauth2")]
    Oauth2(ClientCredentialsInput),
    /// A client certificate in TLS.
    Mtls(MutualTlsInput),
}

/// A user name and a password.
#[derive(InputObject)]
pub(super) struct BasicAuthInput {
    /// Who logs in.
    username: String,
    /// Null: it stays as it is.
    password: Option<String>,
}

/// A token.
#[derive(InputObject)]
pub(super) struct BearerAuthInput {
    /// Null: it stays as it is.
    token: Option<String>,
}

/// A header whose value is a secret.
#[derive(InputObject)]
pub(super) struct HeaderAuthInput {
    /// Name of the header.
    name: String,
    /// Null: it stays as it is.
    value: Option<String>,
}

/// Where tokens come from, and for whom.
#[derive(InputObject)]
pub(super) struct ClientCredentialsInput {
    /// The endpoint that gives tokens.
    token_url: String,
    /// Who asks for them.
    client_id: String,
    /// Null: it stays as it is.
    client_secret: Option<String>,
    /// What they are to be good for.
    #[graphql(default)]
    scopes: Vec<String>,
    /// For whom they are, where the endpoint wants to know.
    audience: Option<String>,
    /// Give id and secret in the body of the request, and not by the basic scheme.
    #[graphql(default = false)]
    secret_in_body: bool,
}

/// A certificate and its private key, in PEM.
#[derive(InputObject)]
pub(super) struct MutualTlsInput {
    /// The certificate and those that lead to its root.
    certificate: String,
    /// Null: it stays as it is.
    key: Option<String>,
}

impl From<AuthInput> for Auth {
    fn from(input: AuthInput) -> Self {
        let (method, secret) = match input {
            AuthInput::Basic(BasicAuthInput { username, password }) => {
                (AuthMethod::Basic { username }, password)
            }
            AuthInput::Bearer(BearerAuthInput { token }) => (AuthMethod::Bearer, token),
            AuthInput::Header(HeaderAuthInput { name, value }) => {
                (AuthMethod::Header { name: name.to_ascii_lowercase() }, value)
            }
            AuthInput::Oauth2(input) => {
                let client = ClientCredentials {
                    token_url: input.token_url,
                    client_id: input.client_id,
                    scopes: input.scopes,
                    audience: input.audience,
                    secret_in_body: input.secret_in_body,
                };
                (AuthMethod::Oauth2(Box::new(client)), input.client_secret)
            }
            AuthInput::Mtls(MutualTlsInput { certificate, key }) => {
                (AuthMethod::Mtls { certificate }, key)
            }
        };
        Self { method, credential: secret.map(Secret::new).into() }
    }
}

/// What proves who sends, beside the signatures.
#[derive(Debug, Default, SimpleObject)]
#[graphql(name = "Auth")]
pub(super) struct AuthNode {
    /// `basic`, `bearer`, `header`, `oauth2` or `mtls`.
    method: String,
    /// Tells its secret apart from others.
    secret_fingerprint: Option<String>,
    /// Of `basic`: who logs in.
    username: Option<String>,
    /// Of `header`: its name.
    header_name: Option<String>,
    /// Of `oauth2`: the endpoint that gives tokens.
    token_url: Option<String>,
    /// Of `oauth2`: who asks for them.
    client_id: Option<String>,
    /// Of `oauth2`: what they are to be good for.
    scopes: Vec<String>,
    /// Of `oauth2`: for whom they are.
    audience: Option<String>,
    /// Of `oauth2`: id and secret go into the body of the request.
    secret_in_body: bool,
    /// Of `mtls`: the certificate and those that lead to its root, in PEM.
    certificate: Option<String>,
}

impl From<&Auth> for AuthNode {
    fn from(auth: &Auth) -> Self {
        let node = Self {
            method: auth.method.as_str().to_owned(),
            secret_fingerprint: auth.credential.stored().map(|stored| stored.fingerprint.clone()),
            ..Self::default()
        };
        match auth.method.clone() {
            AuthMethod::Basic { username } => Self { username: Some(username), ..node },
            AuthMethod::Bearer => node,
            AuthMethod::Header { name } => Self { header_name: Some(name), ..node },
            AuthMethod::Oauth2(client) => Self {
                token_url: Some(client.token_url),
                client_id: Some(client.client_id),
                scopes: client.scopes,
                audience: client.audience,
                secret_in_body: client.secret_in_body,
                ..node
            },
            AuthMethod::Mtls { certificate } => Self { certificate: Some(certificate), ..node },
        }
    }
}

//! How the deliveries of a subscription are sent.

use super::{Malformed, event, optional, required, text};
use crate::v1::{self, subscription_auth::Method};
use contract::{
    event::Headers,
    secret::Secret,
    sending::{
        Auth, AuthMethod, ClientCredentials, Credential, PayloadFormat, SignatureScheme,
        custom_headers,
    },
    subscription::SecretRef,
};

same_variants!(
    PayloadFormat,
    v1::PayloadFormat,
    [AsReceived, Json, Protobuf, CloudeventsBinary, CloudeventsStructured]
);
same_variants!(SignatureScheme, v1::SignatureScheme, [V1, V1a]);

/// The headers that a subscription adds.
pub(super) fn headers_from(wire: Vec<v1::Header>) -> Result<Headers, Malformed> {
    Ok(custom_headers(event::headers_from(wire)?.0))
}

impl From<Auth> for v1::SubscriptionAuth {
    fn from(auth: Auth) -> Self {
        let Auth { method, credential } = auth;
        let method = match method {
            AuthMethod::Basic { username } => Method::Basic(v1::BasicAuth { username }),
            AuthMethod::Bearer => Method::Bearer(v1::BearerAuth {}),
            AuthMethod::Header { name } => Method::Header(v1::HeaderAuth { name }),
            AuthMethod::Oauth2(client) => Method::Oauth2((*client).into()),
            AuthMethod::Mtls { certificate } => Method::Mtls(v1::MutualTls { certificate }),
        };
        let (secret, stored) = match credential {
            Credential::Kept => (None, None),
            // Exposed because this message is how it is given to the server.
            Credential::Given(secret) => (Some(secret.expose().to_owned()), None),
            Credential::Stored(stored) => (None, Some(stored.into())),
        };
        Self { method: Some(method), secret, stored }
    }
}

impl TryFrom<v1::SubscriptionAuth> for Auth {
    type Error = Malformed;
    fn try_from(wire: v1::SubscriptionAuth) -> Result<Self, Malformed> {
        let method = match required(wire.method, "method")? {
            Method::Basic(basic) => {
                AuthMethod::Basic { username: text(basic.username, "basic.username")? }
            }
            Method::Bearer(v1::BearerAuth {}) => AuthMethod::Bearer,
            Method::Header(header) => {
                let name = text(header.name, "header.name")?.to_ascii_lowercase();
                AuthMethod::Header { name }
            }
            Method::Oauth2(client) => {
                let read = ClientCredentials::try_from(client);
                AuthMethod::Oauth2(Box::new(read.map_err(|malformed| malformed.within("oauth2"))?))
            }
            Method::Mtls(mtls) => {
                AuthMethod::Mtls { certificate: text(mtls.certificate, "mtls.certificate")? }
            }
        };
        let stored = optional(wire.stored, "stored", SecretRef::try_from)?;
        let credential = match (wire.secret, stored) {
            (Some(secret), _) => Credential::Given(Secret::new(secret)),
            (None, Some(stored)) => Credential::Stored(stored),
            (None, None) => Credential::Kept,
        };
        Ok(Self { method, credential })
    }
}

impl From<ClientCredentials> for v1::ClientCredentials {
    fn from(client: ClientCredentials) -> Self {
        let ClientCredentials { token_url, client_id, scopes, audience, secret_in_body } = client;
        Self { token_url, client_id, scopes, audience, secret_in_body }
    }
}

impl TryFrom<v1::ClientCredentials> for ClientCredentials {
    type Error = Malformed;
    fn try_from(wire: v1::ClientCredentials) -> Result<Self, Malformed> {
        Ok(Self {
            token_url: text(wire.token_url, "token_url")?,
            client_id: text(wire.client_id, "client_id")?,
            scopes: wire.scopes,
            audience: wire.audience,
            secret_in_body: wire.secret_in_body,
        })
    }
}

//! What proves to an endpoint who sends, beside the signatures: made once for a subscription.

use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{
    id::{SecretId, SubscriptionNumber},
    rules::Rules,
    secret::Secret,
    sending::{AuthMethod, ClientCredentials},
    subscription::Subscription,
};
use egress::Identity;
use http::{HeaderName, HeaderValue, header};
use sha2::{Digest, Sha256};
use std::hash::{Hash, Hasher};
use url::Url;

/// What proves to an endpoint who sends.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    /// The signatures alone.
    Signatures,
    /// A header that is always the same.
    Header(HeaderName, HeaderValue),
    /// A token that is fetched.
    Token(Client),
    /// A certificate, shown when the connection is made.
    Certificate(TlsIdentity),
}

/// Who asks for tokens, and where.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// Its tokens are its subscription's own.
    pub(crate) subscription: SubscriptionNumber,
    pub(crate) secret_id: SecretId,
    pub(crate) secret: Secret,
    pub(crate) credentials: ClientCredentials,
}

/// A certificate with its key, told apart from others by what they are.
#[derive(Debug, Clone)]
pub(crate) struct TlsIdentity {
    key: SecretId,
    certificate: [u8; 32],
    pub(crate) identity: Identity,
}

impl PartialEq for TlsIdentity {
    fn eq(&self, other: &Self) -> bool {
        (self.key, self.certificate) == (other.key, other.certificate)
    }
}

impl Eq for TlsIdentity {}

impl Hash for TlsIdentity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.key, self.certificate).hash(state);
    }
}

/// The proof of a subscription; `url` is its own, with credentials if it has such. A sentence if
/// there can be none.
pub(crate) fn proof(
    subscription: &Subscription,
    url: &Url,
    rules: &Rules,
) -> Result<Proof, String> {
    let Some(auth) = &subscription.spec.auth else { return in_url(url) };
    let method = &auth.method;
    let missing = || format!("the {} of its auth is missing", method.credential());
    let stored = auth.credential.stored().ok_or_else(missing)?;
    let secret = rules.secrets.get(&stored.id).ok_or_else(missing)?;
    // Exposed to its endpoint, as it was declared.
    let text = secret.expose();
    Ok(match method {
        AuthMethod::Basic { username } => basic(format!("{username}:{text}").as_bytes())?,
        AuthMethod::Bearer => shown(header::AUTHORIZATION, &format!("Bearer {text}"))?,
        AuthMethod::Header { name } => {
            let name = HeaderName::try_from(name).map_err(|_name| "the header of its auth")?;
            shown(name, text)?
        }
        AuthMethod::Oauth2(credentials) => Proof::Token(Client {
            subscription: subscription.number,
            secret_id: stored.id,
            secret: secret.clone(),
            credentials: (**credentials).clone(),
        }),
        AuthMethod::Mtls { certificate } => Proof::Certificate(TlsIdentity {
            key: stored.id,
            certificate: Sha256::digest(certificate.as_bytes()).into(),
            identity: Identity::from_pem(certificate, text)?,
        }),
    })
}

fn in_url(url: &Url) -> Result<Proof, String> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(Proof::Signatures);
    }
    let pair = format!("{}:{}", url.username(), url.password().unwrap_or_default());
    basic(&percent_decode(&pair))
}

fn basic(pair: &[u8]) -> Result<Proof, String> {
    shown(header::AUTHORIZATION, &format!("Basic {}", STANDARD.encode(pair)))
}

fn shown(name: HeaderName, value: &str) -> Result<Proof, String> {
    let value = HeaderValue::try_from(value);
    let mut value = value.map_err(|_value| format!("its `{name}` cannot be a header"))?;
    value.set_sensitive(true);
    Ok(Proof::Header(name, value))
}

/// Undoes `%XX`, which the URL parser puts into credentials.
pub(crate) fn percent_decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let mut byte = [*first];
        rest = match escaped.map(|digits| hex::decode_to_slice(digits, &mut byte)) {
            Some(Ok(())) => &tail[2..],
            _ => tail,
        };
        bytes.push(byte[0]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_url_become_a_header() {
        let header = |url: &str| match in_url(&Url::parse(url).unwrap()).unwrap() {
            Proof::Header(name, value) => Some((name, value)),
            _ => None,
        };
        assert_eq!(header("https://host/"), None);
        let (name, value) = header("https://user:p%40ss@host/").unwrap();
        assert_eq!(name, header::AUTHORIZATION);
        assert_eq!(value, format!("Basic {}", STANDARD.encode("user:p@ss")).as_str());
        assert!(value.is_sensitive());
        assert_eq!(percent_decode("%zz%4"), b"%zz%4");
    }
}

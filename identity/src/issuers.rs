//! Tokens of other issuers: their keys are found by discovery, kept for a while, and asked for
//! again when a token names one that is not known.

use crate::{
    config::{Config, IssuerConfig},
    jwt::{self, Terms, Unverified},
};
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    access::{Actor, Principal, Roles},
    authenticate::unknown,
    clock::Timestamp,
    secret::Secret,
};
use egress::GuardedClient;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

/// Most connections to issuers.
const CONNECTIONS_MAX: usize = 16;
/// Most keys of one issuer that are looked at.
const KEYS_MAX: usize = 64;

/// The issuers that are trusted.
pub(crate) struct Issuers {
    config: Config,
    issuers: Vec<Issuer>,
    client: GuardedClient<Empty<Bytes>>,
}

struct Issuer {
    config: IssuerConfig,
    /// Held while it is asked: who comes meanwhile waits for that answer.
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: Arc<Vec<Key>>,
    /// When keys last came.
    fresh: Option<Instant>,
    /// When they were last asked for.
    asked: Option<Instant>,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// What of an issuer's metadata matters here (OpenID Connect Discovery 1.0, 3).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Issuers {
    /// Errors: `invalid_definition`.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        config.check()?;
        let refuse = |why| Error::new(ErrorCode::InvalidDefinition, format!("`identity`: {why}"));
        let settings = egress::Settings {
            allowed_networks: config.allowed_networks.clone(),
            nameservers: config.nameservers.clone(),
            dns_timeout: config.timeout.0,
            connect_timeout: config.timeout.0,
            connections_max: CONNECTIONS_MAX,
        };
        let client = egress::client(&settings, config.extra_ca_file.as_deref()).map_err(refuse)?;
        let issuer = |config: &IssuerConfig| Issuer {
            config: config.clone(),
            known: Mutex::new(Known::default()),
        };
        let issuers = config.issuers.iter().map(issuer).collect();
        Ok(Self { config: config.clone(), issuers, client })
    }

    /// Whoever holds a token of another issuer. Errors: `unauthenticated`; `unavailable` when the
    /// issuer does not tell its keys.
    pub(crate) async fn check(
        &self,
        token: &Secret,
        said: &Unverified,
        now: Timestamp,
    ) -> Result<Principal> {
        let issuer = self.issuers.iter().find(|issuer| issuer.config.issuer == said.issuer);
        let issuer = issuer.ok_or_else(|| unknown("the token's issuer is not trusted here"))?;
        let (key_id, algorithm) = (said.key_id.as_deref(), said.algorithm);
        let keys = self.keys(issuer, key_id, algorithm).await?;
        let key = find(&keys, key_id, algorithm)
            .ok_or_else(|| unknown("the token's issuer does not know the key that signed it"))?;
        let terms = Terms {
            issuer: &issuer.config.issuer,
            audience: &issuer.config.audience,
            now,
            leeway: self.config.leeway.0,
        };
        let claims: Value = jwt::verify(token, &key.key, algorithm, terms)?;
        issuer.config.principal(&claims)
    }

    /// Keys of an issuer, among them the one that is wanted if it has it.
    async fn keys(
        &self,
        issuer: &Issuer,
        key_id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<Vec<Key>>> {
        let mut known = issuer.known.lock().await;
        let within = |since: Option<Instant>, span: Duration| {
            since.is_some_and(|since| since.elapsed() < span)
        };
        let found = find(&known.keys, key_id, algorithm).is_some();
        let fresh = within(known.fresh, self.config.keys_ttl.0);
        if (found && fresh) || within(known.asked, self.config.refresh_after.0) {
            return match known.fresh {
                Some(_) => Ok(Arc::clone(&known.keys)),
                None => Err(silent(&issuer.config.issuer)),
            };
        }
        known.asked = Some(Instant::now());
        match self.ask(&issuer.config.issuer).await {
            Ok(keys) => {
                known.keys = Arc::new(keys);
                known.fresh = Some(Instant::now());
            }
            Err(why) => {
                tracing::warn!(issuer = %issuer.config.issuer, why, "an issuer tells no keys");
                if !found {
                    return Err(silent(&issuer.config.issuer));
                }
                // Keys that were good an hour ago are better than nobody getting in.
            }
        }
        Ok(Arc::clone(&known.keys))
    }

    async fn ask(&self, issuer: &str) -> Result<Vec<Key>, String> {
        let base = issuer.trim_end_matches('/');
        let metadata: Metadata =
            self.get(&format!("{base}/.well-known/openid-configuration")).await?;
        if metadata.issuer != issuer {
            return Err("its metadata names another issuer".to_owned());
        }
        // Keys that came in the clear could be anybody's.
        if issuer.starts_with("https:") && !metadata.jwks_uri.starts_with("https:") {
            return Err("its metadata leads to keys in the clear".to_owned());
        }
        let set: JwkSet = self.get(&metadata.jwks_uri).await?;
        Ok(set.keys.iter().take(KEYS_MAX).filter_map(key).collect())
    }

    async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, String> {
        let request = Request::get(url).header(header::ACCEPT, "application/json");
        let request = request.body(Empty::new()).map_err(|error| error.to_string())?;
        let exchange = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| format!("{url}: {error}"))?;
            if answer.status() != StatusCode::OK {
                return Err(format!("{url}: {}", answer.status()));
            }
            let body = Limited::new(answer.into_body(), self.config.answer_bytes_max);
            let body = body.collect().await.map_err(|error| format!("{url}: {error}"))?;
            serde_json::from_slice(&body.to_bytes()).map_err(|_json| format!("{url}: no JSON"))
        };
        let limit = self.config.timeout.0;
        timeout(limit, exchange).await.map_err(|_elapsed| format!("{url}: no answer in time"))?
    }
}

fn silent(issuer: &str) -> Error {
    let message = format!("the issuer {issuer} does not tell its keys now");
    Error::new(ErrorCode::Unavailable, message)
}

fn find<'a>(keys: &'a [Key], id: Option<&str>, algorithm: Algorithm) -> Option<&'a Key> {
    let mut fitting = keys.iter().filter(|key| key.algorithm == algorithm);
    match id {
        Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)),
        // Without a name, only where there is no choice.
        None => fitting.next().filter(|_| fitting.next().is_none()),
    }
}

/// A key that we can use: for signatures, by RSA or on the curve P-256.
fn key(jwk: &Jwk) -> Option<Key> {
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        _ => return None,
    };
    let key = DecodingKey::from_jwk(jwk).ok()?;
    Some(Key { id: jwk.common.key_id.clone(), algorithm, key })
}

impl IssuerConfig {
    /// Whom the claims mean here. Errors: `unauthenticated`.
    fn principal(&self, claims: &Value) -> Result<Principal> {
        let text = |path: &str| at(claims, path).and_then(Value::as_str);
        let subject = text("sub").filter(|subject| !subject.is_empty());
        let subject = subject.ok_or_else(|| unknown("the token says nothing of its holder"))?;
        let subscriber = match &self.subscriber_claim {
            None => None,
            Some(claim) => {
                let lacks = || unknown(format!("the token lacks the claim `{claim}`"));
                Some(text(claim).filter(|id| !id.is_empty()).ok_or_else(lacks)?.to_owned())
            }
        };
        let values = at(claims, &self.claim).map(texts).unwrap_or_default();
        let meant = values.iter().filter_map(|value| self.roles.get(*value)).flatten();
        let roles = Roles::parse(meant.map(String::as_str)).map_err(unknown)?;
        let name = text(&self.name_claim).unwrap_or(subject).to_owned();
        let (issuer, subject) = (self.issuer.clone(), subject.to_owned());
        Ok(Principal { actor: Actor::External { issuer, subject }, name, roles, subscriber })
    }
}

/// The claim of this name, or the one that its dots lead to.
fn at<'a>(claims: &'a Value, path: &str) -> Option<&'a Value> {
    let step = |value: Option<&'a Value>, name| value.and_then(|value| value.get(name));
    claims.get(path).or_else(|| path.split('.').fold(Some(claims), step))
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => text.split_whitespace().collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

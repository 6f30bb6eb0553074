//! Tokens of our own: what a user gets for a password, and what is believed of it later.

use crate::jwt::{self, Terms, Unverified};
use contract::{
    Result,
    access::{Principal, Session, User},
    authenticate::unknown,
    clock::Timestamp,
    id::{SecretId, UserId},
    rules::Rules,
    secret::Secret,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What our own tokens name as their issuer, and whom they are for.
pub const ISSUER: &str = "certes";

/// What a token of our own says. What its user may do is not in it: that is looked up each time.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    /// Id of the user.
    sub: UserId,
    name: String,
    /// [`User::epoch`] when it was given out.
    epoch: u32,
    iat: i64,
    exp: i64,
    /// When the password was given (OpenID Connect Core 1.0, 2).
    auth_time: i64,
}

/// Signs a token for `user`, who gave the password at `since`, in seconds of Unix time.
pub fn give(
    user: &User,
    (now, since): (Timestamp, i64),
    lifetime: Duration,
    (key, private_key): (SecretId, &[u8]),
) -> Result<Session> {
    let expires_at = now.after(lifetime);
    let claims = Claims {
        iss: ISSUER.to_owned(),
        aud: ISSUER.to_owned(),
        sub: user.id,
        name: user.name.clone(),
        epoch: user.epoch,
        iat: now.unix_seconds(),
        exp: expires_at.unix_seconds(),
        auth_time: since,
    };
    let token = jwt::sign(&claims, &key.to_string(), private_key)?;
    Ok(Session { token, expires_at })
}

/// Whoever holds a token of our own, and when the password was given for it, in seconds of Unix
/// time. Errors: `unauthenticated`.
pub fn check(token: &Secret, rules: &Rules, now: Timestamp) -> Result<(UserId, Principal, i64)> {
    check_as(token, &jwt::peek(token)?, rules, now)
}

pub(crate) fn check_as(
    token: &Secret,
    said: &Unverified,
    rules: &Rules,
    now: Timestamp,
) -> Result<(UserId, Principal, i64)> {
    let named = |key: &&std::sync::Arc<_>| Some(key_id(key)) == said.key_id;
    let key = rules.token_keys.iter().find(named);
    let key = key.ok_or_else(|| unknown("the key that signed the token is not in use"))?;
    let key = DecodingKey::from_rsa_components(&key.n, &key.e);
    let key = key.map_err(|_base64| unknown("the key that signed the token is not in use"))?;
    let terms = Terms { issuer: ISSUER, audience: ISSUER, now, leeway: Duration::ZERO };
    let claims: Claims = jwt::verify(token, &key, Algorithm::RS256, terms)?;
    let principal = rules.user(claims.sub, claims.epoch);
    let principal = principal.ok_or_else(|| unknown("the token is good no more: log in again"))?;
    Ok((claims.sub, principal, claims.auth_time))
}

fn key_id(key: &contract::access::TokenKey) -> String {
    key.id.to_string()
}

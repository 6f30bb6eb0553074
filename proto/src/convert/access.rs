//! Keys, users and their sessions.

use super::{Malformed, each, message, moment, moment_from, parsed, text};
use crate::v1::{self, internal};
use contract::{
    access::{ApiKey, Session, User},
    clock::Timestamp,
    id::KeyId,
    secret::Secret,
};
use std::collections::BTreeMap;

impl From<Session> for internal::Session {
    fn from(session: Session) -> Self {
        // The one answer in which a token is shown to whoever logged in.
        let token = session.token.expose().to_owned();
        Self { token, expires_at: Some(moment(session.expires_at)) }
    }
}

impl TryFrom<internal::Session> for Session {
    type Error = Malformed;
    fn try_from(wire: internal::Session) -> Result<Self, Malformed> {
        Ok(Self {
            token: Secret::new(text(wire.token, "token")?),
            expires_at: message(wire.expires_at, "expires_at", moment_from)?,
        })
    }
}

/// One way only: nothing of the password leaves, nor what tokens of it are refused.
impl From<User> for v1::User {
    fn from(user: User) -> Self {
        let User { id, name, password: _, roles, subscriber, disabled, epoch: _, created_at } =
            user;
        Self {
            id: id.to_string(),
            name,
            roles: roles.names(),
            subscriber,
            disabled,
            created_at: Some(moment(created_at)),
        }
    }
}

/// One way only: the digest of the token stays here.
impl From<ApiKey> for v1::ApiKey {
    fn from(key: ApiKey) -> Self {
        let ApiKey { id, name, prefix, token_sha256: _, roles, subscriber, created_at, expires_at } =
            key;
        Self {
            id: id.to_string(),
            name,
            prefix,
            roles: roles.names(),
            subscriber,
            created_at: Some(moment(created_at)),
            expires_at: expires_at.map(moment),
            last_used_at: None,
        }
    }
}

impl From<BTreeMap<KeyId, Timestamp>> for internal::KeyUses {
    fn from(uses: BTreeMap<KeyId, Timestamp>) -> Self {
        let one = |(key, at): (KeyId, Timestamp)| internal::KeyUse {
            key: key.to_string(),
            at: Some(moment(at)),
        };
        Self { uses: uses.into_iter().map(one).collect() }
    }
}

impl TryFrom<internal::KeyUses> for BTreeMap<KeyId, Timestamp> {
    type Error = Malformed;
    fn try_from(wire: internal::KeyUses) -> Result<Self, Malformed> {
        let one = |wire: internal::KeyUse| {
            Ok((parsed(&wire.key, "key")?, message(wire.at, "at", moment_from)?))
        };
        Ok(each(wire.uses, "uses", one)?.into_iter().collect())
    }
}

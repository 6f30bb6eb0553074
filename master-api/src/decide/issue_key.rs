//! Makes an API key. Its token is shown once and known to its owner alone.

use super::{Desk, check, conflict, refused};
use crate::fact::FactBody;
use contract::{
    Result,
    access::{ApiKey, Roles, TOKEN_PREFIX, new_token, token_digest},
    clock::Timestamp,
    command::ChangeKind,
    id::KeyId,
    secret::Secret,
};

/// Characters of the token that are kept to recognise it by, beside what all tokens start with.
const PREFIX_LENGTH: usize = 6;

pub(super) fn issue_key(
    desk: &mut Desk<'_>,
    name: &str,
    roles: &Roles,
    (subscriber, expires_at): (Option<&str>, Option<Timestamp>),
) -> Result<()> {
    check::name("key", name)?;
    check::subscriber(desk, "key", name, subscriber)?;
    if desk.state.keys.values().any(|key| key.name == name) {
        return Err(conflict("key", name, "a key of this name is in use"));
    }
    if *roles == Roles::default() {
        return Err(refused("key", name, "it has no role"));
    }
    if expires_at.is_some_and(|expiry| expiry <= desk.given.now) {
        return Err(refused("key", name, "it would have expired already"));
    }
    let mut bytes = [0; 32];
    desk.given.random.fill(&mut bytes);
    let token = new_token(&bytes);
    let mut key = key(desk, name, roles.clone(), &token);
    (key.subscriber, key.expires_at) = (subscriber.map(str::to_owned), expires_at);
    let id = key.id.to_string();
    desk.record(FactBody::KeyIssued(Box::new(key)));
    desk.changed(ChangeKind::Created, "key", name);
    desk.changed_with(Some(id), Some(token));
    Ok(())
}

/// A key of this token, without bounds.
pub(super) fn key(desk: &Desk<'_>, name: &str, roles: Roles, token: &Secret) -> ApiKey {
    ApiKey {
        id: KeyId::from_bytes(desk.given.ids.uuid()),
        name: name.to_owned(),
        // A few of 64 random digits give nothing away.
        prefix: token.expose().chars().take(TOKEN_PREFIX.len() + PREFIX_LENGTH).collect(),
        token_sha256: token_digest(token),
        roles,
        subscriber: None,
        created_at: desk.given.now,
        expires_at: None,
    }
}

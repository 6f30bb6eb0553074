//! Takes an API key out of use.

use super::{Desk, conflict, not_found};
use crate::fact::FactBody;
use contract::{
    Result,
    access::{Access, ApiKey, Noun, Roles},
    command::ChangeKind,
    id::KeyId,
};

/// The last key that has all roles stays, and where there is none, the last that can make keys:
/// without it nobody could get in again. Users do not count, since somebody else may disable them.
pub(super) fn revoke_key(desk: &mut Desk<'_>, id: KeyId) -> Result<()> {
    let key = desk.state.keys.get(&id).cloned();
    let key = key.ok_or_else(|| not_found("key", &id.to_string()))?;
    let last = |counts: fn(&ApiKey) -> bool| {
        let mut others = desk.state.keys.values().filter(|other| other.id != id);
        counts(&key) && !others.any(|other| counts(other))
    };
    if last(has_all_roles) {
        return Err(conflict("key", &key.name, "it is the last one with all roles"));
    }
    if last(makes_keys) {
        return Err(conflict("key", &key.name, "it is the last one that can make keys"));
    }
    desk.record(FactBody::KeyRevoked { id });
    desk.changed(ChangeKind::Removed, "key", &key.name);
    desk.changed_with(Some(id.to_string()), None);
    Ok(())
}

fn has_all_roles(key: &ApiKey) -> bool {
    key.roles == Roles::admin() && unbounded(key)
}

fn makes_keys(key: &ApiKey) -> bool {
    key.roles.allow(Noun::Keys, Access::Write) && unbounded(key)
}

/// Neither for one subscriber only, nor until some day.
fn unbounded(key: &ApiKey) -> bool {
    key.subscriber.is_none() && key.expires_at.is_none()
}

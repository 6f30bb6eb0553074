//! Takes an API key out of use.

use super::{Desk, conflict, not_found};
use crate::fact::FactBody;
use contract::{
    Result,
    access::{Access, ApiKey, Noun},
    command::ChangeKind,
    id::KeyId,
};

/// The last key that can make keys stays: without it nobody could get in again.
pub(super) fn revoke_key(desk: &mut Desk<'_>, id: KeyId) -> Result<()> {
    let key = desk.state.keys.get(&id).cloned();
    let key = key.ok_or_else(|| not_found("key", &id.to_string()))?;
    let makes_keys = |key: &ApiKey| {
        key.roles.allow(Noun::Keys, Access::Write)
            && key.subscriber.is_none()
            && key.expires_at.is_none()
    };
    let others = desk.state.keys.values().filter(|other| other.id != id && makes_keys(other));
    if makes_keys(&key) && others.count() == 0 {
        return Err(conflict("key", &key.name, "it is the last one that can make keys"));
    }
    desk.record(FactBody::KeyRevoked { id });
    desk.changed(ChangeKind::Removed, "key", &key.name);
    desk.changed_with(Some(id.to_string()), None);
    Ok(())
}

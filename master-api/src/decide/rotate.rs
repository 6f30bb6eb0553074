//! New keys and secrets in the place of old ones, and a secret that is shown.

use super::{Desk, check, not_found, put_subscription::new_secret, refused};
use crate::fact::FactBody;
use contract::{
    Error, Result, access::TokenKey, command::ChangeKind, secret::Secret,
    subscription::Subscription,
};
use std::sync::Arc;

/// Random bytes of a stamp key.
const STAMP_KEY_BYTES: usize = 32;

/// The private half of the key so far is erased: it signs no more.
pub(super) fn rotate_token_key(desk: &mut Desk<'_>, forget: bool) -> Result<()> {
    let new = desk.given.token_key.ok_or_else(|| Error::internal("no token key was made"))?;
    let before = desk.state.token_keys.clone();
    let stored = desk.store_secret(&new.private);
    let id = stored.id;
    let key = TokenKey { id, n: new.n.clone(), e: new.e.clone(), created_at: desk.given.now };
    desk.record(FactBody::TokenKeyCreated(Box::new(key)));
    for old in before {
        if desk.state.secrets.contains_key(&old.id) {
            desk.record(FactBody::SecretErased { id: old.id });
        }
        if forget {
            desk.record(FactBody::TokenKeyForgotten { id: old.id });
        }
    }
    desk.changed(ChangeKind::Created, "token_key", id.to_string());
    desk.changed_with(Some(id.to_string()), None);
    Ok(())
}

/// The newest secret so far goes on signing beside the new one, unless it is to be forgotten.
pub(super) fn rotate_secret(desk: &mut Desk<'_>, name: &str, forget: bool) -> Result<()> {
    let held = subscription(desk, name)?;
    let made = new_secret(desk);
    let mut secrets = vec![desk.store_secret(&made)];
    secrets.extend(held.secrets.first().filter(|_| !forget).cloned());
    let (number, spec, kept) = (held.number, Box::new(held.spec.clone()), secrets.clone());
    desk.record(FactBody::SubscriptionChanged { number, spec, secrets });
    desk.erase_secrets(&held.secrets, &kept);
    desk.changed(ChangeKind::Changed, "subscription", name);
    desk.changed_with(Some(held.id.to_string()), Some(made));
    Ok(())
}

/// Shows the newest secret.
pub(super) fn reveal_secret(desk: &mut Desk<'_>, name: &str) -> Result<()> {
    let held = subscription(desk, name)?;
    let newest = held.secrets.first();
    let newest = newest.ok_or_else(|| refused("subscription", name, "it has no secret"))?;
    let shown = desk.bytes_of(newest.id).cloned();
    let shown = shown.ok_or_else(|| Error::internal("the bytes of a secret are missing"))?;
    desk.record(FactBody::SecretRevealed { id: newest.id });
    desk.changed(ChangeKind::Unchanged, "subscription", name);
    desk.changed_with(Some(held.id.to_string()), Some(shown));
    Ok(())
}

/// Old keys stay: what they have stamped is still to be delivered.
pub(super) fn rotate_stamp_key(desk: &mut Desk<'_>) {
    let id = create_stamp_key(desk);
    desk.changed(ChangeKind::Created, "stamp_key", id.clone());
    desk.changed_with(Some(id), None);
}

/// Gives its id.
pub(super) fn create_stamp_key(desk: &mut Desk<'_>) -> String {
    let mut bytes = [0; STAMP_KEY_BYTES];
    desk.given.random.fill(&mut bytes);
    let key = desk.store_secret(&Secret::new(hex::encode(bytes)));
    let id = key.id.to_string();
    desk.record(FactBody::StampKeyCreated(key));
    id
}

fn subscription(desk: &Desk<'_>, name: &str) -> Result<Arc<Subscription>> {
    check::name("subscription", name)?;
    let found = desk.state.subscription_named(name).cloned();
    found.ok_or_else(|| not_found("subscription", name))
}

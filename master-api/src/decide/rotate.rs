//! New keys and secrets in the place of old ones, and a secret that is shown.

use super::{
    Desk, check, conflict, not_found,
    put_subscription::new_secret,
    refused,
    signing::{KEYS_SINCE_FORMAT, new_signing_key},
};
use crate::{fact::FactBody, state::State};
use contract::{
    Error, Result,
    access::TokenKey,
    backoff::Span,
    clock::Timestamp,
    command::ChangeKind,
    limits::{SECRET_KEPT_DEFAULT, SECRET_KEPT_MAX, SECRETS_MAX},
    secret::Secret,
    sending::SignatureScheme,
    subscription::{SecretRef, Subscription},
};
use std::sync::Arc;

/// Since then, a log says until when a secret signs.
const TIMED_SECRETS_SINCE_FORMAT: u32 = 4;
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

/// The secrets so far go on signing beside the new one: the newest of them for as long as is wanted,
/// those before it for what is left of their time. Each delivery then carries a signature of every
/// one of them, so that subscribers can change over at any moment between.
pub(super) fn rotate_secret(
    desk: &mut Desk<'_>,
    name: &str,
    (scheme, keep): (SignatureScheme, Option<Span>),
) -> Result<()> {
    let held = subscription(desk, name)?;
    if scheme == SignatureScheme::V1a && desk.state.format < KEYS_SINCE_FORMAT {
        return Err(conflict("subscription", name, "some replica is too old to sign with keys"));
    }
    let keep = keep.map_or(SECRET_KEPT_DEFAULT, |keep| keep.0);
    if keep > SECRET_KEPT_MAX {
        let (wanted, max) = (Span(keep), Span(SECRET_KEPT_MAX));
        return Err(refused("subscription", name, format!("{wanted} is too long; at most {max}")));
    }
    let now = desk.given.now;
    let until = now.after(keep);
    let made = match scheme {
        SignatureScheme::V1 => new_secret(desk),
        SignatureScheme::V1a => new_signing_key(desk),
    };
    let stored = desk.store_secret(&made);
    // Of a key that was made here, nobody else needs the private half.
    let shown = stored.public_key.clone().map_or(made, Secret::new);
    let mut secrets = vec![stored];
    // Before that, a log says nothing of time: a secret signs until the next rotation.
    let timed = desk.state.format >= TIMED_SECRETS_SINCE_FORMAT;
    let limit = |secret: &SecretRef| {
        let until = secret.until.map_or(until, |before| before.min(until));
        SecretRef { until: timed.then_some(until), ..secret.clone() }
    };
    let kept = if timed { SECRETS_MAX - 1 } else { 1 };
    let (same, others): (Vec<_>, Vec<_>) =
        held.secrets.iter().partition(|secret| secret.scheme() == scheme);
    let so_far = same.into_iter().filter(|secret| !keep.is_zero() && !secret.is_over(now));
    secrets.extend(so_far.take(kept).map(limit));
    secrets.extend(others.into_iter().cloned());
    secrets.sort_by_key(|secret| secret.scheme() == SignatureScheme::V1a);
    let (number, spec, kept) = (held.number, Box::new(held.spec.clone()), secrets.clone());
    desk.record(FactBody::SubscriptionChanged { number, spec, secrets });
    desk.erase_secrets(&held.secrets, &kept);
    desk.changed(ChangeKind::Changed, "subscription", name);
    desk.changed_with(Some(held.id.to_string()), Some(shown));
    Ok(())
}

/// What takes away the secrets whose time has come to an end.
pub fn end_secrets(state: &State, now: Timestamp) -> Vec<FactBody> {
    let mut facts = Vec::new();
    for held in state.subscriptions.values() {
        let over = || held.secrets.iter().filter(|secret| secret.is_over(now));
        if over().next().is_none() {
            continue;
        }
        let secrets = held.secrets.iter().filter(|secret| !secret.is_over(now)).cloned().collect();
        let (number, spec) = (held.number, Box::new(held.spec.clone()));
        facts.push(FactBody::SubscriptionChanged { number, spec, secrets });
        facts.extend(over().map(|secret| FactBody::SecretErased { id: secret.id }));
    }
    facts
}

/// Shows the newest secret.
pub(super) fn reveal_secret(desk: &mut Desk<'_>, name: &str) -> Result<()> {
    let held = subscription(desk, name)?;
    let newest = held.secrets.iter().find(|secret| secret.scheme() == SignatureScheme::V1);
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

//! Who calls: the one question that every door asks, over HTTP and over gRPC.

use crate::{
    Error, ErrorCode, Result,
    access::{Actor, Principal},
    clock::{Clock, Timestamp},
    id::KeyId,
    rules::RulesReceiver,
    secret::Secret,
};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
};

/// Knows the holders of keys and tokens.
#[async_trait]
pub trait Authenticate: fmt::Debug + Send + Sync {
    /// Whoever holds `token`. Errors: `unauthenticated`; `unavailable` when it cannot be told.
    async fn authenticate(&self, token: &Secret) -> Result<Principal>;
}

/// The holder of a token that is good for as long as what it opened is open, or less.
#[derive(Debug, Clone)]
pub struct Holder(Arc<Held>);

#[derive(Debug)]
struct Held {
    who: Arc<dyn Authenticate>,
    token: Secret,
    principal: Principal,
}

impl Holder {
    /// `token` is good for `principal` now, and `who` says whether it still is.
    pub fn new(who: Arc<dyn Authenticate>, token: Secret, principal: Principal) -> Self {
        Self(Arc::new(Held { who, token, principal }))
    }

    /// Errors: `unauthenticated` once the token is revoked or has expired, or its rights are
    /// others; `unavailable` when it cannot be told.
    pub async fn admitted(&self) -> Result<()> {
        let Held { who, token, principal } = &*self.0;
        if who.authenticate(token).await? == *principal {
            return Ok(());
        }
        Err(unknown("its rights have changed: connect again"))
    }
}

/// When this process last met each key, since it was last asked. As many as there are keys.
#[derive(Debug, Default)]
pub struct KeyUses(RwLock<HashMap<KeyId, AtomicI64>>);

impl KeyUses {
    /// A key was used. Waits for nobody but a key that is met for the first time.
    pub fn note(&self, key: KeyId, at: Timestamp) {
        let met = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = met.get(&key) {
            last.fetch_max(at.0, Ordering::Relaxed);
            return;
        }
        drop(met);
        let mut met = self.0.write().unwrap_or_else(PoisonError::into_inner);
        met.entry(key).or_default().fetch_max(at.0, Ordering::Relaxed);
    }

    /// Takes all of them.
    pub fn take(&self) -> BTreeMap<KeyId, Timestamp> {
        let met = std::mem::take(&mut *self.0.write().unwrap_or_else(PoisonError::into_inner));
        met.into_iter().map(|(key, last)| (key, Timestamp(last.into_inner()))).collect()
    }
}

/// Knows API keys by the rules in force.
#[derive(Clone)]
pub struct Keys {
    rules: RulesReceiver,
    clock: Arc<dyn Clock>,
    uses: Arc<KeyUses>,
}

impl Keys {
    /// The keys in `rules`, with expiry on `clock`.
    pub fn new(rules: RulesReceiver, clock: Arc<dyn Clock>) -> Self {
        Self { rules, clock, uses: Arc::default() }
    }

    /// When each was last used.
    pub fn uses(&self) -> Arc<KeyUses> {
        Arc::clone(&self.uses)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

#[async_trait]
impl Authenticate for Keys {
    async fn authenticate(&self, token: &Secret) -> Result<Principal> {
        // Bound to a name first: the guard of the channel must not live while the key is hashed.
        let rules = Arc::clone(&self.rules.borrow());
        let now = self.clock.now();
        let principal = rules.authenticate(token, now);
        if let Some(Principal { actor: Actor::Key(id), .. }) = &principal {
            self.uses.note(*id, now);
        }
        principal.ok_or_else(|| unknown("the API key is unknown, expired or revoked"))
    }
}

/// The token of a header `Authorization`: `Bearer TOKEN`, or `JWT TOKEN` as the older form.
/// Errors: `unauthenticated`.
pub fn token_of(authorization: Option<&[u8]>) -> Result<Secret> {
    let value = authorization
        .ok_or_else(|| unknown("send an API key or a token as `Authorization: Bearer KEY`"))?;
    let token = || {
        let (scheme, token) = std::str::from_utf8(value).ok()?.trim().split_once(' ')?;
        let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("jwt");
        let token = token.trim();
        (known && !token.is_empty()).then(|| Secret::new(token))
    };
    token().ok_or_else(|| unknown("the header `authorization` must have the form `Bearer KEY`"))
}

/// `unauthenticated`, with a sentence.
pub fn unknown(why: impl Into<String>) -> Error {
    Error::new(ErrorCode::Unauthenticated, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_noted_at_their_latest_and_taken_once() {
        let uses = KeyUses::default();
        let (a, b) = (KeyId::from_bytes([1; 16]), KeyId::from_bytes([2; 16]));
        for (key, at) in [(a, 5), (b, 1), (a, 9), (a, 7)] {
            uses.note(key, Timestamp(at));
        }
        assert_eq!(uses.take(), BTreeMap::from([(a, Timestamp(9)), (b, Timestamp(1))]));
        assert_eq!(uses.take(), BTreeMap::new());
    }

    #[test]
    fn two_schemes_carry_a_token() {
        for good in ["Bearer abc", "bearer  abc ", "JWT abc", "jwt abc"] {
            assert_eq!(token_of(Some(good.as_bytes())).unwrap().expose(), "abc", "{good}");
        }
        for bad in [None, Some("abc"), Some("Basic abc"), Some("Bearer "), Some("Bearer")] {
            let refusal = token_of(bad.map(str::as_bytes)).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::Unauthenticated, "{bad:?}");
        }
    }
}

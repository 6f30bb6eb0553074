//! Who calls: the one question that every door asks, over HTTP and over gRPC.

use crate::{
    Error, ErrorCode, Result, access::Principal, clock::Clock, rules::RulesReceiver, secret::Secret,
};
use async_trait::async_trait;
use std::{fmt, sync::Arc};

/// Knows the holders of keys and tokens.
#[async_trait]
pub trait Authenticate: fmt::Debug + Send + Sync {
    /// Whoever holds `token`. Errors: `unauthenticated`; `unavailable` when it cannot be told.
    async fn authenticate(&self, token: &Secret) -> Result<Principal>;
}

/// Knows API keys by the rules in force.
#[derive(Clone)]
pub struct Keys {
    rules: RulesReceiver,
    clock: Arc<dyn Clock>,
}

impl Keys {
    /// The keys in `rules`, with expiry on `clock`.
    pub fn new(rules: RulesReceiver, clock: Arc<dyn Clock>) -> Self {
        Self { rules, clock }
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
        let principal = rules.authenticate(token, self.clock.now());
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

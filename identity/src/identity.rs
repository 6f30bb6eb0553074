//! One answer to who calls, whatever it is that the caller holds.

use crate::{config::Config, issuers::Issuers, jwt, session};
use async_trait::async_trait;
use contract::{
    Result,
    access::Principal,
    authenticate::{Authenticate, KeyUses, Keys},
    clock::Clock,
    rules::RulesReceiver,
    secret::Secret,
};
use std::{fmt, sync::Arc};

/// Knows the holders of API keys, of our own tokens, and of those of other issuers.
pub struct Identity {
    keys: Keys,
    rules: RulesReceiver,
    clock: Arc<dyn Clock>,
    issuers: Issuers,
}

impl Identity {
    /// Keys and users of `rules`, and the issuers of `config`. Errors: `invalid_definition`.
    pub fn new(config: &Config, rules: RulesReceiver, clock: Arc<dyn Clock>) -> Result<Self> {
        let keys = Keys::new(rules.clone(), Arc::clone(&clock));
        Ok(Self { keys, rules, clock, issuers: Issuers::new(config)? })
    }

    /// When each API key was last used.
    pub fn key_uses(&self) -> Arc<KeyUses> {
        self.keys.uses()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

#[async_trait]
impl Authenticate for Identity {
    async fn authenticate(&self, token: &Secret) -> Result<Principal> {
        let of_key = self.keys.authenticate(token).await;
        // A token has two dots.
        if of_key.is_ok() || token.expose().matches('.').count() != 2 {
            return of_key;
        }
        let now = self.clock.now();
        let said = jwt::peek(token)?;
        if said.issuer == session::ISSUER {
            let rules = Arc::clone(&self.rules.borrow());
            return session::check_as(token, &said, &rules, now).map(|(_, principal, _)| principal);
        }
        self.issuers.check(token, &said, now).await
    }
}

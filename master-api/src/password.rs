//! Hashes of passwords: argon2id (RFC 9106) with the parameters that OWASP recommends, away from the
//! threads that must not wait, and few at once, because each takes 19 MiB.

use crate::shared::unavailable;
use argon2::{Algorithm, Argon2, Params, PasswordVerifier, Version, password_hash::PasswordHasher};
use contract::{Error, ErrorCode, Result, random::Random, secret::Secret};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{OnceCell, Semaphore},
    time::timeout,
};

/// Memory, passes and lanes (OWASP Password Storage Cheat Sheet, "Argon2id").
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Random bytes of a salt.
const SALT_BYTES: usize = 16;
/// Bytes of a password.
const LENGTH: std::ops::RangeInclusive<usize> = 12..=1024;
/// Those who wait for a place, for each one that has one.
const WAITING_PER_PLACE: usize = 16;

/// Makes and checks hashes.
pub struct Passwords {
    random: Arc<dyn Random>,
    places: Arc<Semaphore>,
    waiting: Semaphore,
    wait: Duration,
    /// What a password is held against where there is none.
    nobodys: OnceCell<Secret>,
}

impl Passwords {
    /// At most `places` at once; others wait for `wait`.
    pub fn new(random: Arc<dyn Random>, places: usize, wait: Duration) -> Self {
        let places = places.max(1);
        Self {
            random,
            places: Arc::new(Semaphore::new(places)),
            waiting: Semaphore::new(places * (1 + WAITING_PER_PLACE)),
            wait,
            nobodys: OnceCell::new(),
        }
    }

    /// The hash of a new password, in the PHC form. Errors: `invalid_definition`; `unavailable`.
    pub async fn hash(&self, password: Secret) -> Result<Secret> {
        if !LENGTH.contains(&password.expose().len()) {
            let (min, max) = LENGTH.into_inner();
            let message = format!("a password has {min} to {max} bytes");
            return Err(Error::new(ErrorCode::InvalidDefinition, message));
        }
        self.hash_any(password).await
    }

    async fn hash_any(&self, password: Secret) -> Result<Secret> {
        let mut salt = [0; SALT_BYTES];
        self.random.fill(&mut salt);
        self.work(move || {
            // Exposed to be hashed.
            let hash = hasher()?.hash_password_with_salt(password.expose().as_bytes(), &salt);
            hash.map(|hash| Secret::new(hash.to_string())).map_err(Error::internal)
        })
        .await
    }

    /// Is it the password of this hash? None: nobody's, which takes as long. Errors:
    /// `unavailable`.
    pub async fn matches(&self, password: Secret, hash: Option<Secret>) -> Result<bool> {
        let nobodys = || self.hash_any(Secret::new("what nobody has as a password"));
        let known = hash.is_some();
        let hash = match hash {
            Some(hash) => hash,
            None => self.nobodys.get_or_try_init(nobodys).await?.clone(),
        };
        let matches = move || {
            // Exposed to be compared; both sides of it are wiped with their owners.
            let (password, hash) = (password.expose().as_bytes(), hash.expose());
            Ok(LENGTH.contains(&password.len()) & hasher()?.verify_password(password, hash).is_ok())
        };
        Ok(self.work(matches).await? & known)
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let busy = || unavailable("too many passwords are being checked");
        let _waiting = self.waiting.try_acquire().map_err(|_full| busy())?;
        let place = timeout(self.wait, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_elapsed| busy())?.map_err(Error::internal)?;
        let worked = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(place);
            done
        });
        worked.await.map_err(Error::internal)?
    }
}

fn hasher() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(Error::internal)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::testing::SeededRandom;

    fn passwords() -> Passwords {
        Passwords::new(SeededRandom::new(1), 1, Duration::from_secs(10))
    }

    #[tokio::test]
    async fn a_hash_knows_its_password_and_no_other() {
        let passwords = passwords();
        let good = || Secret::new("correct horse battery");
        let hash = passwords.hash(good()).await.unwrap();
        assert!(hash.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "the parameters");
        assert!(passwords.matches(good(), Some(hash.clone())).await.unwrap());
        let other = Secret::new("correct horse batterz");
        assert!(!passwords.matches(other, Some(hash.clone())).await.unwrap());
        assert!(!passwords.matches(good(), None).await.unwrap(), "nobody's password fits nothing");
        let again = passwords.hash(good()).await.unwrap();
        assert_ne!(again, hash, "each has a salt of its own");
    }

    #[tokio::test]
    async fn a_password_has_a_least_and_a_greatest_length() {
        for bad in ["", "short", &"x".repeat(1025)] {
            let refusal = passwords().hash(Secret::new(bad)).await.unwrap_err();
            assert_eq!(refusal.code, ErrorCode::InvalidDefinition);
        }
    }
}

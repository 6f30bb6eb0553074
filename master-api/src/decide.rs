//! Decisions: what follows from a command, given the state and the time. One command a file. They
//! change nothing and wait for nothing; ids and dice are handed in, like the time.

// Traffic.
pub mod store_event;
pub mod release_event;
pub mod record_attempt;
pub mod breaker;
pub mod resend;
pub mod cancel;
pub mod replay;

// Configuration.
mod check;
mod changeset;
mod permit;
mod first_start;
mod put_subscriber;
mod put_event_type;
mod put_source;
mod put_backoff;
mod put_subscription;
mod credential;
mod signing;
mod ensure_subscriptions;
mod set_status;
mod publish_schema;
mod issue_key;
mod revoke_key;
mod users;
mod rotate;
mod set_setting;
mod remove;

pub use changeset::changeset;
pub use first_start::{FirstStart, first_start};
pub use rotate::end_secrets;
pub use set_status::pause_after_gone;

use crate::{fact::FactBody, secrets::Vault, state::State, token_key::NewTokenKey};
use contract::{
    Error, ErrorCode,
    clock::Timestamp,
    command::{Change, ChangeKind},
    id::{IdGenerator, SecretId},
    random::Random,
    secret::Secret,
    subscription::SecretRef,
};

/// What a decision is made from.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The state before.
    pub state: &'a State,
    /// Bytes of the stored secrets, to compare with.
    pub vault: &'a Vault,
    /// The time of what is decided.
    pub now: Timestamp,
    /// The key that tokens are to be signed with, if one is wanted: making it takes dice and time
    /// that the writer does not have.
    pub token_key: Option<&'a NewTokenKey>,
    /// For new objects.
    pub ids: &'a dyn IdGenerator,
    /// For new secrets.
    pub random: &'a dyn Random,
}

/// A draft of the configuration: commands are decided on it one after the other, each on what the
/// ones before it left.
pub struct Desk<'a> {
    given: Given<'a>,
    /// The state with what was decided so far.
    state: State,
    decided: Decided,
}

/// What was decided.
#[derive(Debug, Default)]
pub struct Decided {
    /// What happened, in order.
    pub facts: Vec<FactBody>,
    /// Bytes of the secrets that the facts name as stored.
    pub secrets: Vec<(SecretId, Secret)>,
    /// What each command did.
    pub changes: Vec<Change>,
}

impl<'a> Desk<'a> {
    fn new(given: Given<'a>) -> Self {
        Self { given, state: given.state.clone(), decided: Decided::default() }
    }

    fn record(&mut self, fact: FactBody) {
        // The position is given later; nothing is decided by it.
        self.state.apply(self.state.sequence, &fact);
        self.decided.facts.push(fact);
    }

    fn changed(&mut self, kind: ChangeKind, noun: &str, name: impl Into<String>) {
        let (noun, name) = (noun.to_owned(), name.into());
        let change = Change { kind, noun, name, revealed: None, id: None };
        self.decided.changes.push(change);
    }

    /// Adds to what the last command did.
    fn changed_with(&mut self, id: Option<String>, revealed: Option<Secret>) {
        if let Some(change) = self.decided.changes.last_mut() {
            (change.id, change.revealed) = (id, revealed);
        }
    }

    fn store_secret(&mut self, secret: &Secret) -> SecretRef {
        let id = SecretId::from_bytes(self.given.ids.uuid());
        let public_key = signing::public_key(secret);
        let fingerprint = secret.fingerprint();
        let stored = SecretRef { id, fingerprint, until: None, public_key };
        self.decided.secrets.push((id, secret.clone()));
        self.record(FactBody::SecretStored(stored.clone()));
        stored
    }

    /// The secrets `wanted` as references: those that are among `held` stay, others are stored.
    /// None wanted: those that are held.
    fn exchange_secrets(&mut self, held: &[SecretRef], wanted: &[Secret]) -> Vec<SecretRef> {
        if wanted.is_empty() {
            return held.to_vec();
        }
        let refs = wanted.iter().map(|secret| {
            let known = held.iter().find(|known| self.bytes_of(known.id) == Some(secret));
            // One that is wanted again signs without end.
            let known = known.map(|known| SecretRef { until: None, ..known.clone() });
            known.unwrap_or_else(|| self.store_secret(secret))
        });
        refs.collect()
    }

    /// The same for what signs: secrets and keys each stay where none of their kind are wanted.
    fn exchange_signing_secrets(
        &mut self,
        held: &[SecretRef],
        wanted: &[Secret],
    ) -> Vec<SecretRef> {
        let mut all = Vec::new();
        for keys in [false, true] {
            let held = held.iter().filter(|held| held.public_key.is_some() == keys);
            let wanted = wanted.iter().filter(|wanted| wanted.is_signing_key() == keys);
            let (held, wanted): (Vec<_>, Vec<_>) =
                (held.cloned().collect(), wanted.cloned().collect());
            all.extend(self.exchange_secrets(&held, &wanted));
        }
        all
    }

    /// Erases those of `held` that are not among `kept`.
    fn erase_secrets(&mut self, held: &[SecretRef], kept: &[SecretRef]) {
        let is_kept = |id: SecretId| kept.iter().any(|kept| kept.id == id);
        for secret in held.iter().filter(|secret| !is_kept(secret.id)) {
            self.record(FactBody::SecretErased { id: secret.id });
        }
    }

    fn bytes_of(&self, id: SecretId) -> Option<&Secret> {
        let new = self.decided.secrets.iter().find(|(new, _)| *new == id);
        new.map(|(_, secret)| secret).or_else(|| self.given.vault.get(&id))
    }
}

/// A definition that is not acceptable: which object, and a sentence.
pub(crate) fn refused(noun: &str, name: &str, why: impl std::fmt::Display) -> Error {
    let shown: String = name.chars().take(80).collect();
    Error::new(ErrorCode::InvalidDefinition, format!("{noun} `{shown}`: {why}"))
}

fn not_found(noun: &str, name: &str) -> Error {
    let shown: String = name.chars().take(80).collect();
    Error::new(ErrorCode::NotFound, format!("there is no {noun} `{shown}`"))
}

fn conflict(noun: &str, name: &str, why: impl std::fmt::Display) -> Error {
    let shown: String = name.chars().take(80).collect();
    Error::new(ErrorCode::Conflict, format!("{noun} `{shown}`: {why}"))
}

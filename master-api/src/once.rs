//! Changes that are sent again under the same key: the first answer is given again, and nothing is
//! done. The answer is kept in the batch that holds the changes, so neither is without the other.

use crate::fact::Hash;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    clock::Timestamp,
    command::{Change, Changeset},
    limits::{IDEMPOTENCY_HOURS, IDEMPOTENCY_KEY_LENGTH_MAX},
    secret::Secret,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::time::Duration;

/// What the keys of these rows start with; those of events start with another letter.
pub const TAG: u8 = b'm';
/// Most changes of an answer that is kept.
const CHANGES_MAX: usize = 2_000;

/// A changeset that is to be carried out once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Key of its row: keys of different callers never meet.
    pub row: Vec<u8>,
    /// What the same changeset has to agree in.
    pub identity: Hash,
}

/// What a key leads to: the first answer, without what it revealed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswerRow {
    #[serde(rename = "i")]
    identity: Hash,
    #[serde(rename = "t")]
    time: Timestamp,
    #[serde(rename = "c")]
    changes: Vec<Change>,
}

impl Once {
    /// None: no key was given, or nothing is to be done. Passwords do not count among what has to
    /// agree, and secrets count by their fingerprints. Errors: `invalid_request`.
    pub fn of(actor: &Actor, changes: &Changeset) -> Result<Option<Self>> {
        let Some(key) = changes.idempotency_key.as_ref().filter(|_| !changes.dry_run) else {
            return Ok(None);
        };
        if key.is_empty() || key.len() > IDEMPOTENCY_KEY_LENGTH_MAX {
            let text = format!("an idempotency key has 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} bytes");
            return Err(Error::new(ErrorCode::InvalidRequest, text));
        }
        let actor = actor.to_ascii();
        let length = u64::try_from(actor.len()).unwrap_or(u64::MAX).to_be_bytes();
        let row = [&[TAG][..], &length, actor.as_bytes(), key.as_bytes()].concat();
        let mut wanted = serde_json::to_value(changes).map_err(Error::internal)?;
        hide(&mut wanted);
        let identity = Hash(Sha256::digest(wanted.to_string()).into());
        Ok(Some(Self { row, identity }))
    }

    /// The first answer, if there was one and it is remembered.
    pub fn repeated(&self, row: Option<AnswerRow>, now: Timestamp) -> Result<Option<Vec<Change>>> {
        let remembered = Duration::from_secs(IDEMPOTENCY_HOURS * 3600);
        let Some(row) = row.filter(|row| now.since(row.time) < remembered) else {
            return Ok(None);
        };
        if row.identity == self.identity {
            return Ok(Some(row.changes));
        }
        let text = "the idempotency key was used for other changes";
        Err(Error::new(ErrorCode::IdempotencyConflict, text))
    }

    /// The row that remembers an answer. Errors: `invalid_request` when it is too long to be kept.
    pub fn answered(&self, changes: &[Change], time: Timestamp) -> Result<AnswerRow> {
        if changes.len() > CHANGES_MAX {
            let text = format!(
                "{} changes are too many for an idempotency key; allowed: {CHANGES_MAX}",
                changes.len()
            );
            return Err(Error::new(ErrorCode::InvalidRequest, text));
        }
        let silent = |change: &Change| Change { revealed: None, ..change.clone() };
        let changes = changes.iter().map(silent).collect();
        Ok(AnswerRow { identity: self.identity, time, changes })
    }
}

/// Takes out what must not be guessed from a digest.
fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match (name.as_str(), field) {
                    ("password", field) => *field = Value::Null,
                    ("secrets", Value::Array(secrets)) => secrets.iter_mut().for_each(fingerprint),
                    ("given", secret) if secret.is_string() => fingerprint(secret),
                    (_, field) => hide(field),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn fingerprint(secret: &mut Value) {
    if let Value::String(text) = secret {
        *text = Secret::new(std::mem::take(text)).fingerprint();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::{
        access::Roles,
        command::{ChangeKind, Command},
        testing::subscription_spec,
    };

    const NOW: Timestamp = Timestamp(1_795_262_400_000_000);

    fn once(actor: &str, key: &str, command: Command) -> Once {
        let commands = vec![command];
        let idempotency_key = Some(key.to_owned());
        let changes = Changeset { commands, idempotency_key, ..Changeset::default() };
        Once::of(&Actor::Component(actor.into()), &changes).unwrap().unwrap()
    }

    fn put(secret: &str) -> Command {
        let spec = subscription_spec("ci");
        Command::PutSubscription { spec, secrets: vec![Secret::new(secret)] }
    }

    #[test]
    fn a_key_is_its_callers_own() {
        let rows = [("a", "bc"), ("ab", "c"), ("b", "c")];
        let rows = rows.map(|(actor, key)| once(actor, key, put("x")).row);
        assert!(rows[0] != rows[1] && rows[1] != rows[2]);
        assert_eq!(once("a", "k", put("x")), once("a", "k", put("x")));
    }

    #[test]
    fn secrets_count_by_their_fingerprints_and_passwords_do_not() {
        assert_ne!(once("a", "k", put("x")).identity, once("a", "k", put("y")).identity);
        let create = |name: &str, password: &str| {
            let (roles, password) = (Roles::parse(["producer"]).unwrap(), Secret::new(password));
            Command::CreateUser { name: name.into(), password, roles, subscriber: None }
        };
        let identity = |name, password| once("a", "k", create(name, password)).identity;
        assert_eq!(identity("ada", "one"), identity("ada", "two"));
        assert_ne!(identity("ada", "one"), identity("bob", "one"));
    }

    #[test]
    fn an_answer_is_given_again_for_a_day_without_its_secret() {
        let (first, other) = (once("a", "k", put("x")), once("a", "k", put("y")));
        let change = Change {
            kind: ChangeKind::Created,
            noun: "subscription".into(),
            name: "ci".into(),
            revealed: Some(Secret::new("whsec_x")),
            id: None,
        };
        let row = first.answered(std::slice::from_ref(&change), NOW).unwrap();
        let hours = |hours: u64| NOW.after(Duration::from_secs(hours * 3600));
        let again = first.repeated(Some(row.clone()), hours(23)).unwrap();
        assert_eq!(again, Some(vec![Change { revealed: None, ..change.clone() }]));
        let refused = other.repeated(Some(row.clone()), hours(23)).unwrap_err();
        assert_eq!(refused.code, ErrorCode::IdempotencyConflict);
        assert_eq!(other.repeated(Some(row), hours(24)).unwrap(), None);
        assert!(first.answered(&vec![change; CHANGES_MAX + 1], NOW).is_err());
    }
}

//! Takes an event, unless it was here before or was matched by rules that are no longer in force.

use crate::{
    fact::Hash,
    tables::{EventIdRow, IdempotencyRow},
};
use contract::{
    Error, ErrorCode, Result, clock::Timestamp, id::EventId, id::Sequence, limits,
    master_api::Stored,
};
use std::time::Duration;

/// What the decision needs to know of the event.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Its id.
    pub id: EventId,
    /// What the same event has to agree in, if it has an idempotency key.
    pub identity: Option<Hash>,
    /// Position of the rules it was matched by.
    pub rules: Sequence,
}

/// What the log knows already.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The event of this id.
    pub by_id: Option<EventIdRow>,
    /// The last use of this idempotency key, and its event.
    pub by_key: Option<(IdempotencyRow, EventIdRow)>,
    /// The last fact by which it could match otherwise.
    pub match_sequence: Sequence,
    /// The last fact of the configuration.
    pub newest_rules: Sequence,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Append it.
    Take,
    /// Answer with what became of the first one.
    Before(Stored),
}

/// Decides. Repeats come first: an event that is here is answered whatever the rules are now.
pub fn store_event(question: Question, known: &Known, now: Timestamp) -> Result<Verdict> {
    if let Some(row) = &known.by_id {
        return Ok(Verdict::Before(answer(question.id, row, false)));
    }
    if let Some((used, row)) = &known.by_key
        && now.since(used.time) < Duration::from_secs(limits::IDEMPOTENCY_HOURS * 3600)
    {
        if question.identity == Some(used.identity) {
            return Ok(Verdict::Before(answer(used.event, row, true)));
        }
        let message = "the idempotency key was used with another event: type, audience and body have to be the same";
        return Err(Error::new(ErrorCode::IdempotencyConflict, message));
    }
    check_rules(question.rules, (known.match_sequence, known.newest_rules))?;
    Ok(Verdict::Take)
}

/// `stale_rules` unless nothing that could change a match lies after `rules`.
pub(super) fn check_rules(rules: Sequence, (wanted, newest): (Sequence, Sequence)) -> Result<()> {
    if (wanted..=newest).contains(&rules) {
        return Ok(());
    }
    let message = format!("matched by rules as of {rules}; those in force are of {wanted}");
    Err(Error::new(ErrorCode::StaleRules, message))
}

fn answer(id: EventId, row: &EventIdRow, duplicate: bool) -> Stored {
    let EventIdRow { sequence, lanes, quarantined, .. } = row;
    let (sequence, lanes, quarantined) = (*sequence, lanes.clone(), *quarantined);
    Stored { id, sequence, lanes, duplicate, quarantined }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(rules: u64) -> Question {
        let identity = Some(Hash([1; 32]));
        Question { id: EventId::from_bytes([1; 16]), identity, rules: Sequence(rules) }
    }

    fn event_row() -> EventIdRow {
        EventIdRow::new(Sequence(5), Default::default(), Vec::new())
    }

    fn known(match_sequence: u64, newest: u64) -> Known {
        let (match_sequence, newest_rules) = (Sequence(match_sequence), Sequence(newest));
        Known { match_sequence, newest_rules, ..Known::default() }
    }

    #[test]
    fn rules_must_be_in_force() {
        let decide = |rules| store_event(question(rules), &known(7, 9), Timestamp(0));
        assert_eq!(decide(6).unwrap_err().code, ErrorCode::StaleRules);
        assert_eq!(decide(7), Ok(Verdict::Take));
        assert_eq!(decide(9), Ok(Verdict::Take));
        assert_eq!(decide(10).unwrap_err().code, ErrorCode::StaleRules);
    }

    #[test]
    fn the_idempotency_table() {
        let used_at = Timestamp(1_000_000);
        let day = Duration::from_secs(86_400);
        let used = |identity| {
            let event = EventId::from_bytes([2; 16]);
            let row = IdempotencyRow { event, identity: Hash(identity), time: used_at };
            Known { by_key: Some((row, event_row())), ..known(7, 9) }
        };
        let same = store_event(question(1), &used([1; 32]), used_at).unwrap();
        let Verdict::Before(stored) = same else { panic!("{same:?}") };
        assert!(stored.duplicate);
        assert_eq!(stored.id, EventId::from_bytes([2; 16]));
        let other = store_event(question(9), &used([3; 32]), used_at.after(day / 2));
        assert_eq!(other.unwrap_err().code, ErrorCode::IdempotencyConflict);
        let later = store_event(question(9), &used([3; 32]), used_at.after(day));
        assert_eq!(later, Ok(Verdict::Take));
    }

    #[test]
    fn the_same_id_gets_the_first_answer_whatever_the_rules_are() {
        let known = Known { by_id: Some(event_row()), ..known(7, 9) };
        let again = store_event(question(1), &known, Timestamp(0)).unwrap();
        let Verdict::Before(stored) = again else { panic!("{again:?}") };
        assert!(!stored.duplicate);
        assert_eq!((stored.id, stored.sequence), (question(1).id, Sequence(5)));
    }
}

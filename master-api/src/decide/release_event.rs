//! Takes an event that was kept aside, once: whoever comes second is told what became of it.

use super::store_event::{Verdict, check_rules};
use crate::tables::EventIdRow;
use contract::{
    Result,
    id::{EventId, Sequence},
    master_api::Stored,
};

/// `rules` are those that it was matched by; `in_force` the last fact by which it could match
/// otherwise, and the last of the configuration.
pub fn release_event(
    id: EventId,
    rules: Sequence,
    row: Option<&EventIdRow>,
    in_force: (Sequence, Sequence),
) -> Result<Verdict> {
    let row = row.ok_or_else(|| super::not_found("event", &id.to_string()))?;
    if !row.quarantined {
        let (sequence, lanes) = (row.sequence, row.lanes.clone());
        let before = Stored { id, sequence, lanes, duplicate: true, quarantined: false };
        return Ok(Verdict::Before(before));
    }
    check_rules(rules, in_force)?;
    Ok(Verdict::Take)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::ErrorCode;

    fn row(quarantined: bool) -> EventIdRow {
        let row = EventIdRow::new(Sequence(5), Default::default(), Vec::new());
        EventIdRow { quarantined, ..row }
    }

    #[test]
    fn what_lies_aside_is_taken_once() {
        let id = EventId::from_bytes([1; 16]);
        let decide = |row: Option<&EventIdRow>, rules| {
            release_event(id, Sequence(rules), row, (Sequence(7), Sequence(9)))
        };
        assert_eq!(decide(None, 8).unwrap_err().code, ErrorCode::NotFound);
        assert_eq!(decide(Some(&row(true)), 6).unwrap_err().code, ErrorCode::StaleRules);
        assert_eq!(decide(Some(&row(true)), 7), Ok(Verdict::Take));
        let Ok(Verdict::Before(stored)) = decide(Some(&row(false)), 6) else { panic!() };
        assert!(stored.duplicate && !stored.quarantined);
    }
}

//! The list of erasures: what a restore has to erase again.

use super::{LogError, load, read_fact};
use crate::{
    fact::{Fact, FactBody, StoredEvent},
    store::{Rows, Scan, Table},
};
use contract::{
    access::Actor,
    clock::Timestamp,
    event::Audience,
    id::{EventId, Sequence},
    retention::ErasureTarget,
};

/// An erasure that somebody ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Position of its fact.
    pub ordered: Sequence,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub actor: Actor,
    /// Of what.
    pub target: ErasureTarget,
}

/// All erasures that were ever ordered, oldest first. They are kept for ever.
pub fn erasures(rows: &dyn Rows) -> Result<Vec<Erasure>, LogError> {
    let (mut found, mut after) = (Vec::new(), Vec::new());
    loop {
        let scan = Scan::all(Table::Configuration, load::PAGE_ROWS).after(&after);
        let page = rows.scan(&scan)?;
        let Some((last, _)) = page.last() else { return Ok(found) };
        after = last.to_vec();
        for row in &page {
            let fact = read_fact(row)?;
            if let FactBody::ErasureOrdered { target } = fact.body {
                let (ordered, time, actor) = (fact.sequence, fact.time, fact.actor);
                found.push(Erasure { ordered, time, actor, target });
            }
        }
    }
}

/// The event that a fact keeps, and where it was taken.
pub fn event_of(fact: &Fact) -> Option<(&StoredEvent, Sequence)> {
    match &fact.body {
        FactBody::EventAccepted { event } | FactBody::EventQuarantined { event, .. } => {
            Some((event, fact.sequence))
        }
        FactBody::QuarantineReleased { event, from } => Some((event, *from)),
        FactBody::EventCarried { event, sequence, .. } => Some((event, *sequence)),
        _ => None,
    }
}

/// Is an event, with its audience and where it was taken, among what was ordered to be erased?
pub fn is_of(
    target: &ErasureTarget,
    ordered: Sequence,
    (id, audience, taken): (EventId, &Audience, Sequence),
) -> bool {
    match target {
        ErasureTarget::Event(wanted) => *wanted == id,
        ErasureTarget::Subscriber(wanted) => {
            taken < ordered && matches!(audience, Audience::Subscriber(id) if id == wanted)
        }
    }
}

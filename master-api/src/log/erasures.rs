//! The list of erasures: what a restore has to erase again.

use super::{LogError, load, read_fact};
use crate::{
    fact::FactBody,
    store::{Rows, Scan, Table},
};
use contract::{access::Actor, clock::Timestamp, id::Sequence, retention::ErasureTarget};

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

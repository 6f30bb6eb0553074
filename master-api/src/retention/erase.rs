//! Erasure: payload and salt are gone from every table and from memory; the facts stay.

use super::{Gathering, Retention, Steps, as_rows, day::each_fact};
use crate::{
    fact::{FactBody, StoredEvent},
    project::read_event,
    store::Table,
    writer::Upkeep,
};
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    event::Audience,
    id::{EventId, Sequence},
    limits::NAME_LENGTH_MAX,
    retention::{Erased, ErasureTarget},
};

impl Retention {
    /// Erases, to the end. Errors: `not_found`, `invalid_request`, `unavailable`.
    pub fn erase(&self, actor: &Actor, target: &ErasureTarget) -> Result<Erased> {
        let steps = self.steps()?;
        match target {
            ErasureTarget::Event(id) => {
                let row = read_event(as_rows(&*self.shared.store), *id)?;
                let dropped = self.shared.state.load().dropped;
                let row = row.filter(|row| !dropped.day(row.bucket)).ok_or_else(|| {
                    Error::new(ErrorCode::NotFound, format!("there is no event `{id}` (any more)"))
                })?;
                if row.gone.is_some() {
                    return Ok(Erased { done: true, ..Erased::default() });
                }
            }
            ErasureTarget::Subscriber(id) if id.is_empty() || id.len() > NAME_LENGTH_MAX => {
                return Err(Error::new(ErrorCode::InvalidRequest, "that is no subscriber's id"));
            }
            ErasureTarget::Subscriber(_) => {}
        }
        let ordered = steps.take_as(actor.clone(), Upkeep::Order(target.clone()))?.sequence;
        carry_out(&steps, actor, ordered, target)
    }
}

/// Carries out what was ordered and not done.
pub(super) fn resume(steps: &Steps<'_>) -> Result<()> {
    let waiting = steps.shared.state.load().erasing.clone();
    let actor = Actor::Component("master-api".to_owned());
    waiting
        .iter()
        .try_for_each(|(ordered, target)| carry_out(steps, &actor, *ordered, target).map(drop))
}

fn carry_out(
    steps: &Steps<'_>,
    actor: &Actor,
    ordered: Sequence,
    target: &ErasureTarget,
) -> Result<Erased> {
    let mut erased = Erased::default();
    match target {
        ErasureTarget::Event(id) => erase(steps, actor, vec![*id], &mut erased)?,
        ErasureTarget::Subscriber(id) => {
            of_subscriber(steps, (id, ordered), |events| erase(steps, actor, events, &mut erased))?;
        }
    }
    steps.take(Upkeep::Done(ordered))?;
    steps.shared.around.metrics.payloads_erased.inc_by(erased.events);
    Ok(Erased { done: true, ..erased })
}

fn erase(
    steps: &Steps<'_>,
    actor: &Actor,
    events: Vec<EventId>,
    erased: &mut Erased,
) -> Result<()> {
    let done = steps.take_as(actor.clone(), Upkeep::Erase(events.clone()))?;
    erased.events += done.events;
    erased.deliveries += done.deliveries;
    for id in events {
        if let Some(row) = read_event(as_rows(&*steps.shared.store), id)? {
            steps.shared.recent.remove(row.sequence);
        }
    }
    Ok(())
}

/// Hands out the events that were addressed to a subscriber before a place in the log.
fn of_subscriber(
    steps: &Steps<'_>,
    (subscriber, before): (&str, Sequence),
    mut erase: impl FnMut(Vec<EventId>) -> Result<()>,
) -> Result<()> {
    let dropped = steps.shared.state.load().dropped;
    let mut gathering = Gathering::default();
    for table in steps.shared.store.tables() {
        let Table::Traffic(day) = table else { continue };
        if dropped.day(day) {
            continue;
        }
        each_fact(as_rows(&*steps.shared.store), day, |fact| {
            let found = addressed(&fact.body, subscriber).filter(|_| fact.sequence < before);
            let Some(event) = found else { return Ok(()) };
            gathering.add(event.id, 0).map_or(Ok(()), &mut erase)
        })?;
    }
    let rest = gathering.events;
    if rest.is_empty() { Ok(()) } else { erase(rest) }
}

fn addressed<'a>(body: &'a FactBody, subscriber: &str) -> Option<&'a StoredEvent> {
    let (FactBody::EventAccepted { event }
    | FactBody::EventQuarantined { event, .. }
    | FactBody::QuarantineReleased { event, .. }
    | FactBody::EventCarried { event, .. }) = body
    else {
        return None;
    };
    let wanted = matches!(&event.audience, Audience::Subscriber(id) if id == subscriber);
    wanted.then_some(&**event)
}

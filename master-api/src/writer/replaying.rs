//! The steps of a replay, each one bounded and decided on what is durable and in the batch. What a
//! step was made from is compared with where the replay is by now, so that none is taken twice.

use super::{
    round::{Round, component},
    upkeep::Upkept,
};
use crate::{
    decide::replay::{self, Verdict, judge},
    fact::{FactBody, ReplayOrder},
    lifecycle::{self, Trigger},
    log::LogError,
    replay::Page,
    tables::{DeliveryRow, ReplayRow},
};
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    id::{DeliveryId, LaneId, ReplayId},
    replay::ReplaySpec,
};
use std::sync::Arc;

/// A step.
#[derive(Debug)]
pub enum ReplayStep {
    /// Somebody wants it.
    Start(ReplayId, ReplaySpec),
    /// Somebody wants it no more.
    Cancel(ReplayId),
    /// Makes what was found from this place on.
    Advance(ReplayId, Bytes, Page),
    /// Takes these deliveries back, as far as they wait.
    Withdraw(ReplayId, Vec<DeliveryId>),
    /// Nothing of it is left to be done.
    End(ReplayId),
}

impl Round<'_> {
    /// Takes a step of a replay.
    pub(super) fn replay(
        &mut self,
        actor: &Actor,
        step: &ReplayStep,
        done: &mut Upkept,
    ) -> Result<Result<()>, LogError> {
        match step {
            ReplayStep::Start(id, spec) => self.start_replay(actor, (*id, spec.clone())),
            ReplayStep::Cancel(id) => match replay::cancel(&self.state, *id) {
                Ok(None) => Ok(Ok(())),
                Ok(Some(fact)) => self.record(actor, &fact).map(|_place| Ok(())),
                Err(refusal) => Ok(Err(refusal)),
            },
            ReplayStep::Advance(id, from, page) => self.advance_replay(*id, (from, page), done),
            ReplayStep::Withdraw(id, deliveries) => {
                for delivery in deliveries {
                    self.withdraw(*id, *delivery, done)?;
                }
                Ok(Ok(()))
            }
            ReplayStep::End(id) => self.end_replay(*id),
        }
    }

    /// Where the running ones are, once more: what they came from is about to go with its day.
    pub(super) fn repeat_replays(&mut self) -> Result<(), LogError> {
        let running: Vec<_> = self.state.running_replays().map(|held| held.order.id).collect();
        for id in running {
            if let Some(row) = self.projector.replay(id)?.cloned() {
                self.note_replay(id, row, false)?;
            }
        }
        Ok(())
    }

    fn start_replay(
        &mut self,
        actor: &Actor,
        wanted: (ReplayId, ReplaySpec),
    ) -> Result<Result<()>, LogError> {
        let id = wanted.0;
        let order = replay::order(&self.state, wanted, self.now, self.head.sequence);
        let fact = match order.and_then(|order| replay::start(&self.state, order)) {
            Ok(fact) => fact,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.record(actor, &fact)?;
        self.note_replay(id, ReplayRow::default(), false)?;
        Ok(Ok(()))
    }

    fn note_replay(&mut self, id: ReplayId, row: ReplayRow, over: bool) -> Result<(), LogError> {
        let ReplayRow { cursor, progress } = row;
        let fact = FactBody::ReplayAdvanced { replay: id, cursor, progress, over };
        self.record(&component("master-api"), &fact)?;
        Ok(())
    }

    fn advance_replay(
        &mut self,
        id: ReplayId,
        (from, page): (&Bytes, &Page),
        done: &mut Upkept,
    ) -> Result<Result<()>, LogError> {
        let state = Arc::clone(&self.state);
        let held = state.replays.get(&id).filter(|held| held.ended.is_none() && !held.cancelled);
        let at_its_place = self.projector.replay(id)?.is_some_and(|row| row.cursor == *from);
        let Some(held) = held.filter(|_| at_its_place) else {
            return Ok(Err(outrun(id)));
        };
        let mut counted = page.passed_over;
        for candidate in &page.candidates {
            let event = self.event_by_id(candidate.event)?;
            let row = match candidate.from {
                Some(id) => self.projector.delivery(id)?.cloned(),
                None => None,
            };
            let verdict = judge(&state, *candidate, event.as_ref(), row.as_ref());
            verdict.count(&mut counted);
            if let Verdict::Make(replaces) = verdict {
                self.record(
                    &component("master-api"),
                    &made(&held.order, (candidate, row.as_ref()), replaces),
                )?;
                done.deliveries += 1;
            }
        }
        let Some(row) = self.projector.replay(id)?.cloned() else { return Ok(Err(outrun(id))) };
        let mut progress = row.progress;
        progress.looked_at += page.looked_at;
        progress.made += counted.made;
        progress.skipped_expired += counted.skipped_expired;
        progress.skipped_unwanted += counted.skipped_unwanted;
        progress.skipped_waiting += counted.skipped_waiting;
        progress.through = page.through;
        self.note_replay(id, ReplayRow { cursor: page.cursor.clone(), progress }, false)?;
        Ok(Ok(()))
    }

    fn withdraw(
        &mut self,
        id: ReplayId,
        delivery: DeliveryId,
        done: &mut Upkept,
    ) -> Result<(), LogError> {
        let row = self.projector.delivery(delivery)?;
        let may = |state| lifecycle::after(state, Trigger::Withdrawn).is_some();
        if row.is_some_and(|row| row.replay == Some(id) && may(row.state)) {
            let reason = format!("the replay {id} was cancelled");
            let fact = FactBody::DeliveryCancelled { delivery, reason };
            self.record(&component("master-api"), &fact)?;
            done.deliveries += 1;
        }
        Ok(())
    }

    fn end_replay(&mut self, id: ReplayId) -> Result<Result<()>, LogError> {
        let held = self.state.replays.get(&id).filter(|held| held.ended.is_none());
        let Some(cancelled) = held.map(|held| held.cancelled) else { return Ok(Err(outrun(id))) };
        let row = self.projector.replay(id)?.cloned().unwrap_or_default();
        let progress = row.progress;
        if progress.waiting > 0 || !cancelled && !progress.through {
            return Ok(Err(outrun(id)));
        }
        self.note_replay(id, row, true)?;
        let fact = FactBody::ReplayEnded { replay: id, at: self.now, progress };
        self.record(&component("master-api"), &fact)?;
        Ok(Ok(()))
    }
}

fn made(
    order: &ReplayOrder,
    (candidate, row): (&replay::Candidate, Option<&DeliveryRow>),
    replaces: Option<DeliveryId>,
) -> FactBody {
    let lane = LaneId::behind(candidate.to);
    let same = candidate.from.is_some_and(|id| id.lane.subscription() == candidate.to);
    let key = row.and_then(|row| row.key).filter(|_| same);
    FactBody::DeliveriesMade {
        event: candidate.event,
        lanes: vec![lane],
        keys: key.map(|key| (lane, key)).into_iter().collect(),
        replay: Some(order.id),
        new_id: order.spec.new_ids,
        replaces,
    }
}

fn outrun(id: ReplayId) -> Error {
    let message = format!("the replay {id} is not where this step began");
    Error::new(ErrorCode::Conflict, message)
}

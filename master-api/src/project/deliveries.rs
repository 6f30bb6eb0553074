//! What becomes of deliveries, and of the counters that count them.

use super::{Projector, encode, read_delivery, read_replay};
use crate::{
    log::LogError,
    store::Table,
    tables::{self, DeliveryRow, EventIdRow, ReplayRow},
};
use bytes::Bytes;
use contract::{
    clock::Timestamp,
    delivery::{DeliveryState, Next},
    id::{DeliveryId, EventId, LaneId, ReplayId, Sequence},
    master_api::Stats,
    replay::ReplayProgress,
    subscription::OrderingKey,
};
use std::collections::{BTreeMap, btree_map::Entry};

/// Deliveries that a fact made: the same row in each of its lanes but for the keys.
pub(super) struct Created {
    pub(super) delivery: DeliveryRow,
    pub(super) lanes: Vec<LaneId>,
    pub(super) keys: BTreeMap<LaneId, OrderingKey>,
    pub(super) row: Bytes,
}

impl Created {
    /// The delivery in one of the lanes.
    pub(super) fn delivery(&self, lane: LaneId) -> DeliveryRow {
        DeliveryRow { key: self.keys.get(&lane).copied(), ..self.delivery.clone() }
    }

    /// The same, encoded.
    pub(super) fn row(&self, lane: LaneId) -> Result<Bytes, LogError> {
        match self.keys.contains_key(&lane) {
            true => Ok(encode("delivery", &self.delivery(lane))?.into()),
            false => Ok(self.row.clone()),
        }
    }
}

/// A delivery that changed. Only its first and last form matter: a batch names a key once.
pub(super) struct Touched {
    pub(super) before: Option<Standing>,
    pub(super) after: DeliveryRow,
}

/// What indices and counters know of a delivery.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) state: DeliveryState,
    pub(super) scheduled: Option<Timestamp>,
}

impl Standing {
    pub(super) fn of(row: &DeliveryRow) -> Self {
        let waiting = row.state == DeliveryState::Waiting && row.scheduled;
        Self { state: row.state, scheduled: row.due.filter(|_| waiting) }
    }
}

impl Projector<'_> {
    /// A fact makes a delivery in each of these lanes.
    pub(super) fn create(
        &mut self,
        sequence: Sequence,
        (lanes, keys): (&[LaneId], &BTreeMap<LaneId, OrderingKey>),
        delivery: DeliveryRow,
    ) -> Result<(), LogError> {
        for lane in lanes {
            self.lanes.entry(*lane).or_default().head = Some(sequence);
            self.stats.waiting += 1;
        }
        let row = Bytes::from(encode("delivery", &delivery)?);
        let (lanes, keys) = (lanes.to_vec(), keys.clone());
        self.created.insert(sequence, Created { delivery, lanes, keys, row });
        Ok(())
    }

    /// The same, of an event that was taken before.
    pub(super) fn create_later(
        &mut self,
        sequence: Sequence,
        (lanes, keys): (&[LaneId], &BTreeMap<LaneId, OrderingKey>),
        delivery: DeliveryRow,
    ) -> Result<(), LogError> {
        for lane in lanes {
            self.mark_made(delivery.event, DeliveryId { lane: *lane, sequence });
        }
        if let Some(event) = self.event(delivery.event)?.filter(|event| !event.later) {
            self.put_event(delivery.event, EventIdRow { later: true, ..event })?;
        }
        if let Some(replay) = delivery.replay {
            let made = u64::try_from(lanes.len()).unwrap_or(u64::MAX);
            self.change_replay(replay, |progress| progress.waiting += made)?;
        }
        self.create(sequence, (lanes, keys), delivery)
    }

    pub(super) fn mark_made(&mut self, event: EventId, id: DeliveryId) {
        self.batch.put(Table::Replays, tables::made_key(event, id), Bytes::new());
    }

    /// How far a replay is after the facts so far; None: it does not run.
    pub fn replay(&mut self, id: ReplayId) -> Result<Option<&mut ReplayRow>, LogError> {
        let row = match self.replays.entry(id) {
            Entry::Occupied(row) => row.into_mut(),
            Entry::Vacant(free) => free.insert(read_replay(self.rows, id)?),
        };
        Ok(row.as_mut())
    }

    pub(super) fn change_replay(
        &mut self,
        id: ReplayId,
        change: impl FnOnce(&mut ReplayProgress),
    ) -> Result<(), LogError> {
        if let Some(row) = self.replay(id)? {
            change(&mut row.progress);
        }
        Ok(())
    }

    pub(super) fn change(
        &mut self,
        id: DeliveryId,
        change: impl FnOnce(&mut DeliveryRow),
    ) -> Result<(), LogError> {
        self.delivery(id)?;
        // A delivery that is not there was dropped by retention: nothing is left to change.
        if let Some(touched) = self.touched.get_mut(&id) {
            let earlier = Standing::of(&touched.after).state;
            change(&mut touched.after);
            let now = Standing::of(&touched.after);
            recount(&mut self.stats, earlier, now.state);
            if let Some(due) = now.scheduled {
                let gain = self.lanes.entry(id.lane).or_default();
                gain.due = Some(gain.due.map_or(due, |earliest| earliest.min(due)));
            }
            if let Some(replay) = touched.after.replay
                && earlier != now.state
            {
                self.change_replay(replay, |progress| {
                    let before = counter(progress, earlier);
                    *before = before.saturating_sub(1);
                    *counter(progress, now.state) += 1;
                })?;
            }
        }
        Ok(())
    }

    pub(super) fn find(
        &self,
        id: DeliveryId,
    ) -> Result<Option<(Option<Standing>, DeliveryRow)>, LogError> {
        if let Some(created) = self.created.get(&id.sequence)
            && created.lanes.contains(&id.lane)
        {
            return Ok(Some((None, created.delivery(id.lane))));
        }
        let row = read_delivery(self.rows, id)?;
        let row = row.filter(|row| !self.dropped.delivery(id.sequence, row.carried));
        Ok(row.map(|row| (Some(Standing::of(&row)), row)))
    }

    pub(super) fn settle(&mut self, id: DeliveryId, touched: &Touched) -> Result<(), LogError> {
        let (before, after) = (touched.before, Standing::of(&touched.after));
        let row = encode("delivery", &touched.after)?;
        self.batch.put(Table::Deliveries, id.to_bytes(), row);
        let scheduled = before.and_then(|before| before.scheduled);
        if scheduled != after.scheduled {
            if let Some(due) = scheduled {
                self.batch.remove(Table::Due, tables::due_key(id, due));
            }
            if let Some(due) = after.scheduled {
                let row = tables::due_row(touched.after.key);
                self.batch.put(Table::Due, tables::due_key(id, due), row);
            }
        }
        let was_dead = before.is_some_and(|before| before.state == DeliveryState::Dead);
        match (was_dead, after.state == DeliveryState::Dead) {
            (false, true) => self.batch.put(Table::Dead, tables::dead_key(id), Bytes::new()),
            (true, false) => self.batch.remove(Table::Dead, tables::dead_key(id)),
            (false, false) | (true, true) => {}
        }
        Ok(())
    }
}

pub(super) fn wait_again(row: &mut DeliveryRow, now: Timestamp) {
    row.state = DeliveryState::Waiting;
    row.cause = None;
    row.due = Some(now);
    row.scheduled = true;
    row.attempts_before_resend = u32::try_from(row.attempts.len()).unwrap_or(u32::MAX);
}

pub(super) const fn take_back(row: &mut DeliveryRow) {
    row.state = DeliveryState::Cancelled;
    row.due = None;
    row.scheduled = false;
}

pub(super) fn follow(row: &mut DeliveryRow, next: Next) {
    (row.state, row.cause, row.due) = match next {
        Next::Done => (DeliveryState::Delivered, None, None),
        Next::Retry(due) => (DeliveryState::Waiting, None, Some(due)),
        Next::Dead(cause) => (DeliveryState::Dead, Some(cause), None),
    };
    row.scheduled = row.due.is_some();
}

const fn counter(progress: &mut ReplayProgress, state: DeliveryState) -> &mut u64 {
    match state {
        DeliveryState::Waiting => &mut progress.waiting,
        DeliveryState::Delivered => &mut progress.delivered,
        DeliveryState::Dead => &mut progress.dead,
        DeliveryState::Cancelled => &mut progress.cancelled,
    }
}

fn recount(stats: &mut Stats, before: DeliveryState, after: DeliveryState) {
    let earlier = stats.of(before);
    *earlier = earlier.saturating_sub(1);
    *stats.of(after) += 1;
}

//! The lanes in memory: where each ends, how far the feeder came, and when its next retry is due.
//! Rebuilt at start by a few seeks per lane, never by a scan.

use crate::{
    log::LogError,
    project::LaneGain,
    store::{Rows, Scan, Table},
    tables,
};
use contract::{
    clock::Timestamp,
    id::{DeliveryId, LaneId, Sequence, SubscriptionNumber},
    master_api::LaneStatus,
};
use std::collections::{BTreeMap, BTreeSet};

/// All lanes that ever had a delivery and whose subscription is there.
#[derive(Debug, Default)]
pub struct LaneTable {
    lanes: BTreeMap<LaneId, Lane>,
    /// Lanes whose cursor moved since it was last written.
    moved: BTreeSet<LaneId>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Lane {
    head: Sequence,
    cursor: Sequence,
    /// No retry is due before this; None: there is no retry. Scans of `Due` start here, because
    /// in front of it lie the tombstones of all retries that were made.
    due_floor: Option<Timestamp>,
    /// Counts the retries that were added, so that a scan can tell whether it saw them all.
    added: u64,
}

/// What a scan of a lane's retries starts from.
#[derive(Debug, Clone, Copy)]
pub struct DueMark {
    /// No retry is due before this.
    pub floor: Timestamp,
    added: u64,
}

impl LaneTable {
    /// Finds the lanes of these subscriptions.
    pub fn load(
        rows: &dyn Rows,
        subscriptions: impl Iterator<Item = SubscriptionNumber>,
    ) -> Result<Self, LogError> {
        let mut table = Self::default();
        for number in subscriptions {
            let lowest = tables::lane_key(LaneId(number.0 << 4));
            // From the highest lane down: each seek lands in the next lane that has anything.
            let mut end = tables::lane_key(LaneId((number.0 + 1) << 4));
            loop {
                let scan = Scan::all(Table::Deliveries, 1).from(&lowest).before(&end).reversed();
                let newest = rows.scan(&scan)?;
                let Some(id) = newest.first().and_then(|(key, _)| tables::delivery_of(key)) else {
                    break;
                };
                end = tables::lane_key(id.lane);
                table.lanes.insert(id.lane, Self::load_lane(rows, id)?);
            }
        }
        Ok(table)
    }

    fn load_lane(rows: &dyn Rows, newest: DeliveryId) -> Result<Lane, LogError> {
        let key = tables::lane_key(newest.lane);
        let cursor = rows.get(Table::Cursors, &key)?;
        let cursor = cursor.and_then(|row| tables::sequence_of(&row)).unwrap_or_default();
        let first = rows.scan(&Scan::prefix(Table::Due, &key, 1))?;
        let due = first.first().and_then(|(key, _)| tables::due_of(key)).map(|(_, due)| due);
        Ok(Lane { head: newest.sequence, cursor, due_floor: due, added: 0 })
    }

    /// Lanes with something fresh, or with a retry due by `until`.
    pub fn with_work(&self, until: Timestamp) -> Vec<LaneStatus> {
        let status = |(id, lane): (&LaneId, &Lane)| LaneStatus {
            lane: *id,
            cursor: lane.cursor,
            head: lane.head,
            next_due: lane.due_floor,
        };
        let has_work =
            |lane: &Lane| lane.head > lane.cursor || lane.due_floor.is_some_and(|due| due <= until);
        self.lanes.iter().filter(|(_, lane)| has_work(lane)).map(status).collect()
    }

    /// The newest delivery of a lane.
    pub fn head(&self, id: LaneId) -> Option<Sequence> {
        self.lanes.get(&id).map(|lane| lane.head)
    }

    /// Takes in what a batch brought.
    pub fn gain(&mut self, gains: BTreeMap<LaneId, LaneGain>) {
        for (id, gain) in gains {
            let lane = self.lanes.entry(id).or_default();
            lane.head = gain.head.map_or(lane.head, |head| lane.head.max(head));
            if let Some(due) = gain.due {
                lane.added += 1;
                lane.due_floor = Some(lane.due_floor.map_or(due, |floor| floor.min(due)));
            }
        }
    }

    /// Forgets the lanes of a subscription that was removed.
    pub fn remove(&mut self, number: SubscriptionNumber) {
        let lanes = LaneId(number.0 << 4)..LaneId((number.0 + 1) << 4);
        let gone: Vec<_> = self.lanes.range(lanes).map(|(id, _)| *id).collect();
        for id in gone {
            self.lanes.remove(&id);
            self.moved.remove(&id);
        }
    }

    /// Moves a cursor forward; a lane that is unknown is passed over.
    pub fn advance(&mut self, id: LaneId, cursor: Sequence) {
        if let Some(lane) = self.lanes.get_mut(&id)
            && cursor > lane.cursor
        {
            lane.cursor = cursor;
            self.moved.insert(id);
        }
    }

    /// Takes in a cursor that somebody else has written.
    pub fn follow(&mut self, id: LaneId, cursor: Sequence) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.cursor = lane.cursor.max(cursor);
        }
    }

    /// These moved cursors were not written after all.
    pub fn not_written(&mut self, cursors: Vec<LaneId>) {
        self.moved.extend(cursors);
    }

    /// Cursors that moved since this was last asked.
    pub fn take_moved(&mut self) -> Vec<(LaneId, Sequence)> {
        let moved = std::mem::take(&mut self.moved);
        moved.into_iter().filter_map(|id| Some((id, self.lanes.get(&id)?.cursor))).collect()
    }

    /// Where a scan of a lane's retries has to start; None: there are none.
    pub fn due_mark(&self, id: LaneId) -> Option<DueMark> {
        let lane = self.lanes.get(&id)?;
        Some(DueMark { floor: lane.due_floor?, added: lane.added })
    }

    /// The scan that started at `mark` found `first` to be the earliest retry, or none at all. If
    /// one was added meanwhile, the scan may have missed it, and the floor stays.
    pub fn raise_floor(&mut self, id: LaneId, mark: DueMark, first: Option<Timestamp>) {
        if let Some(lane) = self.lanes.get_mut(&id)
            && lane.added == mark.added
        {
            lane.due_floor = first;
        }
    }
}

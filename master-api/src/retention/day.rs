//! A day goes: what is unfinished is carried out of it, then it is dropped and swept away.

use super::{Gathering, ROWS_PER_SCAN, ROWS_PER_STEP, Steps, as_rows, delivery};
use crate::{
    fact::{Bucket, FORMAT, Fact, FactBody, StoredEvent},
    log::{LogError, read_fact},
    project::{read_event, read_made},
    store::{Batch, Rows, Scan, Table},
    tables::{self, DeliveryRow},
    writer::Upkeep,
};
use contract::{
    Error, Result,
    delivery::DeliveryState,
    id::{DeliveryId, EventId, LaneId, Sequence},
    master_api::Stats,
};
use std::collections::HashSet;

/// How often it is looked again for something unfinished. Nothing in a retired day comes back to
/// life, so that the second look finds nothing.
const LOOKS_MAX: usize = 3;

/// Has a day go; gives how many deliveries were carried out of it.
pub(super) fn drop_day(steps: &Steps<'_>, bucket: Bucket) -> Result<u64> {
    steps.take(Upkeep::Retire(bucket))?;
    let mut carried = 0;
    for _ in 0..LOOKS_MAX {
        carried += carry(steps, bucket)?;
        let gone = tally(&*steps.shared.store.snapshot(), bucket)?;
        if gone.waiting == 0 {
            steps.take(Upkeep::Drop(bucket, gone))?;
            sweep(steps, bucket)?;
            return Ok(carried);
        }
    }
    Err(Error::internal(format!("day {bucket} cannot go: something in it stays unfinished")))
}

/// Removes what days that are gone left behind.
pub(super) fn sweep_leftovers(steps: &Steps<'_>) -> Result<()> {
    let dropped = steps.shared.state.load().dropped;
    let days = steps.shared.store.tables().into_iter().filter_map(Table::day);
    let mut gone: Vec<_> = days.filter(|day| dropped.day(*day)).collect();
    gone.sort_unstable();
    gone.dedup();
    gone.into_iter().try_for_each(|day| sweep(steps, day))
}

/// What a fact of a day made that goes with the day, unless it was carried out of it.
enum Made<'a> {
    /// The event lies at this fact.
    Event(&'a StoredEvent, Kind),
    /// A delivery of this event was carried here.
    Delivery(EventId, DeliveryId),
    /// Deliveries of an event that was taken before were made here.
    Later(EventId, &'a [LaneId]),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Taken,
    Aside,
    Carried,
}

fn made(body: &FactBody) -> Option<Made<'_>> {
    match body {
        FactBody::EventAccepted { event } | FactBody::QuarantineReleased { event, .. } => {
            Some(Made::Event(event, Kind::Taken))
        }
        FactBody::EventQuarantined { event, .. } => Some(Made::Event(event, Kind::Aside)),
        FactBody::EventCarried { event, .. } => Some(Made::Event(event, Kind::Carried)),
        FactBody::DeliveryCarried { delivery, .. } => {
            Some(Made::Delivery(delivery.event, delivery.id))
        }
        FactBody::DeliveriesMade { event, lanes, .. } => Some(Made::Later(*event, lanes)),
        // No other kind makes rows of its own; a new one that does adds its arm here.
        _ => None,
    }
}

/// Goes through the facts of a day.
pub(super) fn each_fact(
    rows: &dyn Rows,
    bucket: Bucket,
    mut look: impl FnMut(Fact) -> Result<()>,
) -> Result<()> {
    let mut after = Vec::new();
    loop {
        let scan = Scan::all(Table::Traffic(bucket), ROWS_PER_SCAN).after(&after);
        let page = rows.scan(&scan).map_err(LogError::from)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = last.to_vec();
        for row in &page {
            look(read_fact(row)?)?;
        }
    }
}

/// Carries the events that have something unfinished.
fn carry(steps: &Steps<'_>, bucket: Bucket) -> Result<u64> {
    let rows = steps.shared.store.snapshot();
    let (mut gathering, mut carried) = (Gathering::default(), 0);
    each_fact(&*rows, bucket, |fact| {
        let Some(made) = made(&fact.body) else { return Ok(()) };
        let (id, size) = match &made {
            Made::Event(event, kind) => {
                let place = (bucket, fact.sequence);
                if *kind == Kind::Aside || !waits(&*rows, event.id, place)? {
                    return Ok(());
                }
                (event.id, event.size)
            }
            // Those that were carried here are of events that were, too.
            Made::Delivery(event, _) | Made::Later(event, _) => {
                let all = deliveries(&*rows, bucket, fact.sequence, &made)?;
                if !all.iter().any(|(_, row)| row.state == DeliveryState::Waiting) {
                    return Ok(());
                }
                (*event, 0)
            }
        };
        if let Some(events) = gathering.add(id, size) {
            carried += steps.take(Upkeep::Carry(events))?.deliveries;
        }
        Ok(())
    })?;
    if !gathering.events.is_empty() {
        carried += steps.take(Upkeep::Carry(gathering.events))?.deliveries;
    }
    Ok(carried)
}

/// Does the event lie in this place, and does one of its deliveries wait?
fn waits(rows: &dyn Rows, id: EventId, place: (Bucket, Sequence)) -> Result<bool, LogError> {
    let Some(row) = read_event(rows, id)?.filter(|row| row.place() == place) else {
        return Ok(false);
    };
    for lane in &row.lanes {
        let row = delivery(rows, DeliveryId { lane: *lane, sequence: row.sequence })?;
        if row.is_some_and(|row| row.state == DeliveryState::Waiting) {
            return Ok(true);
        }
    }
    for made in read_made(rows, (id, &row), usize::MAX)? {
        if delivery(rows, made)?.is_some_and(|row| row.state == DeliveryState::Waiting) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The deliveries that a fact made and that go with its day.
fn deliveries(
    rows: &dyn Rows,
    bucket: Bucket,
    sequence: Sequence,
    made: &Made<'_>,
) -> Result<Vec<(DeliveryId, DeliveryRow)>, LogError> {
    let (ids, carried): (Vec<_>, _) = match made {
        Made::Event(event, Kind::Taken) => {
            let lanes = event.lanes.iter();
            (lanes.map(|lane| DeliveryId { lane: *lane, sequence }).collect(), None)
        }
        Made::Event(_, Kind::Aside | Kind::Carried) => (Vec::new(), None),
        Made::Delivery(_, id) => (vec![*id], Some(bucket)),
        Made::Later(_, lanes) => {
            let lanes = lanes.iter();
            (lanes.map(|lane| DeliveryId { lane: *lane, sequence }).collect(), Some(bucket))
        }
    };
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let row = delivery(rows, id)?.filter(|row| row.carried == carried);
        found.extend(row.map(|row| (id, row)));
    }
    Ok(found)
}

/// Counts what goes with a day.
fn tally(rows: &dyn Rows, bucket: Bucket) -> Result<Stats> {
    let (mut gone, mut counted) = (Stats::default(), HashSet::new());
    each_fact(rows, bucket, |fact| {
        let Some(made) = made(&fact.body) else { return Ok(()) };
        if let Made::Event(event, kind) = &made
            && read_event(rows, event.id)?.is_some_and(|row| row.place() == (bucket, fact.sequence))
        {
            let aside = *kind == Kind::Aside;
            *(if aside { &mut gone.quarantined } else { &mut gone.accepted }) += 1;
        }
        for (id, row) in deliveries(rows, bucket, fact.sequence, &made)? {
            // One may have been carried here more than once.
            if row.carried.is_none() || counted.insert(id) {
                *gone.of(row.state) += 1;
            }
        }
        Ok(())
    })?;
    Ok(gone)
}

/// Removes a gone day's rows from the indices, then its tables; the facts, by which the rows are
/// found, go last.
fn sweep(steps: &Steps<'_>, bucket: Bucket) -> Result<()> {
    let store = as_rows(&*steps.shared.store);
    let mut batch = Batch::default();
    each_fact(store, bucket, |fact| {
        if fact.body.is_notable(FORMAT) {
            batch.remove(Table::Notable, tables::sequence_key(fact.sequence));
        }
        let Some(made) = made(&fact.body) else { return Ok(()) };
        if let Made::Event(event, _) = &made
            && read_event(store, event.id)?.is_some_and(|row| row.bucket == bucket)
        {
            batch.remove(Table::EventIds, event.id.to_bytes());
        }
        for (id, _) in deliveries(store, bucket, fact.sequence, &made)? {
            batch.remove(Table::Deliveries, id.to_bytes());
            batch.remove(Table::Dead, tables::dead_key(id));
            if let Made::Delivery(event, _) | Made::Later(event, _) = &made {
                batch.remove(Table::Replays, tables::made_key(*event, id));
            }
        }
        if batch.0.len() >= ROWS_PER_STEP {
            steps.take(Upkeep::Sweep(std::mem::take(&mut batch)))?;
        }
        Ok(())
    })?;
    if !batch.0.is_empty() {
        steps.take(Upkeep::Sweep(batch))?;
    }
    let (facts, rest) = (Table::Traffic(bucket), Table::of_day(bucket));
    for table in rest.into_iter().filter(|table| *table != facts).chain([facts]) {
        steps.shared.store.drop_table(table).map_err(LogError::from)?;
    }
    Ok(())
}

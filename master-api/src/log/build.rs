//! A new store from the rows that nothing else leads to; all other rows are built from the facts.

use super::{
    LogError, Progress,
    agree::check_secrets,
    erasures::{erasures, event_of, is_of},
    load,
    load::fold,
    pages::all_rows,
    verify::{Report, as_rows},
    walk::{Walk, Whole},
};
use crate::{
    fact::{Bucket, FactBody, StoredEvent},
    prepare,
    project::{decode, encode},
    state::{Dropped, Losses, State},
    store::{Batch, Embedded, Rows, Scan, StateStore, StoreError, Table},
    tables::{self, DeliveryRow, Head, IdempotencyRow, SALT_LENGTH},
};
use bytes::Bytes;
use contract::id::{LaneId, Sequence};
use std::{collections::BTreeSet, iter, path::Path};

/// Rows and bytes of one batch.
const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: usize = 16 << 20;
/// Memory for cached blocks.
const CACHE_BYTES: u64 = 64 << 20;

/// Is it a table that no other leads to? The head, the indices, the idempotency keys of events and
/// the feeder's cursors follow from these. The answers to changes do not: a new store has none.
pub const fn is_source(table: Table) -> bool {
    match table {
        Table::Configuration | Table::Traffic(_) | Table::Payloads(_) | Table::Secrets => true,
        Table::Meta
        | Table::Idempotency(_)
        | Table::Search(_)
        | Table::EventIds
        | Table::Deliveries
        | Table::Due
        | Table::Dead
        | Table::Notable
        | Table::Replays
        | Table::Cursors => false,
    }
}

/// Does a copy of a log need the table? What a day that retention has dropped left behind waits to
/// be swept away.
pub fn is_kept(table: Table, dropped: Dropped) -> bool {
    is_source(table) && !table.day().is_some_and(|day| dropped.day(day))
}

/// A store that is being filled.
#[derive(Debug)]
pub struct Builder {
    store: Embedded,
    batch: Batch,
    bytes: usize,
}

/// A store that is whole.
#[derive(Debug)]
pub struct Built {
    /// The store.
    pub store: Embedded,
    /// What its facts say of themselves.
    pub report: Report,
    /// Where it ends.
    pub head: Head,
    /// Its configuration.
    pub state: State,
    /// The first event of the block that stays open; 0: there is none.
    pub open_block: Sequence,
}

impl Builder {
    /// Begins an empty store in `directory`.
    pub fn create(directory: &Path) -> Result<Self, LogError> {
        let store = Embedded::open(directory, CACHE_BYTES)?;
        Ok(Self { store, batch: Batch::default(), bytes: 0 })
    }

    /// Takes a row of a source table.
    pub fn put(&mut self, table: Table, key: Bytes, row: Bytes) -> Result<(), LogError> {
        self.bytes = self.bytes.saturating_add(key.len()).saturating_add(row.len());
        self.batch.put(table, key, row);
        if self.batch.0.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Takes all rows of the source tables among `all_tables`.
    pub fn copy(
        &mut self,
        rows: &dyn Rows,
        all_tables: &[Table],
        progress: Progress<'_>,
    ) -> Result<(), LogError> {
        let mut copied = 0;
        let dropped = fold(rows)?.dropped;
        for table in all_tables.iter().filter(|table| is_kept(**table, dropped)) {
            for row in all_rows(rows, iter::once(*table)) {
                let (key, row) = row?;
                self.put(*table, key, row)?;
                copied += 1;
                if copied % PROGRESS_EVERY == 0 {
                    progress("copying", copied, 0);
                }
            }
        }
        Ok(())
    }

    /// Removes every payload that the facts so far order to be erased; gives how many were there.
    pub fn erase(&mut self) -> Result<u64, LogError> {
        self.flush()?;
        let orders = erasures(&self.store)?;
        if orders.is_empty() {
            return Ok(0);
        }
        let (mut removed, mut batch) = (0, Batch::default());
        for table in self.store.tables() {
            let Table::Traffic(day) = table else { continue };
            for row in all_rows(&self.store, iter::once(table)) {
                let fact = super::read_fact(&row?)?;
                let Some((event, taken)) = event_of(&fact) else { continue };
                let found = (event.id, &event.audience, taken);
                if !orders.iter().any(|order| is_of(&order.target, order.ordered, found)) {
                    continue;
                }
                // The payload, and what of it went over the wire.
                let places = BTreeSet::from([fact.sequence, taken]).into_iter();
                for prefix in places.map(tables::sequence_key) {
                    let rows = Scan::prefix(Table::Payloads(day), &prefix, usize::MAX);
                    for (key, _) in self.store.scan(&rows)? {
                        removed += u64::from(key.len() == prefix.len());
                        batch.remove(Table::Payloads(day), key.to_vec());
                    }
                }
                if batch.0.len() >= BATCH_ROWS {
                    self.store.commit(std::mem::take(&mut batch))?;
                }
            }
        }
        if !batch.0.is_empty() {
            self.store.commit(batch)?;
            let payloads = |table: &Table| matches!(table, Table::Payloads(_));
            let tables: Vec<_> = self.store.tables().into_iter().filter(payloads).collect();
            self.store.compact(&tables)?;
        }
        Ok(removed)
    }

    /// Builds everything else. What is wrong with the facts stands in the report; nobody misses
    /// what is among the `losses`, beside those that the facts name themselves.
    pub fn finish(mut self, mut losses: Losses, progress: Progress<'_>) -> Result<Built, LogError> {
        self.flush()?;
        let store = self.store;
        let last = last_fact(&store)?;
        let tell = |facts| progress("building", facts, last.0);
        let State { losses: Losses { facts, payloads }, dropped, .. } = fold(&store)?;
        losses.facts.extend(facts);
        losses.payloads.extend(payloads);
        let sink = Whole(&store);
        let mut walk = Walk::new(&store, &sink, (losses, dropped), &tell);
        walk.all_facts(&store.tables())?;
        walk.ended();
        let open_block = walk.open_block();
        let Walk { mut report, state, head, .. } = walk;
        report.head = head.sequence;
        let mut batch = Batch::default();
        batch.put(Table::Meta, tables::HEAD, encode("head", &head)?);
        batch.put(Table::Meta, tables::FORMAT, state.format.to_be_bytes().to_vec());
        cursors(&store, &mut batch)?;
        store.commit(batch)?;
        idempotency(&store, &head)?;
        Ok(Built { store, report, head, state, open_block })
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.bytes = 0;
        Ok(self.store.commit(std::mem::take(&mut self.batch))?)
    }
}

/// Rows between two words about how far it is.
pub(crate) const PROGRESS_EVERY: u64 = 4096;

/// The highest sequence of any fact.
fn last_fact(store: &Embedded) -> Result<Sequence, LogError> {
    let mut last = Sequence::default();
    for table in store.tables() {
        if matches!(table, Table::Configuration | Table::Traffic(_)) {
            let newest = store.scan(&Scan::all(table, 1).reversed())?;
            let found = newest.first().and_then(|(key, _)| tables::sequence_of(key));
            last = last.max(found.unwrap_or_default());
        }
    }
    Ok(last)
}

/// Each lane's cursor stands before its first delivery that still waits for its first turn.
fn cursors(store: &Embedded, batch: &mut Batch) -> Result<(), LogError> {
    let mut put = |(lane, cursor): (LaneId, Sequence)| {
        batch.put(Table::Cursors, tables::lane_key(lane), tables::sequence_key(cursor).to_vec());
    };
    let mut current: Option<((LaneId, Sequence), bool)> = None;
    for row in all_rows(store, iter::once(Table::Deliveries)) {
        let (key, row) = row?;
        let Some(id) = tables::delivery_of(&key) else { continue };
        if let Some((ended, _)) = current.filter(|((lane, _), _)| *lane != id.lane) {
            put(ended);
            current = None;
        }
        let ((_, cursor), met_fresh) = current.unwrap_or(((id.lane, Sequence(0)), false));
        let is_fresh = met_fresh || decode::<DeliveryRow>("delivery", &row)?.is_fresh();
        let cursor = if is_fresh { cursor } else { id.sequence };
        current = Some(((id.lane, cursor), is_fresh));
    }
    if let Some((ended, _)) = current {
        put(ended);
    }
    Ok(())
}

/// The idempotency keys that can still hold: those of the last two days. A payload that is gone
/// leaves none: nothing could be compared with it.
fn idempotency(store: &Embedded, head: &Head) -> Result<(), LogError> {
    let Some(today) = head.bucket else { return Ok(()) };
    for day in [Bucket(today.0.saturating_sub(1)), today] {
        let mut batch = Batch::default();
        for row in all_rows(store, iter::once(Table::Traffic(day))) {
            let fact = super::read_fact(&row?)?;
            let (FactBody::EventAccepted { event } | FactBody::EventQuarantined { event, .. }) =
                fact.body
            else {
                continue;
            };
            if let Some((key, identity)) = identity_of(store, (fact.sequence, day), &event)? {
                let row = IdempotencyRow { event: event.id, identity, time: fact.time };
                batch.put(Table::Idempotency(day), key, encode("idempotency key", &row)?);
            }
            if batch.0.len() >= BATCH_ROWS {
                store.commit(std::mem::take(&mut batch))?;
            }
        }
        store.commit(batch)?;
    }
    Ok(())
}

fn identity_of(
    store: &Embedded,
    (sequence, day): (Sequence, Bucket),
    event: &StoredEvent,
) -> Result<Option<(Vec<u8>, crate::fact::Hash)>, StoreError> {
    let Some(key) = &event.idempotency_key else { return Ok(None) };
    let row = store.get(Table::Payloads(day), &tables::sequence_key(sequence))?;
    let identity = row
        .as_deref()
        .and_then(|row| row.get(SALT_LENGTH..))
        .map(|payload| prepare::identity(&event.uri, event.direction, &event.audience, payload));
    Ok(identity.map(|identity| (tables::idempotency_key(&event.origin, key), identity)))
}

/// Nothing but whole facts may take the place of a log.
pub fn require_whole(built: &mut Built) -> Result<(), LogError> {
    check_secrets(&built.store, &built.state, &mut built.report)?;
    match built.report.problems.is_empty() {
        true => Ok(()),
        false => Err(LogError::NotWhole { problems: built.report.problems.clone() }),
    }
}

/// The store as a start would open it.
pub fn vouched(data_dir: &Path, store: &Embedded) -> Result<(), LogError> {
    super::head_file::vouch(data_dir, as_rows(store), &load(as_rows(store))?)
}

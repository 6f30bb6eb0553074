//! Whether what lies beside the facts agrees with them: read models, idempotency keys, secrets.

use super::{
    LogError,
    differences::{Seed, Sum},
    pages::{all_rows, each_of, try_each},
    verify::{Report, as_rows},
};
use crate::{
    once::{self, AnswerRow},
    project::{decode, read_delivery},
    secrets::Sealer,
    state::{Dropped, State},
    store::{Row, Rows, Scan, StateStore, StoreError, Table},
    tables::{self, DeliveryRow, EventIdRow, IdempotencyRow},
};
use contract::id::{DeliveryId, EventId};
use std::{
    collections::{BTreeMap, BTreeSet},
    iter,
    num::NonZero,
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
};

/// Events that are looked up together.
const NAMED_MAX: usize = 16 << 10;

/// Rows of days that are gone, which are removed bit by bit.
#[derive(Clone, Copy)]
pub(super) struct Leftovers {
    /// Which days.
    pub(super) dropped: Dropped,
    /// A sweep is under way, so some may still be there.
    pub(super) allowed: bool,
}

impl Leftovers {
    fn has(self, rows: &dyn Rows, table: Table, key: &[u8], row: &[u8]) -> Result<bool, LogError> {
        let gone =
            |id: DeliveryId, row: &DeliveryRow| self.dropped.delivery(id.sequence, row.carried);
        Ok(self.allowed
            && match (table, tables::delivery_of(key), tables::dead_of(key)) {
                (Table::EventIds, ..) => {
                    self.dropped.day(decode::<EventIdRow>("event id", row)?.bucket)
                }
                (Table::Deliveries, Some(id), _) => gone(id, &decode("delivery", row)?),
                (Table::Dead, _, Some(id)) => {
                    read_delivery(rows, id)?.is_none_or(|row| gone(id, &row))
                }
                (Table::Replays, ..) => match tables::made_of(key) {
                    Some(id) => read_delivery(rows, id)?.is_none_or(|row| gone(id, &row)),
                    None => false,
                },
                (Table::Notable, ..) => {
                    tables::sequence_of(key).is_some_and(|found| found <= self.dropped.last)
                }
                _ => false,
            })
    }
}

/// What the stored rows of these tables add up to.
pub(super) fn sums(
    rows: &dyn Rows,
    tables: &BTreeSet<Table>,
    leftovers: Leftovers,
    seed: Seed,
) -> Result<BTreeMap<Table, Sum>, LogError> {
    let next = Mutex::new(tables.iter());
    let some = || -> Result<_, LogError> {
        let mut sums = BTreeMap::new();
        let next = || next.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some(table) = next() {
            let mut sum = Sum::default();
            try_each(rows, Scan::all(*table, 0), |key, row| {
                if !leftovers.has(rows, *table, key, row)? {
                    sum.add_row(seed, key, row);
                }
                Ok::<_, LogError>(())
            })?;
            sums.insert(*table, sum);
        }
        Ok(sums)
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, NonZero::get).min(tables.len());
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        let mut all = BTreeMap::new();
        for thread in threads {
            let gone = |_| Err(StoreError::Failed("a thread that reads has ended".into()).into());
            all.extend(thread.join().unwrap_or_else(gone)?);
        }
        Ok(all)
    })
}

/// A read model has the rows that the facts lead to, and no others.
pub(super) fn compare(
    (rows, rebuilt): (&dyn Rows, &dyn StateStore),
    table: Table,
    leftovers: Leftovers,
    report: &mut Report,
) -> Result<(), LogError> {
    let mut found = all_rows(rows, iter::once(table)).filter_map(|row| {
        let row = row.map_err(LogError::from);
        let gone = |(key, row): &Row| leftovers.has(rows, table, key, row);
        row.and_then(|row| Ok((!gone(&row)?).then_some(row))).transpose()
    });
    let mut wanted = all_rows(as_rows(rebuilt), iter::once(table));
    loop {
        match (found.next().transpose()?, wanted.next().transpose()?) {
            (None, None) => return Ok(()),
            (Some(found), Some(wanted)) if found == wanted => {}
            (found, wanted) => {
                let key = |row: Option<Row>| row.map_or("none".into(), |row| hex::encode(row.0));
                let (found, wanted) = (key(found), key(wanted));
                report.problem(format!(
                    "{table:?} differs from what the facts lead to: key {found} is there, the \
                     facts want {wanted}"
                ));
                return Ok(());
            }
        }
    }
}

/// Every idempotency key of an event names one that is there, and every answer can be read.
pub(super) fn check_idempotency<'a>(
    rows: &dyn Rows,
    kept_tables: impl Iterator<Item = &'a Table>,
    report: &mut Report,
) -> Result<(), LogError> {
    let days = kept_tables.filter(|table| matches!(table, Table::Idempotency(_)));
    let mut named = BTreeSet::new();
    for row in all_rows(rows, days.copied()) {
        let (key, row) = row?;
        if key.first() == Some(&once::TAG) {
            let _answer: AnswerRow = decode("answer", &row)?;
            continue;
        }
        let row: IdempotencyRow = decode("idempotency key", &row)?;
        named.insert(row.event);
        if named.len() >= NAMED_MAX {
            check_events(rows, &std::mem::take(&mut named), report)?;
        }
    }
    check_events(rows, &named, report)
}

/// Each of these events is there.
fn check_events(
    rows: &dyn Rows,
    named: &BTreeSet<EventId>,
    report: &mut Report,
) -> Result<(), LogError> {
    let keys: Vec<_> = named.iter().map(|event| event.to_bytes().to_vec()).collect();
    let mut events = named.iter();
    each_of(rows, Table::EventIds, &keys, |row| {
        if let Some(event) = events.next().filter(|_| row.is_none()) {
            report.problem(format!("an idempotency key names {event}, which is not there"));
        }
    })?;
    Ok(())
}

/// The sealed secrets are those that the facts name.
pub(super) fn check_secrets(
    rows: &dyn Rows,
    state: &State,
    report: &mut Report,
) -> Result<(), LogError> {
    let stored = rows.scan(&Scan::all(Table::Secrets, usize::MAX))?;
    let wanted = state.secrets.keys().map(|id| id.to_bytes().to_vec());
    if !stored.iter().map(|(key, _)| key.to_vec()).eq(wanted) {
        report.problem("the stored secrets are not those that the facts name".into());
    }
    Ok(())
}

/// Without its file the key may still be given by the configuration, which is not known here.
pub(super) fn check_secret_key(file: &Path, rows: &dyn Rows, report: &mut Report) {
    if !file.exists() {
        let path = file.display();
        report.notes.push(format!(
            "{path} is missing: the server starts only if its key is given by the configuration"
        ));
    } else if let Err(error) = Sealer::from_file(file).and_then(|sealer| sealer.open_all(rows)) {
        report.problem(format!("{}: {}", file.display(), error.message));
    }
}

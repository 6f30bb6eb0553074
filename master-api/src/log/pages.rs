//! Whole tables, read page by page; and many rows of a table by keys that are in order.

use super::load::{PAGE_BYTES, PAGE_ROWS};
use crate::store::{Row, Rows, Scan, StoreError, Table};
use std::{
    iter,
    ops::{Bound, ControlFlow},
};

/// Rows that are passed over to the next one that is wanted; beyond that it is looked for.
const PASSED_MAX: usize = 8;
/// Looks in a row that led to few that are wanted, after which each is asked for by itself.
const LEAPS_MAX: usize = 16;

/// All rows of tables, one after the other.
pub(super) fn all_rows<'a>(
    rows: &'a dyn Rows,
    tables: impl Iterator<Item = Table> + 'a,
) -> impl Iterator<Item = Result<Row, StoreError>> + 'a {
    tables.flat_map(move |table| rows_in(rows, Scan::all(table, 0)))
}

/// All rows of a stretch, whatever its limits say.
fn rows_in(rows: &dyn Rows, stretch: Scan) -> impl Iterator<Item = Result<Row, StoreError>> {
    let mut rest = Some(Scan { limit: PAGE_ROWS, bytes: PAGE_BYTES, ..stretch });
    let pages = iter::from_fn(move || {
        let scan = rest.take()?;
        let page = rows.scan(&scan);
        if let Ok(page) = &page
            && scan.is_full(page)
        {
            rest = page.last().map(|(key, _)| scan.beyond(key));
        }
        Some(page.map_or_else(|error| vec![Err(error)], |page| page.into_iter().map(Ok).collect()))
    });
    pages.flatten()
}

/// Has `take` look at all rows of a stretch until it fails.
pub(super) fn try_each<E: From<StoreError>>(
    rows: &dyn Rows,
    stretch: Scan,
    mut take: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let scan = Scan { limit: PAGE_ROWS, bytes: PAGE_BYTES, ..stretch };
    let mut outcome = Ok(());
    rows.each(&scan, &mut |key, row| {
        outcome = take(key, row);
        if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    outcome
}

/// Has `take` look at the row under each of `keys`, which ascend: they are read as they lie beside
/// each other, not one by one.
pub(super) fn each_of(
    rows: &dyn Rows,
    table: Table,
    keys: &[Vec<u8>],
    mut take: impl FnMut(Option<&[u8]>),
) -> Result<(), StoreError> {
    let Some(last) = keys.last() else { return Ok(()) };
    let mut scan = Scan { to: Bound::Included(last.clone()), ..Scan::all(table, PAGE_ROWS) };
    scan = scan.at_most(PAGE_BYTES);
    let (mut wanted, mut leaps) = (keys, 0);
    while let Some(next) = wanted.first().filter(|_| leaps < LEAPS_MAX) {
        let (before, mut passed) = (wanted.len(), 0);
        scan = scan.from(next);
        let mut ended = true;
        rows.each(&scan, &mut |key, row| {
            while let Some((next, rest)) = wanted.split_first()
                && next.as_slice() <= key
            {
                let found = next.as_slice() == key;
                take(found.then_some(row));
                (wanted, passed) = (rest, if found { 0 } else { passed });
            }
            passed += 1;
            ended = passed <= PASSED_MAX;
            if ended { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if ended {
            wanted.iter().for_each(|_| take(None));
            return Ok(());
        }
        leaps = if before - wanted.len() > PASSED_MAX { 0 } else { leaps + 1 };
    }
    if wanted.is_empty() {
        return Ok(());
    }
    rows.get_each(table, wanted)?.iter().for_each(|row| take(row.as_deref()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, Memory, StateStore};
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn key(n: u16) -> Vec<u8> {
        n.to_be_bytes().to_vec()
    }

    proptest! {
        #[test]
        fn rows_are_found_wherever_they_lie(
            stored in proptest::collection::btree_map(0_u16..9000, 0..200_usize, 0..3000),
            start in 0_u16..9000,
            wanted in proptest::collection::btree_set(0_u16..9000, 0..200),
            together in 0_u16..2500,
        ) {
            let store = Memory::default();
            let mut batch = Batch::default();
            for (n, length) in &stored {
                batch.put(Table::Due, key(*n), vec![7; *length]);
            }
            store.commit(batch).unwrap();
            let wanted: BTreeSet<_> =
                wanted.into_iter().chain(start..start.saturating_add(together)).collect();
            let keys: Vec<_> = wanted.iter().map(|n| key(*n)).collect();
            let mut lengths = Vec::new();
            each_of(&store, Table::Due, &keys, |row| lengths.push(row.map(<[u8]>::len))).unwrap();
            let there: Vec<_> = wanted.iter().map(|n| stored.get(n).copied()).collect();
            prop_assert_eq!(lengths, there);
            let all = all_rows(&store, iter::once(Table::Due));
            let all: BTreeMap<_, _> = all.map(|row| row.unwrap()).collect();
            prop_assert_eq!(all.len(), stored.len());
        }
    }
}

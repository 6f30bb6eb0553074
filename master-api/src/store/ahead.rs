//! Rows that were read ahead: what a batch will ask for one by one, fetched by a few questions.

use super::{Row, Rows, Scan, StoreError, Table};
use bytes::Bytes;
use std::collections::HashMap;

/// Rows with some of them at hand.
pub struct Ahead<'a> {
    rows: &'a dyn Rows,
    known: HashMap<Table, HashMap<Vec<u8>, Option<Bytes>>>,
}

impl<'a> Ahead<'a> {
    /// With nothing at hand.
    pub fn of(rows: &'a dyn Rows) -> Self {
        Self { rows, known: HashMap::new() }
    }

    /// Fetches these rows.
    pub fn fetch(&mut self, table: Table, keys: &[Vec<u8>]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let found = self.rows.get_many(table, keys)?;
        let known = self.known.entry(table).or_default();
        known.extend(keys.iter().map(|key| (key.clone(), None)));
        known.extend(found.into_iter().map(|(key, row)| (key.to_vec(), Some(row))));
        Ok(())
    }
}

impl Rows for Ahead<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.known.get(&table).and_then(|known| known.get(key)) {
            Some(row) => Ok(row.clone()),
            None => self.rows.get(table, key),
        }
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        self.rows.scan(scan)
    }
}

//! All tables as of one moment: a transaction that reads and writes nothing.

use super::{
    Inner,
    read::Question,
    session::{Lent, failed},
};
use crate::store::{Row, Rows, Scan, StoreError, Table, postgres::schema};
use bytes::Bytes;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};
use tokio_postgres::error::SqlState;

/// Rows that stand still. What went wrong at its beginning is what every question answers.
pub struct Snapshot {
    inner: Arc<Inner>,
    begun: Mutex<Result<Lent, StoreError>>,
    tables: BTreeSet<Table>,
}

impl Snapshot {
    /// As of now.
    pub fn begin(inner: &Arc<Inner>) -> Self {
        let on = Arc::clone(inner);
        let begun = inner.sessions.wait(inner.config.read_timeout.0, async move {
            let lent = Lent::from(&on.sessions.reading).await?;
            loop {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT 1";
                lent.batch_execute(begin).await.map_err(|e| failed(&e))?;
                let tables = on.day_tables(&lent).await?;
                match lent.batch_execute(&keep(&on.config.schema, &tables)).await {
                    Ok(()) => return Ok((lent, tables)),
                    // One was dropped a moment ago.
                    Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
                        lent.batch_execute("ROLLBACK").await.map_err(|e| failed(&e))?;
                    }
                    Err(error) => return Err(failed(&error)),
                }
            }
        });
        let (begun, tables) = match begun {
            Ok((lent, tables)) => (Ok(lent), tables),
            Err(error) => (Err(error), BTreeSet::new()),
        };
        Self { inner: Arc::clone(inner), begun: Mutex::new(begun), tables }
    }

    /// A failed statement would end the transaction: no table is asked that is not there.
    fn ask(&self, table: Table, question: Question) -> Result<Vec<Row>, StoreError> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if begun.is_ok() && schema::is_of_a_day(table) && !self.tables.contains(&table) {
            return Ok(Vec::new());
        }
        let ended = || Err(StoreError::Unavailable("the snapshot has ended".to_owned()));
        let lent = std::mem::replace(&mut *begun, ended())?;
        let asked = self.inner.sessions.wait(self.inner.config.read_timeout.0, async move {
            let rows = question.ask(&lent).await?;
            Ok((lent, rows))
        });
        let (lent, rows) = asked?;
        *begun = Ok(lent);
        Ok(rows)
    }
}

/// Has nobody drop these tables until the transaction ends.
fn keep(schema: &str, tables: &BTreeSet<Table>) -> String {
    let names = tables.iter().map(|table| format!("{schema}.{}", schema::name_of(*table)));
    match names.collect::<Vec<_>>().join(", ") {
        none if none.is_empty() => none,
        names => format!("LOCK TABLE {names} IN ACCESS SHARE MODE"),
    }
}

impl Rows for Snapshot {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let rows = self.ask(table, Question::get(&self.inner.config.schema, table, key))?;
        Ok(rows.into_iter().next().map(|(_, row)| row))
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        if scan.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(scan.table, Question::scan(&self.inner.config.schema, scan))
    }

    fn get_many(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Row>, StoreError> {
        self.ask(table, Question::get_many(&self.inner.config.schema, table, keys))
    }
}

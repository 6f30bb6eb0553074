//! Batches: lock the log's head, write all rows by a few statements in one way to the server,
//! commit.

use super::{
    Inner,
    schema::{self, is_of_a_day, name_of},
    session::{Lent, failed},
};
use crate::{
    codec,
    store::{Batch, HeadLock, StoreError, Table},
    tables::{HEAD, Head},
};
use bytes::Bytes;
use contract::id::Sequence;
use futures_util::future;
use std::collections::BTreeMap;
use tokio_postgres::{Statement, types::ToSql};

/// A transaction that has the head.
pub struct Holding {
    client: Lent,
    leads: bool,
}

/// Rows of one table by key; of two for one key the later one holds.
type Changes = BTreeMap<Vec<u8>, Option<Bytes>>;

impl Inner {
    /// Begins a transaction that has the head.
    pub async fn lock(&self) -> Result<(Holding, HeadLock), StoreError> {
        let client = Lent::from(&self.sessions.writing).await?;
        let schema = &self.config.schema;
        let prepared = async |sql: &str| client.prepare_cached(sql).await.map_err(|e| failed(&e));
        let lock = prepared(&format!("SELECT sequence FROM {schema}.log_head FOR UPDATE")).await?;
        let head = prepared(&format!("SELECT value FROM {schema}.meta WHERE key = $1")).await?;
        let lease = format!(
            "SELECT FROM {schema}.leases WHERE role = $1 AND holder = $2 AND fence = $3 FOR SHARE"
        );
        let lease = prepared(&lease).await?;
        let begin = self.begin();
        let fence = self.fence();
        let key: (&[u8], &str, i64) = (HEAD, &self.replica, fence.unwrap_or_default());
        let head_key: [&(dyn ToSql + Sync); 1] = [&key.0];
        let of_lease: [&(dyn ToSql + Sync); 3] = [&super::LEADER, &key.1, &key.2];
        // One after the other on the way, one answer for all.
        let (begun, locked, head, leads) = future::join4(
            client.batch_execute(&begin),
            client.query_one(&lock, &[]),
            client.query_opt(&head, &head_key),
            client.query_opt(&lease, &of_lease),
        )
        .await;
        begun.and(locked.map(drop)).map_err(|e| failed(&e))?;
        let head = head.map_err(|e| failed(&e))?;
        let head = head.map(|row| Bytes::copy_from_slice(row.get(0)));
        let leads = leads.map_err(|e| failed(&e))?.is_some() && fence.is_some();
        if !leads {
            self.lose_leadership(fence);
        }
        Ok((Holding { client, leads }, HeadLock { head, leads }))
    }

    /// Nothing of ours waits for ever, and nobody waits for ever for us: not even when this
    /// process stops in the middle.
    pub fn begin(&self) -> String {
        let limit_ms = self.config.write_timeout.0.as_millis();
        let durable = if self.synchronous { "" } else { "SET LOCAL synchronous_commit = on;" };
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {limit_ms}; \
             SET LOCAL statement_timeout = {limit_ms}; \
             SET LOCAL idle_in_transaction_session_timeout = {limit_ms}; {durable}"
        )
    }

    /// Writes all rows of a batch; what is left is to commit.
    pub async fn write(&self, holding: &Holding, batch: Batch) -> Result<(), StoreError> {
        let client = &holding.client;
        let mut tables = grouped(batch);
        let of_days = tables.keys().copied().filter(|table| is_of_a_day(*table));
        let unknown: Vec<_> = of_days.filter(|table| !self.is_made(*table)).collect();
        for table in unknown {
            let puts = tables.get(&table).is_some_and(|rows| rows.values().any(Option::is_some));
            if puts {
                let creation = schema::creation(&self.config.schema, table);
                client.batch_execute(&creation).await.map_err(|e| failed(&e))?;
            } else if !self.is_there(client, table).await? {
                // A removal makes no table.
                tables.remove(&table);
            }
        }
        let head = tables.get(&Table::Meta).and_then(|meta| meta.get(HEAD)?.as_deref());
        let sequence = head.and_then(|row| codec::decode::<Head>(row).ok()).map(|h| h.sequence);
        let mut statements = Vec::with_capacity(tables.len() * 2);
        for (table, changes) in &tables {
            statements.extend(self.statements(client, *table, changes).await?);
        }
        let writes = statements.iter().map(Written::execute_on(client));
        let done = future::try_join_all(writes).await;
        done.map_err(|e| failed(&e))?;
        if let Some(Sequence(sequence)) = sequence {
            let sql = format!(
                "UPDATE {}.log_head SET sequence = $1, committed_at = now()",
                self.config.schema
            );
            let update = client.prepare_cached(&sql).await.map_err(|e| failed(&e))?;
            let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
            client.execute(&update, &[&sequence]).await.map_err(|e| failed(&e))?;
        }
        Ok(())
    }

    async fn is_there(&self, client: &Lent, table: Table) -> Result<bool, StoreError> {
        let name = format!("{}.{}", self.config.schema, name_of(table));
        let question = "SELECT to_regclass($1::text) IS NOT NULL";
        let row = client.query_one(question, &[&name]).await.map_err(|e| failed(&e))?;
        Ok(row.get(0))
    }

    async fn statements<'a>(
        &self,
        client: &Lent,
        table: Table,
        changes: &'a Changes,
    ) -> Result<Vec<Written<'a>>, StoreError> {
        let name = format!("{}.{}", self.config.schema, name_of(table));
        let put = changes.iter().filter_map(|(key, row)| Some((&**key, row.as_deref()?)));
        let (keys, values): (Vec<_>, Vec<_>) = put.unzip();
        let removed = changes.iter().filter(|(_, row)| row.is_none());
        let removed: Vec<_> = removed.map(|(key, _)| &**key).collect();
        let mut statements = Vec::with_capacity(2);
        if !keys.is_empty() {
            let sql = format!(
                "INSERT INTO {name} (key, value) SELECT * FROM unnest($1::bytea[], $2::bytea[]) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value"
            );
            let statement = client.prepare_cached(&sql).await.map_err(|e| failed(&e))?;
            statements.push(Written { statement, columns: vec![keys, values] });
        }
        if !removed.is_empty() {
            let sql = format!("DELETE FROM {name} WHERE key = ANY($1::bytea[])");
            let statement = client.prepare_cached(&sql).await.map_err(|e| failed(&e))?;
            statements.push(Written { statement, columns: vec![removed] });
        }
        Ok(statements)
    }
}

impl Holding {
    /// Ends the transaction with what was written. An error tells nothing.
    pub async fn commit(self) -> Result<(), StoreError> {
        let done = self.client.batch_execute("COMMIT").await;
        done.map_err(|error| StoreError::Uncertain(failed(&error).to_string()))?;
        self.client.give_back();
        Ok(())
    }

    /// Ends it without.
    pub async fn roll_back(self) -> Result<(), StoreError> {
        self.client.batch_execute("ROLLBACK").await.map_err(|e| failed(&e))?;
        self.client.give_back();
        Ok(())
    }

    /// Has one more statement done in it.
    pub async fn execute(&self, sql: &str) -> Result<(), StoreError> {
        self.client.batch_execute(sql).await.map_err(|e| failed(&e))
    }

    /// This process leads as long as it holds the head.
    pub fn leads(&self) -> bool {
        self.leads
    }
}

/// One statement for many rows: a column is an array.
struct Written<'a> {
    statement: Statement,
    columns: Vec<Vec<&'a [u8]>>,
}

impl<'a> Written<'a> {
    fn execute_on<'b>(
        client: &'b Lent,
    ) -> impl Fn(&'b Self) -> future::BoxFuture<'b, Result<u64, tokio_postgres::Error>>
    where
        'a: 'b,
    {
        move |written| {
            Box::pin(async move {
                let columns = written.columns.iter().map(|column| column as &(dyn ToSql + Sync));
                client.execute(&written.statement, &columns.collect::<Vec<_>>()).await
            })
        }
    }
}

fn grouped(batch: Batch) -> BTreeMap<Table, Changes> {
    let mut tables: BTreeMap<Table, Changes> = BTreeMap::new();
    for change in batch.0 {
        tables.entry(change.table).or_default().insert(change.key, change.value);
    }
    tables
}

/// What the last batch wrote to, so that it need not be made again.
pub fn day_tables_of(batch: &Batch) -> Vec<Table> {
    let put = batch.0.iter().filter(|change| change.value.is_some());
    put.map(|change| change.table).filter(|table| is_of_a_day(*table)).collect()
}

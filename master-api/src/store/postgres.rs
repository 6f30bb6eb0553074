//! Rows in a PostgreSQL database that several processes write to.
//!
//! A table of ours is a table there, keys and rows as bytes; a table of a day is one of its own,
//! so that dropping it gives the space back. Nothing needs a session that outlives a transaction
//! (no advisory locks, no LISTEN), so poolers may stand in between.

mod config;
mod session;
mod schema;
mod read;
mod snapshot;
mod write;
mod replicas;
#[cfg(test)]
#[cfg(feature = "all")]
pub(crate) mod testing;

pub use config::PostgresConfig;

use super::{Batch, HeadLock, Replicated, Row, Rows, Scan, StateStore, StoreError, Table};
use bytes::Bytes;
use contract::secret::Secret;
use read::Question;
use session::{Lent, Sessions, failed};
use snapshot::Snapshot;
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use write::Holding;

/// The one role that is led: cancelling what removed subscriptions left, and retention.
const LEADER: &str = "leader";
/// How long to wait for those who read a table that is to be dropped.
const DROP_WAIT: &str = "500ms";

/// A state database on a PostgreSQL server.
pub struct Postgres {
    inner: Arc<Inner>,
    /// The transaction that has the log's head, between `lock_head` and what ends it.
    holding: Mutex<Option<Holding>>,
    format: AtomicU32,
}

/// What is done on the connections' threads is done with this.
struct Inner {
    config: PostgresConfig,
    sessions: Sessions,
    replica: String,
    /// The server waits for the disk at a commit without being asked.
    synchronous: bool,
    /// Tables of days that are there.
    made: Mutex<BTreeSet<Table>>,
    /// The fence of this process's leadership.
    fence: Mutex<Option<i64>>,
    joined: AtomicBool,
}

impl Postgres {
    /// Connects and brings the tables up to date. `replica` names this process among the others.
    ///
    /// Errors: `Unavailable`; `Newer`; `Misconfigured` when URL, certificates or settings are
    /// wrong.
    pub fn open(url: &Secret, config: PostgresConfig, replica: String) -> Result<Self, StoreError> {
        config.check().map_err(StoreError::Misconfigured)?;
        let sessions = Sessions::new(url, &config)?;
        let mut inner = Inner {
            sessions,
            replica,
            synchronous: true,
            made: Mutex::default(),
            fence: Mutex::default(),
            joined: AtomicBool::new(false),
            config,
        };
        let (pool, schema) = (inner.sessions.writing.clone(), inner.config.schema.clone());
        let limit = inner.config.connect_timeout.0 + inner.config.write_timeout.0;
        inner.synchronous = inner.sessions.wait(limit, async move {
            let client = Lent::from(&pool).await?;
            schema::migrate(&client, &schema).await?;
            let question = "SELECT current_setting('synchronous_commit') NOT IN ('off', 'local'), \
                            current_setting('fsync') = 'on'";
            let row = client.query_one(question, &[]).await.map_err(|e| failed(&e))?;
            if !row.get::<_, bool>(1) {
                tracing::warn!("the state database has `fsync` off: a power cut loses events");
            }
            client.give_back();
            Ok(row.get(0))
        })?;
        let format = AtomicU32::new(0);
        Ok(Self { inner: Arc::new(inner), holding: Mutex::default(), format })
    }

    fn ask(&self, question: Question) -> Result<Vec<Row>, StoreError> {
        let inner = Arc::clone(&self.inner);
        self.inner.sessions.wait(self.inner.config.read_timeout.0, async move {
            let client = Lent::from(&inner.sessions.reading).await?;
            let rows = question.ask(&client).await?;
            client.give_back();
            Ok(rows)
        })
    }

    /// Has something done with the connections for writing.
    fn write<T: Send + 'static, F>(
        &self,
        work: impl FnOnce(Arc<Inner>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        // The statements have limits of their own; this one is for a server that says nothing.
        let limit = self.inner.config.connect_timeout.0 + self.inner.config.write_timeout.0 * 2;
        self.inner.sessions.wait(limit, work(Arc::clone(&self.inner)))
    }

    fn holding(&self) -> MutexGuard<'_, Option<Holding>> {
        self.holding.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rows for Postgres {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let rows = self.ask(Question::get(&self.inner.config.schema, table, key))?;
        Ok(rows.into_iter().next().map(|(_, row)| row))
    }

    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        if scan.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(Question::scan(&self.inner.config.schema, scan))
    }

    fn get_many(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Row>, StoreError> {
        self.ask(Question::get_many(&self.inner.config.schema, table, keys))
    }
}

impl StateStore for Postgres {
    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        if self.holding().is_none() {
            self.lock_head()?;
        }
        let Some(holding) = self.holding().take() else { return Ok(()) };
        let made = write::day_tables_of(&batch);
        let written = self.write(|inner| async move {
            inner.write(&holding, batch).await?;
            Ok(holding)
        });
        let holding = written.inspect_err(|_| self.inner.forget_tables())?;
        let limit = self.inner.config.write_timeout.0;
        let committed = self.inner.sessions.wait(limit, holding.commit());
        committed.map_err(|error| match error {
            StoreError::Unavailable(why) => StoreError::Uncertain(why),
            other => other,
        })?;
        self.inner.note_made(made);
        Ok(())
    }

    fn snapshot(&self) -> Box<dyn Rows> {
        Box::new(Snapshot::begin(&self.inner))
    }

    fn tables(&self) -> Vec<Table> {
        let listed = self.write(|inner| async move {
            let client = Lent::from(&inner.sessions.reading).await?;
            let tables = inner.tables(&client).await?;
            client.give_back();
            Ok(tables)
        });
        listed.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot list the tables");
            Vec::new()
        })
    }

    fn create(&self, tables: &[Table]) -> Result<(), StoreError> {
        let tables = tables.to_vec();
        self.write(|inner| async move { inner.create(&tables).await })
    }

    fn drop_table(&self, table: Table) -> Result<(), StoreError> {
        let dropped = self.write(move |inner| async move { inner.drop_table(table).await });
        self.inner.forget_tables();
        dropped
    }

    fn bytes(&self, table: Table) -> Result<u64, StoreError> {
        self.write(move |inner| async move { inner.bytes(table).await })
    }

    fn compact(&self, _tables: &[Table]) -> Result<(), StoreError> {
        // The server's vacuum does it; rewriting a table would keep everybody from it meanwhile.
        Ok(())
    }

    fn replicated(&self) -> Option<&dyn Replicated> {
        Some(self)
    }
}

impl Replicated for Postgres {
    fn lock_head(&self) -> Result<HeadLock, StoreError> {
        self.let_go();
        let (holding, lock) = self.write(|inner| async move { inner.lock().await })?;
        *self.holding() = Some(holding);
        Ok(lock)
    }

    fn let_go(&self) {
        let Some(holding) = self.holding().take() else { return };
        let limit = self.inner.config.write_timeout.0;
        // A connection that fails here is closed, which lets go as well.
        if let Err(error) = self.inner.sessions.wait(limit, holding.roll_back()) {
            tracing::debug!(%error, "a transaction did not end in order");
        }
    }

    fn join(&self, format: u32) -> Result<(), StoreError> {
        self.format.store(format, Ordering::Relaxed);
        self.write(move |inner| async move { inner.join(format).await })?;
        self.inner.joined.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn beat(&self) -> Result<(), StoreError> {
        let format = self.format.load(Ordering::Relaxed);
        self.write(move |inner| async move { inner.beat(format).await })
    }

    fn leads(&self) -> bool {
        self.inner.fence().is_some()
    }

    fn format_of_all(&self) -> Result<u32, StoreError> {
        self.write(|inner| async move { inner.format_of_all().await })
    }

    fn leave(&self) {
        if !self.inner.joined.swap(false, Ordering::Relaxed) {
            return;
        }
        self.inner.note_leadership(None);
        if let Err(error) = self.write(|inner| async move { inner.leave().await }) {
            tracing::warn!(%error, "cannot tell the other replicas that this one ends");
        }
    }

    fn poll(&self) -> Duration {
        self.inner.config.poll.0
    }
}

impl Inner {
    async fn tables(&self, client: &Lent) -> Result<Vec<Table>, StoreError> {
        let schema = &self.config.schema;
        let mut tables = self.day_tables(client).await?;
        for table in schema::FIXED {
            let name = schema::name_of(table);
            let question = format!("SELECT EXISTS (SELECT FROM {schema}.{name})");
            let row = client.query_one(&question, &[]).await.map_err(|e| failed(&e))?;
            if row.get(0) {
                tables.insert(table);
            }
        }
        Ok(tables.into_iter().collect())
    }

    async fn day_tables(&self, client: &Lent) -> Result<BTreeSet<Table>, StoreError> {
        let question = "SELECT tablename::text FROM pg_tables WHERE schemaname = $1";
        let rows = client.query(question, &[&self.config.schema]).await.map_err(|e| failed(&e))?;
        Ok(rows.iter().filter_map(|row| schema::day_table_of(row.get(0))).collect())
    }

    /// Tables of days; the others are there from the start.
    async fn create(&self, tables: &[Table]) -> Result<(), StoreError> {
        let client = Lent::from(&self.sessions.writing).await?;
        for table in tables.iter().filter(|table| schema::is_of_a_day(**table)) {
            schema::make(&client, &schema::creation(&self.config.schema, *table)).await?;
        }
        client.give_back();
        Ok(())
    }

    /// With its index, and with large values that the server keeps aside.
    async fn bytes(&self, table: Table) -> Result<u64, StoreError> {
        let client = Lent::from(&self.sessions.reading).await?;
        let name = format!("{}.{}", self.config.schema, schema::name_of(table));
        let question = "SELECT coalesce(pg_total_relation_size(to_regclass($1::text)), 0)";
        let row = client.query_one(question, &[&name]).await.map_err(|e| failed(&e))?;
        client.give_back();
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
    }

    /// Where there are several replicas, only the leader drops. Whoever reads a table keeps it for
    /// so long; nobody waits for that with the head in his hands.
    async fn drop_table(&self, table: Table) -> Result<(), StoreError> {
        let (schema, name) = (&self.config.schema, schema::name_of(table));
        let what = match schema::is_of_a_day(table) {
            true => "DROP TABLE IF EXISTS",
            false => "TRUNCATE",
        };
        let sql = format!("SET LOCAL lock_timeout = '{DROP_WAIT}'; {what} {schema}.{name}");
        let (holding, _) = self.lock().await?;
        if self.joined.load(Ordering::Relaxed) && !holding.leads() {
            holding.roll_back().await?;
            return Err(StoreError::Unavailable("this replica does not lead".to_owned()));
        }
        holding.execute(&sql).await?;
        holding.commit().await
    }

    fn fence(&self) -> Option<i64> {
        *lock(&self.fence)
    }

    fn note_leadership(&self, fence: Option<i64>) {
        let before = std::mem::replace(&mut *lock(&self.fence), fence);
        match (before.is_some(), fence) {
            (false, Some(fence)) => tracing::info!(fence, "this replica leads"),
            (true, None) => tracing::info!("this replica leads no more"),
            (_, _) => {}
        }
    }

    /// Another one leads, unless this one has become leader again meanwhile.
    fn lose_leadership(&self, fence: Option<i64>) {
        if fence.is_some() && self.fence() == fence {
            self.note_leadership(None);
        }
    }

    fn is_made(&self, table: Table) -> bool {
        lock(&self.made).contains(&table)
    }

    fn note_made(&self, tables: Vec<Table>) {
        lock(&self.made).extend(tables);
    }

    /// Something went wrong, or was dropped: what is there is found out again.
    fn forget_tables(&self) {
        lock(&self.made).clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres")
            .field("schema", &self.inner.config.schema)
            .finish_non_exhaustive()
    }
}

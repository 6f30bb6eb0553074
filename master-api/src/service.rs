//! Master API in one process: opens the log, starts its threads, and closes it again.

use crate::{
    config::{Config, StoreKind},
    decide::{self, Given},
    fact::FORMAT,
    follow::{self, newest_event},
    keeper::{self, DayTables, Keeper},
    lanes::LaneTable,
    log::{
        self, Loaded, LogError, Report,
        head_file::{self, HeadMark},
    },
    metrics::Metrics,
    replay::{ReplayThread, Replayer},
    retention::{Retention, RetentionThread},
    search::{self, OpenBlock},
    secrets::{self, Sealer, Vault, write_private},
    sessions::Sessions,
    shared::{Health, Shared, Surroundings, unavailable},
    space::FileSystem,
    state::State,
    store::{self, Embedded, Memory, Postgres, Replicated, StateStore, StoreError},
    writer::{self, Round, Writer},
};
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    clock::Clock,
    id::{EventId, Uuid7},
    random::Random,
};
use std::{fs, sync::Arc};
use tokio::sync::watch;

/// Token of the administrator's first key, in the data directory.
pub const ADMIN_KEY_FILE: &str = "admin.key";

/// The log of facts, the state folded from it, and all ports of Master API.
pub struct MasterApi {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) sessions: Sessions,
    pub(crate) threads: Threads,
}

/// What goes on beside the writer.
pub(crate) struct Threads {
    pub(crate) retention: Arc<Retention>,
    pub(crate) replays: ReplayThread,
    keeper: Keeper,
    retention_thread: RetentionThread,
}

impl Threads {
    fn start(
        (shared, writer): (&Arc<Shared>, &Arc<Writer>),
        tables: DayTables,
    ) -> std::io::Result<Self> {
        let keeper = Keeper::start(Arc::clone(shared), tables)?;
        let retention = Arc::new(Retention::new(Arc::clone(shared), Arc::clone(writer)));
        let every = shared.config.retention.every.0;
        let retention_thread = RetentionThread::start(Arc::clone(&retention), every)?;
        let replayer = Replayer::new(Arc::clone(shared), Arc::clone(writer))?;
        let replays = ReplayThread::start(replayer)?;
        Ok(Self { retention, replays, keeper, retention_thread })
    }

    fn stop(&self) {
        self.retention_thread.stop();
        self.replays.stop();
        self.keeper.stop();
    }
}

impl MasterApi {
    /// Waits until the state database can be opened, where that is a server's.
    ///
    /// Errors: `unavailable` after [`crate::PostgresConfig::start_timeout`];
    /// `invalid_definition` for what no waiting mends.
    pub async fn reach(config: &Config) -> Result<()> {
        let StoreKind::Postgres(url) = &config.store else { return Ok(()) };
        match store::reach(url, &config.postgres).await {
            Err(StoreError::Misconfigured(why)) => {
                Err(Error::new(ErrorCode::InvalidDefinition, why))
            }
            reached => Ok(reached.map_err(LogError::from)?),
        }
    }

    /// Opens the log in `config.data_dir`, or begins one. Blocks for as long as it takes to
    /// recover the store.
    ///
    /// Errors: `unavailable` when the log is not to be trusted or another process has it;
    /// `invalid_definition` when the secret key does not fit.
    pub fn open(
        config: Config,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        metrics: Metrics,
    ) -> Result<Arc<Self>> {
        let failed =
            |source| LogError::File { path: config.data_dir.display().to_string(), source };
        fs::create_dir_all(&config.data_dir).map_err(failed)?;
        let ids = Arc::new(Uuid7::new(Arc::clone(&clock), Arc::clone(&random)));
        let around = Surroundings { clock, random, ids, metrics, space: Arc::new(FileSystem) };
        if let StoreKind::Postgres(url) = &config.store {
            require_secret_key(&config)?;
            let replica = hex::encode(around.ids.uuid());
            let store = Postgres::open(url, config.postgres.clone(), replica);
            return Self::on(Arc::new(store.map_err(LogError::from)?), config, around);
        }
        let directory = log::store_in(&config.data_dir);
        head_file::require_store(&config.data_dir)?;
        if directory.is_dir() {
            log::before_open(&config.data_dir)?;
        }
        let store = Embedded::open(&directory, config.cache_bytes).map_err(LogError::from)?;
        let store = store.with_memtables_of(config.memtable_bytes);
        // The directory itself must outlive a power cut, too.
        head_file::sync_parent(&directory).map_err(failed)?;
        head_file::sync_parent(&config.data_dir).map_err(failed)?;
        Self::on(Arc::new(store), config, around)
    }

    /// The same on a given store.
    pub fn on(
        store: Arc<dyn StateStore>,
        config: Config,
        around: Surroundings,
    ) -> Result<Arc<Self>> {
        if let Some(replicated) = store.replicated() {
            require_secret_key(&config)?;
            replicated.join(FORMAT).map_err(LogError::from)?;
        }
        // Others may write meanwhile: everything is as of one moment.
        let rows = store.snapshot();
        let loaded = log::load(&*rows)?;
        if store.replicated().is_none() || head_file::path_in(&config.data_dir).exists() {
            head_file::vouch(&config.data_dir, &*rows, &loaded)?;
        }
        let block = match loaded.state.format {
            0 => Some(OpenBlock::default()),
            search::SINCE_FORMAT.. => Some(search::load(&*rows, &loaded.head)?),
            // The leader makes it, once nobody lives who does not go on with it.
            _ if store.replicated().is_some() => None,
            _ => Some(search::backfill(&*store, &loaded)?),
        };
        let Loaded { head, state } = loaded;
        let key_file = config.secret_key_path();
        if state.format > 0 && config.secret_key.is_none() && !key_file.exists() {
            let message = format!(
                "{} is missing: without it the stored secrets cannot be read",
                key_file.display()
            );
            return Err(Error::new(ErrorCode::InvalidDefinition, message));
        }
        let sealer = Sealer::new(config.secret_key.as_ref(), &key_file, &*around.random)?;
        let vault = sealer.open_all(&*rows)?;
        let lanes = LaneTable::load(&*rows, state.subscriptions.keys().copied())?;
        drop(rows);
        let begun = state.format > 0;
        let shared = Arc::new(Shared::new(
            (config, around),
            (store, sealer),
            (head, state, vault),
            (lanes, block),
        ));
        if !begun {
            // A crash from here on leaves a head file beside whatever was begun.
            head_file::write(&shared.config.data_dir, &HeadMark::NONE)?;
            begin(&shared)?;
        } else if shared.state.load().format < FORMAT && shared.store.replicated().is_none() {
            raise(&shared)?;
        }
        secrets::renew(&shared)?;
        keeper::run_once(&shared, &mut None);
        // Before anything waits for them.
        let mut tables = DayTables::default();
        tables.keep(&shared)?;
        let newest = newest_event(shared.rows())?;
        let writer = writer::start(Arc::clone(&shared), newest).map_err(thread_failed)?;
        let writer = Arc::new(writer);
        let threads = Threads::start((&shared, &writer), tables).map_err(thread_failed)?;
        let head = *shared.head();
        tracing::info!(sequence = head.sequence.0, format = FORMAT, "the log is open");
        let sessions = Sessions::new(&shared.config, Arc::clone(&shared.around.random));
        Ok(Arc::new(Self { shared, writer, sessions, threads }))
    }

    /// Can events be accepted?
    pub fn ready(&self) -> bool {
        self.shared.health.borrow().reasons().next().is_none()
    }

    /// What [`Self::ready`] is made from, kept up to date.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.shared.health.subscribe()
    }

    /// Verifies the log as of now, while it goes on. Indices are rebuilt in memory: for large
    /// logs use [`log::verify`] on a server that was stopped.
    pub async fn verify(&self) -> Result<Report> {
        let shared = Arc::clone(&self.shared);
        let verify = move || {
            let store = &*shared.store;
            let (snapshot, tables) = (store.snapshot(), store.tables());
            let live = shared.state.load_full();
            log::verify_rows(&*snapshot, &tables, &Memory::default(), Some(&live))
        };
        let report = tokio::task::spawn_blocking(verify).await.map_err(Error::internal)?;
        Ok(report?)
    }

    /// Writes what waits, then the head file, and ends the threads. Later commands are refused.
    pub async fn close(self: &Arc<Self>) {
        let this = Arc::clone(self);
        let stop = tokio::task::spawn_blocking(move || this.stop());
        if let Err(error) = stop.await {
            tracing::error!(%error, "the log did not close cleanly");
        }
    }

    fn stop(&self) {
        self.writer.stop();
        self.threads.stop();
        self.shared.store.replicated().into_iter().for_each(Replicated::leave);
    }

    /// Refuses events while there is no space for them; attempts are still recorded.
    pub(crate) fn require_space(&self) -> Result<()> {
        let Health { space, answering, .. } = *self.shared.health.borrow();
        match (space, answering) {
            (true, true) => Ok(()),
            (false, _) => Err(unavailable("the store is low on space")),
            (true, false) => Err(unavailable("the state database does not answer")),
        }
    }
}

impl Drop for MasterApi {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for MasterApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterApi").finish_non_exhaustive()
    }
}

/// Writes the first facts of a new log. The administrator's token goes into its file first: if
/// the log does not come to be after all, the next start makes another one.
fn begin(shared: &Shared) -> Result<()> {
    if let Some(replicated) = shared.store.replicated() {
        let lock = replicated.lock_head().map_err(LogError::from)?;
        let head = follow::read_head(lock.head.as_deref())?;
        if let Some(followed) = follow::follow(shared, &head)? {
            // Another replica was faster.
            replicated.let_go();
            writer::install(shared, followed);
            return Ok(());
        }
    }
    let (state, vault) = (shared.state.load_full(), shared.vault.load_full());
    let given = given(shared, &state, &vault);
    let first = decide::first_start(given, shared.config.admin_key.as_ref());
    if shared.config.admin_key.is_none() {
        let path = shared.config.data_dir.join(ADMIN_KEY_FILE);
        write_private(&path, &first.admin_token)
            .map_err(|source| LogError::File { path: path.display().to_string(), source })?;
        tracing::info!(path = %path.display(), "made the administrator's key");
    }
    record(shared, first.decided)
}

fn given<'a>(shared: &'a Shared, state: &'a State, vault: &'a Vault) -> Given<'a> {
    let around = &shared.around;
    let now = around.clock.now();
    Given { state, vault, now, token_key: None, ids: &*around.ids, random: &*around.random }
}

/// Records what was decided before the writer runs.
fn record(shared: &Shared, decided: decide::Decided) -> Result<()> {
    let mut round = Round::new(shared, EventId::from_bytes([0; 16]));
    round.record_all(&Actor::Component("master-api".to_owned()), decided)??;
    let batch = round.finish(&mut shared.lanes())?;
    shared.store.commit(batch).map_err(LogError::from)?;
    writer::publish(shared, round);
    Ok(())
}

/// From here on the log may hold what older programs refuse. This process is the only one that
/// has it open, so nobody is left behind.
pub(crate) fn raise(shared: &Shared) -> Result<()> {
    let mut round = Round::new(shared, newest_event(shared.rows())?);
    round.raise_format()?;
    let batch = round.finish(&mut shared.lanes())?;
    shared.store.commit(batch).map_err(LogError::from)?;
    writer::publish(shared, round);
    Ok(())
}

/// Replicas share their secrets, so none may make up a key of its own.
fn require_secret_key(config: &Config) -> Result<()> {
    if config.secret_key.is_some() || config.secret_key_path().exists() {
        return Ok(());
    }
    let message = "with PostgreSQL every replica needs the same secret key: set `CERTES_SECRET_KEY` \
                   or `master_api.secret_key` to 64 hexadecimal digits, or put it into the file \
                   `secret.key` of the data directory";
    Err(Error::new(ErrorCode::InvalidDefinition, message))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn thread_failed(error: std::io::Error) -> Error {
    Error::internal(format!("cannot start a thread: {error}"))
}

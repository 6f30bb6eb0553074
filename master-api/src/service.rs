//! Master API in one process: opens the log, starts its threads, and closes it again.

use crate::{
    config::Config,
    decide::{self, Decided, Given},
    fact::{FORMAT, FactBody},
    keeper::{self, Keeper},
    lanes::LaneTable,
    log::{
        self, Loaded, LogError, Report,
        head_file::{self, HeadMark},
    },
    metrics::Metrics,
    search,
    secrets::{self, Sealer, Vault, write_private},
    sessions::Sessions,
    shared::{Health, Shared, Surroundings, unavailable},
    state::State,
    store::{Embedded, Memory, Scan, StateStore, Table},
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
    pub(crate) writer: Writer,
    pub(crate) sessions: Sessions,
    keeper: Keeper,
}

impl MasterApi {
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
        let directory = log::store_in(&config.data_dir);
        head_file::require_store(&config.data_dir)?;
        if directory.is_dir() {
            log::rehearse(&config.data_dir)?;
        }
        let store = Embedded::open(&directory, config.cache_bytes).map_err(LogError::from)?;
        // The directory itself must outlive a power cut, too.
        head_file::sync_parent(&directory).map_err(failed)?;
        head_file::sync_parent(&config.data_dir).map_err(failed)?;
        let ids = Arc::new(Uuid7::new(Arc::clone(&clock), Arc::clone(&random)));
        let around = Surroundings { clock, random, ids, metrics };
        Self::on(Arc::new(store), config, around)
    }

    /// The same on a given store.
    pub fn on(
        store: Arc<dyn StateStore>,
        config: Config,
        around: Surroundings,
    ) -> Result<Arc<Self>> {
        let loaded = log::load(as_rows(&*store))?;
        head_file::vouch(&config.data_dir, as_rows(&*store), &loaded)?;
        let block = match loaded.state.format {
            1..search::SINCE_FORMAT => search::backfill(&*store, &loaded)?,
            _ => search::load(as_rows(&*store), &loaded)?,
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
        let vault = sealer.open_all(as_rows(&*store))?;
        let lanes = LaneTable::load(as_rows(&*store), state.subscriptions.keys().copied())?;
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
        } else if shared.state.load().format < FORMAT {
            raise(&shared)?;
        }
        secrets::renew(&shared)?;
        keeper::run_once(&shared, &mut None);
        let newest = newest_event(&shared)?;
        let writer = writer::start(Arc::clone(&shared), newest).map_err(thread_failed)?;
        let keeper = Keeper::start(Arc::clone(&shared)).map_err(thread_failed)?;
        let head = *shared.head();
        tracing::info!(sequence = head.sequence.0, format = FORMAT, "the log is open");
        let sessions = Sessions::new(&shared.config, Arc::clone(&shared.around.random));
        Ok(Arc::new(Self { shared, writer, sessions, keeper }))
    }

    /// Can events be accepted?
    pub fn ready(&self) -> bool {
        let Health { writing, space } = *self.shared.health.borrow();
        writing && space
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
        self.keeper.stop();
    }

    /// Refuses events while there is no space for them; attempts are still recorded.
    pub(crate) fn require_space(&self) -> Result<()> {
        if self.shared.health.borrow().space {
            Ok(())
        } else {
            Err(unavailable("the store is low on space"))
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
    let mut round = Round::new(shared, newest_event(shared)?);
    let facts = vec![FactBody::FormatRaised { format: FORMAT }];
    let decided = Decided { facts, ..Decided::default() };
    round.record_all(&Actor::Component("master-api".to_owned()), decided)??;
    let batch = round.finish(&mut shared.lanes())?;
    shared.store.commit(batch).map_err(LogError::from)?;
    writer::publish(shared, round);
    Ok(())
}

fn newest_event(shared: &Shared) -> Result<EventId, LogError> {
    let newest = shared.store.scan(&Scan::all(Table::EventIds, 1).reversed())?;
    let key = newest.first().and_then(|(key, _)| key.as_ref().try_into().ok());
    Ok(EventId::from_bytes(key.unwrap_or_default()))
}

fn as_rows(store: &dyn StateStore) -> &dyn crate::store::Rows {
    store
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn thread_failed(error: std::io::Error) -> Error {
    Error::internal(format!("cannot start a thread: {error}"))
}

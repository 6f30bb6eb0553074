//! What the ports, the writer and the keeper share: the state as of the last durable batch.

use crate::{
    config::Config,
    feeding::Feeding,
    followers::Followers,
    lanes::LaneTable,
    metrics::Metrics,
    recent::Recent,
    search::OpenBlock,
    secrets::{Sealer, Vault},
    space::Space,
    state::State,
    store::{Noting, Rows, StateStore, StoreError},
    tables::Head,
    tally::Tallies,
};
use arc_swap::{ArcSwap, ArcSwapOption};
use contract::{
    Error, ErrorCode,
    clock::Clock,
    id::{IdGenerator, Sequence},
    random::Random,
    rules::Rules,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::watch;

/// When to try again after `unavailable`.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What to do about a store that does not read.
const UNREADABLE: &str = "a read of the store failed: what was asked for is damaged, and the \
     server's log says more. Stop the server and run `certes log verify`, then `certes log repair`, \
     or restore a backup";

/// What is outside of the log.
#[derive(Debug)]
pub struct Surroundings {
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Dice.
    pub random: Arc<dyn Random>,
    /// New ids.
    pub ids: Arc<dyn IdGenerator>,
    /// What is measured.
    pub metrics: Metrics,
    /// The room that is left.
    pub space: Arc<dyn Space>,
}

/// Whether work can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// The writer runs, and no write has ever failed.
    pub writing: bool,
    /// The file system has more left than the reserve.
    pub space: bool,
    /// The state database answers.
    pub answering: bool,
    /// No read of the store has failed since the start.
    pub reading: bool,
}

impl Health {
    /// Why events cannot be accepted; empty when they can.
    pub fn reasons(self) -> impl Iterator<Item = &'static str> {
        let Self { writing, space, answering, reading: _ } = self;
        let reasons = [
            (writing, "the log cannot be written any more: the server's log says why"),
            (space, "the store is low on space"),
            (answering, "the state database does not answer"),
        ];
        reasons.into_iter().filter(|(well, _)| !well).map(|(_, reason)| reason)
    }

    /// What is amiss and does not keep events from being accepted; empty when nothing is.
    pub fn warnings(self) -> impl Iterator<Item = &'static str> {
        (!self.reading).then_some(UNREADABLE).into_iter()
    }
}

/// Everything that several threads look at.
pub struct Shared {
    /// Settings.
    pub config: Config,
    /// Time, dice, ids, metrics.
    pub around: Surroundings,
    /// The rows.
    pub store: Arc<dyn StateStore>,
    /// Seals secrets.
    pub sealer: ArcSwap<Sealer>,
    /// The configuration.
    pub state: ArcSwap<State>,
    /// Bytes of the secrets.
    pub vault: ArcSwap<Vault>,
    /// The rules made from both.
    pub rules: watch::Sender<Arc<Rules>>,
    /// Whether work can be done.
    pub health: watch::Sender<Health>,
    /// The newest events, as they are searched; None: the log has no index yet.
    pub block: ArcSwapOption<OpenBlock>,
    /// Events on their way to a first attempt.
    pub recent: Recent,
    /// Where the log ends.
    pub tip: watch::Sender<Sequence>,
    /// The last notable fact, or one after it.
    pub notable: watch::Sender<Sequence>,
    head: Mutex<Head>,
    followers: Mutex<Followers>,
    lanes: Mutex<LaneTable>,
    feeding: Mutex<Feeding>,
    tallies: Mutex<Tallies>,
}

impl Shared {
    /// As of an opened log.
    pub fn new(
        (config, around): (Config, Surroundings),
        (store, sealer): (Arc<dyn StateStore>, Sealer),
        (head, state, vault): (Head, State, Vault),
        (lanes, block): (LaneTable, Option<OpenBlock>),
    ) -> Self {
        let rules = Arc::new(state.rules(&vault));
        let well = Health { writing: true, space: true, answering: true, reading: true };
        let health = watch::Sender::new(well);
        let store = Arc::new(Noting::new(store, note_unreadable(health.clone())));
        Self {
            recent: Recent::new(config.recent_bytes_max),
            config,
            around,
            store,
            sealer: ArcSwap::from_pointee(sealer),
            state: ArcSwap::from_pointee(state),
            vault: ArcSwap::from_pointee(vault),
            rules: watch::Sender::new(rules),
            health,
            tip: watch::Sender::new(head.sequence),
            notable: watch::Sender::new(head.sequence),
            head: Mutex::new(head),
            followers: Mutex::default(),
            lanes: Mutex::new(lanes),
            block: ArcSwapOption::from_pointee(block),
            feeding: Mutex::default(),
            tallies: Mutex::default(),
        }
    }

    /// The rows as of the last batch.
    pub fn rows(&self) -> &dyn Rows {
        &*self.store
    }

    /// Where the log ends.
    pub fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who follow the log.
    pub fn followers(&self) -> MutexGuard<'_, Followers> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lanes.
    pub fn lanes(&self) -> MutexGuard<'_, LaneTable> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who feeds.
    pub fn feeding(&self) -> MutexGuard<'_, Feeding> {
        self.feeding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is counted of the attempts at endpoints.
    pub fn tallies(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// May this process do what only one does?
    pub fn leads(&self) -> bool {
        self.store.replicated().is_none_or(|replicated| replicated.leads())
    }

    /// Whether the state database answers.
    pub fn note_answering(&self, answering: bool) {
        self.health.send_if_modified(|health| {
            std::mem::replace(&mut health.answering, answering) != answering
        });
    }

    /// Nothing can be written any more.
    pub fn stop_writing(&self) {
        self.health.send_if_modified(|health| std::mem::replace(&mut health.writing, false));
    }
}

/// Remembers that a read failed, and says so once.
fn note_unreadable(health: watch::Sender<Health>) -> Arc<dyn Fn(&StoreError) + Send + Sync> {
    Arc::new(move |error| {
        let first = health.send_if_modified(|health| std::mem::replace(&mut health.reading, false));
        if first {
            tracing::error!(%error, "{UNREADABLE}");
        }
    })
}

/// The store can take no more now.
pub fn unavailable(why: &str) -> Error {
    Error::new(ErrorCode::Unavailable, why).retry_after(RETRY_AFTER)
}

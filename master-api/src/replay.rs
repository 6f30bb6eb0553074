//! Replays: what was delivered, or could have been, is delivered once more.
//!
//! An order is a fact, and so is each step that is taken: from where the last one ended, a page of
//! the log is looked through, and what is found is made into deliveries in the lane behind the live
//! ones of its subscription, together with how far it came. So a replay goes on after a restart and
//! repeats nothing. It never has more than some deliveries waiting, and makes no more than its rate.
//! When all was looked at and nothing waits any more, it is over.

mod walk;
mod thread;
mod withdraw;

pub use thread::ReplayThread;
pub use walk::{Limits, Page, preview};

use crate::{
    fact::ReplayOrder,
    log::LogError,
    project::read_replay,
    shared::Shared,
    state::HeldReplay,
    tables::ReplayRow,
    writer::{Command, ReplayStep, Upkeep, Upkept, Writer},
};
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    clock::Timestamp,
    id::{DeliveryId, ReplayId},
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::runtime::{Builder, Runtime};

/// What allowances are counted in.
const MILLION: u64 = 1_000_000;
/// Rows that are looked at in one step.
const ROWS_PER_STEP: usize = 2_048;

/// Takes the steps of all replays that run, one after the other.
pub struct Replayer {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
    runtime: Runtime,
    /// What each may still make at once, by its rate.
    allowances: BTreeMap<ReplayId, Allowance>,
    /// How far those that were cancelled have been taken back.
    withdrawn: BTreeMap<ReplayId, DeliveryId>,
}

/// What a replay may make at once.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    /// In millionths.
    saved: u64,
    at: Timestamp,
}

impl Allowance {
    /// Saves up what time has brought, for a second at most.
    fn save(&mut self, rate: u32, now: Timestamp) {
        let most = u64::from(rate) * MILLION;
        let past_us = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        let gain = u64::from(rate).saturating_mul(past_us);
        self.saved = self.saved.saturating_add(gain).min(most);
        self.at = now;
    }

    fn whole(&self) -> usize {
        usize::try_from(self.saved / MILLION).unwrap_or(usize::MAX)
    }

    const fn spend(&mut self, made: u64) {
        self.saved = self.saved.saturating_sub(made.saturating_mul(MILLION));
    }
}

impl Replayer {
    /// Over an open log.
    pub fn new(shared: Arc<Shared>, writer: Arc<Writer>) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().build()?;
        let (allowances, withdrawn) = Default::default();
        Ok(Self { shared, writer, runtime, allowances, withdrawn })
    }

    /// Is there a replay that is not over?
    pub fn is_busy(&self) -> bool {
        self.shared.state.load().running_replays().next().is_some()
    }

    /// Takes a step of each replay that runs; true: there is more to do at once.
    ///
    /// Errors: those of the log; what could not be done is done in a later round.
    pub fn run_once(&mut self) -> Result<bool> {
        if !self.shared.leads() {
            return Ok(false);
        }
        let running: Vec<_> = self.shared.state.load().running_replays().cloned().collect();
        let runs = |id: &ReplayId| running.iter().any(|held| held.order.id == *id);
        self.allowances.retain(|id, _| runs(id));
        self.withdrawn.retain(|id, _| runs(id));
        let (mut more, mut first_error) = (false, None);
        for held in running {
            match self.step(&held) {
                Ok(moved) => more |= moved,
                // Another process, or somebody who cancelled it, was faster.
                Err(error) if error.code == ErrorCode::Conflict => more = true,
                // The others go on.
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(more), Err)
    }

    fn step(&mut self, held: &HeldReplay) -> Result<bool> {
        let id = held.order.id;
        let row = read_replay(self.shared.rows(), id).map_err(failed)?.unwrap_or_default();
        if held.cancelled {
            return self.withdraw(&held.order, &row);
        }
        if row.progress.is_done() {
            return self.take(ReplayStep::End(id)).map(|_done| true);
        }
        if row.progress.through {
            return Ok(false);
        }
        self.advance(&held.order, row)
    }

    fn advance(&mut self, order: &ReplayOrder, row: ReplayRow) -> Result<bool> {
        let (config, now) = (&self.shared.config, self.shared.around.clock.now());
        let ahead = config.replay_ahead_max.saturating_sub(row.progress.waiting);
        let mut make = config.replay_batch_max.max(1).min(usize::try_from(ahead).unwrap_or(0));
        if let Some(rate) = order.spec.rate {
            let first = Allowance { saved: MILLION, at: now };
            let allowance = self.allowances.entry(order.id).or_insert(first);
            allowance.save(rate, now);
            make = make.min(allowance.whole());
        }
        if make == 0 {
            return Ok(false);
        }
        let limits = Limits { make, rows: ROWS_PER_STEP };
        let page = walk::page(&self.shared, order, &row.cursor, limits).map_err(failed)?;
        let done = self.take(ReplayStep::Advance(order.id, row.cursor, page))?;
        if let Some(allowance) = self.allowances.get_mut(&order.id) {
            allowance.spend(done.deliveries);
        }
        Ok(true)
    }

    fn take(&self, step: ReplayStep) -> Result<Upkept> {
        let actor = Actor::Component("master-api".to_owned());
        let step = Upkeep::Replay(Box::new(step));
        self.runtime.block_on(self.writer.ask(|reply| Command::Upkeep(actor, step, reply)))
    }
}

fn failed(error: LogError) -> Error {
    Error::from(error)
}

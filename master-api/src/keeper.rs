//! Once a second: writes the head file, looks at the space that is left or tells the other replicas
//! that this one lives, and has the tables of tomorrow there before tomorrow. A thread of its own,
//! because all of it waits for the disk and the writer must not.

use crate::{
    fact::Bucket,
    log::{
        LogError,
        head_file::{self, HeadMark},
    },
    shared::Shared,
    store::{Scan, Table},
};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

const EVERY: Duration = Duration::from_secs(1);

/// The running keeper.
#[derive(Debug)]
pub struct Keeper {
    stop: mpsc::SyncSender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    /// Starts it, with the tables of today as they were seen to.
    pub fn start(shared: Arc<Shared>, mut tables: DayTables) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(1);
        let run = move || {
            let mut written = None;
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                run_once(&shared, &mut written);
                if let Err(error) = tables.keep(&shared) {
                    tracing::warn!(%error, "cannot see to the tables of the day");
                }
            }
            run_once(&shared, &mut written);
        };
        let thread = thread::Builder::new().name("certes-keeper".into()).spawn(run)?;
        Ok(Self { stop, thread: Mutex::new(Some(thread)) })
    }

    /// Has it write a last time, and waits until it is gone.
    pub fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Full: it was told already. Gone: it needs no telling.
            _ = self.stop.try_send(()).is_ok();
            if thread.join().is_err() {
                tracing::error!("the keeper's thread panicked");
            }
        }
    }
}

/// Sees to the tables of the days around now.
#[derive(Debug, Default)]
pub struct DayTables {
    /// The day that has its tables, and the next one.
    made: Option<Bucket>,
    /// The day on which the old ones were dropped.
    dropped: Option<Bucket>,
}

impl DayTables {
    /// On a new day: makes the tables of this one and the next, and drops those that can hold
    /// nothing any more, where only one does that. A table takes the engine up to 100 ms to make, so
    /// that no event should have to wait for it.
    pub fn keep(&mut self, shared: &Shared) -> Result<(), LogError> {
        let now = shared.around.clock.now().max(shared.head().time);
        let today = Bucket::of(now);
        if self.made != Some(today) {
            for day in [today, today.after()] {
                for table in Table::of_day(day) {
                    shared.store.create(&[table])?;
                }
            }
            self.made = Some(today);
        }
        if self.dropped == Some(today) || !shared.leads() {
            return Ok(());
        }
        for table in shared.store.tables() {
            if table.day().is_some_and(|day| day < today.before()) && is_spent(shared, table)? {
                shared.store.drop_table(table)?;
            }
        }
        self.dropped = Some(today);
        Ok(())
    }
}

/// Idempotency keys live for 24 hours, so those from before yesterday are spent. Other tables are
/// if nothing was ever written to them: retention takes away the rest. The search index of a day
/// may still be in memory.
fn is_spent(shared: &Shared, table: Table) -> Result<bool, LogError> {
    let filled = match table {
        Table::Idempotency(_) => return Ok(true),
        Table::Search(day) => Table::Traffic(day),
        other => other,
    };
    Ok(shared.store.scan(&Scan::all(filled, 1))?.is_empty())
}

/// Writes the head file if the log grew, and takes note of the space.
pub fn run_once(shared: &Shared, written: &mut Option<HeadMark>) {
    let mark = HeadMark::from(&*shared.head());
    if *written != Some(mark) {
        match head_file::write(&shared.config.data_dir, &mark) {
            Ok(()) => *written = Some(mark),
            Err(error) => tracing::error!(%error, "cannot write the head file"),
        }
    }
    if let Some(replicated) = shared.store.replicated() {
        // The disk is the server's.
        if let Err(error) = replicated.beat() {
            tracing::warn!(%error, "cannot tell the other replicas that this one lives");
        }
        return;
    }
    match has_space(shared) {
        Ok(space) => note_space(shared, space),
        Err(error) => tracing::warn!(%error, "cannot tell how much space is left"),
    }
}

fn has_space(shared: &Shared) -> Result<bool, LogError> {
    let directory = &shared.config.data_dir;
    Ok(shared.around.space.left(directory)? >= shared.config.store_reserve_bytes)
}

fn note_space(shared: &Shared, space: bool) {
    let changed = shared.health.send_if_modified(|health| {
        let changed = health.space != space;
        health.space = space;
        changed
    });
    let reserve_bytes = shared.config.store_reserve_bytes;
    match (changed, space) {
        (true, false) => tracing::error!(reserve_bytes, "low on space, accepting no events"),
        (true, true) => tracing::info!("enough space again, accepting events"),
        (false, _) => {}
    }
}

//! Once a second: writes the head file, and looks at the space that is left, or tells the other
//! replicas that this one lives. A thread of its own, because it syncs and the writer must not
//! wait for it.

use crate::{
    log::{
        LogError,
        head_file::{self, HeadMark},
        space_left,
    },
    shared::Shared,
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
    /// Starts it.
    pub fn start(shared: Arc<Shared>) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(1);
        let run = move || {
            let mut written = None;
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                run_once(&shared, &mut written);
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
    Ok(space_left(directory)? >= shared.config.store_reserve_bytes)
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

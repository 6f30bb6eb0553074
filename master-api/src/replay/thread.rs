//! The thread that replays.

use super::Replayer;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How often a replay that waits for its rate or its deliveries is looked at.
const BUSY: Duration = Duration::from_millis(50);
/// How often it is looked for orders that another process took.
const IDLE: Duration = Duration::from_secs(1);

/// The running thread.
#[derive(Debug)]
pub struct ReplayThread {
    wake: mpsc::SyncSender<()>,
    stopping: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl ReplayThread {
    /// Starts it. What an earlier process has left over goes on at once.
    pub fn start(mut replayer: Replayer) -> std::io::Result<Self> {
        let (wake, woken) = mpsc::sync_channel(1);
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let run = move || {
            while !stop.load(Ordering::Relaxed) {
                let more = replayer.run_once().unwrap_or_else(|error| {
                    tracing::warn!(%error, "a step of a replay failed, and is tried again");
                    false
                });
                if more {
                    continue;
                }
                let wait = if replayer.is_busy() { BUSY } else { IDLE };
                if woken.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("certes-replay".into()).spawn(run)?;
        Ok(Self { wake, stopping, thread: Mutex::new(Some(thread)) })
    }

    /// Has it look for what is to be done.
    pub fn wake(&self) {
        // Full: it is about to look.
        _ = self.wake.try_send(()).is_ok();
    }

    /// Waits until it is gone. The writer has to be stopped before: that cuts a step short.
    pub fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            self.stopping.store(true, Ordering::Relaxed);
            self.wake();
            if thread.join().is_err() {
                tracing::error!("the thread of the replays panicked");
            }
        }
    }
}

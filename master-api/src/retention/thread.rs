//! The thread that looks from time to time for what may go.

use super::Retention;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// The running thread.
pub struct RetentionThread {
    stop: mpsc::SyncSender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl RetentionThread {
    /// Starts it. What an earlier process has left over is seen to at once.
    pub fn start(retention: Arc<Retention>, every: Duration) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(1);
        let run = move || {
            if retention.is_behind() {
                run_once(&retention);
            }
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                run_once(&retention);
            }
        };
        let thread = thread::Builder::new().name("certes-retention".into()).spawn(run)?;
        Ok(Self { stop, thread: Mutex::new(Some(thread)) })
    }

    /// Waits until it is gone. The writer has to be stopped before: that cuts a run short.
    pub fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Full: it was told already. Gone: it needs no telling.
            _ = self.stop.try_send(()).is_ok();
            if thread.join().is_err() {
                tracing::error!("the retention thread panicked");
            }
        }
    }
}

fn run_once(retention: &Retention) {
    if retention.leads()
        && let Err(error) = retention.run_once(false)
    {
        tracing::warn!(%error, "retention did not come to its end, and goes on later");
    }
}

//! The leases that this consumer holds, and their extension until each is settled.

use contract::{
    clock::{Clock, Timestamp},
    id::DeliveryId,
    queue::{Lease, MessageQueue},
};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

/// How soon an extension that failed is tried again.
const EXTEND_AGAIN: Duration = Duration::from_millis(500);
/// Longest that one call to the queue may take.
const QUEUE_CALL_MAX: Duration = Duration::from_secs(5);

/// All leases that are held.
pub(crate) struct Leases {
    queue: Arc<dyn MessageQueue>,
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
    /// Something is to be extended sooner than was planned.
    sooner: Notify,
}

#[derive(Debug, Default)]
struct Held {
    /// Bounded by the slots and by what waits for its record.
    leases: HashMap<(DeliveryId, u64), Entry>,
    /// When the next extension is planned.
    planned: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    lease: Lease,
    /// Half way to the deadline.
    extend_at: Timestamp,
}

impl Entry {
    fn new(lease: Lease, now: Timestamp) -> Self {
        Self { lease, extend_at: now.after(lease.deadline.since(now) / 2) }
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leases").field("held", &self.held).finish_non_exhaustive()
    }
}

/// A lease in hand. It is extended until this is dropped.
#[derive(Debug)]
pub(crate) struct Holding {
    leases: Arc<Leases>,
    /// As it was given.
    lease: Lease,
}

impl Holding {
    /// The lease with its newest deadline; as it was given if it was lost.
    pub(crate) fn lease(&self) -> Lease {
        self.leases.with(|held| held.leases.get(&self.key()).map_or(self.lease, |e| e.lease))
    }

    /// Is the right to work on the delivery still ours?
    pub(crate) fn is_valid(&self) -> bool {
        let entry = self.leases.with(|held| held.leases.get(&self.key()).copied());
        entry.is_some_and(|entry| entry.lease.deadline > self.leases.clock.now())
    }

    fn key(&self) -> (DeliveryId, u64) {
        (self.lease.delivery, self.lease.token)
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.leases.with(|held| held.leases.remove(&self.key()));
    }
}

impl Leases {
    /// No leases yet.
    pub(crate) fn new(queue: Arc<dyn MessageQueue>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { queue, clock, held: Mutex::default(), sooner: Notify::new() })
    }

    /// Takes leases in hand.
    pub(crate) fn hold(self: &Arc<Self>, leases: Vec<Lease>) -> Vec<Holding> {
        let now = self.clock.now();
        self.with(|held| {
            for lease in &leases {
                let entry = Entry::new(*lease, now);
                if held.planned.is_none_or(|planned| entry.extend_at < planned) {
                    held.planned = Some(entry.extend_at);
                    self.sooner.notify_one();
                }
                held.leases.insert((lease.delivery, lease.token), entry);
            }
        });
        leases.into_iter().map(|lease| Holding { leases: Arc::clone(self), lease }).collect()
    }

    /// Extends what is held, each lease half way to its deadline, until `stop`.
    pub(crate) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let next = self.with(|held| {
                held.planned = held.leases.values().map(|entry| entry.extend_at).min();
                held.planned
            });
            let due = async {
                match next {
                    Some(time) => self.clock.sleep_until(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.sooner.notified() => {}
                () = due => self.extend_due().await,
            }
        }
    }

    async fn extend_due(&self) {
        let now = self.clock.now();
        let due: Vec<Lease> = self.with(|held| {
            let due = held.leases.values().filter(|entry| entry.extend_at <= now);
            due.map(|entry| entry.lease).collect()
        });
        if due.is_empty() {
            return;
        }
        let answer = timeout(QUEUE_CALL_MAX, self.queue.extend(due.clone())).await;
        let extended = match answer {
            Ok(Ok(extended)) => extended,
            Ok(Err(error)) => return self.extend_later(&due, &error.to_string()),
            Err(_elapsed) => return self.extend_later(&due, "no answer in time"),
        };
        let now = self.clock.now();
        self.with(|held| {
            let before = held.leases.len();
            // What the queue does not name is no longer ours.
            let mut kept: HashMap<_, _> =
                extended.into_iter().map(|lease| ((lease.delivery, lease.token), lease)).collect();
            for lease in &due {
                let key = (lease.delivery, lease.token);
                match (held.leases.get_mut(&key), kept.remove(&key)) {
                    (Some(entry), Some(lease)) => *entry = Entry::new(lease, now),
                    (Some(_), None) => drop(held.leases.remove(&key)),
                    (None, _) => {}
                }
            }
            let lost = before - held.leases.len();
            if lost > 0 {
                tracing::warn!(lost, "the queue took leases back");
            }
        });
    }

    fn extend_later(&self, leases: &[Lease], why: &str) {
        tracing::warn!(why, leases = leases.len(), "leases could not be extended");
        let later = self.clock.now().after(EXTEND_AGAIN);
        self.with(|held| {
            for lease in leases {
                if let Some(entry) = held.leases.get_mut(&(lease.delivery, lease.token)) {
                    entry.extend_at = later;
                }
            }
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut Held) -> T) -> T {
        look(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

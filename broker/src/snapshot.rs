//! The rules in force, compiled for the hot path: once per version of the rules, not per event.

use crate::matcher::Matcher;
use arc_swap::ArcSwap;
use contract::{
    id::Sequence,
    rules::{Rules, RulesReceiver},
    stamp::StampKey,
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// One version of the rules with what is made from it.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The rules.
    pub rules: Arc<Rules>,
    /// Finds the subscriptions of an event.
    pub matcher: Matcher,
    /// Make and check stamps, the current one last. None until Master API has told one.
    pub stamp_keys: Vec<StampKey>,
}

impl Snapshot {
    fn new(rules: Arc<Rules>, before: Option<&Self>) -> Self {
        let matcher = Matcher::new(&rules, before.map(|before| &before.matcher));
        let stamp_keys = rules.stamp_keys();
        Self { rules, matcher, stamp_keys }
    }
}

/// Holds the newest snapshot.
#[derive(Debug)]
pub(crate) struct Snapshots {
    receiver: RulesReceiver,
    current: ArcSwap<Snapshot>,
    compiling: Mutex<()>,
}

impl Snapshots {
    /// Snapshots of what `receiver` tells.
    pub fn new(receiver: RulesReceiver) -> Self {
        let current = Snapshot::new(Arc::clone(&receiver.borrow()), None);
        Self { receiver, current: ArcSwap::from_pointee(current), compiling: Mutex::new(()) }
    }

    /// The newest one, compiled now if the rules have changed since the last event.
    pub fn current(&self) -> Arc<Snapshot> {
        let snapshot = self.current.load();
        if self.is_newest(&snapshot) {
            return Arc::clone(&snapshot);
        }
        let _one_at_a_time = self.compiling.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = self.current.load();
        if self.is_newest(&snapshot) {
            return Arc::clone(&snapshot);
        }
        let rules = Arc::clone(&self.receiver.borrow());
        let snapshot = Arc::new(Snapshot::new(rules, Some(&snapshot)));
        self.current.store(Arc::clone(&snapshot));
        snapshot
    }

    /// Waits until there are rules after `sequence`; false if none came within `limit`.
    pub async fn moved_on(&self, sequence: Sequence, limit: Duration) -> bool {
        let mut receiver = self.receiver.clone();
        let newer = receiver.wait_for(|rules| rules.sequence > sequence);
        matches!(tokio::time::timeout(limit, newer).await, Ok(Ok(_)))
    }

    /// The newest one, once it is of `sequence` or later. The caller sets the deadline.
    pub async fn reached(&self, sequence: Sequence) -> Arc<Snapshot> {
        self.await_rules(|rules| rules.sequence >= sequence).await;
        self.current()
    }

    /// Returns once there are rules after `sequence`. The caller sets the deadline.
    pub async fn newer(&self, sequence: Sequence) {
        self.await_rules(|rules| rules.sequence > sequence).await;
    }

    async fn await_rules(&self, reached: impl Fn(&Rules) -> bool) {
        if self.receiver.clone().wait_for(|rules| reached(rules)).await.is_err() {
            // Nobody tells of rules any more: this process is ending.
            std::future::pending().await
        }
    }

    fn is_newest(&self, snapshot: &Snapshot) -> bool {
        Arc::ptr_eq(&snapshot.rules, &self.receiver.borrow())
    }
}

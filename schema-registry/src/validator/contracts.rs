//! The contracts in use. Reading takes no lock, and a change costs the same however many there are.

use crate::{Metrics, validate::Contract};
use contract::{rules::Rules, schema::SchemaVersion, uri::EventUri};
use papaya::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All of them, by type. Each changes by itself: who reads meets the old one or the new one.
#[derive(Debug)]
pub(super) struct Contracts {
    held: HashMap<EventUri, Held>,
    /// Taken to change anything: how many contracts are missing.
    missing: Mutex<usize>,
    metrics: Metrics,
}

#[derive(Debug)]
pub(super) enum Held {
    Ready(Box<Contract>),
    /// It is in force and could not be fetched yet: nothing may pass unchecked.
    Missing,
}

impl Contracts {
    /// None yet.
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { held: HashMap::new(), missing: Mutex::default(), metrics }
    }

    /// Shows what is held for a type to `see`.
    pub(super) fn see<T>(&self, uri: &EventUri, see: impl FnOnce(Option<&Held>) -> T) -> T {
        see(self.held.get(uri, &self.held.guard()))
    }

    /// Uses a contract, unless a newer one of its type is in use.
    pub(super) fn put(&self, contract: Box<Contract>) {
        let (mut missing, guard) = (self.missing(), self.held.guard());
        let SchemaVersion { uri, minor, .. } = contract.version().clone();
        match self.held.get(&uri, &guard) {
            Some(Held::Ready(held)) if held.version().minor > minor => {}
            Some(Held::Missing) => {
                *missing -= 1;
                self.held.insert(uri, Held::Ready(contract), &guard);
            }
            Some(Held::Ready(_)) | None => {
                self.held.insert(uri, Held::Ready(contract), &guard);
            }
        }
        self.measure(*missing);
    }

    /// Drops what `in_force` lacks, and marks what has never been at hand. `in_force` is called
    /// when nobody else can change anything.
    pub(super) fn align(&self, in_force: impl FnOnce() -> Arc<Rules>) {
        let (mut missing, guard) = (self.missing(), self.held.guard());
        let in_force = &in_force().schemas;
        self.held.retain(|uri, _| in_force.contains_key(uri), &guard);
        for uri in in_force.keys() {
            if !self.held.contains_key(uri, &guard) {
                self.held.insert(uri.clone(), Held::Missing, &guard);
            }
        }
        let held = self.held.values(&guard);
        *missing = held.filter(|held| matches!(held, Held::Missing)).count();
        self.measure(*missing);
    }

    /// How many are in force and not at hand.
    pub(super) fn count_missing(&self) -> usize {
        *self.missing()
    }

    fn measure(&self, missing: usize) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.contracts.set(gauge(self.held.len() - missing));
        self.metrics.contracts_missing.set(gauge(missing));
    }

    fn missing(&self) -> MutexGuard<'_, usize> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What the queue tells Prometheus.

use crate::schedule::{Counts, LEVELS};
use contract::clock::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use std::{array::from_fn, sync::atomic::AtomicU64};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    priority: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PriorityLabel {
    priority: String,
}

/// Metrics of a queue.
#[derive(Debug, Clone)]
pub struct Metrics {
    deliveries: [[Gauge; 3]; LEVELS],
    oldest: [Gauge<f64, AtomicU64>; LEVELS],
    pub(crate) leases: Counter,
    pub(crate) leases_expired: Counter,
    pub(crate) turned_away: Counter,
}

impl Metrics {
    /// Metrics that `registry` shows.
    pub fn new(registry: &mut Registry) -> Self {
        let deliveries = Family::<StateLabel, Gauge>::default();
        let oldest = Family::<PriorityLabel, Gauge<f64, AtomicU64>>::default();
        let metrics = Self {
            deliveries: from_fn(|level| {
                ["ready", "delayed", "in_flight"].map(|state| {
                    deliveries.get_or_create(&StateLabel { priority: label(level), state }).clone()
                })
            }),
            oldest: from_fn(|level| {
                oldest.get_or_create(&PriorityLabel { priority: label(level) }).clone()
            }),
            leases: Counter::default(),
            leases_expired: Counter::default(),
            turned_away: Counter::default(),
        };
        registry.register(
            "certes_queue_deliveries",
            "Deliveries in the queue by priority and state",
            deliveries,
        );
        registry.register_with_unit(
            "certes_queue_oldest_age",
            "How long the oldest delivery that could start has waited, by priority",
            Unit::Seconds,
            oldest,
        );
        registry.register("certes_queue_leases", "Leases given", metrics.leases.clone());
        registry.register(
            "certes_queue_leases_expired",
            "Leases that ran out before they were settled",
            metrics.leases_expired.clone(),
        );
        registry.register(
            "certes_queue_turned_away",
            "Deliveries refused because the window of their lane was full",
            metrics.turned_away.clone(),
        );
        metrics
    }

    /// Shows how many deliveries of a priority stand where.
    pub(crate) fn show_counts(&self, level: usize, counts: Counts) {
        let [ready, delayed, in_flight] = &self.deliveries[level];
        let shown = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        ready.set(shown(counts.ready));
        delayed.set(shown(counts.delayed));
        in_flight.set(shown(counts.in_flight));
    }

    /// Shows how old the oldest of each priority is.
    pub(crate) fn show_oldest(&self, oldest: &[Option<Timestamp>; LEVELS], now: Timestamp) {
        for (gauge, oldest) in self.oldest.iter().zip(oldest) {
            gauge.set(oldest.map_or(0.0, |due| now.since(due).as_secs_f64()));
        }
    }
}

/// What is replayed lies below all priorities.
fn label(level: usize) -> String {
    level.checked_sub(1).map_or_else(|| "replay".to_owned(), |priority| priority.to_string())
}

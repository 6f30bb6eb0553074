//! What can be measured of Master API.

use prometheus_client::{
    metrics::{
        counter::Counter,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// Counters and histograms; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Events appended.
    pub events_accepted: Counter,
    /// Events kept aside.
    pub events_quarantined: Counter,
    /// Events that were here before.
    pub events_duplicate: Counter,
    /// Attempts recorded.
    pub attempts_recorded: Counter,
    /// Attempt reports that came too late.
    pub attempts_superseded: Counter,
    /// Commands and reports of a batch.
    pub batch_size: Histogram,
    /// Time from the first decision of a batch to its sync, in seconds.
    pub commit_seconds: Histogram,
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            events_accepted: Counter::default(),
            events_quarantined: Counter::default(),
            events_duplicate: Counter::default(),
            attempts_recorded: Counter::default(),
            attempts_superseded: Counter::default(),
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 16)),
        };
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter(
            "certes_log_events_accepted",
            "Events appended to the log",
            &metrics.events_accepted,
        );
        counter("certes_log_events_quarantined", "Events kept aside", &metrics.events_quarantined);
        counter("certes_log_events_duplicate", "Events that were here", &metrics.events_duplicate);
        counter("certes_attempts_recorded", "Attempts recorded", &metrics.attempts_recorded);
        counter("certes_attempts_superseded", "Late reports", &metrics.attempts_superseded);
        registry.register(
            "certes_log_batch_size",
            "Commands and reports of a batch of the log",
            metrics.batch_size.clone(),
        );
        registry.register(
            "certes_log_commit_seconds",
            "Time to decide, write and sync a batch of the log",
            metrics.commit_seconds.clone(),
        );
        metrics
    }
}

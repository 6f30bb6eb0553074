//! What can be measured of Master API.

use contract::{
    clock::Timestamp,
    retention::{Retained, StoreBytes},
};
use prometheus_client::{
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
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
    /// Bytes of the tables, by what is in them.
    pub store_bytes: Family<[(&'static str, &'static str); 1], Gauge>,
    /// When retention last ran, in seconds since the Unix epoch.
    pub retention_last_run: Gauge,
    /// Days that retention dropped.
    pub days_dropped: Counter,
    /// Deliveries that were carried out of a day that went.
    pub deliveries_carried: Counter,
    /// Deliveries that had waited too long.
    pub deliveries_expired: Counter,
    /// Payloads that were erased.
    pub payloads_erased: Counter,
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
            store_bytes: Family::default(),
            retention_last_run: Gauge::default(),
            days_dropped: Counter::default(),
            deliveries_carried: Counter::default(),
            deliveries_expired: Counter::default(),
            payloads_erased: Counter::default(),
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
        metrics.register_retention(registry);
        metrics
    }

    fn register_retention(&self, registry: &mut Registry) {
        registry.register(
            "certes_store_bytes",
            "Bytes of the tables, by what is in them",
            self.store_bytes.clone(),
        );
        registry.register(
            "certes_retention_last_run_seconds",
            "When retention last ran, since the Unix epoch",
            self.retention_last_run.clone(),
        );
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter("certes_retention_days_dropped", "Days that are gone", &self.days_dropped);
        counter(
            "certes_retention_deliveries_carried",
            "Unfinished deliveries that outlived their day",
            &self.deliveries_carried,
        );
        counter(
            "certes_retention_deliveries_expired",
            "Deliveries that had waited too long",
            &self.deliveries_expired,
        );
        counter("certes_payloads_erased", "Payloads that were erased", &self.payloads_erased);
    }

    /// Takes note of a run of retention.
    pub fn retained(&self, now: Timestamp, bytes: &StoreBytes, done: &Retained) {
        for (kind, bytes) in bytes.by_kind() {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.store_bytes.get_or_create(&[("kind", kind)]).set(bytes);
        }
        self.retention_last_run.set(now.unix_seconds());
        self.days_dropped.inc_by(done.days_dropped);
        self.deliveries_carried.inc_by(done.deliveries_carried);
        self.deliveries_expired.inc_by(done.deliveries_expired);
    }
}

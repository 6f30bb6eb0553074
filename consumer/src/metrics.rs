//! What a consumer tells Prometheus.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabel {
    /// `delivered`, or the cause.
    pub(crate) outcome: &'static str,
}

/// Metrics of a consumer.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(crate) attempts: Family<OutcomeLabel, Counter>,
    pub(crate) attempts_in_flight: Gauge,
    pub(crate) connections_exhausted: Counter,
    pub(crate) attempt_duration_seconds: Histogram,
    pub(crate) first_attempt_delay_seconds: Histogram,
    pub(crate) deliveries_dead: Counter,
    pub(crate) record_failures: Counter,
}

impl Metrics {
    /// Metrics that `registry` shows.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            attempts: Family::default(),
            attempts_in_flight: Gauge::default(),
            connections_exhausted: Counter::default(),
            attempt_duration_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 18)),
            first_attempt_delay_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 20)),
            deliveries_dead: Counter::default(),
            record_failures: Counter::default(),
        };
        registry.register(
            "certes_attempts",
            "Attempts by how they ended",
            metrics.attempts.clone(),
        );
        registry.register(
            "certes_attempts_in_flight",
            "Attempts that are being made",
            metrics.attempts_in_flight.clone(),
        );
        registry.register(
            "certes_connections_exhausted",
            "Deliveries that went back untried because all connections were in use",
            metrics.connections_exhausted.clone(),
        );
        registry.register(
            "certes_attempt_duration_seconds",
            "How long attempts take",
            metrics.attempt_duration_seconds.clone(),
        );
        registry.register(
            "certes_first_attempt_delay_seconds",
            "From the receipt of an event to its first attempt",
            metrics.first_attempt_delay_seconds.clone(),
        );
        registry.register(
            "certes_deliveries_given_up",
            "Deliveries that this consumer reported dead",
            metrics.deliveries_dead.clone(),
        );
        registry.register(
            "certes_attempt_record_failures",
            "Times that Master API could not record attempts",
            metrics.record_failures.clone(),
        );
        metrics
    }
}

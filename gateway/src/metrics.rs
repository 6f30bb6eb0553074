//! What the gateway counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Counters of the gateway. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    events: Family<Outcome, Counter>,
    answer: Histogram,
    shed: Counter,
    /// Bytes of all event bodies in memory.
    pub(crate) body_bytes: Gauge,
}

impl Metrics {
    /// Registers them.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            events: Family::default(),
            // 100 µs to 13 s, each bucket twice the one before.
            answer: Histogram::new(exponential_buckets(0.0001, 2.0, 18)),
            shed: Counter::default(),
            body_bytes: Gauge::default(),
        };
        registry.register(
            "certes_gateway_events",
            "Posted events by outcome: accepted, duplicate, quarantined, challenge, or error",
            metrics.events.clone(),
        );
        registry.register_with_unit(
            "certes_gateway_answer",
            "Time from an event's arrival to its answer",
            Unit::Seconds,
            metrics.answer.clone(),
        );
        registry.register(
            "certes_gateway_shed",
            "Requests refused because too many were in work",
            metrics.shed.clone(),
        );
        registry.register_with_unit(
            "certes_gateway_body",
            "Event bodies in memory",
            Unit::Bytes,
            metrics.body_bytes.clone(),
        );
        metrics
    }

    pub(crate) fn answered(&self, outcome: &'static str, took: std::time::Duration) {
        self.events.get_or_create(&Outcome { outcome }).inc();
        self.answer.observe(took.as_secs_f64());
    }

    pub(crate) fn shed(&self) {
        self.shed.inc();
    }
}

//! What the broker and the feeder count.

use contract::{ErrorCode, Result, event::Accepted};
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
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WayLabel {
    way: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabel {
    event: &'static str,
}

/// Counters of this crate; cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    accepted: Counter,
    duplicates: Counter,
    quarantined: Counter,
    refused: Family<CodeLabel, Counter>,
    matched: Counter,
    filters_failed: Counter,
    accept_seconds: Histogram,
    fed: Family<WayLabel, Counter>,
    refed: Counter,
    behind: Gauge,
    leads: Gauge,
    announced: Family<EventLabel, Counter>,
    announcing_failed: Counter,
    unannounced: Gauge,
}

/// How a delivery came into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the broker, right after it was stored.
    Shortcut,
    /// By the feeder, from the log.
    Log,
}

impl Metrics {
    /// Registers all counters.
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self {
            accepted: Counter::default(),
            duplicates: Counter::default(),
            quarantined: Counter::default(),
            refused: Family::default(),
            matched: Counter::default(),
            filters_failed: Counter::default(),
            accept_seconds: Histogram::new(exponential_buckets(0.0001, 2.0, 16)),
            fed: Family::default(),
            refed: Counter::default(),
            behind: Gauge::default(),
            leads: Gauge::default(),
            announced: Family::default(),
            announcing_failed: Counter::default(),
            unannounced: Gauge::default(),
        };
        let mut counter = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        counter("certes_events_accepted", "Events stored for delivery", &metrics.accepted);
        counter("certes_events_duplicate", "Events that were here before", &metrics.duplicates);
        counter("certes_events_quarantined", "Events kept aside", &metrics.quarantined);
        counter("certes_deliveries_matched", "Deliveries of stored events", &metrics.matched);
        let help = "Filters that could not tell whether an event is wanted";
        counter("certes_filters_failed", help, &metrics.filters_failed);
        counter("certes_feeder_refed", "Lanes fed again for want of progress", &metrics.refed);
        let refused = metrics.refused.clone();
        registry.register("certes_events_refused", "Events refused, by error code", refused);
        let help = "Deliveries put into the queue, by the way they came";
        registry.register("certes_feeder_fed", help, metrics.fed.clone());
        let help = "Lanes whose deliveries come from the log because the queue is full";
        registry.register("certes_feeder_lanes_behind", help, metrics.behind.clone());
        let help = "1 where this feeder feeds, 0 where another one does";
        registry.register("certes_feeder_leads", help, metrics.leads.clone());
        let help = "Events of the server's own, by name";
        registry.register("certes_announced", help, metrics.announced.clone());
        let help = "Rounds of announcing that failed and are repeated";
        let failed = metrics.announcing_failed.clone();
        registry.register("certes_announcing_failed", help, failed);
        let help = "Facts that the announcer has yet to look at, after its last look";
        registry.register("certes_announcer_facts_behind", help, metrics.unannounced.clone());
        let help = "Time from the broker's door to its answer";
        let seconds = metrics.accept_seconds.clone();
        registry.register_with_unit("certes_event_accept", help, Unit::Seconds, seconds);
        metrics
    }

    pub(crate) fn answered(&self, answer: &Result<Accepted>, took: Duration) {
        self.accept_seconds.observe(took.as_secs_f64());
        match answer {
            Ok(accepted) if accepted.duplicate => _ = self.duplicates.inc(),
            Ok(accepted) if accepted.quarantined => _ = self.quarantined.inc(),
            Ok(accepted) => {
                self.accepted.inc();
                self.matched.inc_by(u64::from(accepted.deliveries));
            }
            Err(error) => self.refuse(error.code),
        }
    }

    pub(crate) fn filters_failed(&self, filters: usize) {
        self.filters_failed.inc_by(u64::try_from(filters).unwrap_or(u64::MAX));
    }

    pub(crate) fn fed(&self, way: Way, deliveries: usize) {
        let way = match way {
            Way::Shortcut => "shortcut",
            Way::Log => "log",
        };
        let deliveries = u64::try_from(deliveries).unwrap_or(u64::MAX);
        self.fed.get_or_create(&WayLabel { way }).inc_by(deliveries);
    }

    pub(crate) fn refed(&self) {
        self.refed.inc();
    }

    pub(crate) fn leads(&self, leads: bool) {
        self.leads.set(i64::from(leads));
    }

    pub(crate) fn lanes_behind(&self, lanes: usize) {
        self.behind.set(i64::try_from(lanes).unwrap_or(i64::MAX));
    }

    pub(crate) fn announced(&self, event: &'static str) {
        self.announced.get_or_create(&EventLabel { event }).inc();
    }

    pub(crate) fn announcing_failed(&self) {
        self.announcing_failed.inc();
    }

    pub(crate) fn facts_behind(&self, facts: u64) {
        self.unannounced.set(i64::try_from(facts).unwrap_or(i64::MAX));
    }

    fn refuse(&self, code: ErrorCode) {
        self.refused.get_or_create(&CodeLabel { code: code.as_str() }).inc();
    }
}

//! What can be measured about schemas.

use contract::{Result, schema::Published};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Counters and gauges of the registry and of the validator. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    publishes: Family<Outcome, Counter>,
    valid: Counter,
    invalid: Counter,
    unknown: Counter,
    /// Contracts that the validator has at hand.
    pub(crate) contracts: Gauge,
    /// Contracts that the validator should have and could not get.
    pub(crate) contracts_missing: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

impl Metrics {
    /// Metrics that `registry` shows.
    pub fn new(registry: &mut Registry) -> Self {
        let publishes = Family::<Outcome, Counter>::default();
        let checks = Family::<Outcome, Counter>::default();
        let (contracts, contracts_missing) = (Gauge::default(), Gauge::default());
        registry.register(
            "certes_schema_publishes",
            "Schemas offered, by what became of them",
            publishes.clone(),
        );
        registry.register(
            "certes_schema_validations",
            "Payloads checked against their contract, by outcome",
            checks.clone(),
        );
        registry.register(
            "certes_schema_contracts",
            "Contracts at hand, compiled",
            contracts.clone(),
        );
        registry.register(
            "certes_schema_contracts_missing",
            "Contracts that should be at hand and could not be fetched",
            contracts_missing.clone(),
        );
        // The hot path counts without a look-up.
        let of = |outcome| checks.get_or_create_owned(&Outcome { outcome });
        let (valid, invalid, unknown) = (of("valid"), of("invalid"), of("no_schema"));
        Self { publishes, valid, invalid, unknown, contracts, contracts_missing }
    }

    /// None: it was refused.
    pub(crate) fn published(&self, published: Option<&Published>) {
        let outcome = match published {
            Some(published) if published.changed => "published",
            Some(_) => "unchanged",
            None => "refused",
        };
        self.publishes.get_or_create(&Outcome { outcome }).inc();
    }

    pub(crate) fn validated<T>(&self, result: Option<&Result<T>>) {
        match result {
            Some(Ok(_)) => self.valid.inc(),
            Some(Err(_)) => self.invalid.inc(),
            None => self.unknown.inc(),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_the_field_writes_them() {
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        metrics.validated(Some(&Ok(())));
        metrics.published(None);
        metrics.contracts.set(3);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "certes_schema_validations_total{outcome=\"valid\"} 1",
            "certes_schema_validations_total{outcome=\"no_schema\"} 0",
            "certes_schema_publishes_total{outcome=\"refused\"} 1",
            "certes_schema_contracts 3",
            "certes_schema_contracts_missing 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}

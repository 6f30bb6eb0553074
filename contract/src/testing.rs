//! Doubles for time, dice and ids, rules for tests, and the conformance suites of the ports.

mod doubles;
mod rules;
pub mod queue_conformance;
pub mod log_conformance;

pub use doubles::{ManualClock, SeededRandom, seeded_ids};
pub use rules::{rules_with, subscription, subscription_spec};

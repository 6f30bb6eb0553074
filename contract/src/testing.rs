//! Doubles for time, dice and ids, and the conformance suites of the ports.

mod doubles;
pub mod queue_conformance;

pub use doubles::{ManualClock, SeededRandom, seeded_ids};

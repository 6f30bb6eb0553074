//! Hop 2: validate, match, store, enqueue; and the feeder that fills the queue's lanes from the
//! log.
//!
//! Read [`service`] for the way of one event, then [`feeder`] for what happens when the queue
//! cannot take it at once.

mod config;
mod metrics;

// The way of one event.
pub mod service;
mod trail;
mod check;
mod aside;
mod snapshot;
mod matcher;

// From the log into the queue.
pub mod feeder;
mod deadline;

pub use config::{Config, FeederConfig};
pub use feeder::Feeder;
pub use metrics::Metrics;
pub use service::Broker;

#[cfg(test)]
mod tests;

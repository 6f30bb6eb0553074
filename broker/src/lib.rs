//! Hop 2: validate, match, store, enqueue; and the feeder that fills the queue's lanes from the
//! log.
//!
//! Read [`service`] for the way of one event, [`feeder`] for what happens when the queue cannot
//! take it at once, and [`announcer`] for the events that the server makes itself.

mod config;
mod metrics;

// The way of one event.
pub mod service;
mod test_fire;
mod trail;
mod check;
mod aside;
mod snapshot;
pub mod matcher;

// From the log into the queue.
pub mod feeder;
mod deadline;

// From the log into the operators' own events.
pub mod announcer;

pub use announcer::Announcer;
pub use config::{AnnouncerConfig, Config, FeederConfig};
pub use feeder::Feeder;
pub use metrics::Metrics;
pub use service::Broker;

#[cfg(test)]
mod tests;

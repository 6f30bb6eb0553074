//! Hop 3c: deliveries by priority, in memory.
//!
//! The queue is a cache of the log: it holds ids and due times, and what it loses is fed again.
//! [`MemoryQueue`] is a thin shell (a lock, the clock, wake-ups) around the schedule, a plain data
//! structure that is told what time it is.

// What an operator sets and sees.
mod config;
mod metrics;

// The shell: the port, waiting, waking.
mod receivers;
mod service;

// The core: which delivery goes next.
mod schedule;

pub use config::Config;
pub use metrics::Metrics;
pub use service::MemoryQueue;

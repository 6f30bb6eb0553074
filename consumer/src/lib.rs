//! Hop 4: lease, verify, sign, deliver, record, back off.
//!
//! Start at [`Consumer::run`] in `run.rs`; it leads through `attempt.rs`, which decides without
//! touching anything, to `deliver.rs`, which makes the HTTP request. Receivers, who take deliveries
//! over a stream, are served by [`Receivers`].

mod config;
mod metrics;
mod service;

// The way of one delivery.
mod run;
mod held;
mod attempt;
mod begin;
mod record;

// What is sent.
mod prepared;
mod form;
mod request;
mod headers;
mod auth;
mod token;
mod sign;
mod transform;

// How it is sent, and what came back.
mod send;
mod deliver;
mod keep;
mod outcome;
mod retry_after;

// The other way: to receivers, who take deliveries over a stream.
mod receivers;

pub use config::Config;
pub use metrics::Metrics;
pub use receivers::Receivers;
pub use service::Consumer;

//! Hop 1: the public door. Verifies, limits, answers.
//!
//! A request goes [`serve`] → [`service`] → `events` → `webhook` or `typed` → the broker, and
//! comes back through [`respond`], the one place that knows how answers look.

pub mod config;
pub mod metrics;

// The socket.
pub mod serve;
mod socket;
mod linger;

// The door: routes, and what guards them all.
pub mod service;
mod guard;
pub mod auth;

// One event, in the order in which it is looked at.
mod events;
mod webhook;
mod typed;
mod sources;
mod policy;
mod challenge;
mod body;
mod verify;
pub mod sign;
mod template;
mod json_path;
mod headers;
mod trace;

// The contracts that events keep.
pub mod schemas;
mod signing_keys;
mod caller;
pub mod login;

// The answers.
pub mod respond;
pub mod readiness;
pub mod admin;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use metrics::Metrics;
pub use readiness::Readiness;
pub use service::{Gateway, Mounts};

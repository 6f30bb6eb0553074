//! Hop 3b: the log of facts, the state folded from it, and every question about it.
//!
//! Read [`fact`] first: everything else makes facts, keeps them, or asks what they lead to.

// What happens, and what is decided.
pub mod fact;
pub mod lifecycle;
pub mod state;
pub mod decide;
pub mod project;
mod search;
mod tally;
mod past;

// Where it is kept.
pub mod log;
pub mod codec;
pub mod tables;
pub mod store;
pub mod secrets;

pub mod backup;

// Who may come in.
mod password;
mod token_key;
mod expressions;
mod throttle;
mod sessions;

// One writer, many readers.
pub mod config;
pub mod metrics;
mod shared;
mod prepare;
mod once;
mod writer;
mod follow;
mod lanes;
mod followers;
mod feeding;
mod recent;
mod keeper;
mod space;
mod retention;
mod replay;
mod service;
mod ports;

// What operators see.
pub mod graphql;
pub mod http;

#[cfg(test)]
mod tests;

pub use config::{Config, RetentionConfig, StoreConfig, StoreKind};
pub use metrics::Metrics;
pub use secrets::SECRET_KEY_FILE;
pub use service::{ADMIN_KEY_FILE, MasterApi};
pub use shared::{Health, Surroundings};
pub use space::{FileSystem, Space};
pub use store::PostgresConfig;

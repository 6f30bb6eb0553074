//! Hop 3a: contracts compiled, published and enforced at run time.
//!
//! A contract comes as `.proto` text ([`load`] reads a directory or a tar of it), is compiled, compared
//! with the version before it, stored as a bundle and published by [`Registry`]. Whoever checks
//! events holds a [`LocalValidator`], which has every contract compiled and at hand.

mod config;
mod metrics;
mod stack;

// Publishing: from text to a version.
mod load;
mod compile;
mod descriptors;
mod compare;
mod bundle;
mod plan;
mod store;
mod service;

// Contracts of other deployments.
mod foreign;
mod lru;

// Enforcing: from a version to an answer about a payload.
mod validate;
mod validator;

// Explaining: from a version to a payload that keeps it.
mod skeleton;

pub use bundle::encoded;
pub use config::{Bucket, Config, ForeignConfig, PeerConfig, S3Config, StoreKind};
pub use load::{load, load_archive};
pub use metrics::Metrics;
pub use service::Registry;
pub use skeleton::{FieldNames, Skeleton, skeleton};
pub use store::{BundleStore, DirectoryStore, MemoryStore, S3Store, open as open_store};
pub use validator::LocalValidator;

#[cfg(test)]
mod testing;

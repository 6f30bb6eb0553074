//! Who calls: the holder of an API key, a user with a token of our own, or somebody whom another
//! issuer of tokens knows. A library for the doors, and for whoever signs tokens.

pub mod jwt;
pub mod session;
mod issuers;
mod identity;
pub mod uses;
pub mod config;

pub use config::Config;
pub use identity::Identity;

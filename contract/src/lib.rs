//! The contract: the nouns of Certes and the ports between its parts.
//!
//! Every component depends on this crate and on no other crate of ours. Read the nouns first (in
//! the order of the `mod` lines), then the four ports that an event passes: [`broker`],
//! [`registry`], [`master_api`], [`queue`].

pub mod limits;

// What everything is made of.
pub mod error;
pub mod clock;
pub mod random;
pub mod id;
pub mod secret;
pub mod uri;

// The nouns.
pub mod event;
pub mod stamp;
pub mod schema;
pub mod source;
pub mod subscription;
pub mod sending;
pub mod rate_limit;
pub mod breaker;
pub mod backoff;
pub mod delivery;
pub mod exchange;
pub mod access;
pub mod setting;
pub mod rules;
pub mod command;
pub mod log;
pub mod past;

// Who may.
pub mod authenticate;
pub mod permit;

// The ports.
pub mod broker;
pub mod registry;
pub mod master_api;
pub mod retention;
pub mod replay;
pub mod queue;
pub mod pull;

// What is done with them on both sides of the wire.
pub mod follow;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use error::{Error, ErrorCode, Result};

//! The contract over a real connection on loopback: what goes in on one side comes out on the
//! other.

#![expect(clippy::unwrap_used, reason = "a failing test says so by a panic")]

mod samples;
mod fake;
mod listen;

mod conversions;
mod ports;
mod pulling;
mod failures;
mod rules;
mod public;
mod tls;

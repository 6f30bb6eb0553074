//! The real binary, as users and power cuts meet it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this is how a story fails"
)]

mod backup;
mod command_line;
mod kill;
mod listen;
mod process;
mod proxies;
mod quarantine;
mod tail;
mod schemas;
#[cfg(feature = "all")]
mod postgres;
#[cfg(feature = "all")]
mod sync_before_answer;
#[cfg(feature = "all")]
mod judges;

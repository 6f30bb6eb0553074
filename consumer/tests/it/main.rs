//! The consumer between doubles of its ports and real receivers on 127.0.0.1.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this whole crate is tests, and a test fails by a panic"
)]

mod dns;
mod ports;
mod receiver;
mod world;

mod backing_off;
mod draining;
mod forming;
mod fanning_out;
mod guarding;
mod hostile;
mod outcomes;
mod proving;
mod receiving;
mod recording;
mod sending;
mod settings;

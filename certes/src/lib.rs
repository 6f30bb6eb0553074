//! Configuration, wiring, serving and the command line of Certes.

pub mod cli;
pub mod config;
pub mod misuse;

// The server.
pub mod environment;
pub mod wiring;
pub mod serve;
pub mod runtime_file;
pub mod logging;
pub mod signals;
pub mod dev;
mod receiver;

// The command line's side.
pub mod manifest;
pub mod client;
pub mod remote;
pub mod verify;
pub mod commands;
mod http_client;
mod login_file;
mod output;
mod progress;

/// Chooses the one crypto provider of the process. Harmless when done before.
pub fn install_crypto() {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("the crypto provider was installed before");
    }
}

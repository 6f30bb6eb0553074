//! The contract on the wire: messages, clients that implement the ports, servers that serve them.
//!
//! `proto/certes/v1` is the public API; `proto/certes/v1/internal` is what the parts say to each
//! other when they are processes of their own. A caller sees the same nouns and the same errors on
//! both sides of a channel.

/// A generated client or server with our bound on messages in place of tonic's. Whoever receives a
/// larger one refuses it; a bound on sending would only break the connection without a word.
macro_rules! limited {
    ($service:expr) => {
        $service.max_decoding_message_size(contract::limits::GRPC_MESSAGE_BYTES_MAX)
    };
}

pub mod config;

/// Generated: the public API.
#[allow(
    missing_docs,
    clippy::all,
    clippy::restriction,
    clippy::too_many_lines,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("certes.v1");

    /// Generated: what only the parts say to each other.
    pub mod internal {
        tonic::include_proto!("certes.v1.internal");
    }
}

pub mod convert;
pub mod status;
mod redact;

// A door for producers and operators: who may call what, and what their calls become.
pub mod access;
pub mod auth;
mod door;

pub mod server;
pub mod client;

/// Descriptors of the public services, as reflection shows them.
pub const PUBLIC_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/public.bin"));

//! Connections to addresses that others have named: resolved, checked by the guard, and dialled at
//! the address that was checked. A library for the parts that make such connections.

mod guard;
mod resolve;
mod dial;
mod tls;
mod client;

pub use client::{GuardedClient, client};
pub use dial::{DialError, Dialled, Dialler, Settings};
pub use guard::{Guard, Refusal};
pub use tls::{Identity, client_config, client_config_as};

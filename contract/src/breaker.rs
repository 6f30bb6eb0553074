//! An endpoint at which nearly all attempts fail is left alone: what there is to know of its open
//! breaker. Master API opens and closes it; the queue holds the deliveries.

use crate::{backoff::Span, clock::Timestamp, delivery::Cause};
use serde::{Deserialize, Serialize};

/// An open breaker: deliveries are held, and one at a time is let through to see whether the
/// endpoint is back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breaker {
    /// Since when it is open.
    pub since: Timestamp,
    /// How many attempts it opened on.
    pub attempts: u32,
    /// How many of them had failed.
    pub failures: u32,
    /// How often a delivery is let through; the first one so long after it opened.
    pub probe_every: Span,
}

/// Does an attempt with this outcome tell that the endpoint is up (`Some(true)`) or down? None:
/// it tells nothing, since it never came to the endpoint.
pub const fn tells(cause: Option<Cause>) -> Option<bool> {
    match cause {
        None => Some(true),
        Some(
            Cause::Status
            | Cause::Redirect
            | Cause::Gone
            | Cause::Throttled
            | Cause::Dns
            | Cause::AddressRefused
            | Cause::Connect
            | Cause::Tls
            | Cause::Timeout
            | Cause::Reset
            | Cause::BadResponse,
        ) => Some(false),
        Some(
            Cause::Integrity
            | Cause::Expired
            | Cause::Misconfigured
            | Cause::Auth
            | Cause::Exhausted
            | Cause::Lost
            | Cause::Erased
            | Cause::Transform
            | Cause::Format,
        ) => None,
    }
}

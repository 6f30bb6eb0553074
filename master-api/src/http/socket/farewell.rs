//! Why a WebSocket is closed, in the codes of `graphql-transport-ws`.
//!
//! Source: the protocol's text (github.com/enisdenjo/graphql-ws, PROTOCOL.md); 1013 and 3008 are
//! IANA's.

use axum::extract::ws::CloseFrame;

/// The longest reason: a control frame has 125 bytes (RFC 6455, 5.5), two of them for the code.
const REASON_BYTES_MAX: usize = 123;

/// A code and a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Farewell {
    code: u16,
    reason: String,
}

impl Farewell {
    fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// What came is no message of the protocol.
    pub(super) fn invalid(reason: impl Into<String>) -> Self {
        Self::new(4400, reason)
    }

    /// A question before the connection was acknowledged.
    pub(super) fn unauthorized() -> Self {
        Self::new(4401, "Unauthorized")
    }

    /// The first message names nobody who is known.
    pub(super) fn forbidden(reason: impl Into<String>) -> Self {
        Self::new(4403, reason)
    }

    /// The client speaks something else.
    pub(super) fn other_protocol() -> Self {
        Self::new(4406, "Subprotocol not acceptable")
    }

    /// There was no first message in time.
    pub(super) fn late() -> Self {
        Self::new(4408, "Connection initialisation timeout")
    }

    /// A question with the id of one that is being answered.
    pub(super) fn duplicate(id: &str) -> Self {
        Self::new(4409, format!("Subscriber for {id} already exists"))
    }

    /// It cannot be told now who asks.
    pub(super) fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(1013, reason)
    }

    /// Nothing was heard of the client.
    pub(super) fn silent() -> Self {
        Self::new(3008, "timeout")
    }

    /// What the library closes with: in its own codes, where it has no other of the protocol's.
    pub(super) fn of_library(code: u16, reason: String) -> Self {
        match code {
            1002 => Self::invalid(reason),
            1011 => Self::unauthorized(),
            _ => Self::new(code, reason),
        }
    }
}

impl From<Farewell> for CloseFrame {
    fn from(Farewell { code, mut reason }: Farewell) -> Self {
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        Self { code, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_its_frame_and_stays_text() {
        let frame = CloseFrame::from(Farewell::duplicate(&"ä".repeat(200)));
        assert_eq!(frame.code, 4409);
        assert!(frame.reason.starts_with("Subscriber for ä"), "{}", frame.reason);
        assert!((122..=123).contains(&frame.reason.len()), "{}", frame.reason.len());
        assert_eq!(CloseFrame::from(Farewell::late()).reason, "Connection initialisation timeout");
    }

    #[test]
    fn the_codes_of_the_library_become_those_of_the_protocol() {
        for (its, ours) in [(1002, 4400), (1011, 4401), (4429, 4429)] {
            assert_eq!(Farewell::of_library(its, String::new()).code, ours);
        }
    }
}

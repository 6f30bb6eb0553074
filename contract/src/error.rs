//! One error for all ports: a stable code for the machine, a text for the person.

use crate::schema::Violation;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Result of every port.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in terms that a caller may see. Details for operators go to the log instead.
#[derive(Debug, Clone, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Error {
    /// Stable code.
    pub code: ErrorCode,
    /// One sentence for a person: what was found and what is allowed.
    pub message: String,
    /// Each field that broke a contract; empty for other codes.
    pub violations: Vec<Violation>,
    /// When to try again, for codes that pass.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// An error with `code` and a sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), violations: Vec::new(), retry_after: None }
    }

    /// The same error with a hint when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// A payload that breaks its contract.
    pub fn violations(message: impl Into<String>, violations: Vec<Violation>) -> Self {
        Self { violations, ..Self::new(ErrorCode::ContractViolation, message) }
    }

    /// A failure of our own; `message` must not carry secrets or payloads.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::Internal, message.to_string())
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident, $text:literal, $http:literal, $grpc:literal;)*) => {
        /// The one table of error codes: name, HTTP status (RFC 9110) and gRPC code number.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// All codes, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// The stable name, as in `problem+json`, gRPC details and GraphQL `extensions.code`.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$name => $text,)* } }
            /// HTTP status.
            pub const fn http_status(self) -> u16 { match self { $(Self::$name => $http,)* } }
            /// gRPC status code number (grpc.io, "Status codes").
            pub const fn grpc_code(self) -> i32 { match self { $(Self::$name => $grpc,)* } }
        }
    };
}

codes! {
    /// The event URI cannot be parsed.
    InvalidEventUri, "invalid_event_uri", 400, 3;
    /// The request is malformed in another way.
    InvalidRequest, "invalid_request", 400, 3;
    /// The signature is missing or wrong.
    InvalidSignature, "invalid_signature", 401, 16;
    /// No key, or one that is unknown, expired or revoked.
    Unauthenticated, "unauthenticated", 401, 16;
    /// The key's roles do not allow it.
    PermissionDenied, "permission_denied", 403, 7;
    /// No source of that name.
    UnknownSource, "unknown_source", 404, 5;
    /// No schema for that event URI.
    UnknownEventType, "unknown_event_type", 404, 5;
    /// No such object.
    NotFound, "not_found", 404, 5;
    /// The method is not allowed on this route.
    MethodNotAllowed, "method_not_allowed", 405, 12;
    /// The caller was too slow to send its request.
    RequestTimeout, "request_timeout", 408, 4;
    /// The same idempotency key came with another body.
    IdempotencyConflict, "idempotency_conflict", 409, 6;
    /// The object was changed or exists already.
    Conflict, "conflict", 409, 6;
    /// The rules by which an event was matched are no longer in force: match again.
    StaleRules, "stale_rules", 409, 10;
    /// The body is larger than allowed.
    BodyTooLarge, "body_too_large", 413, 8;
    /// The content type cannot be read.
    UnsupportedMediaType, "unsupported_media_type", 415, 3;
    /// The payload is not valid JSON or protobuf.
    MalformedPayload, "malformed_payload", 422, 3;
    /// The payload breaks its contract; see the violations.
    ContractViolation, "contract_violation", 422, 3;
    /// A definition (schema, subscription, source, manifest) is not acceptable.
    InvalidDefinition, "invalid_definition", 422, 3;
    /// The event has passed through too many servers.
    TooManyHops, "too_many_hops", 422, 9;
    /// A rate limit was reached.
    RateLimited, "rate_limited", 429, 8;
    /// A failure of our own.
    Internal, "internal", 500, 13;
    /// Not able to take more now; try again.
    Unavailable, "unavailable", 503, 14;
    /// A part did not answer in time.
    DeadlineExceeded, "deadline_exceeded", 504, 4;
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for ErrorCode {
    type Err = ();
    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_name() {
        for code in ErrorCode::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
            assert!((400..600).contains(&code.http_status()));
        }
    }
}

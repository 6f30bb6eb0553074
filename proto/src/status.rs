//! The one place between the contract's errors and gRPC statuses.
//!
//! An error's code number and text are the status'; the rest is in the details, a
//! `google.rpc.Status`: `ErrorInfo` with the stable code as its reason, `RetryInfo` with the hint
//! when to try again, and for broken contracts `BadRequest`, which every client library knows,
//! beside `certes.v1.Violations`, which has all of it. There and back loses nothing.

use crate::{
    convert::{duration, duration_from},
    v1,
};
use contract::{Error, ErrorCode};
use prost::{Message, bytes::Bytes};
use prost_types::Any;
use std::{error::Error as _, time::Duration};
use tonic::{Code, ConnectError, Status};
use tonic_types::pb;

/// `ErrorInfo.domain` of all our errors.
pub const DOMAIN: &str = "certes";

/// Trailers that every client takes: several libraries refuse more than 8 KiB of them by default.
/// Base64 makes 4 bytes of 3, and the text may be escaped.
const PUBLIC_DETAILS_BYTES_MAX: usize = 4 * 1024;
/// Longest text of a public error.
const PUBLIC_MESSAGE_BYTES_MAX: usize = 1024;

const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
const VIOLATIONS: &str = "type.googleapis.com/certes.v1.Violations";

/// The status of an error, with all of it.
pub fn status(error: &Error) -> Status {
    with_details(error, 0)
}

/// The status of an error for a client that is not ours: cut to what every library takes, and
/// without the text of a failure of our own, which goes to the log.
pub fn public_status(error: Error) -> Status {
    let mut error = error;
    if error.code == ErrorCode::Internal {
        tracing::error!(error = %error.message, "a call failed");
        error.message = "a failure of the server; its log says more".to_owned();
    }
    if error.message.len() > PUBLIC_MESSAGE_BYTES_MAX {
        let end = error.message.floor_char_boundary(PUBLIC_MESSAGE_BYTES_MAX);
        error.message.truncate(end);
        error.message.push('…');
    }
    let mut left_out = 0;
    loop {
        let status = with_details(&error, left_out);
        if status.details().len() <= PUBLIC_DETAILS_BYTES_MAX || error.violations.pop().is_none() {
            return status;
        }
        left_out += 1;
    }
}

/// The error that a status stands for.
pub fn error(status: &Status) -> Error {
    let details = pb::Status::decode(status.details()).unwrap_or_default().details;
    let code = detail::<pb::ErrorInfo>(&details, ERROR_INFO)
        .filter(|info| info.domain == DOMAIN)
        .and_then(|info| info.reason.parse().ok());
    let retry_after = detail::<pb::RetryInfo>(&details, RETRY_INFO)
        .and_then(|info| info.retry_delay)
        .and_then(|delay| duration_from(delay).ok());
    let violations = detail::<v1::Violations>(&details, VIOLATIONS).unwrap_or_default().violations;
    Error {
        code: code.unwrap_or_else(|| code_without_details(status)),
        message: status.message().to_owned(),
        violations: violations.into_iter().map(Into::into).collect(),
        retry_after,
    }
}

/// Did the call fail before anything was sent, because no connection could be made?
pub fn never_sent(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

fn with_details(error: &Error, left_out: u32) -> Status {
    let code = error.code.grpc_code();
    let mut details = vec![any(
        ERROR_INFO,
        &pb::ErrorInfo {
            reason: error.code.as_str().to_owned(),
            domain: DOMAIN.to_owned(),
            ..pb::ErrorInfo::default()
        },
    )];
    if let Some(after) = error.retry_after {
        details.push(retry_info(after));
    }
    if !error.violations.is_empty() || left_out > 0 {
        details.extend(violations(error, left_out));
    }
    let details = pb::Status { code, message: error.message.clone(), details }.encode_to_vec();
    Status::with_details(Code::from_i32(code), error.message.clone(), Bytes::from(details))
}

fn retry_info(after: Duration) -> Any {
    any(RETRY_INFO, &pb::RetryInfo { retry_delay: Some(duration(after)) })
}

fn violations(error: &Error, left_out: u32) -> [Any; 2] {
    let field = |violation: &contract::schema::Violation| pb::bad_request::FieldViolation {
        field: violation.path.clone(),
        description: format!("expected {}, found {}", violation.expected, violation.found),
        ..Default::default()
    };
    let field_violations = error.violations.iter().map(field).collect();
    let violations = error.violations.iter().cloned().map(Into::into).collect();
    [
        any(BAD_REQUEST, &pb::BadRequest { field_violations }),
        any(VIOLATIONS, &v1::Violations { violations, left_out }),
    ]
}

fn any(type_url: &str, message: &impl Message) -> Any {
    Any { type_url: type_url.to_owned(), value: message.encode_to_vec() }
}

fn detail<M: Message + Default>(details: &[Any], type_url: &str) -> Option<M> {
    let found = details.iter().find(|detail| detail.type_url == type_url)?;
    M::decode(found.value.as_slice()).ok()
}

/// For statuses that tonic, a proxy or a server of another kind made.
fn code_without_details(status: &Status) -> ErrorCode {
    match status.code() {
        Code::InvalidArgument | Code::FailedPrecondition => ErrorCode::InvalidRequest,
        Code::DeadlineExceeded | Code::Cancelled => ErrorCode::DeadlineExceeded,
        Code::NotFound => ErrorCode::NotFound,
        Code::AlreadyExists | Code::Aborted => ErrorCode::Conflict,
        Code::PermissionDenied => ErrorCode::PermissionDenied,
        Code::Unauthenticated => ErrorCode::Unauthenticated,
        Code::ResourceExhausted => ErrorCode::RateLimited,
        // tonic's word for a message over the limit.
        Code::OutOfRange => ErrorCode::BodyTooLarge,
        Code::Unimplemented => ErrorCode::MethodNotAllowed,
        Code::Unavailable => ErrorCode::Unavailable,
        // A connection that broke before the answer.
        Code::Unknown if status.source().is_some() => ErrorCode::Unavailable,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => ErrorCode::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::schema::Violation;

    fn violation(at: usize) -> Violation {
        Violation {
            path: format!("commits[{at}].author"),
            expected: "a string".into(),
            found: "3 \u{1F980}".into(),
            rule: "type".into(),
        }
    }

    #[test]
    fn every_code_goes_there_and_back() {
        for code in ErrorCode::ALL {
            let plain = Error::new(*code, "what was found, and what is allowed: ü\n");
            let there = status(&plain);
            assert_eq!(there.code() as i32, code.grpc_code());
            assert_eq!(error(&there), plain);
            let full = Error {
                violations: (0..100).map(violation).collect(),
                retry_after: Some(Duration::new(3, 5)),
                ..plain
            };
            assert_eq!(error(&status(&full)), full);
        }
    }

    #[test]
    fn what_the_public_gets_fits_into_trailers() {
        let violations: Vec<_> = (0..100).map(violation).collect();
        let long = Error::violations("ä".repeat(5000), violations.clone());
        let there = public_status(long);
        assert!(there.details().len() <= PUBLIC_DETAILS_BYTES_MAX);
        assert!(there.message().len() < PUBLIC_MESSAGE_BYTES_MAX + 8);
        let back = error(&there);
        assert_eq!(back.code, ErrorCode::ContractViolation);
        assert!(back.violations.len() > 5);
        assert_eq!(back.violations[..], violations[..back.violations.len()]);

        let short = Error::violations("short", violations[..2].to_vec());
        assert_eq!(error(&public_status(short.clone())), short);
    }

    #[test]
    fn our_own_failures_are_not_told_to_the_public() {
        let there = public_status(Error::internal("disk /dev/sda1 is on fire"));
        assert_eq!(there.code(), Code::Internal);
        assert!(!there.message().contains("sda1"));
    }

    #[test]
    fn statuses_of_others_become_errors() {
        assert_eq!(error(&Status::unavailable("x")).code, ErrorCode::Unavailable);
        assert_eq!(error(&Status::deadline_exceeded("x")).code, ErrorCode::DeadlineExceeded);
        assert_eq!(error(&Status::unimplemented("x")).code, ErrorCode::MethodNotAllowed);
        assert_eq!(error(&Status::unknown("x")).code, ErrorCode::Internal);
        let garbage = Status::with_details(Code::NotFound, "x", Bytes::from_static(b"\xFF\xFF"));
        assert_eq!(error(&garbage).code, ErrorCode::NotFound);
    }
}

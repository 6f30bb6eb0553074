//! What became of an attempt, and which cause a status or an error is.

use contract::{delivery::Cause, exchange::ExchangeRecord};
use egress::DialError;
use http::StatusCode;
use std::{error::Error, io, time::Duration};

/// Longest sentence that is kept with an attempt, in characters.
const SENTENCE_MAX: usize = 300;

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    pub(crate) duration: Duration,
    pub(crate) status: Option<u16>,
    /// None: it was delivered.
    pub(crate) failure: Option<Failure>,
    /// The address that was dialled.
    pub(crate) address: Option<String>,
    /// What went over the wire; None: nothing did, or it is not to be kept.
    pub(crate) exchange: Option<Box<ExchangeRecord>>,
    /// How long the endpoint wants to be left alone.
    pub(crate) retry_after: Option<Duration>,
    /// When a receiver wants it again, in the place of what the back-off says.
    pub(crate) retry_in: Option<Duration>,
}

/// Why an attempt did not deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    /// A sentence for a person.
    pub(crate) sentence: String,
}

impl Failure {
    /// A failure; a sentence that is too long is cut.
    pub(crate) fn new(cause: Cause, sentence: impl AsRef<str>) -> Self {
        Self { cause, sentence: sentence.as_ref().chars().take(SENTENCE_MAX).collect() }
    }
}

impl Failure {
    /// Did it end before there was a connection?
    pub(crate) const fn is_of_dialling(&self) -> bool {
        matches!(self.cause, Cause::Dns | Cause::AddressRefused | Cause::Connect | Cause::Tls)
    }
}

impl Outcome {
    /// An attempt that ended before anything was sent.
    pub(crate) fn unsent(failure: Failure) -> Self {
        Self { failure: Some(failure), ..Self::default() }
    }
}

/// The failure that a status is; None for 2xx.
pub(crate) fn of_status(status: StatusCode) -> Option<Failure> {
    let (cause, meaning) = match status {
        _ if status.is_success() => return None,
        StatusCode::GONE => (Cause::Gone, ": it wants no more deliveries"),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            (Cause::Throttled, ": it asks for patience")
        }
        _ if status.is_redirection() => (Cause::Redirect, ": redirects are not followed"),
        _ => (Cause::Status, ""),
    };
    Some(Failure::new(cause, format!("the endpoint answered {}{meaning}", status.as_u16())))
}

/// The failure that an error of the HTTP client is, and the address if the error knows it.
pub(crate) fn of_error(error: &(dyn Error + 'static), connected: bool) -> Failure {
    if let Some(dial) = find::<DialError>(error) {
        return Failure::new(of_dial(dial), dial.to_string());
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        return Failure::new(Cause::Tls, format!("TLS failed: {tls}"));
    }
    // The dialler's errors are known by now: what is left of connecting is the TLS handshake.
    if !connected {
        return Failure::new(Cause::Tls, format!("TLS failed: {}", innermost(error)));
    }
    match find::<hyper::Error>(error) {
        Some(parse) if parse.is_parse_too_large() => {
            Failure::new(Cause::BadResponse, "the head of the answer is too large")
        }
        Some(parse) if parse.is_parse() => {
            Failure::new(Cause::BadResponse, format!("the answer is no HTTP: {parse}"))
        }
        // What hyper says of chunks that are none.
        _ if is_malformed(error) => {
            let why = format!("the answer is no HTTP: {}", innermost(error));
            Failure::new(Cause::BadResponse, why)
        }
        _ => {
            let why = format!("the connection broke before the answer: {}", innermost(error));
            Failure::new(Cause::Reset, why)
        }
    }
}

fn is_malformed(error: &(dyn Error + 'static)) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput};
    find::<io::Error>(error).is_some_and(|io| matches!(io.kind(), InvalidData | InvalidInput))
}

/// The cause of a connection that did not come to be.
const fn of_dial(error: &DialError) -> Cause {
    match error {
        DialError::NoHost => Cause::Misconfigured,
        // Never recorded: who finds this has made no attempt.
        DialError::Full => Cause::Connect,
        DialError::Dns { .. } => Cause::Dns,
        DialError::Refused { .. } => Cause::AddressRefused,
        DialError::Failed { .. } => Cause::Connect,
        DialError::Slow { .. } => Cause::Timeout,
    }
}

/// The first error of type `T` in the chain of causes, also inside of I/O errors.
pub(crate) fn find<'a, T: Error + 'static>(mut error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    loop {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        error = cause_of(error)?;
    }
}

fn innermost<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(cause) = cause_of(error) {
        error = cause;
    }
    error
}

/// An I/O error's own `source` skips the error that it wraps.
fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_its_cause() {
        let cause = |status| of_status(StatusCode::from_u16(status).unwrap()).map(|f| f.cause);
        for status in [200, 201, 202, 204, 299] {
            assert_eq!(cause(status), None);
        }
        for status in [300, 301, 302, 303, 304, 307, 308, 399] {
            assert_eq!(cause(status), Some(Cause::Redirect));
        }
        for status in [101, 400, 401, 403, 404, 408, 500, 502, 504, 599, 999] {
            assert_eq!(cause(status), Some(Cause::Status));
        }
        assert_eq!(cause(410), Some(Cause::Gone));
        assert_eq!(cause(429), Some(Cause::Throttled));
        assert_eq!(cause(503), Some(Cause::Throttled));
    }

    #[test]
    fn a_wrapped_tls_error_is_found() {
        let tls = io::Error::other(io::Error::other(rustls::Error::DecryptError));
        assert_eq!(of_error(&tls, false).cause, Cause::Tls);
        let eof = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
        assert_eq!(of_error(&eof, false).cause, Cause::Tls);
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(of_error(&reset, true).cause, Cause::Reset);
    }

    #[test]
    fn sentences_are_bounded() {
        assert_eq!(Failure::new(Cause::Dns, "x".repeat(1000)).sentence.len(), SENTENCE_MAX);
    }
}

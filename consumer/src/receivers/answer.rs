//! What a receiver's answer means, in the words of an endpoint's. Pure.

use crate::outcome::{self, Failure, Outcome};
use contract::{delivery::Cause, pull::Answer};
use http::StatusCode;
use std::time::Duration;

/// How a delivery left a receiver's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// It answered.
    Answered(Answer),
    /// Its lease ended before.
    Expired,
    /// It went away.
    Gone,
}

/// The outcome of an attempt that ended so, `duration` after it began.
pub(super) fn outcome(end: End, duration: Duration) -> Outcome {
    let failed = |failure| Outcome { duration, failure: Some(failure), ..Outcome::default() };
    match end {
        End::Answered(Answer::Ack { status }) => Outcome { duration, status, ..Outcome::default() },
        End::Answered(Answer::Nack { status, delay, reason }) => {
            Outcome { status, retry_in: delay, ..failed(refusal(status, &reason)) }
        }
        End::Expired => {
            let why = format!("the receiver did not answer within {:.1} s", duration.as_secs_f64());
            failed(Failure::new(Cause::Timeout, why))
        }
        End::Gone => {
            failed(Failure::new(Cause::Reset, "the receiver went away before it answered"))
        }
    }
}

fn refusal(status: Option<u16>, reason: &str) -> Failure {
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let failure = status
        .and_then(outcome::of_status)
        .unwrap_or_else(|| Failure::new(Cause::Status, "the receiver did not take it"));
    match reason.trim() {
        "" => failure,
        reason => Failure::new(failure.cause, format!("{}: {reason}", failure.sentence)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(1500);

    fn cause(status: Option<u16>) -> (Cause, Option<u16>) {
        let nack = Answer::Nack { status, delay: None, reason: String::new() };
        let outcome = outcome(End::Answered(nack), TOOK);
        (outcome.failure.unwrap().cause, outcome.status)
    }

    #[test]
    fn a_status_means_what_it_means_in_an_answer_over_http() {
        assert_eq!(cause(Some(410)), (Cause::Gone, Some(410)));
        assert_eq!(cause(Some(503)), (Cause::Throttled, Some(503)));
        assert_eq!(cause(Some(302)), (Cause::Redirect, Some(302)));
        // Whoever says no means it, whatever the status.
        assert_eq!(cause(Some(200)), (Cause::Status, Some(200)));
        assert_eq!(cause(Some(0)), (Cause::Status, Some(0)));
        assert_eq!(cause(None), (Cause::Status, None));
    }

    #[test]
    fn how_it_ended_is_said() {
        let ack = outcome(End::Answered(Answer::Ack { status: Some(204) }), TOOK);
        assert_eq!((ack.failure, ack.status, ack.duration), (None, Some(204), TOOK));
        let reason = "database is locked".to_owned();
        let delay = Some(Duration::from_secs(7));
        let nack = outcome(End::Answered(Answer::Nack { status: None, delay, reason }), TOOK);
        assert_eq!(nack.retry_in, delay);
        assert_eq!(
            nack.failure.unwrap().sentence,
            "the receiver did not take it: database is locked"
        );
        let expired = outcome(End::Expired, TOOK).failure.unwrap();
        assert_eq!(expired.cause, Cause::Timeout);
        assert!(expired.sentence.ends_with("within 1.5 s"), "{}", expired.sentence);
        assert_eq!(outcome(End::Gone, TOOK).failure.unwrap().cause, Cause::Reset);
    }
}

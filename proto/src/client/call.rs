//! One call: its deadline, and when it is made again.

use super::Peers;
use crate::{
    convert::Malformed,
    door::actor_metadata,
    status::{error, never_sent},
};
use backon::{ExponentialBuilder, Retryable};
use contract::{Error, ErrorCode, Result, access::Actor};
use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

/// What is special about a call.
#[derive(Default)]
pub(super) struct Call {
    /// Making it twice is the same as making it once.
    repeatable: bool,
    /// How long the other side is asked to wait, on top of the deadline.
    wait: Duration,
    /// For whom it is made.
    actor: Option<Actor>,
}

impl Call {
    /// A call that must not be made twice.
    pub(super) fn once() -> Self {
        Self::default()
    }

    /// A call that may be made again when it is not known what became of it.
    pub(super) fn repeatable() -> Self {
        Self { repeatable: true, ..Self::default() }
    }

    /// The same if `repeatable`.
    pub(super) fn repeatable_if(repeatable: bool) -> Self {
        Self { repeatable, ..Self::default() }
    }

    /// A call of which the answer may take `wait`.
    pub(super) fn waiting(wait: Duration) -> Self {
        Self { wait, ..Self::default() }
    }

    /// A call that changes something in the name of `actor`.
    pub(super) fn acting(actor: Actor) -> Self {
        Self { actor: Some(actor), ..Self::default() }
    }

    /// The same, of which the answer may take `wait`.
    pub(super) fn patient(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// The same, which may be made again when it is not known what became of it.
    pub(super) fn again(self) -> Self {
        Self { repeatable: true, ..self }
    }
}

/// Why a call failed, and whether another try could help.
struct Failure {
    error: Error,
    again: bool,
    /// Nobody answered.
    silent: bool,
}

impl Peers {
    /// Makes a call by `send`, within its deadline, and again as [`Call`] and the budget allow.
    pub(super) async fn call<M, R, F, Sent>(&self, call: Call, message: M, send: F) -> Result<R>
    where
        M: Clone,
        F: Fn(Request<M>) -> Sent,
        Sent: Future<Output = Result<Response<R>, Status>>,
    {
        let until = Instant::now() + self.config.deadline.0 + call.wait;
        self.budget.earn();
        let attempt = async || {
            let request = request(&call, message.clone(), until)?;
            match timeout_at(until, send(request)).await {
                Ok(Ok(response)) => Ok(response.into_inner()),
                Ok(Err(status)) => Err(call.failure(&status)),
                Err(_elapsed) => {
                    let message = "no answer in time";
                    let error = Error::new(ErrorCode::DeadlineExceeded, message);
                    Err(Failure { error, again: false, silent: true })
                }
            }
        };
        let schedule = ExponentialBuilder::default()
            .with_min_delay(self.config.retry_delay.0)
            .with_max_times(self.config.retries_max)
            .with_jitter();
        let attempts = (|| attempt()).retry(schedule).sleep(tokio::time::sleep);
        let outcome = attempts.when(|failure| failure.again && self.budget.spend()).await;
        outcome.map_err(|failure| self.explain(failure))
    }

    fn explain(&self, Failure { error, silent, .. }: Failure) -> Error {
        match &self.name {
            Some(name) if silent => {
                let message = format!("{name} cannot be reached: {}", error.message);
                Error { message, ..error }
            }
            _ => error,
        }
    }
}

fn request<M>(call: &Call, message: M, until: Instant) -> Result<Request<M>, Failure> {
    let mut request = Request::new(message);
    request.set_timeout(until.saturating_duration_since(Instant::now()));
    if let Some(actor) = &call.actor {
        let refuse = |error| Failure { error, again: false, silent: false };
        let (name, value) = actor_metadata(actor).map_err(refuse)?;
        request.metadata_mut().insert(name, value);
    }
    Ok(request)
}

impl Call {
    fn failure(&self, status: &Status) -> Failure {
        let error = error(status);
        // A peer that says when to come back has been reached, and is not helped by haste.
        let passing = error.code == ErrorCode::Unavailable && error.retry_after.is_none();
        let again = never_sent(status) || (self.repeatable && passing);
        // A status that came over the wire has no source.
        let silent = std::error::Error::source(status).is_some();
        Failure { error, again, silent }
    }
}

/// A peer's answer that cannot be read is a failure of our own.
#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
pub(super) fn unreadable(malformed: Malformed) -> Error {
    Error::internal(format!("the answer of a peer: {malformed}"))
}

/// Retries that may be made: each call earns a tenth of one, so that a part that is down does not
/// get several times its load while it comes back.
pub(super) struct Budget(AtomicU32);

const EARNED_BY_CALL: u32 = 1;
const COST_OF_RETRY: u32 = 10;
const SAVED_MAX: u32 = 1000;

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU32::new(SAVED_MAX / 2))
    }
}

impl Budget {
    fn earn(&self) {
        let earned = |saved: u32| Some((saved + EARNED_BY_CALL).min(SAVED_MAX));
        self.change(earned);
    }

    fn spend(&self) -> bool {
        self.change(|saved| saved.checked_sub(COST_OF_RETRY))
    }

    fn change(&self, change: impl FnMut(u32) -> Option<u32>) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_bounds_retries_to_a_tenth_of_the_calls() {
        let budget = Budget::default();
        while budget.spend() {}
        for _ in 0..100 {
            budget.earn();
        }
        let retries = (0..100).filter(|_| budget.spend()).count();
        assert_eq!(retries, 10);
    }
}

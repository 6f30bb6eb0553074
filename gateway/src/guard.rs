//! What guards every route: a bound on requests in work, and a net under panics.

use crate::{metrics::Metrics, respond};
use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use contract::{Error, ErrorCode};
use futures_util::FutureExt;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Bounds the requests in work: what exceeds the bound is refused at once, before it costs memory.
#[derive(Debug, Clone)]
pub(crate) struct Shedder {
    slots: Arc<Semaphore>,
    retry_after: Duration,
    metrics: Metrics,
}

impl Shedder {
    pub(crate) fn new(requests_max: usize, retry_after: Duration, metrics: Metrics) -> Self {
        let slots = requests_max.min(Semaphore::MAX_PERMITS);
        Self { slots: Arc::new(Semaphore::new(slots)), retry_after, metrics }
    }
}

/// Middleware: 503 with `Retry-After` when all slots are taken.
pub(crate) async fn shed(State(shedder): State<Shedder>, request: Request, next: Next) -> Response {
    match shedder.slots.try_acquire() {
        Ok(_slot) => next.run(request).await,
        Err(_) => {
            shedder.metrics.shed();
            let error = Error::new(ErrorCode::Unavailable, "too many requests are in work");
            respond::problem(&error.retry_after(shedder.retry_after))
        }
    }
}

/// Middleware: a panic in a handler is a failure of this one request, and says nothing to the
/// client.
pub(crate) async fn catch_panic(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().copied();
            let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let text = text.unwrap_or("no text");
            respond::problem(&Error::internal(format!("a handler panicked: {text}")))
        }
    }
}

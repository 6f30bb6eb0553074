//! Every wait for another part has an end.

use contract::{Error, ErrorCode, Result};
use std::{future::Future, time::Duration};

/// The answer of `port`, or `deadline_exceeded` after `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    port: &str,
    answer: impl Future<Output = Result<T>> + Send,
) -> Result<T> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer,
        Err(_elapsed) => {
            Err(Error::new(ErrorCode::DeadlineExceeded, format!("{port} did not answer in time")))
        }
    }
}

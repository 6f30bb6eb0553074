//! Waiting for what must become true.

use std::{future::Future, time::Duration};

/// How long anything may take before a story fails.
const DEADLINE: Duration = Duration::from_secs(30);
/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks again and again until `probe` gives a value; fails, naming `what`, at the deadline.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut probe: impl FnMut() -> F,
) -> T {
    let looking = async {
        let mut interval = tokio::time::interval(INTERVAL);
        loop {
            interval.tick().await;
            if let Some(value) = probe().await {
                return value;
            }
        }
    };
    match tokio::time::timeout(DEADLINE, looking).await {
        Ok(value) => value,
        Err(_elapsed) => {
            #[expect(clippy::panic, reason = "this is how a story fails")]
            {
                panic!("within {DEADLINE:?} it did not happen that {what}")
            }
        }
    }
}

//! Is the schema registry there? Asked by a gateway without a broker beside it, which would know.

use contract::registry::SchemaRegistry;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

/// What was found last.
#[derive(Debug, Default)]
pub(super) struct RegistryWatch(Mutex<Option<String>>);

impl RegistryWatch {
    /// Asks at once and then `every` so often, until `stop`.
    pub(super) async fn run(
        &self,
        registry: &dyn SchemaRegistry,
        (every, patience): (Duration, Duration),
        stop: CancellationToken,
    ) {
        let mut ticks = interval(every);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let Some(answer) = stop.run_until_cancelled(timeout(patience, registry.ping())).await
            else {
                break;
            };
            let failure = match answer {
                Ok(answer) => answer.err().map(|error| error.message),
                Err(_elapsed) => Some("it did not answer in time".to_owned()),
            };
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        }
    }

    /// What operators should know. Empty: it answered.
    pub(super) fn warnings(&self) -> Vec<String> {
        let failure = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failure.into_iter().map(|text| format!("the schema registry: {text}")).collect()
    }
}

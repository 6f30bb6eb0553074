//! The port [`Retention`].

use super::failed;
use crate::service::MasterApi;
use async_trait::async_trait;
use contract::{
    Error, Result,
    access::Actor,
    retention::{Erased, ErasureTarget, Retained, Retention, RetentionPlan},
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// How long a caller waits for something that may take long; it goes on all the same.
const PATIENCE: Duration = Duration::from_secs(20);

#[async_trait]
impl Retention for MasterApi {
    async fn retention_plan(&self) -> Result<RetentionPlan> {
        let retention = Arc::clone(&self.threads.retention);
        let plan = tokio::task::spawn_blocking(move || retention.plan()).await;
        plan.map_err(Error::internal)?.map_err(|error| failed(&error))
    }

    async fn run_retention(&self, compact: bool) -> Result<Retained> {
        let retention = Arc::clone(&self.threads.retention);
        let run = tokio::task::spawn_blocking(move || retention.run_once(compact));
        match timeout(PATIENCE, run).await {
            Ok(done) => done.map_err(Error::internal)?,
            Err(_elapsed) => Err(crate::shared::unavailable("retention goes on; look at its plan")),
        }
    }

    async fn erase(&self, actor: Actor, target: ErasureTarget) -> Result<Erased> {
        let retention = Arc::clone(&self.threads.retention);
        let erase = tokio::task::spawn_blocking(move || retention.erase(&actor, &target));
        match timeout(PATIENCE, erase).await {
            Ok(done) => done.map_err(Error::internal)?,
            Err(_elapsed) => Ok(Erased::default()),
        }
    }
}

//! The log, to be looked through and followed; and the cursors of followers, for peers.

use crate::{
    door::Door,
    v1::{self, internal},
};
use contract::{Result, id::Sequence, log::LogQuery, master_api::MasterApi};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Serves `certes.v1.LogService` and `certes.v1.internal.Followers`.
pub(super) struct Service {
    pub(super) door: Door,
    pub(super) log: Arc<dyn MasterApi>,
    /// Ends what waits for facts.
    pub(super) stop: CancellationToken,
}

#[tonic::async_trait]
impl v1::log_service_server::LogService for Service {
    async fn list(
        &self,
        request: Request<v1::ListFactsRequest>,
    ) -> Result<Response<v1::ListFactsResponse>, Status> {
        let work = async {
            let query = LogQuery::try_from(request.into_inner())?;
            let patient = self.log.facts(query.clone());
            let page = match self.stop.run_until_cancelled(patient).await {
                Some(page) => page?,
                None => self.log.facts(LogQuery { wait: Duration::ZERO, ..query }).await?,
            };
            Ok(page.into())
        };
        self.door.serve(work).await
    }

    async fn get_head(
        &self,
        _request: Request<v1::GetLogHeadRequest>,
    ) -> Result<Response<v1::LogHead>, Status> {
        self.door.serve(async { Ok(self.log.log_head().await?.into()) }).await
    }
}

#[tonic::async_trait]
impl internal::followers_server::Followers for Service {
    async fn get_cursor(
        &self,
        request: Request<internal::GetCursorRequest>,
    ) -> Result<Response<internal::GetCursorResponse>, Status> {
        let work = async {
            let cursor = self.log.cursor(&request.get_ref().follower).await?;
            Ok(internal::GetCursorResponse { cursor: cursor.map(|at| at.0) })
        };
        self.door.serve(work).await
    }

    async fn move_cursor(
        &self,
        request: Request<internal::MoveCursorRequest>,
    ) -> Result<Response<internal::MoveCursorResponse>, Status> {
        let work = async {
            let internal::MoveCursorRequest { follower, to } = request.into_inner();
            self.log.move_cursor(&follower, Sequence(to)).await?;
            Ok(internal::MoveCursorResponse {})
        };
        self.door.serve(work).await
    }
}

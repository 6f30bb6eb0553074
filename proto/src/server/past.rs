//! Questions about the past.

use crate::{
    convert::{into_each, moment_from, optional, parsed, text},
    door::{Caller, Door},
    v1,
};
use contract::{
    access::{Access, Noun},
    master_api::MasterApi,
    past::Subject,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Serves `certes.v1.Past`.
pub(super) struct Service {
    pub(super) door: Door,
    pub(super) past: Arc<dyn MasterApi>,
}

#[tonic::async_trait]
impl v1::past_server::Past for Service {
    async fn why(
        &self,
        request: Request<v1::WhyRequest>,
    ) -> Result<Response<v1::WhyResponse>, Status> {
        let work = async {
            if let Caller::Key(principal, _) = self.door.caller(&request)? {
                // The table asks for the right to see events; this shows subscriptions, too.
                principal.require(Noun::Subscriptions, Access::Read)?;
            }
            let v1::WhyRequest { event, subscription } = request.into_inner();
            let event = parsed(&event, "event")?;
            let subscription = text(subscription, "subscription")?;
            Ok(self.past.why(event, &subscription).await?.into())
        };
        self.door.serve(work).await
    }

    async fn get_state_at(
        &self,
        request: Request<v1::GetStateAtRequest>,
    ) -> Result<Response<v1::ConfigurationAt>, Status> {
        let work = async {
            let time = optional(request.into_inner().time, "time", moment_from)?;
            Ok(self.past.state_at(time).await?.into())
        };
        self.door.serve(work).await
    }

    async fn list_history(
        &self,
        request: Request<v1::ListHistoryRequest>,
    ) -> Result<Response<v1::ListHistoryResponse>, Status> {
        let work = async {
            let subject = Subject::try_from(request.into_inner())?;
            let entries = into_each(self.past.history(&subject).await?);
            Ok(v1::ListHistoryResponse { entries })
        };
        self.door.serve(work).await
    }
}

//! The port [`Past`].

use crate::{past, service::MasterApi};
use async_trait::async_trait;
use contract::{
    Error, ErrorCode, Result,
    clock::Timestamp,
    id::EventId,
    master_api::Events,
    past::{ConfigurationAt, HistoryEntry, Past, Subject, Why},
};

#[async_trait]
impl Past for MasterApi {
    async fn why(&self, id: EventId, subscription: &str) -> Result<Why> {
        let missing = || Error::new(ErrorCode::NotFound, format!("no event `{id}` (any more)"));
        let event = self.event(id).await?.ok_or_else(missing)?;
        let deliveries = self.deliveries_of(id).await?;
        let payload_expired = self.payload(id).await?.is_none();
        let why = past::why::why(self, &event, subscription, &deliveries).await?;
        Ok(Why { payload_expired, ..why })
    }

    async fn state_at(&self, time: Option<Timestamp>) -> Result<ConfigurationAt> {
        past::state_at(self, time).await
    }

    async fn history(&self, subject: &Subject) -> Result<Vec<HistoryEntry>> {
        past::history::history(self, subject).await
    }
}

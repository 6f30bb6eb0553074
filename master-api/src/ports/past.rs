//! The port [`Past`].

use crate::{past, service::MasterApi};
use async_trait::async_trait;
use contract::{
    Error, ErrorCode, Result,
    clock::Timestamp,
    id::EventId,
    master_api::Events,
    past::{ConfigurationAt, HistoryEntry, Past, Subject, Why},
    subscription::Subscription,
};
use std::sync::Arc;

#[async_trait]
impl Past for MasterApi {
    async fn why(&self, id: EventId, subscription: &str) -> Result<Why> {
        let missing = || Error::new(ErrorCode::NotFound, format!("no event `{id}` (any more)"));
        let event = self.event(id).await?.ok_or_else(missing)?;
        let deliveries = self.deliveries_of(id).await?;
        let payload = self.payload(id).await?;
        let number = {
            let state = self.shared.state.load();
            let mut all = state.subscriptions.values();
            let is_it = |found: &Arc<Subscription>| {
                found.spec.name == subscription || found.id.to_string() == subscription
            };
            all.find(|found| is_it(found)).map(|found| found.number)
        };
        let asked = past::why::Asked {
            event: &event,
            payload: payload.as_deref(),
            deliveries: &deliveries,
        };
        past::why::why(self, asked, (subscription, number)).await
    }

    async fn state_at(&self, time: Option<Timestamp>) -> Result<ConfigurationAt> {
        past::state_at(self, time).await
    }

    async fn history(&self, subject: &Subject) -> Result<Vec<HistoryEntry>> {
        past::history::history(self, subject).await
    }
}

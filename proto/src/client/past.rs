//! The past, from those who ask about it.

use super::{
    RemoteMasterApi,
    call::{Call, unreadable},
};
use crate::{
    convert::{each, moment},
    v1::{GetStateAtRequest, ListHistoryRequest, WhyRequest, past_client::PastClient},
};
use async_trait::async_trait;
use contract::{
    Result,
    clock::Timestamp,
    id::EventId,
    past::{ConfigurationAt, HistoryEntry, Past, Subject, Why},
};
use tonic::transport::Channel;

impl RemoteMasterApi {
    fn past_client(&self) -> PastClient<Channel> {
        limited!(PastClient::new(self.peers.channel()))
    }
}

#[async_trait]
impl Past for RemoteMasterApi {
    async fn why(&self, event: EventId, subscription: &str) -> Result<Why> {
        let send = |request| {
            let mut client = self.past_client();
            async move { client.why(request).await }
        };
        let (event, subscription) = (event.to_string(), subscription.to_owned());
        let message = WhyRequest { event, subscription };
        let why = self.peers.call(Call::repeatable(), message, send).await?;
        why.try_into().map_err(unreadable)
    }

    async fn state_at(&self, time: Option<Timestamp>) -> Result<ConfigurationAt> {
        let send = |request| {
            let mut client = self.past_client();
            async move { client.get_state_at(request).await }
        };
        let message = GetStateAtRequest { time: time.map(moment) };
        let state = self.peers.call(Call::repeatable(), message, send).await?;
        state.try_into().map_err(unreadable)
    }

    async fn history(&self, subject: &Subject) -> Result<Vec<HistoryEntry>> {
        let send = |request| {
            let mut client = self.past_client();
            async move { client.list_history(request).await }
        };
        let message = ListHistoryRequest::from(subject.clone());
        let found = self.peers.call(Call::repeatable(), message, send).await?;
        each(found.entries, "entries", HistoryEntry::try_from).map_err(unreadable)
    }
}

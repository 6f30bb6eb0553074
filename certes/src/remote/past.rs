//! Questions about the past.

use super::{Authorised, Remote, noun, nouns, take};
use anyhow::Result;
use contract::{
    clock::Timestamp,
    id::EventId,
    limits::GRPC_MESSAGE_BYTES_MAX,
    past::{ConfigurationAt, HistoryEntry, Subject, Why},
};
use proto::v1::{self, past_client::PastClient};

impl Remote {
    fn past_client(&self) -> PastClient<Authorised> {
        PastClient::new(self.channel.clone()).max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    /// Why an event went to a subscription, or why not.
    pub async fn why(&self, event: EventId, subscription: &str) -> Result<Why> {
        let (event, subscription) = (event.to_string(), subscription.to_owned());
        noun(take(self.past_client().why(v1::WhyRequest { event, subscription }).await)?)
    }

    /// The configuration as it stood at a moment; None: as it stands.
    pub async fn state_at(&self, time: Option<Timestamp>) -> Result<ConfigurationAt> {
        let request = v1::GetStateAtRequest { time: time.map(proto::convert::moment) };
        noun(take(self.past_client().get_state_at(request).await)?)
    }

    /// The facts that touched something, oldest first.
    pub async fn history(&self, subject: &Subject) -> Result<Vec<HistoryEntry>> {
        let request = v1::ListHistoryRequest::from(subject.clone());
        nouns(take(self.past_client().list_history(request).await)?.entries)
    }
}

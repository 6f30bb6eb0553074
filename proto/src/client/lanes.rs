//! The log lane by lane, from a feeder.

use super::{
    RemoteMasterApi,
    call::{Call, unreadable},
};
use crate::{
    convert::{each, moment},
    v1::internal::{
        AdvanceRequest, Cursor, FeedRequest, ListLanesRequest, lanes_client::LanesClient,
    },
};
use async_trait::async_trait;
use contract::{
    Result,
    clock::Timestamp,
    id::{LaneId, Sequence},
    master_api::{FeedPage, LaneStatus, Lanes},
};
use tonic::transport::Channel;

impl RemoteMasterApi {
    fn lanes_client(&self) -> LanesClient<Channel> {
        limited!(LanesClient::new(self.peers.channel()))
    }
}

#[async_trait]
impl Lanes for RemoteMasterApi {
    async fn lanes(&self, until: Timestamp) -> Result<Vec<LaneStatus>> {
        let send = |request| {
            let mut client = self.lanes_client();
            async move { client.list(request).await }
        };
        let message = ListLanesRequest { until: Some(moment(until)) };
        let answer = self.peers.call(Call::repeatable(), message, send).await?;
        each(answer.lanes, "lanes", LaneStatus::try_from).map_err(unreadable)
    }

    async fn feed(
        &self,
        lane: LaneId,
        after: Sequence,
        until: Timestamp,
        limit: u32,
    ) -> Result<FeedPage> {
        let send = |request| {
            let mut client = self.lanes_client();
            async move { client.feed(request).await }
        };
        let (lane, after, until) = (lane.0, after.0, Some(moment(until)));
        let message = FeedRequest { lane, after, until, limit };
        let page = self.peers.call(Call::repeatable(), message, send).await?;
        page.try_into().map_err(unreadable)
    }

    /// Made again if need be: cursors only move forward.
    async fn advance(&self, cursors: Vec<(LaneId, Sequence)>) -> Result<()> {
        let send = |request| {
            let mut client = self.lanes_client();
            async move { client.advance(request).await }
        };
        let cursor = |(lane, at): (LaneId, Sequence)| Cursor { lane: lane.0, sequence: at.0 };
        let message = AdvanceRequest { cursors: cursors.into_iter().map(cursor).collect() };
        self.peers.call(Call::repeatable(), message, send).await.map(drop)
    }
}

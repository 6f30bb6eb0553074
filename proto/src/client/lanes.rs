//! The log lane by lane, from a feeder.

use super::{
    RemoteMasterApi,
    call::{Call, unreadable},
};
use crate::{
    convert::{each, moment},
    v1::internal::{
        AdvanceRequest, Cursor, FeedRequest, LeadRequest, ListLanesRequest, StepDownRequest,
        lanes_client::LanesClient,
    },
};
use async_trait::async_trait;
use contract::{
    Result,
    clock::Timestamp,
    id::{LaneId, Sequence},
    master_api::{FeedPage, Fence, LaneStatus, Lanes},
};
use tonic::transport::Channel;

impl RemoteMasterApi {
    fn lanes_client(&self) -> LanesClient<Channel> {
        limited!(LanesClient::new(self.peers.channel()))
    }
}

#[async_trait]
impl Lanes for RemoteMasterApi {
    async fn lead(&self, feeder: &str) -> Result<Option<Fence>> {
        let send = |request| {
            let mut client = self.lanes_client();
            async move { client.lead(request).await }
        };
        let message = LeadRequest { feeder: feeder.to_owned() };
        let fence = self.peers.call(Call::repeatable(), message, send).await?.fence;
        Ok((fence > 0).then_some(Fence(fence)))
    }

    async fn step_down(&self, feeder: &str) -> Result<()> {
        let send = |request| {
            let mut client = self.lanes_client();
            async move { client.step_down(request).await }
        };
        let message = StepDownRequest { feeder: feeder.to_owned() };
        self.peers.call(Call::repeatable(), message, send).await.map(drop)
    }

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
    async fn advance(&self, fence: Fence, cursors: Vec<(LaneId, Sequence)>) -> Result<()> {
        let send = |request| {
            let mut client = self.lanes_client();
            async move { client.advance(request).await }
        };
        let cursor = |(lane, at): (LaneId, Sequence)| Cursor { lane: lane.0, sequence: at.0 };
        let cursors = cursors.into_iter().map(cursor).collect();
        let message = AdvanceRequest { cursors, fence: fence.0 };
        self.peers.call(Call::repeatable(), message, send).await.map(drop)
    }
}

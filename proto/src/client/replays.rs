//! What is delivered once more, from a gateway.

use super::{
    RemoteMasterApi,
    call::{Call, unreadable},
    events::found,
};
use crate::{
    convert::each,
    v1::{
        CancelReplayRequest, GetReplayRequest, ListReplaysRequest, PreviewReplayRequest,
        StartReplayRequest, replays_client::ReplaysClient,
    },
};
use async_trait::async_trait;
use contract::{
    Result,
    access::Actor,
    id::ReplayId,
    replay::{Replay, ReplayProgress, ReplaySpec, Replays},
};
use std::time::Duration;
use tonic::transport::Channel;

/// How long the other side may take to look through the log, on top of the deadline.
const PATIENCE: Duration = Duration::from_secs(20);

impl RemoteMasterApi {
    fn replays_client(&self) -> ReplaysClient<Channel> {
        limited!(ReplaysClient::new(self.peers.channel()))
    }
}

#[async_trait]
impl Replays for RemoteMasterApi {
    async fn preview_replay(&self, spec: ReplaySpec) -> Result<ReplayProgress> {
        let send = |request| {
            let mut client = self.replays_client();
            async move { client.preview(request).await }
        };
        let message = PreviewReplayRequest { spec: Some(spec.into()) };
        Ok(self.peers.call(Call::waiting(PATIENCE), message, send).await?.into())
    }

    /// Made once: the second time, there would be two.
    async fn start_replay(&self, actor: Actor, spec: ReplaySpec) -> Result<Replay> {
        let send = |request| {
            let mut client = self.replays_client();
            async move { client.start(request).await }
        };
        let message = StartReplayRequest { spec: Some(spec.into()) };
        let replay = self.peers.call(Call::acting(actor), message, send).await?;
        replay.try_into().map_err(unreadable)
    }

    async fn cancel_replay(&self, actor: Actor, id: ReplayId) -> Result<Replay> {
        let send = |request| {
            let mut client = self.replays_client();
            async move { client.cancel(request).await }
        };
        let message = CancelReplayRequest { id: id.to_string() };
        let replay = self.peers.call(Call::acting(actor).again(), message, send).await?;
        replay.try_into().map_err(unreadable)
    }

    async fn replay(&self, id: ReplayId) -> Result<Option<Replay>> {
        let send = |request| {
            let mut client = self.replays_client();
            async move { client.get(request).await }
        };
        let message = GetReplayRequest { id: id.to_string() };
        let replay = found(self.peers.call(Call::repeatable(), message, send).await)?;
        replay.map(TryInto::try_into).transpose().map_err(unreadable)
    }

    async fn replays(&self) -> Result<Vec<Replay>> {
        let send = |request| {
            let mut client = self.replays_client();
            async move { client.list(request).await }
        };
        let answer = self.peers.call(Call::repeatable(), ListReplaysRequest {}, send).await?;
        each(answer.replays, "replays", Replay::try_from).map_err(unreadable)
    }
}

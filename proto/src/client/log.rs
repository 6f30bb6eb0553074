//! The log, from those who look through it or follow it.

use super::{
    RemoteMasterApi,
    call::{Call, unreadable},
};
use crate::v1::{
    GetLogHeadRequest, ListFactsRequest,
    internal::{GetCursorRequest, MoveCursorRequest, followers_client::FollowersClient},
    log_service_client::LogServiceClient,
};
use async_trait::async_trait;
use contract::{
    Result,
    id::Sequence,
    log::{LogHead, LogPage, LogQuery},
    master_api::Log,
};
use tonic::transport::Channel;

impl RemoteMasterApi {
    fn log_client(&self) -> LogServiceClient<Channel> {
        limited!(LogServiceClient::new(self.peers.channel()))
    }

    fn followers_client(&self) -> FollowersClient<Channel> {
        limited!(FollowersClient::new(self.peers.channel()))
    }
}

#[async_trait]
impl Log for RemoteMasterApi {
    async fn facts(&self, query: LogQuery) -> Result<LogPage> {
        let send = |request| {
            let mut client = self.log_client();
            async move { client.list(request).await }
        };
        let call = Call::waiting(query.patience()).again();
        let page = self.peers.call(call, ListFactsRequest::from(query), send).await?;
        page.try_into().map_err(unreadable)
    }

    async fn log_head(&self) -> Result<LogHead> {
        let send = |request| {
            let mut client = self.log_client();
            async move { client.get_head(request).await }
        };
        let head = self.peers.call(Call::repeatable(), GetLogHeadRequest {}, send).await?;
        head.try_into().map_err(unreadable)
    }

    async fn cursor(&self, follower: &str) -> Result<Option<Sequence>> {
        let send = |request| {
            let mut client = self.followers_client();
            async move { client.get_cursor(request).await }
        };
        let message = GetCursorRequest { follower: follower.to_owned() };
        let answer = self.peers.call(Call::repeatable(), message, send).await?;
        Ok(answer.cursor.map(Sequence))
    }

    /// Made again if need be: cursors only move forward.
    async fn move_cursor(&self, follower: &str, to: Sequence) -> Result<()> {
        let send = |request| {
            let mut client = self.followers_client();
            async move { client.move_cursor(request).await }
        };
        let message = MoveCursorRequest { follower: follower.to_owned(), to: to.0 };
        self.peers.call(Call::repeatable(), message, send).await.map(drop)
    }
}

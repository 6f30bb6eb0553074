//! Replays.

use super::{Authorised, Remote, found, noun, nouns, take};
use anyhow::Result;
use contract::{
    id::ReplayId,
    limits::GRPC_MESSAGE_BYTES_MAX,
    replay::{Replay, ReplayProgress, ReplaySpec},
};
use proto::v1::{self, replays_client::ReplaysClient};

impl Remote {
    fn replays_client(&self) -> ReplaysClient<Authorised> {
        ReplaysClient::new(self.channel.clone()).max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    /// What a replay would make.
    pub async fn preview_replay(&self, spec: ReplaySpec) -> Result<ReplayProgress> {
        let request = v1::PreviewReplayRequest { spec: Some(spec.into()) };
        Ok(take(self.replays_client().preview(request).await)?.into())
    }

    /// Starts a replay.
    pub async fn start_replay(&self, spec: ReplaySpec) -> Result<Replay> {
        let request = v1::StartReplayRequest { spec: Some(spec.into()) };
        noun(take(self.replays_client().start(request).await)?)
    }

    /// Ends a replay.
    pub async fn cancel_replay(&self, id: ReplayId) -> Result<Replay> {
        let request = v1::CancelReplayRequest { id: id.to_string() };
        noun(take(self.replays_client().cancel(request).await)?)
    }

    /// A replay.
    pub async fn replay(&self, id: ReplayId) -> Result<Option<Replay>> {
        let request = v1::GetReplayRequest { id: id.to_string() };
        found(self.replays_client().get(request).await)?.map(noun).transpose()
    }

    /// Replays, newest first.
    pub async fn replays(&self) -> Result<Vec<Replay>> {
        nouns(take(self.replays_client().list(v1::ListReplaysRequest {}).await)?.replays)
    }
}

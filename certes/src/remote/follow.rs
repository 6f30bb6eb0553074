//! Events as they are stored, over a stream that may break.

use super::{Authorised, Remote, explain, noun};
use anyhow::Result;
use contract::{
    ErrorCode,
    event::Event,
    id::Sequence,
    limits::GRPC_MESSAGE_BYTES_MAX,
    master_api::{EventFilter, PageRequest},
};
use proto::{
    status,
    v1::{self, live_client::LiveClient},
};
use std::time::Duration;
use tonic::{Status, Streaming};

/// A stream that is silent for so long is broken: the server speaks every 5 s.
const SILENCE_MAX: Duration = Duration::from_secs(20);

impl Remote {
    fn live_client(&self) -> LiveClient<Authorised> {
        LiveClient::new(self.channel.clone()).max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    /// Events as they are stored, after a position; None: from now on. The first message comes at
    /// once and holds none.
    pub async fn follow(&self, filter: EventFilter, after: Option<Sequence>) -> Result<Following> {
        let filter = Some(v1::ListEventsRequest::from((filter, PageRequest::default())));
        let request = v1::FollowEventsRequest { filter, after: after.map(|after| after.0) };
        let opened = self.live_client().follow_events(request).await;
        opened.map(|stream| Following(stream.into_inner())).map_err(|status| lost(&status))
    }
}

/// Events that are followed.
#[derive(Debug)]
pub struct Following(Streaming<v1::FollowedEvent>);

/// What a server tells those who follow it.
#[derive(Debug)]
pub struct Followed {
    /// An event; None: there was none for a while.
    pub event: Option<Event>,
    /// All up to here was told.
    pub position: Sequence,
    /// Facts that were passed over.
    pub passed_over: u64,
}

/// The server went away, or is too busy: it may be asked again.
#[derive(Debug)]
pub struct Lost(pub String);

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Lost {}

impl Following {
    /// The next message; None: the server ended the stream. Errors: [`Lost`] when it may be opened
    /// again.
    pub async fn next(&mut self) -> Result<Option<Followed>> {
        let silent = |_elapsed| Lost("the server has said nothing for too long".to_owned());
        let message = tokio::time::timeout(SILENCE_MAX, self.0.message()).await.map_err(silent)?;
        let Some(message) = message.map_err(|status| lost(&status))? else { return Ok(None) };
        let v1::FollowedEvent { event, position, passed_over } = message;
        let event = event.map(noun).transpose()?;
        Ok(Some(Followed { event, position: Sequence(position), passed_over }))
    }
}

/// A failure of a stream, told apart from a refusal.
pub(super) fn lost(status: &Status) -> anyhow::Error {
    let error = status::error(status);
    let refusals = [
        ErrorCode::Unauthenticated,
        ErrorCode::PermissionDenied,
        ErrorCode::InvalidRequest,
        ErrorCode::MethodNotAllowed,
    ];
    match refusals.contains(&error.code) {
        true => explain(&error),
        false => Lost(explain(&error).to_string()).into(),
    }
}

//! Events as they happen, read from the log at the pace of whoever follows them.

use crate::{
    auth::token,
    convert::message,
    door::{Door, principal},
    status::public_status,
    v1::{self, FollowedEvent},
};
use contract::{
    Error, ErrorCode, Result,
    authenticate::{Authenticate, Holder},
    event::Event,
    follow::Follower,
    id::{EventId, Sequence},
    log::LoggedFact,
    master_api::{EventFilter, MasterApi, PageRequest},
};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Streams of one process at once.
const STREAMS_MAX: usize = 256;
/// Facts that make events.
const KINDS: [&str; 3] = ["event_accepted", "event_quarantined", "quarantine_released"];

/// Serves `certes.v1.Live`.
pub(super) struct Service {
    pub(super) door: Door,
    pub(super) log: Arc<dyn MasterApi>,
    pub(super) who: Arc<dyn Authenticate>,
    /// Ends the streams.
    pub(super) stop: CancellationToken,
    /// Room for streams.
    pub(super) room: Arc<Semaphore>,
}

/// Room for as many streams as one process has.
pub(super) fn room() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(STREAMS_MAX))
}

#[tonic::async_trait]
impl v1::live_server::Live for Service {
    type FollowEventsStream = BoxStream<'static, Result<FollowedEvent, Status>>;

    async fn follow_events(
        &self,
        request: Request<v1::FollowEventsRequest>,
    ) -> Result<Response<Self::FollowEventsStream>, Status> {
        let work = async {
            let room = self.room.clone().try_acquire_owned().map_err(|_full| {
                let text = format!("{STREAMS_MAX} streams are open here already");
                Error::new(ErrorCode::Unavailable, text)
            })?;
            let principal = principal(request.extensions())?;
            let token = token(request.metadata().as_ref())?;
            let v1::FollowEventsRequest { filter, after } = request.into_inner();
            let filter = filter.unwrap_or_default();
            let (wanted, _page): (EventFilter, PageRequest) =
                message(Some(filter), "filter", TryFrom::try_from)?;
            let after = match after {
                Some(after) => Sequence(after),
                None => self.log.log_head().await?.sequence,
            };
            let holder = Holder::new(self.who.clone(), token, principal);
            let reader = Reader {
                log: self.log.clone(),
                follower: Follower::new(self.log.clone(), Some(holder), &KINDS, after),
                stop: self.stop.clone(),
                wanted,
                ready: VecDeque::from([(None, after)]),
                _room: room,
            };
            Ok(stream::unfold(Some(reader), next).boxed())
        };
        self.door.serve(work).await
    }
}

/// Whoever follows.
struct Reader {
    log: Arc<dyn MasterApi>,
    follower: Follower,
    stop: CancellationToken,
    wanted: EventFilter,
    /// Events with their positions; none: all up to the position was looked at.
    ready: VecDeque<(Option<Event>, Sequence)>,
    _room: OwnedSemaphorePermit,
}

type Step = Option<(Result<FollowedEvent, Status>, Option<Reader>)>;

/// The next message; an error is the last.
async fn next(reader: Option<Reader>) -> Step {
    let mut reader = reader?;
    let stop = reader.stop.clone();
    match stop.run_until_cancelled(reader.message()).await? {
        Ok(message) => Some((Ok(message), Some(reader))),
        Err(error) => Some((Err(public_status(error)), None)),
    }
}

impl Reader {
    async fn message(&mut self) -> Result<FollowedEvent> {
        loop {
            if let Some((event, Sequence(position))) = self.ready.pop_front() {
                let passed_over = self.follower.sending().await?;
                return Ok(FollowedEvent { event: event.map(Into::into), position, passed_over });
            }
            self.read().await?;
        }
    }

    /// Reads a page of the log, or waits for one.
    async fn read(&mut self) -> Result<()> {
        let facts = self.follower.page().await?;
        let ids = facts.iter().map(event_of).collect::<Result<Vec<_>>>()?;
        let events = if ids.is_empty() { Vec::new() } else { self.log.events_by_id(ids).await? };
        for (fact, event) in facts.iter().zip(events) {
            let event = event.filter(|event| self.wanted.matches(event));
            self.ready.extend(event.map(|event| (Some(event), fact.sequence)));
        }
        if self.ready.is_empty() {
            self.ready.push_back((None, self.follower.position()));
        }
        Ok(())
    }
}

fn event_of(fact: &LoggedFact) -> Result<EventId> {
    let id = fact.body.pointer("/event/id").and_then(serde_json::Value::as_str);
    let id = id.and_then(|id| id.parse().ok());
    id.ok_or_else(|| Error::internal(format!("the fact {} names no event", fact.sequence)))
}

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
    access::Principal,
    authenticate::{Authenticate, unknown},
    id::{EventId, Sequence},
    limits::LOG_WAIT_MAX,
    log::{LogFilter, LogPage, LogQuery, LoggedFact},
    master_api::{EventFilter, MasterApi, PageRequest},
    secret::Secret,
};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::{collections::VecDeque, sync::Arc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// How many facts a reader may be behind before it is moved to the end of the log.
const LAG_MAX: u64 = 5_000;
/// Facts that are read at once, and so held for a reader that is slow.
const FACTS_PER_PAGE: u32 = 100;
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
            let kinds = KINDS.map(str::to_owned).to_vec();
            let filter = LogFilter { kinds, ..LogFilter::default() };
            let query = LogQuery { after, first: FACTS_PER_PAGE, filter, wait: LOG_WAIT_MAX };
            let follower = Follower {
                log: self.log.clone(),
                holder: (self.who.clone(), token, principal),
                stop: self.stop.clone(),
                wanted,
                query,
                ready: VecDeque::from([nothing(after)]),
                passed_over: 0,
                _room: room,
            };
            Ok(stream::unfold(Some(follower), next).boxed())
        };
        self.door.serve(work).await
    }
}

/// Whoever follows.
struct Follower {
    log: Arc<dyn MasterApi>,
    /// Who knows whether the token is still good for the principal.
    holder: (Arc<dyn Authenticate>, Secret, Principal),
    stop: CancellationToken,
    wanted: EventFilter,
    query: LogQuery,
    ready: VecDeque<FollowedEvent>,
    passed_over: u64,
    _room: OwnedSemaphorePermit,
}

type Step = Option<(Result<FollowedEvent, Status>, Option<Follower>)>;

/// The next message; an error is the last.
async fn next(follower: Option<Follower>) -> Step {
    let mut follower = follower?;
    loop {
        if let Some(message) = follower.ready.pop_front() {
            return Some((Ok(message), Some(follower)));
        }
        let stop = follower.stop.clone();
        match stop.run_until_cancelled(follower.read()).await {
            None => return None,
            Some(Ok(())) => {}
            Some(Err(error)) => return Some((Err(public_status(error)), None)),
        }
    }
}

fn nothing(position: Sequence) -> FollowedEvent {
    FollowedEvent { event: None, position: position.0, passed_over: 0 }
}

impl Follower {
    /// Reads a page of the log, or waits for one.
    async fn read(&mut self) -> Result<()> {
        let page = self.log.facts(self.query.clone()).await?;
        self.admitted().await?;
        let LogPage { facts, read_to, head, .. } = page;
        let ids = facts.iter().map(event_of).collect::<Result<Vec<_>>>()?;
        let events = if ids.is_empty() { Vec::new() } else { self.log.events_by_id(ids).await? };
        for (fact, event) in facts.iter().zip(events) {
            let Some(event) = event.filter(|event| self.wanted.matches(event)) else { continue };
            let passed_over = std::mem::take(&mut self.passed_over);
            let (event, position) = (Some(event.into()), fact.sequence.0);
            self.ready.push_back(FollowedEvent { event, position, passed_over });
        }
        self.query.after = read_to;
        let behind = head.0.saturating_sub(read_to.0);
        if behind > LAG_MAX {
            self.passed_over += behind;
            self.query.after = head;
        }
        if self.ready.is_empty() {
            self.ready.push_back(nothing(self.query.after));
        }
        Ok(())
    }

    /// `unauthenticated` once the token is revoked or has expired, or its rights are others.
    async fn admitted(&self) -> Result<()> {
        let (who, token, principal) = &self.holder;
        if who.authenticate(token).await? == *principal {
            return Ok(());
        }
        Err(unknown("its rights have changed: connect again"))
    }
}

fn event_of(fact: &LoggedFact) -> Result<EventId> {
    let id = fact.body.pointer("/event/id").and_then(serde_json::Value::as_str);
    let id = id.and_then(|id| id.parse().ok());
    id.ok_or_else(|| Error::internal(format!("the fact {} names no event", fact.sequence)))
}

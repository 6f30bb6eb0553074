//! The stream of a receiver: who it is, what it says, and what it is told.

use crate::{
    auth::token,
    convert::{Malformed, duration, duration_from, optional, required, text},
    door::{Door, principal},
    status::{error, public_status},
    v1::{
        self, SubscribeRequest, SubscribeResponse, subscribe_request::Request as Said,
        subscribe_response,
    },
};
use contract::{
    Error, ErrorCode, Result,
    access::Principal,
    authenticate::{Authenticate, unknown},
    id::SubscriptionNumber,
    limits::PULL_LEASE_DEFAULT,
    pull::{Ask, Handed, Hands, Opening, Pull},
    rules::RulesReceiver,
    secret::Secret,
    subscription::Subscription,
};
use futures_util::stream::{self, BoxStream, StreamExt};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

/// How long a receiver may take for its first message.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// How often its key is looked at, beside each time that the rules change.
const KEY_CHECK: Duration = Duration::from_millis(500);

/// Serves `certes.v1.Pull`.
pub(super) struct Service {
    pub(super) door: Door,
    pub(super) rules: RulesReceiver,
    pub(super) receivers: Option<Arc<dyn Pull>>,
    pub(super) who: Arc<dyn Authenticate>,
    /// Has the streams drained.
    pub(super) stop: CancellationToken,
}

#[tonic::async_trait]
impl v1::pull_server::Pull for Service {
    type SubscribeStream = BoxStream<'static, Result<SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<Streaming<SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let work = async {
            let caller = self.door.caller(&request)?;
            let holder = Holder {
                who: Arc::clone(&self.who),
                token: token(request.metadata().as_ref())?,
                principal: principal(request.extensions())?,
            };
            let receivers = self.receivers.as_ref().ok_or_else(|| {
                let text = "this gateway knows no queue: `peers.queue` does not say where it is";
                Error::new(ErrorCode::Unavailable, text)
            })?;
            let mut said = request.into_inner();
            let open = opening(&mut said).await?;
            let lease = optional(open.lease, "open.lease", duration_from)?;
            let name = text(open.subscription, "open.subscription")?;
            let rules = Arc::clone(&self.rules.borrow());
            // Also for what the caller may not see: it is not told that it exists.
            let found = rules.subscription_named(&name).filter(|found| caller.sees(found));
            let missing = || Error::new(ErrorCode::NotFound, format!("no subscription `{name}`"));
            let opening = Opening {
                subscription: found.ok_or_else(missing)?.number,
                max_in_flight: open.max_in_flight.unwrap_or(1),
                lease: lease.unwrap_or(PULL_LEASE_DEFAULT),
            };
            let Hands { asks, handed } = receivers.open(opening).await?;
            let (end, ended) = oneshot::channel();
            let (rules, stop) = (self.rules.clone(), self.stop.clone());
            let number = opening.subscription;
            let ear = Ear { holder, number, rules, stop, asks };
            tokio::spawn(async move {
                // Nobody reads it when the receiver is gone.
                drop(end.send(ear.listen(said).await));
            });
            let opened = subscribe_response::Opened { lease: Some(duration(opening.lease)) };
            let opened = subscribe_response::Response::Opened(opened);
            let opened = SubscribeResponse { response: Some(opened) };
            let told = stream::unfold(Some(Mouth { handed, ended }), next);
            Ok(stream::once(async { Ok(opened) }).chain(told).boxed())
        };
        self.door.serve(work).await
    }
}

/// The first message.
async fn opening(said: &mut Streaming<SubscribeRequest>) -> Result<v1::subscribe_request::Open> {
    let late = || Error::new(ErrorCode::DeadlineExceeded, "the stream was not opened in time");
    let first = timeout(OPEN_MAX, said.message()).await.map_err(|_elapsed| late())?;
    match required(first.map_err(|status| error(&status))?.and_then(|said| said.request), "open")? {
        Said::Open(open) => Ok(open),
        _ => Err(Malformed::missing("open").into()),
    }
}

/// Who holds the stream.
struct Holder {
    who: Arc<dyn Authenticate>,
    token: Secret,
    principal: Principal,
}

impl Holder {
    /// `unauthenticated` once the token is revoked or has expired, or its rights are others.
    async fn admitted(&self) -> Result<()> {
        if self.who.authenticate(&self.token).await? == self.principal {
            return Ok(());
        }
        Err(unknown("its rights have changed: connect again"))
    }
}

/// Hears what the receiver says.
struct Ear {
    holder: Holder,
    number: SubscriptionNumber,
    rules: RulesReceiver,
    stop: CancellationToken,
    asks: mpsc::Sender<Ask>,
}

impl Ear {
    /// May the receiver go on? Its token is good, and the subscription still one that it sees.
    async fn admitted(&self) -> Result<()> {
        self.holder.admitted().await?;
        let own = self.holder.principal.subscriber.as_ref();
        let found = self.rules.borrow().subscriptions.get(&self.number).cloned();
        let seen = |found: &Subscription| own.is_none() || found.spec.subscriber.as_ref() == own;
        match found.is_some_and(|found| seen(&found)) {
            true => Ok(()),
            false => Err(Error::new(ErrorCode::NotFound, "the subscription is gone")),
        }
    }

    /// Listens until the receiver goes, or has to: then the error says why.
    async fn listen(mut self, mut said: Streaming<SubscribeRequest>) -> Result<()> {
        let mut check = tokio::time::interval(KEY_CHECK);
        let mut rules_end = false;
        let mut stopping = false;
        loop {
            let ask = tokio::select! {
                message = said.message() => match message {
                    Ok(Some(message)) => message.try_into().map_err(Error::from)?,
                    // A connection that breaks is one way of going.
                    Ok(None) | Err(_) => return Ok(()),
                },
                changed = self.rules.changed(), if !rules_end => {
                    rules_end = changed.is_err();
                    self.admitted().await?;
                    continue;
                }
                _ = check.tick() => {
                    self.admitted().await?;
                    continue;
                }
                () = self.stop.cancelled(), if !stopping => {
                    stopping = true;
                    Ask::Drain
                }
                () = self.asks.closed() => return Ok(()),
            };
            if self.asks.send(ask).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Tells the receiver.
struct Mouth {
    handed: mpsc::Receiver<Result<Handed>>,
    ended: oneshot::Receiver<Result<()>>,
}

type Step = Option<(Result<SubscribeResponse, Status>, Option<Mouth>)>;

/// The next message; an error is the last.
async fn next(mouth: Option<Mouth>) -> Step {
    let mut mouth = mouth?;
    tokio::select! {
        // Who may hear no more is handed nothing more.
        biased;
        Ok(Err(error)) = &mut mouth.ended, if !mouth.ended.is_terminated() => {
            Some((Err(public_status(error)), None))
        }
        handed = mouth.handed.recv() => match handed? {
            Ok(handed) => Some((Ok(handed.into()), Some(mouth))),
            Err(error) => Some((Err(public_status(error)), None)),
        },
    }
}

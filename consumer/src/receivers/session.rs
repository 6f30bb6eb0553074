//! One receiver's stream: what it asks for, what it is handed, and what becomes of that.

use super::{
    Inner, Shift,
    answer::{self, End},
    check_in_flight, check_lease,
    hand::{Hand, Held},
};
use crate::{
    attempt::Carrier,
    begin::{Step, ToSend},
    held::Holding,
    outcome::{Failure, Outcome},
    request,
};
use contract::{
    Error, ErrorCode, Result,
    clock::Timestamp,
    delivery::Cause,
    event::Headers,
    id::SubscriptionNumber,
    limits::{GRPC_MESSAGE_BYTES_MAX, HEADERS_KEPT_BYTES_MAX},
    master_api::Work,
    pull::{Ask, Handed, Handout, Opening},
    queue::Settlement,
    rules::Rules,
    setting::DELIVERY_PAUSED,
};
use futures_util::future::{BoxFuture, FutureExt};
use http_body_util::BodyExt;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// How long a receiver may take to answer for what it holds when this process stops.
const DRAIN: Duration = Duration::from_secs(5);

/// Largest body that is handed to a receiver: it comes in one message, with its headers.
const HANDED_BYTES_MAX: usize = GRPC_MESSAGE_BYTES_MAX - 4 * HEADERS_KEPT_BYTES_MAX;

/// Deliveries that were leased, with what is needed for them.
type Taken = Vec<(Holding, Option<Work>)>;

/// A stream.
pub(super) struct Session {
    receivers: Arc<Inner>,
    shift: Shift,
    opening: Opening,
    asked: mpsc::Receiver<Ask>,
    hand_over: mpsc::Sender<Result<Handed>>,
    hand: Hand,
    /// Leases on their way here.
    taking: Option<BoxFuture<'static, Taken>>,
    /// It takes nothing more, and leaves when it has answered for what it holds.
    draining: bool,
    /// It leaves then, whatever it holds.
    leave_at: Option<Instant>,
}

/// `not_found` or `conflict` unless receivers take the deliveries of the subscription.
pub(super) fn check_subscription(rules: &Rules, number: SubscriptionNumber) -> Result<()> {
    match rules.subscriptions.get(&number) {
        Some(found) if found.spec.pull => Ok(()),
        Some(found) => {
            let message =
                format!("deliveries of `{}` go to its URL: nobody can take them", found.spec.name);
            Err(Error::new(ErrorCode::Conflict, message))
        }
        None => Err(Error::new(ErrorCode::NotFound, "the subscription is gone")),
    }
}

impl Session {
    pub(super) fn new(
        receivers: Arc<Inner>,
        shift: Shift,
        opening: Opening,
        (asked, hand_over): (mpsc::Receiver<Ask>, mpsc::Sender<Result<Handed>>),
    ) -> Self {
        Self {
            receivers,
            shift,
            opening,
            asked,
            hand_over,
            hand: Hand::default(),
            taking: None,
            draining: false,
            leave_at: None,
        }
    }

    /// Serves the receiver until it goes, or has to.
    pub(super) async fn run(mut self) {
        if let Err(error) = self.serve().await {
            // Whoever does not read learns it from the end of the stream.
            drop(self.hand_over.try_send(Err(error)));
        }
        // It hears no more, so nothing that it says now would count.
        self.asked.close();
        for held in self.hand.take_all() {
            self.end(held, End::Gone).await;
        }
        if let Some(taking) = self.taking.take() {
            for (holding, _) in taking.await {
                self.give_back(holding).await;
            }
        }
    }

    async fn serve(&mut self) -> Result<()> {
        let consumer = Arc::clone(&self.receivers.consumer);
        let mut rules = consumer.snapshots.rules();
        let (mut rules_end, room) = (false, self.hand_over.clone());
        loop {
            check_subscription(&rules.borrow_and_update(), self.opening.subscription)?;
            let is_late = self.leave_at.is_some_and(|at| Instant::now() >= at);
            if is_late || self.draining && self.is_idle() {
                return Ok(());
            }
            self.start_taking();
            let expiry = self.hand.next_deadline();
            let full = self.hand_over.capacity() == 0;
            tokio::select! {
                ask = self.asked.recv() => match ask {
                    Some(ask) => self.heed(ask).await?,
                    None => return Ok(()),
                },
                () = room.closed() => return Ok(()),
                taken = taken(&mut self.taking) => {
                    self.taking = None;
                    self.hand_out(taken).await;
                }
                () = consumer.clock.sleep_until(expiry.unwrap_or_default()), if expiry.is_some() => {
                    self.expire().await;
                }
                // Read again: there is room for more.
                _free = room.reserve(), if full => {}
                changed = rules.changed(), if !rules_end => rules_end = changed.is_err(),
                () = self.shift.stop.cancelled(), if self.leave_at.is_none() => {
                    self.draining = true;
                    self.leave_at = Some(Instant::now() + DRAIN);
                }
                () = sleep_until(self.leave_at.unwrap_or_else(Instant::now)),
                    if self.leave_at.is_some() => {}
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.hand.len() == 0 && self.taking.is_none()
    }

    /// Most that it holds at once.
    fn most(&self) -> usize {
        usize::try_from(self.opening.max_in_flight).unwrap_or(usize::MAX)
    }

    /// Leases what the receiver has room for, unless that is under way.
    fn start_taking(&mut self) {
        let room = self.most().saturating_sub(self.hand.len()).min(self.hand_over.capacity());
        let rules = self.receivers.consumer.snapshots.newest();
        let paused = rules.rules.settings.is_on(DELIVERY_PAUSED);
        if self.taking.is_some() || self.draining || paused || room == 0 {
            return;
        }
        let max = u32::try_from(room).unwrap_or(u32::MAX);
        let receivers = Arc::clone(&self.receivers);
        let number = self.opening.subscription;
        self.taking = Some(receivers.take(self.shift.clone(), number, max).boxed());
    }

    async fn heed(&mut self, ask: Ask) -> Result<()> {
        match ask {
            Ask::MaxInFlight(max) => {
                check_in_flight(max)?;
                self.opening.max_in_flight = max;
            }
            Ask::Answer { ticket, answer } => {
                if let Some(held) = self.hand.take(ticket) {
                    self.end(held, End::Answered(answer)).await;
                }
            }
            Ask::Extend { ticket, by } => {
                let by = by.unwrap_or(self.opening.lease);
                check_lease(by)?;
                self.hand.extend(ticket, self.now(), by);
            }
            Ask::Drain => self.draining = true,
        }
        Ok(())
    }

    async fn hand_out(&mut self, taken: Taken) {
        for (holding, work) in taken {
            match work {
                // Unknown or finished.
                None => self.shift.finish(holding, None, Settlement::Ack).await,
                // It wants less than when this was leased.
                Some(_) if self.draining || self.hand.len() >= self.most() => {
                    self.give_back(holding).await;
                }
                // Somebody else may have it now.
                Some(_) if !holding.is_valid() => {}
                Some(work) => self.hand_one(holding, work).await,
            }
        }
    }

    async fn hand_one(&mut self, holding: Holding, work: Work) {
        let consumer = Arc::clone(&self.receivers.consumer);
        let (begun, step) = consumer.begin(&work, Carrier::Stream).await;
        let failure = match step {
            Step::Settle(settlement) => return self.shift.finish(holding, None, settlement).await,
            Step::Fail(failure) => failure,
            Step::Send(ToSend { body, .. }) if body.bytes.len() > HANDED_BYTES_MAX => {
                let why = format!("not sent: {} bytes do not fit into a message", body.bytes.len());
                Failure::new(Cause::Format, why)
            }
            Step::Send(ToSend { prepared, made, body }) => {
                // In order, or the step would be another one.
                let Ok(prepared) = prepared.as_ref() else { return self.give_back(holding).await };
                let (sent, at) = (made.as_deref().unwrap_or(&work), begun.started_at);
                let Work { delivery, event, .. } = sent;
                let request = request::build(prepared, None, delivery, event, body, at);
                let record = consumer.deliverer.keeper().request(&request, &work, at);
                let mut held = Held::new(holding, work, begun);
                held.record = record;
                return self.pass(held, request).await;
            }
        };
        let (report, settlement) = consumer.conclude(&begun, &work, Outcome::unsent(failure));
        self.shift.finish(holding, Some(report), settlement).await;
    }

    /// Passes a delivery to the receiver; the attempt begins.
    async fn pass(
        &mut self,
        held: Held,
        request: http::Request<http_body_util::Full<bytes::Bytes>>,
    ) {
        let (parts, body) = request.into_parts();
        let Ok(body) = body.collect().await;
        let deadline = held.begun.started_at.after(self.opening.lease);
        let handout = Handout {
            ticket: self.hand.next_ticket(),
            delivery: held.work.delivery.id,
            attempt: held.work.delivery.next_attempt(),
            event_uri: held.work.event.uri.clone(),
            headers: text(&parts.headers),
            payload: body.to_bytes(),
            deadline,
        };
        let handed = Ok(Handed::Delivery(Box::new(handout)));
        if self.hand_over.try_send(handed).is_err() {
            return self.give_back(held.holding).await;
        }
        let consumer = &self.receivers.consumer;
        consumer.metrics.attempts_in_flight.inc();
        consumer.measure_delay(&held.work, held.begun.started_at);
        self.hand.put(held, deadline);
    }

    async fn expire(&mut self) {
        let now = self.now();
        while let Some((ticket, held)) = self.hand.take_expired(now) {
            // Who cannot read it now knows the deadline.
            drop(self.hand_over.try_send(Ok(Handed::Expired { ticket })));
            self.end(held, End::Expired).await;
        }
    }

    /// Records what became of an attempt.
    async fn end(&mut self, held: Held, end: End) {
        let consumer = Arc::clone(&self.receivers.consumer);
        consumer.metrics.attempts_in_flight.dec();
        let took = self.now().since(held.begun.started_at);
        let outcome = Outcome { exchange: held.record, ..answer::outcome(end, took) };
        let (report, settlement) = consumer.conclude(&held.begun, &held.work, outcome);
        self.shift.finish(held.holding, Some(report), settlement).await;
    }

    /// Puts a delivery back untried.
    async fn give_back(&mut self, holding: Holding) {
        self.shift.finish(holding, None, Settlement::Nack(self.now())).await;
    }

    fn now(&self) -> Timestamp {
        self.receivers.consumer.clock.now()
    }
}

/// What was leased; never, while nothing is being leased.
async fn taken(taking: &mut Option<BoxFuture<'static, Taken>>) -> Taken {
    match taking {
        Some(taking) => taking.await,
        None => std::future::pending().await,
    }
}

fn text(headers: &http::HeaderMap) -> Headers {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Headers(headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect())
}

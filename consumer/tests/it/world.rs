//! A consumer with everything around it, and the means to wait for what it does.

use crate::ports::{Changes, FakeMaster, FakeQueue, MasterState, QueueState};
use bytes::Bytes;
use consumer::{Config, Consumer, Metrics};
use contract::{
    Error, ErrorCode, Result,
    backoff::{BackoffPolicy, Jitter, Kind, Span},
    clock::{Clock, SystemClock, Timestamp},
    delivery::{Attempt, Delivery, DeliveryState},
    event::{Audience, Direction, Event, EventState, Headers, Origin, Trace},
    exchange::ExchangeRecord,
    id::{DeliveryId, EventId, LaneId, SecretId, Sequence, SubscriptionNumber},
    master_api::{FeedItem, Work},
    queue::{MessageQueue, Settlement},
    rules::Rules,
    schema::{Encoding, PayloadConverter},
    secret::Secret,
    stamp::{StampKey, Stamped},
    subscription::{Priority, SecretRef, Subscription, SubscriptionSpec},
    testing::{ManualClock, SeededRandom, rules_with, subscription_spec},
    uri::EventUri,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

/// Secrets of every subscription, the newest first.
pub(crate) const SECRETS: [&str; 2] =
    ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];
/// The payload of every event.
pub(crate) const PAYLOAD: &[u8] = b"{\"ref\": \"refs/heads/main\",  \"odd\" : \"spacing\"}";
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// One subscription, `ci`, with everything that its deliveries need.
pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) master: Arc<FakeMaster>,
    pub(crate) queue: Arc<FakeQueue>,
    pub(crate) consumer: Arc<Consumer>,
    pub(crate) stop: CancellationToken,
    metrics: Registry,
    changes: Arc<Changes>,
    running: Option<JoinHandle<()>>,
}

/// A config that opens loopback.
pub(crate) fn open_config() -> Config {
    Config {
        allowed_networks: ["127.0.0.0/8", "::1/128"].map(|net| net.parse().unwrap()).to_vec(),
        lease_wait: Span(Duration::from_millis(10)),
        ..Config::default()
    }
}

/// So many retries, each `base` after the attempt before.
pub(crate) fn constant(base: &str, max_retries: u32) -> BackoffPolicy {
    BackoffPolicy {
        kind: Kind::Constant,
        base: Some(base.parse().unwrap()),
        factor: None,
        delays: Vec::new(),
        cap: None,
        jitter: Jitter::None,
        max_retries: Some(max_retries),
        max_elapsed: None,
    }
}

/// Knows one contract, whose binary form is a `!` before the JSON.
struct Spelled;

impl PayloadConverter for Spelled {
    fn convert(&self, uri: &EventUri, _: &str, payload: &Bytes, to: Encoding) -> Result<Bytes> {
        match (uri.as_str(), to) {
            ("github/1/push", Encoding::Protobuf) => Ok([b"!", &payload[..]].concat().into()),
            ("github/1/push", Encoding::Json) => Ok(payload.slice(1..)),
            ("github/1/later", _) => Err(Error::new(ErrorCode::Unavailable, "not yet")),
            _ => Err(Error::new(ErrorCode::UnknownEventType, "there is none")),
        }
    }
}

/// What `ci` declares.
pub(crate) fn spec(url: &str, backoff: BackoffPolicy) -> SubscriptionSpec {
    let ci = subscription_spec("ci");
    SubscriptionSpec { url: url.to_owned(), backoff: Some(backoff), timeout_ms: Some(5000), ..ci }
}

fn rules(spec: SubscriptionSpec) -> Rules {
    let mut rules = rules_with([spec]);
    rules.sequence = Sequence(1);
    rules.stamp_keys = vec![(stamp_key_id(), Secret::new("stamp"))];
    let ids = [1, 2].map(|id| SecretId::from_bytes([id; 16]));
    let secrets = SECRETS.map(Secret::new);
    let subscription = rules.subscriptions.get_mut(&SubscriptionNumber(1)).unwrap();
    Arc::make_mut(subscription).secrets = ids
        .into_iter()
        .zip(&secrets)
        .map(|(id, secret)| SecretRef {
            id,
            fingerprint: secret.fingerprint(),
            until: None,
            public_key: None,
        })
        .collect();
    rules.secrets = ids.into_iter().zip(secrets).collect();
    rules
}

fn stamp_key_id() -> SecretId {
    SecretId::from_bytes([9; 16])
}

/// The id of the `number`-th event.
pub(crate) fn event_id(number: u64) -> EventId {
    EventId::from_bytes(u128::from(number).to_be_bytes())
}

/// The id of the `number`-th delivery.
pub(crate) fn delivery_id(number: u64) -> DeliveryId {
    let lane = LaneId::new(SubscriptionNumber(1), Priority::default());
    DeliveryId { lane, sequence: Sequence(number) }
}

fn work(number: u64, now: Timestamp) -> Work {
    let id = event_id(number);
    let pairs = [("x-github-event", "push"), ("connection", "close"), ("x-hub-signature", "old")];
    let headers = Headers(pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec());
    let (uri, content_type) = ("github/1/push".parse().unwrap(), "application/json; charset=utf-8");
    let stamped = Stamped { id, uri: &uri, content_type, headers: &headers, payload: PAYLOAD };
    let event = Event {
        id,
        sequence: Sequence(number),
        state: EventState::Accepted,
        reason: None,
        direction: Direction::Incoming,
        audience: Audience::Own,
        origin: Origin::Source("github".to_owned()),
        content_type: content_type.to_owned(),
        idempotency_key: None,
        received_at: now,
        trace: Trace {
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            trail: Vec::new(),
            hops: 2,
        },
        stamp: StampKey::new(stamp_key_id(), b"stamp").stamp(stamped),
        size: 0,
        schema_minor: None,
        lanes: vec![delivery_id(number).lane],
        rules: Sequence(1),
        uri,
        headers,
    };
    let delivery = Delivery {
        id: delivery_id(number),
        event: id,
        state: DeliveryState::Waiting,
        cause: None,
        created_at: now,
        due: Some(now),
        attempts: Vec::new(),
        attempts_before_resend: 0,
        ordering_key: None,
        replay: None,
        new_id: false,
    };
    Work { delivery, event, payload: Some(Bytes::from_static(PAYLOAD)) }
}

/// Changes an event, and stamps it as its broker would.
pub(crate) fn restamp(work: &mut Work, change: impl FnOnce(&mut Event)) {
    let event = &mut work.event;
    change(event);
    let stamped = Stamped {
        id: event.id,
        uri: &event.uri,
        content_type: &event.content_type,
        headers: &event.headers,
        payload: PAYLOAD,
    };
    event.stamp = StampKey::new(stamp_key_id(), b"stamp").stamp(stamped);
}

/// Gives an event another payload, and the stamp that goes with it.
pub(crate) fn set_payload(work: &mut Work, payload: Bytes) {
    let Event { id, uri, content_type, headers, .. } = &work.event;
    let stamped = Stamped { id: *id, uri, content_type, headers, payload: &payload };
    work.event.stamp = StampKey::new(stamp_key_id(), b"stamp").stamp(stamped);
    work.payload = Some(payload);
}

impl World {
    /// A world whose consumer runs.
    pub(crate) fn new(spec: SubscriptionSpec, config: Config) -> Self {
        let mut world = Self::still(spec, config);
        world.start();
        world
    }

    /// A world whose consumer does not run yet.
    pub(crate) fn still(spec: SubscriptionSpec, config: Config) -> Self {
        // Receivers check the age of a signature by the system's clock.
        let clock = ManualClock::new(SystemClock.now());
        let changes = Arc::new(watch::Sender::new(0));
        let master = FakeMaster::new(rules(spec), Arc::clone(&changes));
        let queue = FakeQueue::new(clock.clone(), Arc::clone(&changes));
        let mut metrics = Registry::default();
        let consumer = Consumer::new(
            config,
            master.clone(),
            queue.clone(),
            Arc::new(Spelled),
            clock.clone(),
            SeededRandom::new(1),
            Metrics::new(&mut metrics),
        );
        Self {
            clock,
            master,
            queue,
            consumer: consumer.unwrap(),
            stop: CancellationToken::new(),
            metrics,
            changes,
            running: None,
        }
    }

    pub(crate) fn start(&mut self) {
        self.running = Some(tokio::spawn(Arc::clone(&self.consumer).run(self.stop.clone())));
    }

    /// Puts the deliveries with these numbers into the log, changed by `change`, and the queue.
    pub(crate) async fn add_changed(
        &self,
        numbers: impl IntoIterator<Item = u64>,
        change: impl Fn(&mut Work),
    ) {
        let mut items = Vec::new();
        for number in numbers {
            let mut work = work(number, self.clock.now());
            change(&mut work);
            self.master.state.lock().unwrap().work.insert(delivery_id(number), work);
            items.push(FeedItem {
                delivery: delivery_id(number),
                due: self.clock.now(),
                key: None,
            });
        }
        self.queue.enqueue(items).await.unwrap();
    }

    /// One more subscription, like the first but for its URL.
    pub(crate) fn add_neighbour(&self, url: &str) -> SubscriptionNumber {
        let number = SubscriptionNumber(2);
        self.change_rules(|rules| {
            let mut neighbour = rules.subscriptions[&SubscriptionNumber(1)].as_ref().clone();
            neighbour.number = number;
            neighbour.spec.name = "neighbour".to_owned();
            neighbour.spec.url = url.to_owned();
            rules.subscriptions.insert(number, Arc::new(neighbour));
        });
        number
    }

    /// The same as [`Self::add`], for another subscription.
    pub(crate) async fn add_to(
        &self,
        subscription: SubscriptionNumber,
        numbers: impl IntoIterator<Item = u64>,
    ) {
        let mut items = Vec::new();
        for number in numbers {
            let mut work = work(number, self.clock.now());
            work.delivery.id.lane = LaneId::new(subscription, Priority::default());
            let (delivery, due) = (work.delivery.id, self.clock.now());
            self.master.state.lock().unwrap().work.insert(delivery, work);
            items.push(FeedItem { delivery, due, key: None });
        }
        self.queue.enqueue(items).await.unwrap();
    }

    pub(crate) async fn add(&self, numbers: impl IntoIterator<Item = u64>) {
        self.add_changed(numbers, |_| ()).await;
    }

    /// Changes the rules.
    pub(crate) fn change_rules(&self, change: impl FnOnce(&mut Rules)) {
        self.master.rules.send_modify(|rules| {
            let rules = Arc::make_mut(rules);
            rules.sequence.0 += 1;
            change(rules);
        });
    }

    /// Changes the subscription.
    pub(crate) fn change_subscription(&self, change: impl FnOnce(&mut Subscription)) {
        self.change_rules(|rules| {
            let number = SubscriptionNumber(1);
            change(Arc::make_mut(rules.subscriptions.get_mut(&number).unwrap()));
        });
    }

    /// Waits until Master API and the queue stand so.
    pub(crate) async fn until(
        &self,
        what: &str,
        stands: impl Fn(&MasterState, &QueueState) -> bool,
    ) {
        let mut changes = self.changes.subscribe();
        let wait = changes.wait_for(|_| {
            stands(&self.master.state.lock().unwrap(), &self.queue.state.lock().unwrap())
        });
        assert!(timeout(PATIENCE, wait).await.is_ok(), "waited in vain until {what}");
    }

    /// Waits for the `count`-th settlement of all and gives it.
    pub(crate) async fn settlement(&self, count: usize) -> Settlement {
        self.until("it is settled", |_, queue| queue.settled.len() >= count).await;
        self.queue.state.lock().unwrap().settled[count - 1].1
    }

    /// Delivers one event and gives its only attempt so far and how its lease ended.
    pub(crate) async fn attempt_one(&self) -> (Attempt, Settlement) {
        self.add([1]).await;
        let settlement = self.settlement(1).await;
        (self.attempts(1).remove(0), settlement)
    }

    /// The attempts of the `number`-th delivery.
    pub(crate) fn attempts(&self, number: u64) -> Vec<Attempt> {
        self.master.state.lock().unwrap().work[&delivery_id(number)].delivery.attempts.clone()
    }

    /// What was last reported of the `number`-th delivery's exchange.
    pub(crate) fn exchange(&self, number: u64) -> Option<ExchangeRecord> {
        let state = self.master.state.lock().unwrap();
        let mut newest_first = state.reports.iter().rev();
        let report = newest_first.find(|report| report.delivery == delivery_id(number));
        report.unwrap().exchange.as_deref().cloned()
    }

    /// What was reported of all exchanges, oldest first.
    pub(crate) fn exchanges(&self) -> Vec<ExchangeRecord> {
        let state = self.master.state.lock().unwrap();
        state.reports.iter().filter_map(|report| report.exchange.as_deref().cloned()).collect()
    }

    /// The `number`-th delivery and its event.
    pub(crate) fn work(&self, number: u64) -> Work {
        self.master.state.lock().unwrap().work[&delivery_id(number)].clone()
    }

    /// How many deliveries the metrics count that went back untried for want of a connection.
    pub(crate) fn untried(&self) -> u64 {
        let mut text = String::new();
        encode(&mut text, &self.metrics).unwrap();
        let line = text.lines().find_map(|l| l.strip_prefix("certes_connections_exhausted_total "));
        line.unwrap().parse().unwrap()
    }

    /// Stops the consumer and waits until it has finished.
    pub(crate) async fn drain(&mut self) {
        self.stop.cancel();
        let running = self.running.take().unwrap();
        timeout(PATIENCE, running).await.expect("the consumer drains").unwrap();
    }
}

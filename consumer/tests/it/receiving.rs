//! Receivers take deliveries over a stream.

use crate::world::{PAYLOAD, SECRETS, World, constant, delivery_id, open_config, spec};
use consumer::Receivers;
use contract::{
    Error, ErrorCode,
    clock::Clock,
    delivery::{Cause, DeliveryState},
    id::SubscriptionNumber,
    pull::{Answer, Ask, Handed, Handout, Hands, Opening, Pull},
    queue::Settlement,
    setting::DELIVERY_PAUSED,
    subscription::{SubscriptionSpec, SubscriptionStatus},
};
use std::time::Duration;
use tokio::{task::JoinHandle, time::timeout};

const PATIENCE: Duration = Duration::from_secs(20);
const LEASE: Duration = Duration::from_secs(30);

/// A world without a running consumer, and receivers.
struct Receiving {
    world: World,
    receivers: Receivers,
    running: JoinHandle<()>,
}

async fn receiving() -> Receiving {
    let spec = SubscriptionSpec { pull: true, ..spec("", constant("10s", 1)) };
    let world = World::still(spec, open_config());
    let receivers = Receivers::new(world.consumer.clone());
    let running = tokio::spawn(receivers.clone().run(world.stop.clone()));
    Receiving { world, receivers, running }
}

impl Receiving {
    /// Opens a stream, as soon as there is somebody to open one.
    async fn open(&self, max_in_flight: u32) -> Hands {
        let subscription = SubscriptionNumber(1);
        let opening = Opening { subscription, max_in_flight, lease: LEASE };
        let opened = async {
            loop {
                match self.receivers.open(opening).await {
                    Ok(hands) => return hands,
                    Err(error) => assert_eq!(error.code, ErrorCode::Unavailable),
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, opened).await.unwrap()
    }
}

async fn told(hands: &mut Hands) -> Result<Handed, Error> {
    timeout(PATIENCE, hands.handed.recv()).await.unwrap().unwrap()
}

async fn delivery(hands: &mut Hands) -> Handout {
    match told(hands).await.unwrap() {
        Handed::Delivery(handout) => *handout,
        other @ Handed::Expired { .. } => panic!("{other:?}"),
    }
}

async fn answer(hands: &Hands, ticket: u64, answer: Answer) {
    hands.asks.send(Ask::Answer { ticket, answer }).await.unwrap();
}

fn nack(status: Option<u16>, delay: Option<Duration>) -> Answer {
    Answer::Nack { status, delay, reason: String::new() }
}

#[tokio::test]
async fn an_attempt_over_a_stream_is_judged_as_one_over_http() {
    let this = receiving().await;
    this.world.add([1]).await;
    let mut hands = this.open(2).await;
    let handout = delivery(&mut hands).await;
    assert_eq!((handout.delivery, handout.attempt), (delivery_id(1), 1));
    assert_eq!(handout.payload, PAYLOAD);
    assert_eq!(handout.deadline, this.world.clock.now().after(LEASE));
    let headers: http::HeaderMap = handout
        .headers
        .0
        .iter()
        .map(|(name, value)| (http::HeaderName::try_from(name).unwrap(), value.parse().unwrap()))
        .collect();
    for secret in SECRETS {
        standardwebhooks::Webhook::new(secret).unwrap().verify(PAYLOAD, &headers).unwrap();
    }
    answer(&hands, handout.ticket, nack(Some(503), None)).await;
    let due = this.world.clock.now().after(Duration::from_secs(10));
    assert_eq!(this.world.settlement(1).await, Settlement::Nack(due), "by the back-off");
    let exchange = this.world.exchange(1).unwrap();
    assert!(exchange.added.get("webhook-signature").is_some(), "{exchange:?}");

    // The back-off allows one retry; then it is dead, whatever the receiver would like.
    this.world.clock.advance(Duration::from_secs(10));
    let again = delivery(&mut hands).await;
    assert_eq!((again.delivery, again.attempt), (delivery_id(1), 2));
    answer(&hands, again.ticket, nack(None, Some(Duration::from_secs(1)))).await;
    assert_eq!(this.world.settlement(2).await, Settlement::Ack);
    let causes: Vec<_> = this.world.attempts(1).iter().map(|attempt| attempt.cause).collect();
    assert_eq!(causes, [Some(Cause::Throttled), Some(Cause::Status)]);
}

#[tokio::test]
async fn what_was_changed_on_the_way_reaches_no_receiver() {
    let this = receiving().await;
    this.world.add_changed([1], |work| work.payload = Some("{}".into())).await;
    this.world.add([2]).await;
    let mut hands = this.open(5).await;
    assert_eq!(delivery(&mut hands).await.delivery, delivery_id(2));
    assert_eq!(this.world.settlement(1).await, Settlement::Ack);
    assert_eq!(this.world.attempts(1)[0].cause, Some(Cause::Integrity));
    assert_eq!(this.world.work(1).delivery.state, DeliveryState::Dead);
}

#[tokio::test]
async fn a_lease_that_ends_is_an_attempt_and_what_is_said_later_counts_no_more() {
    let this = receiving().await;
    this.world.add([1]).await;
    let mut hands = this.open(1).await;
    let first = delivery(&mut hands).await;
    hands.asks.send(Ask::Extend { ticket: first.ticket, by: Some(2 * LEASE) }).await.unwrap();
    // Heard in order: when the room is there, the extension holds.
    hands.asks.send(Ask::MaxInFlight(2)).await.unwrap();
    this.world.add([2]).await;
    let second = delivery(&mut hands).await;
    this.world.clock.advance(LEASE);
    assert_eq!(told(&mut hands).await.unwrap(), Handed::Expired { ticket: second.ticket });
    this.world.clock.advance(LEASE);
    assert_eq!(told(&mut hands).await.unwrap(), Handed::Expired { ticket: first.ticket });
    answer(&hands, first.ticket, Answer::Ack { status: None }).await;
    this.world.settlement(2).await;
    for number in [1, 2] {
        let attempts = this.world.attempts(number);
        assert_eq!(attempts[0].cause, Some(Cause::Timeout), "{number}");
        assert_eq!(attempts.len(), 1);
    }
}

#[tokio::test]
async fn whoever_stops_waits_for_answers_and_takes_nothing_more() {
    let this = receiving().await;
    this.world.add([1, 2]).await;
    let mut hands = this.open(2).await;
    let (first, second) = (delivery(&mut hands).await, delivery(&mut hands).await);
    this.world.stop.cancel();
    this.world.add([3]).await;
    answer(&hands, first.ticket, Answer::Ack { status: None }).await;
    answer(&hands, second.ticket, Answer::Ack { status: None }).await;
    assert!(timeout(PATIENCE, hands.handed.recv()).await.unwrap().is_none(), "the stream ends");
    timeout(PATIENCE, this.running).await.unwrap().unwrap();
    for number in [1, 2] {
        assert_eq!(this.world.work(number).delivery.state, DeliveryState::Delivered);
    }
    assert_eq!(this.world.attempts(3), []);
}

#[tokio::test]
async fn nothing_is_handed_out_while_it_is_paused_or_gone() {
    let this = receiving().await;
    this.world.change_rules(|rules| {
        let on = contract::setting::Setting {
            value: Some(contract::setting::SettingValue::Bool(true)),
            version: 1,
            changed_at: contract::clock::Timestamp(0),
        };
        rules.settings.0.insert(DELIVERY_PAUSED.to_owned(), on);
    });
    let mut hands = this.open(1).await;
    this.world.add([1]).await;
    let quiet = timeout(Duration::from_millis(100), hands.handed.recv()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    this.world.change_rules(|rules| {
        rules.settings.0.remove(DELIVERY_PAUSED);
    });
    let handout = delivery(&mut hands).await;
    answer(&hands, handout.ticket, nack(Some(410), None)).await;
    this.world.settlement(1).await;
    assert!(this.world.master.state.lock().unwrap().reports[0].pause_subscription);
    this.world.change_subscription(|found| found.status = SubscriptionStatus::Paused);

    this.world.change_rules(|rules| rules.subscriptions.clear());
    assert_eq!(told(&mut hands).await.unwrap_err().code, ErrorCode::NotFound);
}

#[tokio::test]
async fn what_has_a_url_is_taken_by_nobody_and_bounds_are_kept() {
    let this = receiving().await;
    drop(this.open(1).await);
    let opening = Opening { subscription: SubscriptionNumber(1), max_in_flight: 1, lease: LEASE };
    let code = async |opening| this.receivers.open(opening).await.unwrap_err().code;
    assert_eq!(code(Opening { max_in_flight: 1001, ..opening }).await, ErrorCode::InvalidRequest);
    let lease = Duration::from_millis(10);
    assert_eq!(code(Opening { lease, ..opening }).await, ErrorCode::InvalidRequest);
    let mut hands = this.open(1).await;
    hands.asks.send(Ask::MaxInFlight(5000)).await.unwrap();
    assert_eq!(told(&mut hands).await.unwrap_err().code, ErrorCode::InvalidRequest);
    this.world.change_subscription(|found| found.spec.pull = false);
    assert_eq!(code(opening).await, ErrorCode::Conflict);
}

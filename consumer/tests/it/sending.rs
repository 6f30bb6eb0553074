//! What a subscriber receives.

use crate::{
    receiver::Receiver,
    world::{PAYLOAD, SECRETS, World, constant, delivery_id, event_id, open_config, spec},
};
use axum::{
    http::{HeaderName, Method, StatusCode},
    response::IntoResponse,
};
use contract::{
    clock::Clock,
    delivery::{Cause, DeliveryState},
    exchange::usual_headers,
    queue::Settlement,
    secret::Secret,
};
use standardwebhooks::Webhook;
use std::{sync::Arc, time::Duration};

#[tokio::test]
async fn a_delivery_arrives_once_signed_and_byte_for_byte() {
    let receiver = Receiver::answering(204).await;
    let world = World::new(spec(&receiver.url(), constant("1s", 3)), open_config());
    let (attempt, settlement) = world.attempt_one().await;
    assert_eq!(settlement, Settlement::Ack);
    assert_eq!((attempt.number, attempt.status, attempt.cause), (1, Some(204), None));
    assert_eq!((attempt.error, attempt.backoff_rule), (None, None));
    assert_eq!(attempt.address, Some(receiver.address.to_string()));
    assert_eq!(attempt.started_at, world.clock.now());

    let received = receiver.received();
    let [request] = received.as_slice() else { panic!("{} requests", received.len()) };
    assert_eq!((&request.method, request.uri.to_string().as_str()), (&Method::POST, "/hook?x=1"));
    assert_eq!(request.body, PAYLOAD);
    for secret in SECRETS {
        Webhook::new(secret).unwrap().verify(&request.body, &request.headers).unwrap();
    }
    let header = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap());
    let expected = [
        ("webhook-id", event_id(1).to_string()),
        ("webhook-timestamp", world.clock.now().unix_seconds().to_string()),
        ("content-type", "application/json; charset=utf-8".to_owned()),
        ("content-length", PAYLOAD.len().to_string()),
        ("certes-delivery", delivery_id(1).to_string()),
        ("certes-event-type", "github/1/push".to_owned()),
        ("certes-attempt", "1".to_owned()),
        ("certes-hops", "3".to_owned()),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ("user-agent", format!("certes/{}", env!("CARGO_PKG_VERSION"))),
        ("x-github-event", "push".to_owned()),
        ("host", receiver.address.to_string()),
    ];
    for (name, value) in expected {
        assert_eq!(header(name), Some(value.as_str()), "{name}");
    }
    assert_eq!(request.headers.get_all("hmac-sig").iter().count(), 2);
    for name in ["connection", "x-hub-signature", "authorization"] {
        assert_eq!(header(name), None, "{name}");
    }
}

#[tokio::test]
async fn a_retry_keeps_its_id_and_gets_a_new_timestamp() {
    let receiver = Receiver::start(|n| match n {
        1 => (StatusCode::INTERNAL_SERVER_ERROR, "out of order").into_response(),
        _ => StatusCode::OK.into_response(),
    })
    .await;
    let world = World::new(spec(&receiver.url(), constant("30s", 3)), open_config());
    let (attempt, settlement) = world.attempt_one().await;
    let due = world.clock.now().after(Duration::from_secs(30));
    assert_eq!(settlement, Settlement::Nack(due));
    assert_eq!((attempt.status, attempt.cause), (Some(500), Some(Cause::Status)));
    assert_eq!(attempt.error.as_deref(), Some("the endpoint answered 500"));
    let exchange = world.exchange(1).unwrap();
    assert_eq!((&exchange.response_body[..], exchange.response_cut), (&b"out of order"[..], false));
    assert_eq!(exchange.response_headers.get("content-length"), Some("12"));
    assert_eq!(attempt.backoff_rule.as_deref(), Some("subscription"));

    world.clock.advance(Duration::from_secs(30));
    assert_eq!(world.settlement(2).await, Settlement::Ack);
    let received = receiver.received();
    let values = |name: &str| -> Vec<_> {
        received.iter().map(|r| r.headers[name].to_str().unwrap().to_owned()).collect()
    };
    let (ids, times) = (values("webhook-id"), values("webhook-timestamp"));
    assert_eq!(ids, [event_id(1).to_string(), event_id(1).to_string()]);
    assert_eq!(times[0].parse::<i64>().unwrap() + 30, times[1].parse::<i64>().unwrap());
    assert_eq!(values("certes-attempt"), ["1", "2"]);
    // What is shown of an attempt is what the endpoint got, name by name.
    let (work, attempts) = (world.work(1), world.attempts(1));
    for (n, received) in received.iter().enumerate() {
        let (attempt, delivery) = (&attempts[n], work.delivery.id);
        let usual = usual_headers(&work.event, delivery, attempt.number, attempt.started_at);
        let shown = world.exchanges()[n].clone().into_exchange(attempt.number, usual);
        for name in received.headers.keys().map(HeaderName::as_str) {
            let got: Vec<_> = received.headers.get_all(name).iter().collect();
            let shown = shown.request_headers.0.iter().filter(|(found, _)| found == name);
            assert_eq!(shown.map(|(_, value)| value).collect::<Vec<_>>(), got, "{name}");
        }
        assert_eq!(shown.request_headers.0.len(), received.headers.len());
    }
    let signatures = values("webhook-signature");
    assert_ne!(signatures[0], signatures[1]);
}

#[tokio::test]
async fn a_rotated_secret_signs_from_then_on() {
    let receiver = Receiver::answering(200).await;
    let world = World::new(spec(&receiver.url(), constant("1s", 3)), open_config());
    world.attempt_one().await;
    let newer = Secret::webhook(&[3; 32]);
    world.change_rules(|rules| {
        let id = *rules.secrets.keys().next().unwrap();
        rules.secrets.insert(id, newer.clone());
    });
    world.add([2]).await;
    world.settlement(2).await;
    let request = receiver.received().pop().unwrap();
    let verify = |secret: &str| Webhook::new(secret).unwrap().verify(PAYLOAD, &request.headers);
    assert!(verify(newer.expose()).is_ok());
    assert!(verify(SECRETS[0]).is_err());
    assert!(verify(SECRETS[1]).is_ok());
}

#[tokio::test]
async fn credentials_in_the_url_are_sent_as_basic_authorization() {
    let receiver = Receiver::answering(200).await;
    let url = format!("http://user:pass@{}/hook", receiver.address);
    let world = World::new(spec(&url, constant("1s", 3)), open_config());
    world.attempt_one().await;
    let request = receiver.received().pop().unwrap();
    assert_eq!(request.headers["authorization"], "Basic dXNlcjpwYXNz");
    assert_eq!(request.headers["host"], receiver.address.to_string().as_str());
}

#[tokio::test]
async fn what_was_changed_on_the_way_is_never_sent() {
    let receiver = Receiver::answering(200).await;
    let world = World::new(spec(&receiver.url(), constant("1s", 3)), open_config());
    let forge = |work: &mut contract::master_api::Work| {
        work.payload = Some(bytes::Bytes::from_static(b"{\"amount\": 1000000}"));
    };
    world.add_changed([1], forge).await;
    assert_eq!(world.settlement(1).await, Settlement::Ack);
    let attempt = world.attempts(1).remove(0);
    assert_eq!((attempt.cause, attempt.status), (Some(Cause::Integrity), None));
    assert_eq!(attempt.address, None);
    world
        .until("it is dead", |master, _| {
            master.work[&delivery_id(1)].delivery.state == DeliveryState::Dead
        })
        .await;
    // The next one is sent, so the first would have been received by now.
    world.add([2]).await;
    world.settlement(2).await;
    let ids: Vec<_> =
        receiver.received().iter().map(|r| r.headers["certes-delivery"].clone()).collect();
    assert_eq!(ids, [delivery_id(2).to_string().as_str()]);
}

#[tokio::test]
async fn an_expired_payload_is_dead_and_says_so() {
    let receiver = Receiver::answering(200).await;
    let world = World::new(spec(&receiver.url(), constant("1s", 3)), open_config());
    world.add_changed([1], |work| work.payload = None).await;
    assert_eq!(world.settlement(1).await, Settlement::Ack);
    assert_eq!(world.attempts(1)[0].cause, Some(Cause::Expired));
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn deliveries_without_work_or_subscription_leave_the_queue_unattempted() {
    let receiver = Receiver::answering(200).await;
    let world = World::new(spec(&receiver.url(), constant("1s", 3)), open_config());
    world.add_changed([1], |work| work.delivery.state = DeliveryState::Cancelled).await;
    assert_eq!(world.settlement(1).await, Settlement::Ack);

    world.add([2]).await;
    world.settlement(2).await;
    world.change_rules(|rules| rules.subscriptions.clear());
    world.add([3]).await;
    assert_eq!(world.settlement(3).await, Settlement::Ack);

    let gone = contract::master_api::FeedItem {
        delivery: delivery_id(9),
        due: world.clock.now(),
        key: None,
    };
    contract::queue::MessageQueue::enqueue(world.queue.as_ref(), vec![gone]).await.unwrap();
    assert_eq!(world.settlement(4).await, Settlement::Ack);
    assert_eq!(receiver.received().len(), 1);
    assert!(world.attempts(1).is_empty() && world.attempts(3).is_empty());
}

#[tokio::test]
async fn a_paused_subscription_is_attempted_once_it_is_active_again() {
    use contract::subscription::SubscriptionStatus::{Active, Paused};
    let receiver = Receiver::answering(200).await;
    let world = World::new(spec(&receiver.url(), constant("1s", 3)), open_config());
    world.change_subscription(|subscription| subscription.status = Paused);
    world.add([1]).await;
    assert!(matches!(world.settlement(1).await, Settlement::Nack(_)));
    assert!(receiver.received().is_empty());
    world.change_subscription(|subscription| subscription.status = Active);
    world.clock.advance(Duration::from_secs(5));
    world
        .until("it is delivered", |_, queue| {
            queue.settled.last().is_some_and(|(_, settlement)| *settlement == Settlement::Ack)
        })
        .await;
    assert_eq!(world.attempts(1).len(), 1);
}

#[tokio::test]
async fn no_more_attempts_at_once_than_there_are_slots() {
    let receiver = Receiver::answering(200).await;
    receiver.hold(true);
    let config = consumer::Config { max_in_flight: 3, ..open_config() };
    let world = World::new(spec(&receiver.url(), constant("1s", 3)), config);
    world.add(1..=20).await;
    receiver.until_received(3).await;
    let in_flight = world.queue.state.lock().unwrap().leased.len();
    assert_eq!((in_flight, receiver.received().len()), (3, 3));
    receiver.hold(false);
    world.settlement(20).await;
    assert_eq!(receiver.received().len(), 20);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_with_their_name() {
    let config =
        consumer::Config { extra_ca_file: Some("/nowhere/ca.pem".into()), ..open_config() };
    let world = World::still(spec("http://127.0.0.1:1/", constant("1s", 3)), open_config());
    let refused = consumer::Consumer::new(
        config,
        Arc::clone(&world.master) as _,
        Arc::clone(&world.queue) as _,
        Arc::new(contract::schema::NoContracts),
        Arc::clone(&world.clock) as _,
        contract::testing::SeededRandom::new(1),
        consumer::Metrics::new(&mut prometheus_client::registry::Registry::default()),
    );
    assert!(refused.unwrap_err().message.contains("`extra_ca_file` /nowhere/ca.pem"));
}

//! What a caller sees when a call fails, and when it is made again.

use crate::{
    fake::Fake,
    listen::{listen, master_api, peers, with_deadline},
    samples,
};
use bytes::Bytes;
use contract::{
    Error, ErrorCode,
    broker::EventBroker,
    event::NewEvent,
    limits::{BODY_BYTES_MAX_GITHUB, GRPC_MESSAGE_BYTES_MAX},
    master_api::{Deliveries, Events},
    queue::MessageQueue,
    schema::Violation,
};
use proto::{
    client::{Peers, RemoteBroker, RemoteQueue},
    config::ClientConfig,
    server,
};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::net::TcpListener;

#[tokio::test]
async fn every_error_arrives_as_it_was() {
    let fake = Fake::new();
    let listener = listen(server::broker_routes(fake.clone())).await;
    let broker = RemoteBroker::new(listener.peers());
    let violation = |at: usize| Violation {
        path: format!("commits[{at}].author.name"),
        expected: "a string".repeat(10),
        found: "x".repeat(100),
        rule: "type".into(),
    };
    for code in ErrorCode::ALL {
        let error = Error {
            violations: (0..100).map(violation).collect(),
            retry_after: Some(Duration::from_millis(1500)),
            ..Error::new(*code, "what was found, and what is allowed: ü")
        };
        *fake.error.lock().unwrap() = Some(error.clone());
        assert_eq!(broker.accept(samples::new_event()).await.unwrap_err(), error);
    }
}

#[tokio::test]
async fn what_may_be_repeated_is() {
    let fake = Fake::new();
    let listener = master_api(&fake).await;
    let api = listener.master_api().await;
    fake.refusals.store(2, Ordering::SeqCst);
    assert_eq!(api.store_event(samples::store_event()).await.unwrap(), samples::stored());
    assert_eq!(fake.calls.load(Ordering::SeqCst), 3);

    fake.refusals.store(100, Ordering::SeqCst);
    let error = api.event(samples::event_id()).await.unwrap_err();
    assert_eq!(error, Error::new(ErrorCode::Unavailable, "not yet"));
    let retries = u32::try_from(ClientConfig::default().retries_max).unwrap();
    assert_eq!(fake.calls.load(Ordering::SeqCst), 3 + 1 + retries);
}

#[tokio::test]
async fn what_may_not_be_repeated_is_not() {
    let fake = Fake::new();
    let listener = master_api(&fake).await;
    let api = listener.master_api().await;
    fake.refusals.store(1, Ordering::SeqCst);
    let error = api.record_attempts(samples::reports()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
    assert_eq!(fake.calls.load(Ordering::SeqCst), 1);

    let listener = listen(server::broker_routes(fake.clone())).await;
    let broker = RemoteBroker::new(listener.peers());
    fake.refusals.store(1, Ordering::SeqCst);
    let keyless = NewEvent { idempotency_key: None, ..samples::new_event() };
    assert_eq!(broker.accept(keyless.clone()).await.unwrap_err().code, ErrorCode::Unavailable);
    fake.refusals.store(1, Ordering::SeqCst);
    assert_eq!(broker.accept(samples::new_event()).await.unwrap(), samples::accepted());

    // A peer that says when to come back is not asked again before.
    let before = fake.calls.load(Ordering::SeqCst);
    let full = Error::new(ErrorCode::Unavailable, "full").retry_after(Duration::from_secs(1));
    *fake.error.lock().unwrap() = Some(full.clone());
    assert_eq!(broker.accept(samples::new_event()).await.unwrap_err(), full);
    assert_eq!(fake.calls.load(Ordering::SeqCst), before + 1);
}

#[tokio::test]
async fn a_peer_that_is_down_is_passed_over() {
    let fake = Fake::new();
    let listener = listen(server::broker_routes(fake.clone())).await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let broker = RemoteBroker::new(peers(&[nobody, listener.address], ClientConfig::default()));
    for _ in 0..20 {
        let keyless = NewEvent { idempotency_key: None, ..samples::new_event() };
        broker.accept(keyless).await.unwrap();
    }
    assert_eq!(fake.accepted.lock().unwrap().len(), 20);

    let broker = RemoteBroker::new(peers(&[nobody], ClientConfig::default()));
    let error = broker.accept(samples::new_event()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let listener = listen(server::queue_routes(Fake::new())).await;
    let queue = RemoteQueue::new(peers(&[listener.address], with_deadline(50)));
    let error = queue.lease(13, Duration::ZERO).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeadlineExceeded);
}

#[tokio::test]
async fn the_largest_event_passes_and_a_larger_message_does_not() {
    let fake = Fake::new();
    let listener = listen(server::broker_routes(fake.clone())).await;
    let broker = RemoteBroker::new(listener.peers());
    let of = |bytes| NewEvent { payload: Bytes::from(vec![b'x'; bytes]), ..samples::new_event() };
    broker.accept(of(BODY_BYTES_MAX_GITHUB)).await.unwrap();
    let arrived = fake.accepted.lock().unwrap().pop().unwrap();
    assert_eq!(arrived.payload.len(), BODY_BYTES_MAX_GITHUB);
    let error = broker.accept(of(GRPC_MESSAGE_BYTES_MAX)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::BodyTooLarge);
}

#[tokio::test]
async fn addresses_that_are_none_are_refused() {
    for bad in ["127.0.0.1:9620", "https://127.0.0.1:9620", "http://a b", "http://"] {
        let error = Peers::new(&[bad.to_owned()], None, ClientConfig::default()).err().unwrap();
        assert_eq!(error.code, ErrorCode::InvalidDefinition, "{bad}");
        assert!(error.message.contains(bad), "{}", error.message);
    }
    assert!(Peers::new(&[], None, ClientConfig::default()).is_err());
}

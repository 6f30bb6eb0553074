//! Each way in which an endpoint can fail, with its cause.

use crate::{
    receiver::{Receiver, raw, write},
    world::{World, constant, open_config, spec},
};
use axum::{
    http::{StatusCode, header},
    response::IntoResponse,
};
use contract::{
    clock::Clock,
    delivery::{Attempt, Cause},
    exchange::ExchangeRecord,
    queue::Settlement,
    subscription::SubscriptionSpec,
};
use std::{net::SocketAddr, time::Duration};
use tokio::net::{TcpListener, TcpStream};

/// The attempt that a delivery to `address` makes, which takes at most a second.
async fn attempt_at(address: SocketAddr) -> Attempt {
    exchange_at(address).await.0
}

/// The same, with what is kept of the exchange.
async fn exchange_at(address: SocketAddr) -> (Attempt, Option<ExchangeRecord>) {
    let spec = spec(&format!("http://{address}/"), constant("10s", 3));
    let world = World::new(SubscriptionSpec { timeout_ms: Some(1000), ..spec }, open_config());
    let (attempt, settlement) = world.attempt_one().await;
    let due = world.clock.now().after(Duration::from_secs(10));
    assert_eq!(settlement, Settlement::Nack(due), "{attempt:?}");
    assert!(attempt.error.as_ref().is_some_and(|sentence| !sentence.is_empty()));
    assert_eq!(attempt.address, Some(address.to_string()));
    (attempt, world.exchange(1))
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_never_followed() {
    for status in [301, 302, 303, 307, 308] {
        let elsewhere = Receiver::answering(200).await;
        let location = elsewhere.url();
        let receiver = Receiver::start(move |_| {
            let status = StatusCode::from_u16(status).unwrap();
            (status, [(header::LOCATION, location.clone())]).into_response()
        })
        .await;
        let attempt = attempt_at(receiver.address).await;
        assert_eq!((attempt.status, attempt.cause), (Some(status), Some(Cause::Redirect)));
        assert_eq!((receiver.received().len(), elsewhere.received().len()), (1, 0));
    }
}

#[tokio::test]
async fn gone_asks_for_a_pause_and_keeps_the_delivery() {
    let receiver = Receiver::answering(410).await;
    let world = World::new(spec(&receiver.url(), constant("10s", 3)), open_config());
    let (attempt, settlement) = world.attempt_one().await;
    assert_eq!((attempt.status, attempt.cause), (Some(410), Some(Cause::Gone)));
    assert!(matches!(settlement, Settlement::Nack(_)));
    assert!(world.master.state.lock().unwrap().reports[0].pause_subscription);
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (attempt, exchange) = exchange_at(address).await;
    assert_eq!((attempt.cause, exchange), (Some(Cause::Connect), None));
}

#[tokio::test]
async fn an_endpoint_that_never_answers_runs_into_the_time_limit() {
    let address = raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let attempt = attempt_at(address).await;
    assert_eq!((attempt.status, attempt.cause), (None, Some(Cause::Timeout)));
    assert!((1000..3000).contains(&attempt.duration_ms), "{} ms", attempt.duration_ms);
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";

/// Writes `chunk` again and again, `pause` apart, until the other side has gone.
async fn write_on(mut stream: TcpStream, chunk: &'static [u8], pause: Duration) {
    let mut tick = tokio::time::interval(pause);
    while write(&mut stream, chunk).await {
        tick.tick().await;
    }
}

#[tokio::test]
async fn a_success_that_trickles_runs_into_the_time_limit() {
    let address = raw(|mut stream| async move {
        write(&mut stream, HEAD).await;
        write_on(stream, b".", Duration::from_millis(50)).await;
    })
    .await;
    let (attempt, exchange) = exchange_at(address).await;
    assert_eq!((attempt.status, attempt.cause), (Some(200), Some(Cause::Timeout)));
    let exchange = exchange.unwrap();
    assert!(exchange.response_body.starts_with(b"...."));
    assert!(exchange.response_cut, "its end was never seen");
}

#[tokio::test]
async fn a_head_that_trickles_runs_into_the_time_limit() {
    let address = raw(|mut stream| async move {
        write(&mut stream, b"HTTP/1.1 200 OK\r\n").await;
        write_on(stream, b"x: y\r\n", Duration::from_millis(100)).await;
    })
    .await;
    assert_eq!(attempt_at(address).await.cause, Some(Cause::Timeout));
}

#[tokio::test]
async fn an_endless_answer_is_given_up() {
    static CHUNK: [u8; 4096] = [b'a'; 4096];
    let address = raw(|mut stream| async move {
        write(&mut stream, HEAD).await;
        write_on(stream, &CHUNK, Duration::from_micros(1)).await;
    })
    .await;
    let (attempt, exchange) = exchange_at(address).await;
    assert_eq!((attempt.status, attempt.cause), (Some(200), Some(Cause::BadResponse)));
    let exchange = exchange.unwrap();
    assert_eq!((exchange.response_body.len(), exchange.response_cut), (16 * 1024, true));
}

#[tokio::test]
async fn an_endless_failure_is_judged_by_its_status() {
    static CHUNK: [u8; 4096] = [b'a'; 4096];
    let address = raw(|mut stream| async move {
        write(&mut stream, b"HTTP/1.1 500 Oh\r\ncontent-length: 1000000\r\n\r\n").await;
        write_on(stream, &CHUNK, Duration::from_micros(1)).await;
    })
    .await;
    let attempt = attempt_at(address).await;
    assert_eq!((attempt.status, attempt.cause), (Some(500), Some(Cause::Status)));
}

#[tokio::test]
async fn an_endless_head_is_given_up() {
    static LINE: &[u8] = b"x: a header that is repeated until it is too much of it\r\n";
    let address = raw(|mut stream| async move {
        write(&mut stream, b"HTTP/1.1 200 OK\r\n").await;
        write_on(stream, LINE, Duration::from_micros(1)).await;
    })
    .await;
    assert_eq!(attempt_at(address).await.cause, Some(Cause::BadResponse));
}

#[tokio::test]
async fn what_is_no_http_is_a_bad_response() {
    let address = raw(|mut stream| async move {
        write(&mut stream, b"SSH-2.0-OpenSSH_9.6\r\n\r\n").await;
    })
    .await;
    assert_eq!(attempt_at(address).await.cause, Some(Cause::BadResponse));
}

#[tokio::test]
async fn a_connection_that_is_cut_before_the_answer_is_a_reset() {
    let closed = raw(|stream| async move { drop(stream) }).await;
    assert_eq!(attempt_at(closed).await.cause, Some(Cause::Reset));
    let reset = raw(|stream| async move { stream.set_zero_linger().unwrap() }).await;
    assert_eq!(attempt_at(reset).await.cause, Some(Cause::Reset));
}

#[tokio::test]
async fn a_connection_that_is_cut_in_the_answer_is_a_reset() {
    let address = raw(|mut stream| async move {
        write(&mut stream, HEAD).await;
    })
    .await;
    let attempt = attempt_at(address).await;
    assert_eq!((attempt.status, attempt.cause), (Some(200), Some(Cause::Reset)));
}

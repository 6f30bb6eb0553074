//! What only a real socket shows: early refusals, slow clients, bounds, and the end.

use super::world::{World, soon};
use crate::{Config, Mounts, serve};
use axum::{Router, body::Body, extract::WebSocketUpgrade, routing::get};
use bytes::Bytes;
use contract::backoff::Span;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    async fn start(router: Router, limits: serve::Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve::serve(listener, router, limits, stop.clone()));
        Self { address, stop, task }
    }

    async fn of(world: &World) -> Self {
        Self::start(world.router(), serve::Limits::default()).await
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn finish(self) {
        self.stop.cancel();
        soon(self.task).await.unwrap().unwrap();
    }
}

fn millis(count: u64) -> Span {
    Span(Duration::from_millis(count))
}

/// The head of an event's request, with a length that need not be true.
fn head(length: usize) -> String {
    format!(
        "POST /events/open HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n"
    )
}

/// Reads until `text` has come.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = soon(stream.read(&mut buffer)).await.unwrap();
        seen.extend_from_slice(&buffer[..count]);
        let so_far = String::from_utf8_lossy(&seen).into_owned();
        if so_far.contains(text) {
            return so_far;
        }
        assert!(count > 0, "closed before `{text}` came: {so_far}");
    }
}

/// Reads until the server closes.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    soon(stream.read_to_end(&mut seen)).await.unwrap();
    String::from_utf8_lossy(&seen).into_owned()
}

const EVENT: &str = r#"{"type": "x"}"#;

fn event() -> String {
    format!("{}{EVENT}", head(EVENT.len()))
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let world = World::new();
    let server = Server::of(&world).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.write_all(event().as_bytes()).await.unwrap();
        assert!(read_until(&mut client, "\"deliveries\":2}").await.starts_with("HTTP/1.1 202"));
    }
    assert_eq!(world.broker.count(), 3);
    drop(client);
    server.finish().await;
}

#[tokio::test]
async fn an_announced_length_over_the_limit_is_refused_before_any_of_it_is_sent() {
    let world = World::new();
    let server = Server::of(&world).await;
    let mut client = server.connect().await;
    client.write_all(head(6 * 1024 * 1024).as_bytes()).await.unwrap();
    let answer = read_until(&mut client, "body_too_large").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    server.finish().await;
}

#[tokio::test]
async fn a_stream_without_length_is_refused_where_it_exceeds_the_limit() {
    let world = World::with(Config { body_bytes_max: 100_000, ..Config::default() });
    let server = Server::of(&world).await;
    let mut client = server.connect().await;
    let head = "POST /events/open HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 60_000, "x".repeat(60_000));
    client.write_all(chunk.as_bytes()).await.unwrap();
    client.write_all(chunk.as_bytes()).await.unwrap();
    // The last chunk never comes, and is not waited for.
    let answer = read_until(&mut client, "body_too_large").await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(world.broker.count(), 0);
    server.finish().await;
}

#[tokio::test]
async fn a_client_that_goes_on_sending_still_sees_why_it_was_refused() {
    let world = World::new();
    let server = Server::of(&world).await;
    for path in ["/events/open", "/events/shop/1/order", "/events/nobody", "/nothing"] {
        let mut client = server.connect().await;
        let length = 8 * 1024 * 1024;
        let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        soon(client.write_all(&vec![b'x'; length])).await.unwrap();
        let answer = read_until(&mut client, "problem+json").await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    server.finish().await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let world = World::with(Config { body_read_timeout: millis(50), ..Config::default() });
    let limits = serve::Limits { linger_timeout: millis(50), ..serve::Limits::default() };
    let server = Server::start(world.router(), limits).await;
    let mut client = server.connect().await;
    client.write_all(head(100).as_bytes()).await.unwrap();
    client.write_all(b"{").await.unwrap();
    let answer = read_to_end(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("request_timeout"), "{answer}");
    server.finish().await;
}

#[tokio::test]
async fn a_connection_cannot_be_held_open_by_doing_nothing() {
    let world = World::new();
    let limits = serve::Limits {
        opening_timeout: millis(50),
        head_timeout: millis(100),
        ..serve::Limits::default()
    };
    let server = Server::start(world.router(), limits).await;
    // Nothing at all; the beginning of an HTTP/2 preface; half a head of HTTP/1.
    for beginning in ["", "PRI * HTTP/2", "POST /events/open HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let mut client = server.connect().await;
        client.write_all(beginning.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // A reset is as good an end as a close.
        drop(soon(client.read_to_end(&mut rest)).await);
        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{beginning}");
    }
    // Idle between two requests.
    let mut client = server.connect().await;
    client.write_all(event().as_bytes()).await.unwrap();
    assert!(read_to_end(&mut client).await.starts_with("HTTP/1.1 202"));
    server.finish().await;
}

#[tokio::test]
async fn a_client_that_takes_no_answer_is_cut() {
    let endless = Router::new().route("/", get(async || "x".repeat(64 * 1024 * 1024)));
    let limits = serve::Limits {
        connections_max: 1,
        stall_timeout: millis(100),
        ..serve::Limits::default()
    };
    let server = Server::start(endless, limits).await;
    let mut deaf = server.connect().await;
    deaf.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    // The only slot comes free although the first client is still there.
    let mut second = server.connect().await;
    second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(read_until(&mut second, "xxx").await.starts_with("HTTP/1.1 200"));
    drop((deaf, second));
    server.finish().await;
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_before_it_sends() {
    let world = World::new();
    let server = Server::of(&world).await;
    let asking = |length| head(length).replace("\r\n\r\n", "\r\nexpect: 100-continue\r\n\r\n");
    let mut client = server.connect().await;
    client.write_all(asking(6 * 1024 * 1024).as_bytes()).await.unwrap();
    assert!(read_to_end(&mut client).await.starts_with("HTTP/1.1 413"));

    let mut client = server.connect().await;
    client.write_all(asking(EVENT.len()).as_bytes()).await.unwrap();
    assert!(read_until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    client.write_all(EVENT.as_bytes()).await.unwrap();
    assert!(read_until(&mut client, "deliveries").await.starts_with("HTTP/1.1 202"));
    drop(client);
    server.finish().await;
}

#[tokio::test]
async fn connections_are_bounded_and_waiting_ones_get_their_turn() {
    let world = World::new();
    let limits = serve::Limits { connections_max: 1, ..serve::Limits::default() };
    let server = Server::start(world.router(), limits).await;
    let mut first = server.connect().await;
    first.write_all(event().as_bytes()).await.unwrap();
    read_until(&mut first, "deliveries").await;

    let mut second = server.connect().await;
    second.write_all(event().as_bytes()).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), world.broker.arrived(2)).await;
    assert!(early.is_err(), "the only slot is taken");
    drop(first);
    assert!(read_until(&mut second, "deliveries").await.starts_with("HTTP/1.1 202"));
    drop(second);
    server.finish().await;
}

#[tokio::test]
async fn requests_in_work_are_bounded() {
    let world = World::with(Config { requests_max: 1, ..Config::default() });
    let server = Server::of(&world).await;
    world.broker.hold();
    let mut first = server.connect().await;
    first.write_all(event().as_bytes()).await.unwrap();
    world.broker.arrived(1).await;

    let mut second = server.connect().await;
    second.write_all(event().as_bytes()).await.unwrap();
    let answer = read_until(&mut second, "unavailable").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    let mut third = server.connect().await;
    third.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert!(read_until(&mut third, "certes").await.starts_with("HTTP/1.1 200"));

    world.broker.release();
    assert!(read_until(&mut first, "deliveries").await.starts_with("HTTP/1.1 202"));
    drop((first, second, third));
    server.finish().await;
}

#[tokio::test]
async fn bytes_of_all_bodies_together_are_bounded() {
    let config = Config {
        bodies_bytes_max: 1000,
        body_bytes_max: 1000,
        body_bytes_max_github: 1000,
        ..Config::default()
    };
    let world = World::with(config);
    let server = Server::of(&world).await;
    let body = format!("{{\"type\": \"x\"{}}}", " ".repeat(500));
    let request = format!("{}{body}", head(body.len()));
    world.broker.hold();
    let mut first = server.connect().await;
    first.write_all(request.as_bytes()).await.unwrap();
    world.broker.arrived(1).await;

    let mut second = server.connect().await;
    second.write_all(request.as_bytes()).await.unwrap();
    let answer = read_until(&mut second, "unavailable").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");

    world.broker.release();
    read_until(&mut first, "deliveries").await;
    let mut third = server.connect().await;
    third.write_all(request.as_bytes()).await.unwrap();
    assert!(read_until(&mut third, "deliveries").await.starts_with("HTTP/1.1 202"));
    drop((first, second, third));
    server.finish().await;
}

#[tokio::test]
async fn stopping_finishes_what_is_in_work_and_takes_nothing_new() {
    let world = World::new();
    let server = Server::of(&world).await;
    world.broker.hold();
    let mut busy = server.connect().await;
    let mut idle = server.connect().await;
    let mut silent = server.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    read_until(&mut idle, "certes").await;
    busy.write_all(event().as_bytes()).await.unwrap();
    world.broker.arrived(1).await;

    server.stop.cancel();
    assert_eq!(read_to_end(&mut idle).await, "");
    assert_eq!(read_to_end(&mut silent).await, "");
    assert!(!server.task.is_finished());
    let refused = soon(TcpStream::connect(server.address)).await;
    assert!(refused.is_err(), "nobody listens any more");
    world.broker.release();
    let answer = read_to_end(&mut busy).await;
    assert!(answer.starts_with("HTTP/1.1 202") && answer.contains("deliveries"), "{answer}");
    soon(server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn stopping_has_a_deadline() {
    let world = World::new();
    let limits = serve::Limits { drain_timeout: millis(50), ..serve::Limits::default() };
    let server = Server::start(world.router(), limits).await;
    world.broker.hold();
    let mut busy = server.connect().await;
    busy.write_all(event().as_bytes()).await.unwrap();
    world.broker.arrived(1).await;
    server.finish().await;
    assert!(!read_to_end(&mut busy).await.contains("202"));
}

#[tokio::test]
async fn http2_works_on_the_same_port() {
    let world = World::new();
    let server = Server::of(&world).await;
    let client: Client<_, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let url = format!("http://{}/events/open", server.address);
    let post = |body: Vec<u8>| {
        let request = Request::post(&url).header("content-type", "application/json");
        soon(client.request(request.body(Full::from(body)).unwrap()))
    };
    let (one, two) = tokio::join!(post(EVENT.into()), post(EVENT.into()));
    assert_eq!(
        (one.unwrap().status(), two.unwrap().status()),
        (StatusCode::ACCEPTED, StatusCode::ACCEPTED)
    );
    let answer = post(vec![b'x'; 6 * 1024 * 1024]).await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let problem = soon(answer.into_body().collect()).await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&problem).contains("body_too_large"));
    drop(client);
    server.finish().await;
}

#[tokio::test]
async fn an_upgraded_connection_keeps_its_slot() {
    let world = World::new();
    let echo = get(|upgrade: WebSocketUpgrade| async {
        upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
        })
    });
    let mounts = Mounts { api: Router::new().route("/ws", echo), ..Mounts::default() };
    let router = Arc::clone(&world.gateway).router(mounts);
    let limits = serve::Limits { connections_max: 1, ..serve::Limits::default() };
    let server = Server::start(router, limits).await;
    let mut socket = server.connect().await;
    let handshake = "GET /api/ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(handshake.as_bytes()).await.unwrap();
    let answer = read_until(&mut socket, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    // A masked text frame `hi` under the mask 0; it comes back unmasked (RFC 6455, 5.2).
    socket.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).await.unwrap();
    let mut frame = [0; 4];
    soon(socket.read_exact(&mut frame)).await.unwrap();
    assert_eq!(frame, [0x81, 2, b'h', b'i']);

    let mut second = server.connect().await;
    second.write_all(event().as_bytes()).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(100), world.broker.arrived(1)).await;
    assert!(early.is_err(), "the only slot is taken");
    drop(socket);
    read_until(&mut second, "deliveries").await;
    drop(second);
    server.finish().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_event() {
    let world = World::new();
    let broken = futures_util::stream::iter([
        Ok(Bytes::from_static(b"{\"type\": \"x\"}")),
        Err(io::Error::from(io::ErrorKind::ConnectionReset)),
    ]);
    let answer = world.post("/events/open", &[], Body::from_stream(broken)).await;
    answer.refused(400, "invalid_request");
    assert_eq!(world.broker.count(), 0);
}

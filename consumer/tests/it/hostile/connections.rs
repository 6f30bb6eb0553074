//! Endpoints that do not take what is sent, and connections that go away.

use super::{LONGEST, attempt_at, end, world_at};
use crate::{
    receiver::{Receiver, raw, write},
    world::{World, constant, open_config, set_payload, spec},
};
use axum::response::IntoResponse;
use bytes::Bytes;
use consumer::Config;
use contract::{backoff::Span, delivery::Cause};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    time::timeout,
};

#[tokio::test]
async fn a_black_hole_runs_into_the_limit_of_connecting() {
    // Nobody accepts, and the queue of those who wait to be accepted is full: nothing is answered.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await
    {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 64, "the queue never fills");
    }
    let config = Config { connect_timeout: Span(Duration::from_millis(400)), ..open_config() };
    let world = World::new(spec(&format!("http://{address}/"), constant("10s", 3)), config);
    let (attempt, _) = world.attempt_one().await;
    assert_eq!(end(&attempt), (None, Some(Cause::Timeout)), "{attempt:?}");
    assert_eq!(attempt.address, Some(address.to_string()));
    assert!(attempt.duration_ms < 3000, "{attempt:?}");
}

#[tokio::test]
async fn one_that_never_reads_runs_into_the_time_limit() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(16).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let world = world_at(&format!("http://{address}/"));
    let large = Bytes::from(vec![b'x'; 8 * 1024 * 1024]);
    world.add_changed([1], |work| set_payload(work, large.clone())).await;
    timeout(LONGEST, world.settlement(1)).await.unwrap();
    assert_eq!(end(&world.attempts(1)[0]), (None, Some(Cause::Timeout)));
}

#[tokio::test]
async fn one_that_answers_before_it_has_read_all_is_judged_by_its_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut first = [0; 1024];
            assert!(stream.read(&mut first).await.is_ok_and(|read| read > 0));
            write(&mut stream, b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await;
            // And goes on reading, as it should.
            while stream.read(&mut first).await.is_ok_and(|read| read > 0) {}
        }
    });
    let world = world_at(&format!("http://{address}/"));
    let large = Bytes::from(vec![b'x'; 2 * 1024 * 1024]);
    world.add_changed([1], |work| set_payload(work, large.clone())).await;
    timeout(LONGEST, world.settlement(1)).await.unwrap();
    assert_eq!(end(&world.attempts(1)[0]), (Some(413), Some(Cause::Status)));
}

#[tokio::test]
async fn a_reset_in_the_middle_of_the_body_is_one() {
    let address = raw(|mut stream| async move {
        write(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\nabc").await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let attempt = attempt_at(address).await;
    assert_eq!(attempt.cause, Some(Cause::Reset), "{attempt:?}");
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_no_attempt() {
    let (closed, connections) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (tell, count) = (Arc::clone(&closed), Arc::clone(&connections));
    let address = raw(move |mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        let tell = Arc::clone(&tell);
        async move {
            // Promises to keep the connection, and does not.
            write(
                &mut stream,
                b"HTTP/1.1 200 OK\r\nkeep-alive: timeout=60\r\ncontent-length: 0\r\n\r\n",
            )
            .await;
            stream.shutdown().await.unwrap();
            // The consumer has closed its side, too: it knows.
            let mut rest = [0; 64];
            while stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
            tell.notify_one();
        }
    })
    .await;
    let world = world_at(&format!("http://{address}/"));
    let (first, _) = world.attempt_one().await;
    assert_eq!(end(&first), (Some(200), None));
    for number in 2..=6 {
        timeout(LONGEST, closed.notified()).await.unwrap();
        world.add([number]).await;
        world.settlement(usize::try_from(number).unwrap()).await;
        let attempts = world.attempts(number);
        assert_eq!(end(&attempts[0]), (Some(200), None), "{attempts:?}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 6, "each went over a new one");
}

#[tokio::test]
async fn endpoints_that_misbehave_harm_no_neighbour() {
    // As many that hang as there are slots but one, and one that is alive.
    let hanging = raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let alive = Receiver::start(|_| ().into_response()).await;
    let config = Config { max_in_flight: 8, connections_max: 16, ..open_config() };
    let mut world = World::still(spec(&format!("http://{hanging}/"), constant("10s", 3)), config);
    let neighbour = world.add_neighbour(&alive.url());
    world.start();
    world.add(1..=7).await;
    world.until("seven hang", |master, _| master.fetched.len() >= 7).await;
    world.add_to(neighbour, 11..=30).await;
    world.until("the neighbour has its own", |_, queue| queue.settled.len() >= 20).await;
    assert_eq!(alive.received().len(), 20);
    assert!((1..=7).all(|number| world.attempts(number).is_empty()), "those still hang");
}

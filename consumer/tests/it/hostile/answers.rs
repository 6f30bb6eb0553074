//! Answers that are none, lie, or never end.

use super::{LIMIT, attempt_at, end, world_at};
use crate::receiver::{raw, write};
use contract::delivery::Cause;
use std::{net::SocketAddr, time::Duration};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// A server that answers with these bytes and then closes.
async fn saying(bytes: &'static [u8]) -> SocketAddr {
    raw(move |mut stream| async move {
        write(&mut stream, bytes).await;
    })
    .await
}

/// One that answers with these bytes and then says nothing more.
async fn stopping_after(bytes: &'static [u8]) -> SocketAddr {
    raw(move |mut stream| async move {
        write(&mut stream, bytes).await;
        until_gone(stream).await;
    })
    .await
}

/// One that says `first`, and then `again` until nobody listens any more.
async fn endless(first: &'static [u8], again: &'static [u8]) -> SocketAddr {
    raw(move |mut stream| async move {
        write(&mut stream, first).await;
        while write(&mut stream, again).await {
            tokio::task::yield_now().await;
        }
    })
    .await
}

async fn until_gone(mut stream: TcpStream) {
    let mut chunk = [0; 64];
    while stream.read(&mut chunk).await.is_ok_and(|read| read > 0) {}
}

#[tokio::test]
async fn what_has_no_head_is_a_bad_response() {
    let garbage: [&'static [u8]; 8] = [
        b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
        b"\xff\xfe\xfd HTTP/1.1 200 OK\r\n\r\n",
        b"<html>of HTTP/0.9</html>\r\n\r\n",
        b"ok\n\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 two hundred OK\r\n\r\n",
        b"HTTP/9.9 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for bytes in garbage {
        let attempt = attempt_at(saying(bytes).await).await;
        let shown = bytes.escape_ascii();
        assert_eq!(end(&attempt), (None, Some(Cause::BadResponse)), "{shown}: {attempt:?}");
    }
}

#[tokio::test]
async fn a_head_that_contradicts_itself_is_a_bad_response() {
    let heads: [&'static [u8]; 6] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n name: folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nn\0me: value\r\n\r\n",
    ];
    for head in heads {
        let attempt = attempt_at(saying(head).await).await;
        let shown = head.escape_ascii();
        assert_eq!(end(&attempt), (None, Some(Cause::BadResponse)), "{shown}: {attempt:?}");
    }
}

#[tokio::test]
async fn one_huge_header_is_given_up() {
    let address = raw(|mut stream| async move {
        write(&mut stream, b"HTTP/1.1 200 OK\r\nx: ").await;
        write(&mut stream, &[b'a'; 256 * 1024]).await;
        until_gone(stream).await;
    })
    .await;
    assert_eq!(end(&attempt_at(address).await), (None, Some(Cause::BadResponse)));
}

#[tokio::test]
async fn a_status_line_that_never_ends_is_given_up() {
    let address = endless(b"HTTP/1.1 200 ", b"okokokokokokokokokokokokokokokok").await;
    assert_eq!(end(&attempt_at(address).await), (None, Some(Cause::BadResponse)));
}

#[tokio::test]
async fn a_head_that_stops_in_the_middle_runs_into_the_time_limit() {
    for head in
        [b"H".as_slice(), b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"]
    {
        let attempt = attempt_at(stopping_after(head).await).await;
        assert_eq!(end(&attempt), (None, Some(Cause::Timeout)));
        assert!(u128::from(attempt.duration_ms) >= LIMIT.as_millis(), "{attempt:?}");
    }
}

#[tokio::test]
async fn a_head_that_is_cut_is_a_reset() {
    let attempt = attempt_at(saying(b"HTTP/1.1 200 OK\r\ncontent-le").await).await;
    assert_eq!(end(&attempt), (None, Some(Cause::Reset)));
}

#[tokio::test]
async fn a_body_that_stops_runs_into_the_time_limit() {
    let address = stopping_after(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
    assert_eq!(end(&attempt_at(address).await), (Some(200), Some(Cause::Timeout)));
}

#[tokio::test]
async fn a_body_that_is_shorter_than_its_head_says_is_a_reset() {
    let address = saying(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
    assert_eq!(end(&attempt_at(address).await), (Some(200), Some(Cause::Reset)));
}

#[tokio::test]
async fn chunks_that_never_end_are_given_up() {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let address = endless(head, b"8\r\nabcdefgh\r\n").await;
    assert_eq!(end(&attempt_at(address).await), (Some(200), Some(Cause::BadResponse)));
}

#[tokio::test]
async fn chunks_that_are_none_are_no_success() {
    let bodies: [&'static [u8]; 3] = [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
    ];
    for body in bodies {
        let attempt = attempt_at(saying(body).await).await;
        let shown = body.escape_ascii();
        assert_eq!(end(&attempt), (Some(200), Some(Cause::BadResponse)), "{shown}: {attempt:?}");
    }
}

#[tokio::test]
async fn trailers_that_never_end_are_no_success() {
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n";
    let attempt = attempt_at(endless(head, b"x: another trailer of many\r\n").await).await;
    assert_eq!(attempt.status, Some(200));
    let cause = attempt.cause.unwrap();
    assert!(matches!(cause, Cause::BadResponse | Cause::Reset | Cause::Timeout), "{cause}");
}

#[tokio::test]
async fn interim_answers_that_never_end_are_none() {
    let attempt = attempt_at(endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n").await).await;
    assert_eq!(end(&attempt), (None, Some(Cause::Timeout)));
}

#[tokio::test]
async fn an_interim_answer_is_passed_over() {
    let address = saying(
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    assert_eq!(end(&attempt_at(address).await), (Some(200), None));
}

#[tokio::test]
async fn nobody_switches_the_protocol() {
    let address = stopping_after(
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    )
    .await;
    let attempt = attempt_at(address).await;
    assert!(attempt.cause.is_some(), "{attempt:?}");
    assert!(attempt.duration_ms < 3000, "{attempt:?}");
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_not_followed() {
    let address = saying(
        b"HTTP/1.1 307 Go\r\nlocation: http://169.254.169.254/latest/meta-data\r\n\
          content-length: 0\r\n\r\n",
    )
    .await;
    let attempt = attempt_at(address).await;
    assert_eq!(end(&attempt), (Some(307), Some(Cause::Redirect)));
    assert_eq!(attempt.address, Some(address.to_string()));
}

#[tokio::test]
async fn a_compressed_body_stays_as_it_is() {
    // 1,032 bytes that gzip makes of 1 MiB of zeros begin like this; nobody unpacks them.
    static BOMB: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 18\r\n\r\n\
        \x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xed\xc1\x01\x0d\x00\x00\x00\xc2";
    let world = world_at(&format!("http://{}/", saying(BOMB).await));
    let (attempt, _) = world.attempt_one().await;
    assert_eq!(end(&attempt), (Some(200), None));
    assert_eq!(world.exchange(1).unwrap().response_body, BOMB[BOMB.len() - 18..]);
}

#[tokio::test]
async fn a_second_answer_that_nobody_asked_for_answers_nothing() {
    let two =
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let address = raw(move |mut stream| {
        let first = turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        async move {
            let answer: &[u8] = match first {
                true => two,
                false => b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
            };
            write(&mut stream, answer).await;
            until_gone(stream).await;
        }
    })
    .await;
    let world = world_at(&format!("http://{address}/"));
    let (attempt, _) = world.attempt_one().await;
    assert_eq!(end(&attempt), (Some(200), None));
    world.add([2]).await;
    world.settlement(2).await;
    let second = world.attempts(2).remove(0);
    assert_eq!(end(&second), (Some(500), Some(Cause::Status)), "judged by its own answer");
}

#[tokio::test]
async fn a_body_one_byte_at_a_time_runs_into_the_time_limit() {
    let address = raw(|mut stream| async move {
        write(&mut stream, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        while write(&mut stream, b"1\r\n.\r\n").await {
            tick.tick().await;
        }
    })
    .await;
    assert_eq!(end(&attempt_at(address).await), (Some(200), Some(Cause::Timeout)));
}

//! `Retry-After` in every form.

use super::world_at;
use crate::receiver::Receiver;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};
use contract::{clock::Clock, delivery::Cause, queue::Settlement};
use std::time::{Duration, UNIX_EPOCH};

const BACKOFF: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How much later the next attempt is when the endpoint says so.
async fn delay(status: u16, value: Option<&str>) -> Duration {
    let value = value.map(|value| HeaderValue::from_bytes(value.as_bytes()).unwrap());
    let receiver = Receiver::start(move |_| {
        let mut response = StatusCode::from_u16(status).unwrap().into_response();
        if let Some(value) = &value {
            response.headers_mut().insert(header::RETRY_AFTER, value.clone());
        }
        response
    })
    .await;
    let world = world_at(&receiver.url());
    let (attempt, settlement) = world.attempt_one().await;
    let throttled = matches!(status, 429 | 503);
    assert_eq!(attempt.cause, Some(if throttled { Cause::Throttled } else { Cause::Status }));
    let Settlement::Nack(due) = settlement else { panic!("{settlement:?}") };
    due.since(world.clock.now())
}

#[tokio::test]
async fn seconds_move_the_next_attempt_later_and_never_earlier() {
    for status in [429, 503] {
        assert_eq!(delay(status, Some("120")).await, Duration::from_secs(120));
        assert_eq!(delay(status, Some("3")).await, BACKOFF);
        assert_eq!(delay(status, Some("0")).await, BACKOFF);
        assert_eq!(delay(status, None).await, BACKOFF);
    }
    assert_eq!(delay(500, Some("120")).await, BACKOFF, "it does not ask for patience");
}

#[tokio::test]
async fn a_date_does_so_too() {
    let at = |seconds: u64| {
        let now = contract::clock::SystemClock.now().unix_seconds();
        let time = UNIX_EPOCH + Duration::from_secs(u64::try_from(now).unwrap() + seconds);
        httpdate::fmt_http_date(time)
    };
    let later = delay(503, Some(&at(300))).await;
    let wanted = Duration::from_secs(295)..Duration::from_secs(305);
    assert!(wanted.contains(&later), "{later:?}");
    assert_eq!(delay(503, Some("Sun, 06 Nov 1994 08:49:37 GMT")).await, BACKOFF, "it has passed");
    assert_eq!(delay(429, Some("Fri, 31 Dec 9999 23:59:59 GMT")).await, DAY, "absurdly far");
}

#[tokio::test]
async fn what_is_too_far_or_makes_no_sense_is_bounded_or_passed_over() {
    for far in ["99999999", "18446744073709551615", "99999999999999999999999999"] {
        assert_eq!(delay(503, Some(far)).await, DAY, "{far}");
    }
    for nonsense in
        ["-5", "", "soon", "1e9", "0x10", "12 minutes", "Someday, 99 Foo 0000", "\u{e9}"]
    {
        assert_eq!(delay(503, Some(nonsense)).await, BACKOFF, "{nonsense}");
    }
}

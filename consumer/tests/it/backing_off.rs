//! When the next attempt is made, and when there is none.

use crate::{
    receiver::Receiver,
    world::{World, constant, delivery_id, open_config, spec},
};
use axum::{http::StatusCode, response::IntoResponse};
use contract::{
    backoff::{BackoffPolicy, BackoffRule, BackoffTarget, Jitter},
    clock::Clock,
    delivery::{Cause, DeliveryState, Next},
    event::Direction,
    queue::Settlement,
};
use std::{sync::Arc, time::Duration};

#[tokio::test]
async fn a_delivery_is_dead_after_exactly_the_configured_attempts_at_the_configured_delays() {
    let receiver = Receiver::answering(500).await;
    let world = World::new(spec(&receiver.url(), constant("7s", 10)), open_config());
    let start = world.clock.now();
    world.add([1]).await;
    for attempt in 1..=10_u32 {
        let due = start.after(Duration::from_secs(7) * attempt);
        let settlement = world.settlement(usize::try_from(attempt).unwrap()).await;
        assert_eq!(settlement, Settlement::Nack(due));
        // A microsecond early, nothing is due; the consumer asks the queue again meanwhile.
        world.clock.advance(Duration::from_micros(6_999_999));
        let early = world.queue.state.lock().unwrap().waiting.get(&delivery_id(1)).copied();
        assert_eq!(early, Some(due));
        world.clock.advance(Duration::from_micros(1));
    }
    assert_eq!(world.settlement(11).await, Settlement::Ack);
    let last = world.master.state.lock().unwrap().reports.last().cloned().unwrap();
    assert_eq!(last.next, Next::Dead(Cause::Exhausted));
    let started: Vec<_> = world.attempts(1).iter().map(|attempt| attempt.started_at).collect();
    let wanted: Vec<_> = (0..=10).map(|n| start.after(Duration::from_secs(7) * n)).collect();
    assert_eq!((started, receiver.received().len()), (wanted, 11));
    let state = world.master.state.lock().unwrap().work[&delivery_id(1)].delivery.state;
    assert_eq!(state, DeliveryState::Dead);
}

/// How many seconds later the next attempt is due after this answer; the policy says 60.
async fn delay_after(status: u16, retry_after: impl Fn(&World) -> String) -> u64 {
    let header = Arc::new(std::sync::OnceLock::new());
    let shown: Arc<std::sync::OnceLock<String>> = Arc::clone(&header);
    let receiver = Receiver::start(move |_| {
        let status = StatusCode::from_u16(status).unwrap();
        (status, [("retry-after", shown.get().unwrap().clone())]).into_response()
    })
    .await;
    let world = World::new(spec(&receiver.url(), constant("60s", 3)), open_config());
    // Dates have whole seconds: begin on one.
    let fraction = u64::try_from(world.clock.now().0 % 1_000_000).unwrap();
    world.clock.advance(Duration::from_micros(1_000_000 - fraction));
    header.set(retry_after(&world)).unwrap();
    let (attempt, settlement) = world.attempt_one().await;
    assert_eq!(attempt.status, Some(status));
    match settlement {
        Settlement::Nack(due) => due.since(world.clock.now()).as_secs(),
        Settlement::Ack => panic!("it is to be tried again"),
    }
}

fn date_in(world: &World, seconds: u64) -> String {
    let time = world.clock.now().after(Duration::from_secs(seconds));
    let since = Duration::from_secs(u64::try_from(time.unix_seconds()).unwrap());
    httpdate::fmt_http_date(std::time::UNIX_EPOCH + since)
}

#[tokio::test]
async fn retry_after_moves_the_next_attempt_later_within_bounds_and_never_earlier() {
    assert_eq!(delay_after(429, |_| "90".to_owned()).await, 90);
    assert_eq!(delay_after(503, |_| "120".to_owned()).await, 120);
    assert_eq!(delay_after(429, |world| date_in(world, 300)).await, 300);
    assert_eq!(delay_after(429, |_| "5".to_owned()).await, 60);
    assert_eq!(delay_after(429, |world| date_in(world, 0)).await, 60);
    assert_eq!(delay_after(429, |_| "soon".to_owned()).await, 60);
    assert_eq!(delay_after(429, |_| "99999999999999999999".to_owned()).await, 86_400);
    assert_eq!(delay_after(500, |_| "90".to_owned()).await, 60);
}

#[tokio::test]
async fn the_rule_that_decided_is_named() {
    let receiver = Receiver::answering(500).await;
    let declared = spec(&receiver.url(), constant("1s", 3));
    let declared = contract::subscription::SubscriptionSpec { backoff: None, ..declared };
    let world = World::new(declared, open_config());
    let (attempt, _) = world.attempt_one().await;
    assert_eq!(attempt.backoff_rule.as_deref(), Some("default"));

    let targets = [
        (BackoffTarget::Global, "global"),
        (BackoffTarget::Source("github".into()), "source:github"),
        (BackoffTarget::EventType("github/1/push".parse().unwrap()), "type:github/1/push"),
    ];
    for (number, (target, name)) in (2..).zip(targets) {
        let seconds = 100 * number;
        let policy = BackoffPolicy { jitter: Jitter::None, ..constant(&format!("{seconds}s"), 3) };
        let rule = BackoffRule { target, direction: Direction::Incoming, policy };
        world.change_rules(|rules| rules.backoffs.push(Arc::new(rule)));
        world.add([number]).await;
        let settlement = world.settlement(usize::try_from(number).unwrap()).await;
        let due = world.clock.now().after(Duration::from_secs(seconds));
        assert_eq!(settlement, Settlement::Nack(due));
        assert_eq!(world.attempts(number)[0].backoff_rule.as_deref(), Some(name));
    }
}

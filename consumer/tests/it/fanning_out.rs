//! More endpoints than connections: what we lack is never an endpoint's failure.

use crate::{
    receiver::Receiver,
    world::{World, constant, open_config, spec},
};
use consumer::Config;
use contract::{backoff::Span, queue::Settlement};
use std::time::Duration;

/// A config with so few connections that two endpoints use them up.
fn two_connections() -> Config {
    Config {
        max_in_flight: 2,
        connections_max: 2,
        connect_timeout: Span(Duration::from_millis(500)),
        idle_timeout: Span(Duration::from_secs(60)),
        ..open_config()
    }
}

#[tokio::test]
async fn idle_connections_stand_in_nobodys_way() {
    let world = World::new(spec("http://127.0.0.1:1/", constant("1s", 3)), two_connections());
    // All stay up, so that no connection ends but by our own will.
    let mut receivers = Vec::new();
    for number in 1..=12 {
        let receiver = Receiver::answering(200).await;
        world.change_subscription(|subscription| subscription.spec.url = receiver.url());
        receivers.push(receiver);
        world.add([number]).await;
        let settlement = world.settlement(receivers.len()).await;
        assert_eq!((settlement, world.attempts(number)[0].cause), (Settlement::Ack, None));
    }
    assert_eq!(world.untried(), 0);
}

#[tokio::test]
async fn who_finds_no_connection_goes_back_untried() {
    let first = Receiver::answering(200).await;
    let world = World::new(spec(&first.url(), constant("1s", 3)), two_connections());
    world.attempt_one().await;
    // One connection idles to the first endpoint, the second endpoint holds the other.
    let slow = Receiver::answering(200).await;
    slow.hold(true);
    world.change_subscription(|subscription| subscription.spec.url = slow.url());
    world.add([2, 3]).await;
    slow.until_received(1).await;
    assert!(matches!(world.settlement(2).await, Settlement::Nack(_)));
    assert_eq!((world.attempts(2).len(), world.attempts(3).len()), (0, 0));
    assert!(world.untried() >= 1);

    slow.hold(false);
    world
        .until("both are delivered", |_, queue| {
            queue.settled.iter().filter(|(_, how)| *how == Settlement::Ack).count() == 3
        })
        .await;
    for number in [2, 3] {
        let attempts = world.attempts(number);
        assert_eq!((attempts.len(), attempts[0].cause), (1, None));
    }
}

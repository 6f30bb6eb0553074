//! A consumer that is told to stop finishes what it has begun, and begins nothing.

use crate::{
    receiver::Receiver,
    world::{World, constant, open_config, spec},
};
use consumer::Config;
use contract::{ErrorCode, backoff::Span, queue::Settlement};
use std::time::Duration;

#[tokio::test]
async fn what_is_in_flight_is_finished_recorded_and_settled() {
    let receiver = Receiver::answering(200).await;
    receiver.hold(true);
    let config = Config { max_in_flight: 4, ..open_config() };
    let mut world = World::new(spec(&receiver.url(), constant("1s", 3)), config);
    world.add(1..=10).await;
    receiver.until_received(4).await;
    world.stop.cancel();
    receiver.hold(false);
    world.drain().await;
    let queue = world.queue.state.lock().unwrap();
    assert_eq!((receiver.received().len(), queue.leased.len()), (4, 0));
    assert_eq!(queue.waiting.len(), 6);
    let delivered = queue.settled.iter().filter(|(_, how)| *how == Settlement::Ack).count();
    assert_eq!(delivered, 4);
    assert_eq!(world.master.state.lock().unwrap().reports.len(), 4);
}

#[tokio::test]
async fn an_idle_consumer_stops_at_once() {
    let mut world = World::new(spec("http://127.0.0.1:1/", constant("1s", 3)), open_config());
    world.drain().await;
}

#[tokio::test]
async fn a_store_that_stays_away_does_not_hold_up_the_stop_for_ever() {
    let receiver = Receiver::answering(200).await;
    let config = Config { drain_limit: Span(Duration::from_millis(200)), ..open_config() };
    let mut world = World::new(spec(&receiver.url(), constant("1s", 3)), config);
    world.master.state.lock().unwrap().failing_records = (u32::MAX, Some(ErrorCode::Unavailable));
    world.add([1]).await;
    receiver.until_received(1).await;
    world.drain().await;
    // Its lease runs out, and it is attempted again: nothing is lost.
    let queue = world.queue.state.lock().unwrap();
    assert_eq!((queue.leased.len(), queue.settled.len()), (1, 0));
}

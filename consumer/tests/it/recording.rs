//! Every attempt is recorded before its lease ends, and none is made again for lack of a record.

use crate::{
    receiver::Receiver,
    world::{World, constant, delivery_id, open_config, spec},
};
use contract::{ErrorCode, queue::Settlement};
use std::time::Duration;

#[tokio::test]
async fn a_record_that_fails_is_repeated_and_the_request_is_not() {
    let receiver = Receiver::answering(200).await;
    let world = World::new(spec(&receiver.url(), constant("1s", 3)), open_config());
    world.master.state.lock().unwrap().failing_records = (3, Some(ErrorCode::Unavailable));
    let (attempt, settlement) = world.attempt_one().await;
    assert_eq!((attempt.status, settlement), (Some(200), Settlement::Ack));
    assert_eq!(world.master.state.lock().unwrap().record_calls, 4);
    assert_eq!((receiver.received().len(), world.attempts(1).len()), (1, 1));
}

#[tokio::test]
async fn a_lease_is_extended_while_the_record_is_missing() {
    let receiver = Receiver::answering(200).await;
    let world = World::new(spec(&receiver.url(), constant("1s", 3)), open_config());
    world.master.state.lock().unwrap().failing_records = (u32::MAX, Some(ErrorCode::Unavailable));
    world.add([1]).await;
    world.until("a record fails", |master, _| master.record_calls > 0).await;
    for extensions in 1..=4 {
        // Half of a lease each time: together twice as long as one lease.
        world.clock.advance(Duration::from_secs(15));
        world.until("it is extended", |_, queue| queue.extensions >= extensions).await;
    }
    assert!(world.queue.state.lock().unwrap().settled.is_empty());
    world.master.state.lock().unwrap().failing_records = (0, None);
    assert_eq!(world.settlement(1).await, Settlement::Ack);
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_lease_is_extended_while_the_endpoint_thinks() {
    let receiver = Receiver::answering(200).await;
    receiver.hold(true);
    let world = World::new(spec(&receiver.url(), constant("1s", 3)), open_config());
    world.add([1]).await;
    receiver.until_received(1).await;
    world.clock.advance(Duration::from_secs(15));
    world.until("it is extended", |_, queue| queue.extensions >= 1).await;
    receiver.hold(false);
    assert_eq!(world.settlement(1).await, Settlement::Ack);
}

#[tokio::test]
async fn a_report_that_comes_too_late_leaves_the_delivery_to_the_feeder() {
    let receiver = Receiver::answering(500).await;
    receiver.hold(true);
    let world = World::new(spec(&receiver.url(), constant("1s", 3)), open_config());
    world.add([1]).await;
    receiver.until_received(1).await;
    // Somebody else has recorded the first attempt meanwhile.
    {
        let mut state = world.master.state.lock().unwrap();
        let work = state.work.get_mut(&delivery_id(1)).unwrap();
        work.delivery.attempts.push(contract::delivery::Attempt {
            number: 1,
            started_at: work.delivery.created_at,
            duration_ms: 1,
            status: None,
            cause: Some(contract::delivery::Cause::Lost),
            error: None,
            address: None,
            response_excerpt: None,
            backoff_rule: None,
        });
    }
    receiver.hold(false);
    assert_eq!(world.settlement(1).await, Settlement::Ack);
    assert_eq!(world.attempts(1).len(), 1);
}

#[tokio::test]
async fn a_report_that_is_refused_for_good_holds_up_nobody() {
    let receiver = Receiver::answering(200).await;
    receiver.hold(true);
    let world = World::new(spec(&receiver.url(), constant("1s", 3)), open_config());
    world.master.state.lock().unwrap().poisoned = Some(delivery_id(2));
    world.add(1..=5).await;
    receiver.until_received(5).await;
    receiver.hold(false);
    world.settlement(5).await;
    for number in [1, 3, 4, 5] {
        assert_eq!(world.attempts(number).len(), 1, "delivery {number}");
    }
    assert!(world.attempts(2).is_empty());
    assert_eq!(receiver.received().len(), 5);
}

#[tokio::test]
async fn work_that_cannot_be_fetched_at_once_is_fetched_again() {
    let receiver = Receiver::answering(200).await;
    let world = World::new(spec(&receiver.url(), constant("1s", 3)), open_config());
    world.master.state.lock().unwrap().failing_fetches = 2;
    let (attempt, settlement) = world.attempt_one().await;
    assert_eq!((attempt.status, settlement), (Some(200), Settlement::Ack));
}

#[tokio::test]
async fn an_attempt_is_not_started_on_a_lease_that_has_run_out() {
    let receiver = Receiver::answering(200).await;
    let world = World::new(spec(&receiver.url(), constant("1s", 3)), open_config());
    world.master.state.lock().unwrap().failing_fetches = u32::MAX;
    world.add([1]).await;
    world.until("it is leased", |_, queue| !queue.leased.is_empty()).await;
    // The queue takes the lease back and gives it to nobody.
    world.queue.state.lock().unwrap().leased.clear();
    world.clock.advance(Duration::from_secs(31));
    world.master.state.lock().unwrap().failing_fetches = 0;
    world.until("it is fetched", |master, _| master.fetched.contains(&delivery_id(1))).await;
    world.add([2]).await;
    world.settlement(1).await;
    assert_eq!(receiver.received().len(), 1);
    assert!(world.attempts(1).is_empty());
}

//! Feeding lanes that keep an order: what comes later never gets into the queue before what is to
//! be made first.

use super::model::{World, lane};
use crate::FeederConfig;
use contract::{
    id::{DeliveryId, LaneId, Sequence},
    subscription::Ordering,
};
use std::time::Duration;

const FAR: Duration = Duration::from_secs(7200);

fn world() -> World {
    World::ruled(64, FeederConfig::default(), Ordering::Strict)
}

fn ordered() -> LaneId {
    lane(1)
}

/// Sequences in the queue, in the order in which they got there.
fn queued(world: &World) -> Vec<u64> {
    world.queue.lane(ordered()).iter().map(|item| item.delivery.sequence.0).collect()
}

fn fail(world: &World, sequence: Sequence) {
    world.attempt(DeliveryId { lane: ordered(), sequence }, Some(FAR));
}

#[tokio::test]
async fn an_ordered_lane_is_fed_from_the_log_alone() {
    let world = world();
    world.work().await;
    let [first, second] = [world.log.store(&[ordered()]), world.log.store(&[ordered()])];
    // Who stored the second was faster.
    world.feeder.offer(second, &[ordered()]);
    world.feeder.pass_on().await;
    assert_eq!(queued(&world), [] as [u64; 0], "nothing takes the shortcut");
    world.work().await;
    assert_eq!(queued(&world), [first.0, second.0]);
    world.feeder.offer(first, &[ordered()]);
    world.work().await;
    let third = world.send(ordered());
    world.work().await;
    assert_eq!(queued(&world), [first.0, second.0, third.0]);
}

#[tokio::test]
async fn a_far_retry_is_there_before_what_follows_it() {
    let world = world();
    world.work().await;
    let first = world.send(ordered());
    world.work().await;
    fail(&world, first);
    world.tick().await;
    // The queue has begun anew; nothing of the lane is due for hours.
    world.queue.forget();
    let second = world.send(ordered());
    world.work().await;
    assert_eq!(queued(&world), [first.0, second.0]);
}

#[tokio::test]
async fn a_lane_that_is_only_probed_gets_its_retries_first() {
    let world = world();
    world.work().await;
    let first = world.send(ordered());
    let second = world.send(ordered());
    world.work().await;
    fail(&world, first);
    world.queue.forget();
    for _ in 0..3 {
        world.tick().await;
    }
    assert_eq!(queued(&world), [first.0, second.0]);
}

#[tokio::test]
async fn lanes_without_an_order_take_the_shortcut_beside_it() {
    let world = world();
    world.work().await;
    let sequence = world.log.store(&[ordered(), lane(2)]);
    world.feeder.offer(sequence, &[ordered(), lane(2)]);
    world.feeder.pass_on().await;
    assert_eq!(queued(&world), [] as [u64; 0]);
    assert_eq!(world.queue.lane(lane(2)).len(), 1);
}

#[tokio::test]
async fn what_is_stored_while_a_page_is_read_follows_it() {
    let world = World::ruled_busy(8, FeederConfig::default(), Ordering::Strict);
    let all: Vec<_> = (0..40).map(|_| world.send(ordered()).0).collect();
    for _ in 0..100 {
        let working = world.work();
        let sending = async { world.send(ordered()) };
        let (_, _) = tokio::join!(working, sending);
        let head = world.queue.lane(ordered()).first().copied();
        if let Some(item) = head {
            world.attempt(item.delivery, None);
        }
    }
    while world.log.unfinished(ordered()) > 0 {
        world.tick().await;
        let item = world.queue.lane(ordered())[0];
        world.attempt(item.delivery, None);
    }
    let fed = world.queue.fed(ordered());
    assert!(fed.is_sorted_by(|a, b| a < b), "{fed:?}");
    assert_eq!(fed.len(), all.len() + 100);
}

//! Feeding when things are lost: offers, vacancies, items, the whole queue, answers.

use super::model::{World, lane};
use crate::FeederConfig;
use proptest::prelude::*;
use std::time::Duration;

const LANES: u32 = 3;

#[tokio::test]
async fn a_queue_that_forgot_everything_is_filled_again_within_two_ticks() {
    let world = World::new(16, FeederConfig::default());
    world.work().await;
    (0..10).for_each(|_| _ = world.send(lane(1)));
    world.tick().await;
    assert_eq!(world.queue.all().len(), 10);
    world.queue.forget();
    world.tick().await;
    world.tick().await;
    assert_eq!(world.queue.all().len(), 10);
}

#[tokio::test]
async fn what_is_missing_behind_one_that_waits_is_fed_again_in_time() {
    let world = World::new(16, FeederConfig::default());
    world.work().await;
    (0..3).for_each(|_| _ = world.send(lane(1)));
    world.tick().await;
    let missing = world.queue.all()[1].delivery;
    world.queue.remove(missing);
    for _ in 0..59 {
        world.tick().await;
    }
    assert_eq!(world.queue.all().len(), 2);
    world.tick().await;
    world.tick().await;
    assert_eq!(world.queue.all().len(), 3);
}

#[tokio::test]
async fn a_vacancy_that_was_never_reported_stops_nothing() {
    let world = World::new(2, FeederConfig::default());
    world.work().await;
    (0..6).for_each(|_| _ = world.send(lane(1)));
    world.work().await;
    world.deliver_all();
    world.queue.forget_refused();
    world.tick().await;
    world.tick().await;
    assert_eq!(world.queue.fed(lane(1)), [1, 2, 3, 4]);
}

#[tokio::test]
async fn what_a_full_lane_lost_has_the_next_vacancy() {
    let world = World::new(2, FeederConfig::default());
    world.work().await;
    (0..6).for_each(|_| _ = world.send(lane(1)));
    world.work().await;
    world.queue.remove(world.queue.all()[0].delivery);
    world.work().await;
    assert_eq!(world.queue.fed(lane(1)), [1, 2, 3]);
    for _ in 0..3 {
        world.tick().await;
    }
    world.attempt(world.queue.all()[0].delivery, None);
    world.work().await;
    assert_eq!(world.queue.fed(lane(1)), [1, 2, 3, 1]);
}

#[tokio::test]
async fn a_queue_that_is_down_for_a_while_gets_everything_later() {
    let world = World::new(16, FeederConfig::default());
    world.work().await;
    world.queue.set_down(true);
    (0..5).for_each(|_| _ = world.send(lane(1)));
    world.feeder.pass_on().await;
    assert!(world.feeder.run_once().await.is_err());
    assert!(world.feeder.take_vacancies(Duration::ZERO).await.is_err());
    world.queue.set_down(false);
    world.work().await;
    assert_eq!(world.queue.fed(lane(1)), [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn a_log_that_is_down_at_start_is_asked_again() {
    let world = World::new(16, FeederConfig::default());
    world.log.store(&[lane(1)]);
    world.log.set_down(true);
    assert!(world.feeder.run_once().await.is_err());
    let new = world.send(lane(2));
    world.feeder.pass_on().await;
    assert!(world.queue.all().is_empty());
    world.log.set_down(false);
    world.work().await;
    assert_eq!(world.queue.all().len(), 2);
    assert_eq!(world.queue.fed(lane(2)), [new.0]);
}

#[tokio::test]
async fn a_lane_at_rest_leaves_nothing_behind() {
    let world = World::new(2, FeederConfig::default());
    world.work().await;
    for number in 0..50 {
        (0..5).for_each(|_| _ = world.send(lane(number)));
    }
    for _ in 0..4 {
        world.tick().await;
        world.deliver_all();
    }
    world.tick().await;
    world.tick().await;
    assert!(world.feeder.is_idle().await);
}

#[derive(Debug, Clone)]
enum Step {
    Send(u32),
    /// The broker dies between storing and offering.
    StoreOnly(u32),
    /// Two events are offered in the other order than they were stored.
    Swapped(u32),
    PassOn,
    Round,
    Tick,
    Vacancies,
    /// The answer with the vacancies is lost.
    ForgetRefused,
    /// A consumer delivers, or fails and tries again after some seconds.
    Attempt(u32, usize, Option<u64>),
    /// A consumer dies with an item, and the queue has no lease to run out.
    Lose(u32, usize),
    ForgetAll,
    QueueDown(bool),
    LogDown(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let retry = prop::option::of(prop_oneof![Just(0), Just(2), Just(20)]);
    prop_oneof![
        8 => (0..LANES).prop_map(Step::Send),
        2 => (0..LANES).prop_map(Step::StoreOnly),
        2 => (0..LANES).prop_map(Step::Swapped),
        4 => Just(Step::PassOn),
        4 => Just(Step::Round),
        3 => Just(Step::Tick),
        4 => Just(Step::Vacancies),
        1 => Just(Step::ForgetRefused),
        8 => (0..LANES, 0..6_usize, retry).prop_map(|(l, at, r)| Step::Attempt(l, at, r)),
        2 => (0..LANES, 0..6_usize).prop_map(|(l, at)| Step::Lose(l, at)),
        1 => Just(Step::ForgetAll),
        1 => any::<bool>().prop_map(Step::QueueDown),
        1 => any::<bool>().prop_map(Step::LogDown),
    ]
}

async fn perform(world: &World, step: Step) {
    let pick = |number, at: usize| {
        let items = world.queue.lane(lane(number));
        items.get(at).map(|item| item.delivery)
    };
    match step {
        Step::Send(number) => _ = world.send(lane(number)),
        Step::StoreOnly(number) => _ = world.log.store(&[lane(number)]),
        Step::Swapped(number) => {
            let lanes = [lane(number)];
            let (first, second) = (world.log.store(&lanes), world.log.store(&lanes));
            world.feeder.offer(second, &lanes);
            world.feeder.pass_on().await;
            world.feeder.offer(first, &lanes);
        }
        Step::PassOn => world.feeder.pass_on().await,
        Step::Round => _ = world.feeder.run_once().await,
        Step::Tick => world.clock.advance(Duration::from_secs(1)),
        Step::Vacancies => _ = world.feeder.take_vacancies(Duration::ZERO).await,
        Step::ForgetRefused => world.queue.forget_refused(),
        Step::Attempt(number, at, retry) => {
            if let Some(delivery) = pick(number, at) {
                world.attempt(delivery, retry.map(Duration::from_secs));
            }
        }
        Step::Lose(number, at) => {
            if let Some(delivery) = pick(number, at) {
                world.queue.remove(delivery);
            }
        }
        Step::ForgetAll => world.queue.forget(),
        Step::QueueDown(down) => world.queue.set_down(down),
        Step::LogDown(down) => world.log.set_down(down),
    }
}

proptest! {
    /// Whatever was lost: with nobody attempting anything, every lane's window is soon as full as
    /// it can be; and when they are attempted, every delivery has its turn, and the feeder comes
    /// to rest with every cursor at the end.
    #[test]
    fn every_unfinished_delivery_gets_into_the_queue(
        window in 1..6_usize,
        page_rows in 6..12_u32,
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new(window, FeederConfig { page_rows, ..FeederConfig::default() });
            for step in steps {
                perform(&world, step).await;
            }
            world.queue.set_down(false);
            world.log.set_down(false);
            // The longest retry and `refeed_after`, and a tick for each step of the way.
            for _ in 0..66 {
                world.tick().await;
            }
            for number in 0..LANES {
                let wanted = world.log.unfinished(lane(number)).min(window);
                assert_eq!(world.queue.lane(lane(number)).len(), wanted, "lane {number}");
            }
            let left = |world: &World| {
                (0..LANES).map(|number| world.log.unfinished(lane(number))).sum::<usize>()
            };
            let mut ticks = 0;
            while left(&world) > 0 {
                world.deliver_all();
                world.tick().await;
                ticks += 1;
                assert!(ticks < 400, "{} are never fed", left(&world));
            }
            world.tick().await;
            world.tick().await;
            assert!(world.feeder.is_idle().await);
        });
    }
}

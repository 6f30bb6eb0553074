//! Feeding when nothing goes wrong: the shortcut, full lanes, retries, cursors, fairness.

use super::model::{World, lane};
use crate::FeederConfig;
use contract::{
    clock::Clock,
    id::{DeliveryId, Sequence},
};
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

fn sequences(items: &[contract::master_api::FeedItem]) -> Vec<u64> {
    items.iter().map(|item| item.delivery.sequence.0).collect()
}

#[tokio::test]
async fn a_fresh_delivery_takes_the_shortcut() {
    let world = World::new(4, FeederConfig::default());
    world.work().await;
    let sequence = world.send(lane(1));
    world.feeder.pass_on().await;
    assert_eq!(sequences(&world.queue.lane(lane(1))), [sequence.0]);
}

#[tokio::test]
async fn before_the_log_was_listed_nothing_overtakes_what_was_left() {
    let world = World::new(8, FeederConfig::default());
    let left = world.log.store(&[lane(1)]);
    let new = world.send(lane(1));
    world.feeder.pass_on().await;
    assert!(world.queue.all().is_empty());
    world.work().await;
    assert_eq!(sequences(&world.queue.lane(lane(1))), [left.0, new.0]);
}

#[tokio::test]
async fn a_full_lane_is_fed_in_order_as_it_empties() {
    let world = World::new(4, FeederConfig::default());
    world.work().await;
    (0..50).for_each(|_| _ = world.send(lane(1)));
    while world.log.unfinished(lane(1)) > 0 {
        world.work().await;
        let held = world.queue.lane(lane(1));
        assert_eq!(held.len(), world.log.unfinished(lane(1)).min(4));
        world.attempt(held[0].delivery, None);
    }
    assert_eq!(world.queue.fed(lane(1)), (1..=50).collect::<Vec<_>>());
    assert!(!world.feeder.run_once().await.unwrap().more);
}

#[tokio::test]
async fn the_shortcut_opens_again_when_the_lane_has_caught_up() {
    let world = World::new(4, FeederConfig::default());
    world.work().await;
    (0..10).for_each(|_| _ = world.send(lane(1)));
    world.work().await;
    assert_eq!(world.feeder.lanes_behind(), 1);
    for _ in 0..3 {
        world.deliver_all();
        world.work().await;
    }
    assert_eq!(world.feeder.lanes_behind(), 0);
    let sequence = world.send(lane(1));
    world.feeder.pass_on().await;
    assert_eq!(sequences(&world.queue.lane(lane(1))), [sequence.0]);
}

#[tokio::test]
async fn a_far_retry_comes_when_its_time_is_near_and_says_when_it_is_due() {
    let world = World::new(4, FeederConfig::default());
    world.work().await;
    world.send(lane(1));
    world.feeder.pass_on().await;
    let delivery = world.queue.all()[0].delivery;
    let due = world.clock.now().after(Duration::from_secs(20));
    world.attempt(delivery, Some(Duration::from_secs(20)));
    for _ in 0..14 {
        world.tick().await;
        assert!(world.queue.all().is_empty());
    }
    world.tick().await;
    let item = world.queue.all()[0];
    assert_eq!((item.delivery, item.due), (delivery, due));
}

#[tokio::test]
async fn due_retries_go_before_what_is_fresh() {
    let world = World::new(2, FeederConfig::default());
    world.work().await;
    for _ in 0..2 {
        world.send(lane(1));
    }
    world.work().await;
    for item in world.queue.all() {
        world.attempt(item.delivery, Some(Duration::from_secs(6)));
    }
    (0..6).for_each(|_| _ = world.send(lane(1)));
    world.work().await;
    for _ in 0..3 {
        world.tick().await;
    }
    world.deliver_all();
    world.work().await;
    assert_eq!(sequences(&world.queue.lane(lane(1))), [1, 2]);
}

#[tokio::test]
async fn more_retries_than_the_window_all_come() {
    let world = World::new(4, FeederConfig::default());
    world.work().await;
    (0..40).for_each(|_| _ = world.send(lane(1)));
    for _ in 0..10 {
        world.work().await;
        for item in world.queue.all() {
            world.attempt(item.delivery, Some(Duration::from_secs(30)));
        }
    }
    world.clock.advance(Duration::from_secs(30));
    let mut rounds = 0;
    while world.log.unfinished(lane(1)) > 0 {
        world.tick().await;
        world.deliver_all();
        rounds += 1;
        assert!(rounds <= 12, "{} are left", world.log.unfinished(lane(1)));
    }
}

#[tokio::test]
async fn the_cursor_follows_the_oldest_that_was_never_attempted() {
    let world = World::new(8, FeederConfig::default());
    world.work().await;
    (0..5).for_each(|_| _ = world.send(lane(1)));
    world.work().await;
    let deliver = |sequence| {
        world.attempt(DeliveryId { lane: lane(1), sequence: Sequence(sequence) }, None);
    };
    deliver(1);
    deliver(2);
    deliver(4);
    world.tick().await;
    assert_eq!(world.log.cursor(lane(1)), Sequence(2));
    deliver(3);
    deliver(5);
    world.tick().await;
    assert_eq!(world.log.cursor(lane(1)), Sequence(5));
    world.tick().await;
    assert!(world.feeder.is_idle().await);
}

/// Two events are committed as 1 and 2. The broker's task that stored 1 never offers it.
#[tokio::test]
async fn an_offer_out_of_order_moves_no_cursor_over_what_is_missing() {
    let world = World::new(8, FeederConfig::default());
    world.work().await;
    let (first, second) = (world.log.store(&[lane(1)]), world.log.store(&[lane(1)]));
    world.feeder.offer(second, &[lane(1)]);
    world.feeder.pass_on().await;
    world.deliver_all();
    world.tick().await;
    assert_eq!(world.log.cursor(lane(1)), Sequence(0));
    world.tick().await;
    assert_eq!(sequences(&world.queue.lane(lane(1))), [first.0]);
    assert_eq!(world.log.cursor(lane(1)), Sequence(0));
    world.deliver_all();
    world.tick().await;
    assert_eq!(world.log.cursor(lane(1)), second);
}

#[tokio::test]
async fn late_offers_of_both_orders_lose_nothing() {
    let world = World::new(8, FeederConfig::default());
    world.work().await;
    let (first, second) = (world.log.store(&[lane(1)]), world.log.store(&[lane(1)]));
    world.feeder.offer(second, &[lane(1)]);
    world.feeder.offer(first, &[lane(1)]);
    world.feeder.pass_on().await;
    assert_eq!(sequences(&world.queue.lane(lane(1))), [first.0, second.0]);
}

#[tokio::test]
async fn a_million_deliveries_of_one_lane_delay_no_other() {
    let world = World::new(64, FeederConfig { page_rows: 64, ..FeederConfig::default() });
    for _ in 0..1_000_000 {
        world.log.store(&[lane(1)]);
    }
    let left = world.log.store(&[lane(2)]);
    // Both lanes have something left from before: one round serves both.
    world.feeder.run_once().await.unwrap();
    assert_eq!(world.queue.lane(lane(1)).len(), 64);
    assert_eq!(sequences(&world.queue.lane(lane(2))), [left.0]);
    world.work().await;
    // The small lane is open at once, and passes its new events directly.
    let new = world.send(lane(2));
    world.feeder.pass_on().await;
    assert_eq!(sequences(&world.queue.lane(lane(2))), [left.0, new.0]);
    // While the big one goes on, a lane that fell behind is served in the next round.
    (0..100).for_each(|_| _ = world.send(lane(3)));
    world.work().await;
    world.deliver_all();
    world.feeder.take_vacancies(Duration::ZERO).await.unwrap();
    world.feeder.run_once().await.unwrap();
    assert_eq!(world.queue.lane(lane(3)).len(), 36);
    assert_eq!(world.queue.lane(lane(1)).len(), 64);
}

#[tokio::test]
async fn a_round_serves_the_important_lanes_first_and_is_bounded() {
    let config = FeederConfig { lanes_per_round: 4, lanes_at_once: 1, ..FeederConfig::default() };
    let world = World::new(4, config);
    let at = |number, priority: u8| {
        let number = contract::id::SubscriptionNumber(number);
        contract::id::LaneId::new(number, priority.try_into().unwrap())
    };
    let lanes = [at(1, 1), at(2, 9), at(3, 5), at(4, 9), at(5, 5)];
    world.log.store(&lanes);
    assert!(world.feeder.run_once().await.unwrap().more);
    let served = world.queue.served();
    assert_eq!(served, [at(2, 9), at(4, 9), at(3, 5), at(1, 1)]);
    assert!(!world.feeder.run_once().await.unwrap().more);
    assert_eq!(world.queue.served().len(), 5);
}

#[tokio::test]
async fn too_many_offers_come_from_the_log() {
    let config = FeederConfig { shortcut_items_max: 3, ..FeederConfig::default() };
    let world = World::new(100, config);
    world.work().await;
    (0..10).for_each(|_| _ = world.send(lane(1)));
    world.work().await;
    assert_eq!(sequences(&world.queue.lane(lane(1))), (1..=10).collect::<Vec<_>>());
}

#[derive(Debug, Clone)]
enum Step {
    Send(u32),
    PassOn,
    Round,
    Vacancies,
    Tick,
    Deliver(u32, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_u32).prop_map(Step::Send),
        2 => Just(Step::PassOn),
        2 => Just(Step::Round),
        2 => Just(Step::Vacancies),
        1 => Just(Step::Tick),
        4 => (0..3_u32, 0..6_usize).prop_map(|(lane, at)| Step::Deliver(lane, at)),
    ]
}

proptest! {
    /// Whatever is full, empty, early or late: without losses a lane is fed first in, first out.
    #[test]
    fn a_lane_is_fed_in_the_order_of_the_log(
        window in 1..6_usize,
        page_rows in 1..8_u32,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new(window, FeederConfig { page_rows, ..FeederConfig::default() });
            for step in steps {
                match step {
                    Step::Send(number) => _ = world.send(lane(number)),
                    Step::PassOn => world.feeder.pass_on().await,
                    Step::Round => _ = world.feeder.run_once().await.unwrap(),
                    Step::Vacancies => world.feeder.take_vacancies(Duration::ZERO).await.unwrap(),
                    Step::Tick => world.clock.advance(Duration::from_secs(1)),
                    Step::Deliver(number, at) => {
                        if let Some(item) = world.queue.lane(lane(number)).get(at) {
                            world.attempt(item.delivery, None);
                        }
                    }
                }
            }
            for number in 0..3 {
                let mut rounds = 0;
                while world.log.unfinished(lane(number)) > 0 {
                    world.work().await;
                    world.deliver_all();
                    rounds += 1;
                    assert!(rounds < 300, "lane {number} stands still");
                }
                let fed = world.queue.fed(lane(number));
                assert!(fed.is_sorted(), "lane {number} was fed as {fed:?}");
            }
        });
    }
}

#[derive(Debug, Clone)]
enum Moment {
    Send(u32),
    Deliver(u32, usize),
    Tick,
    Pass(usize),
}

fn moment() -> impl Strategy<Value = Moment> {
    prop_oneof![
        6 => (0..2_u32).prop_map(Moment::Send),
        5 => (0..2_u32, 0..4_usize).prop_map(|(lane, at)| Moment::Deliver(lane, at)),
        1 => Just(Moment::Tick),
        5 => (1..8_usize).prop_map(Moment::Pass),
    ]
}

/// Lets the other tasks go on.
async fn pass(times: usize) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// Offers, refusals, vacancies and turns cross each other at every await of the feeder's loops.
async fn cross(world: &World, moments: Vec<Moment>) {
    for moment in moments {
        match moment {
            Moment::Send(number) => _ = world.send(lane(number)),
            Moment::Tick => world.clock.advance(Duration::from_secs(1)),
            Moment::Pass(times) => pass(times).await,
            Moment::Deliver(number, at) => {
                if let Some(item) = world.queue.lane(lane(number)).get(at) {
                    world.attempt(item.delivery, None);
                }
            }
        }
    }
    // No clock moves from here on: nothing but the shortcut and the turns brings the rest.
    for _ in 0..2000 {
        if (0..2).all(|number| world.log.unfinished(lane(number)) == 0) {
            break;
        }
        world.deliver_all();
        pass(4).await;
    }
    for number in 0..2 {
        assert_eq!(world.log.unfinished(lane(number)), 0, "lane {number} stands still");
        let mut seen = std::collections::BTreeSet::new();
        let mut fed = world.queue.fed(lane(number));
        // One that is finished while a page with it is under way comes a second time.
        fed.retain(|sequence| seen.insert(*sequence));
        assert!(fed.is_sorted(), "lane {number} was fed as {fed:?}");
    }
}

proptest! {
    #[test]
    fn the_order_holds_when_everything_crosses(
        window in 1..5_usize,
        page_rows in 1..6_u32,
        moments in prop::collection::vec(moment(), 1..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::busy(window, FeederConfig { page_rows, ..FeederConfig::default() });
            let stop = CancellationToken::new();
            let loops = tokio::spawn(Arc::clone(&world.feeder).run(stop.clone()));
            cross(&world, moments).await;
            stop.cancel();
            loops.await.unwrap();
        });
    }
}

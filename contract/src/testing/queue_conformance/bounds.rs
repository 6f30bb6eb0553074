//! What is held, and how much of it.
#![expect(clippy::expect_used, reason = "a broken expectation is what a case reports")]

use super::{
    Case, Harness, PATIENCE, SETTINGS, deliveries, delivery, lane, spec, start_waiting, with_status,
};
use crate::{
    id::{LaneId, SubscriptionNumber},
    queue::{Enqueued, LaneDepth, Settlement, Vacancy},
    subscription::{SubscriptionSpec, SubscriptionStatus},
    testing::rules_with,
};
use std::{pin::pin, time::Duration};

/// No more than the cap is in flight, over all lanes, and others pass by.
pub async fn caps_hold(harness: &dyn Harness) {
    let capped = SubscriptionSpec { max_in_flight: Some(2), ..spec("capped", None) };
    let case = Case::new(harness, [capped, spec("free", None)]).await;
    case.put((1..=4).map(|sequence| delivery(lane(1, 9), sequence))).await;
    case.put([delivery(lane(1, 8), 5)]).await;
    case.put([delivery(lane(2, 0), 6)]).await;
    let leases = case.take(3).await;
    let expected = [delivery(lane(1, 9), 1), delivery(lane(1, 9), 2), delivery(lane(2, 0), 6)];
    assert_eq!(deliveries(&leases), expected);
    case.assert_nothing_to_lease().await;

    case.settle(leases[0], Settlement::Ack).await;
    assert_eq!(case.take(1).await[0].delivery, delivery(lane(1, 9), 3));
    let failed = Settlement::Nack(case.now().after(Duration::from_secs(1)));
    case.settle(leases[1], failed).await;
    assert_eq!(case.take(1).await[0].delivery, delivery(lane(1, 9), 4));
    case.assert_nothing_to_lease().await;
}

/// What is in flight below the highest priority leaves it the last fifth of the slots, before it
/// has any work.
pub async fn the_important_find_slots(harness: &dyn Harness) {
    let slots = SETTINGS.max_in_flight;
    let others = slots.div_ceil(SETTINGS.window);
    let specs = (1..=others).map(|number| spec(&number.to_string(), Some(0)));
    let case = Case::new(harness, specs.chain([spec("important", Some(9))])).await;
    for number in 1..=others {
        case.put((1..=u64::from(SETTINGS.window)).map(|n| delivery(lane(number, 0), n))).await;
    }
    let leases = case.take(usize::try_from(slots - slots / 5).expect("few")).await;
    case.assert_nothing_to_lease().await;

    let important = delivery(lane(others + 1, 9), 1);
    case.put([important]).await;
    assert_eq!(case.finish_next().await, important);
    case.assert_nothing_to_lease().await;
    case.settle(leases[0], Settlement::Ack).await;
    assert_eq!(case.take(1).await[0].delivery.lane.priority(), lane(1, 0).priority());
}

/// A lane takes its window and no more, counting what is in flight and what is delayed, and says
/// so once when it is half empty again.
pub async fn full_windows_and_vacancies(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", None), spec("b", None)]).await;
    let (lane, window) = (lane(1, 5), u64::from(SETTINGS.window));
    case.put((1..=window).map(|sequence| delivery(lane, sequence))).await;
    let leases = case.take(SETTINGS.window as usize).await;
    let later = Settlement::Nack(case.now().after(Duration::from_secs(30)));
    case.settle(leases[0], later).await;

    let beyond = delivery(lane, window + 1);
    assert_eq!(case.offer([beyond]).await, [Enqueued::Full]);
    case.put([delivery(LaneId::new(SubscriptionNumber(2), lane.priority()), 1)]).await;
    let half = SETTINGS.window.div_ceil(2);
    for lease in &leases[1..half as usize] {
        case.settle(*lease, Settlement::Ack).await;
    }
    assert_eq!(case.queue.vacancies(Duration::ZERO).await.expect("vacancies"), []);
    case.settle(leases[half as usize], Settlement::Ack).await;
    let vacancies = case.queue.vacancies(PATIENCE).await.expect("vacancies");
    assert_eq!(vacancies, [Vacancy { lane, room: half }]);
    assert_eq!(case.queue.vacancies(Duration::ZERO).await.expect("vacancies"), []);
    assert_eq!(case.offer([beyond]).await, [Enqueued::Queued]);
}

/// What is ready, delayed or in flight is not taken twice; what is finished is.
pub async fn nothing_is_held_twice(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", None)]).await;
    let one = delivery(lane(1, 5), 1);
    assert_eq!(case.offer([one, one]).await, [Enqueued::Queued, Enqueued::Held]);
    let lease = case.take(1).await[0];
    assert_eq!(case.offer([one]).await, [Enqueued::Held]);
    case.settle(lease, Settlement::Nack(case.now().after(Duration::from_secs(1)))).await;
    assert_eq!(case.offer([one]).await, [Enqueued::Held]);
    case.assert_nothing_to_lease().await;

    case.clock.advance(Duration::from_secs(1));
    assert_eq!(case.finish_next().await, one);
    case.assert_nothing_to_lease().await;
    case.put([one]).await;
}

/// A paused or disabled subscription keeps its deliveries and starts none, until it is resumed.
pub async fn paused_deliveries_are_kept(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", None), spec("b", None)]).await;
    let rules = || rules_with([spec("a", None), spec("b", None)]);
    let [one, two] = [delivery(lane(1, 9), 1), delivery(lane(1, 9), 2)];
    let other = delivery(lane(2, 0), 3);
    case.put([one]).await;
    for status in [SubscriptionStatus::Paused, SubscriptionStatus::Disabled] {
        harness.set_rules(with_status(rules(), 1, status)).await;
        case.put([other]).await;
        assert_eq!(case.finish_next().await, other);
        case.assert_nothing_to_lease().await;
    }
    case.put([two]).await;
    let mut waiting = pin!(case.take(2));
    start_waiting(waiting.as_mut()).await;
    harness.set_rules(rules()).await;
    assert_eq!(deliveries(&waiting.await), [one, two]);
}

/// What is held of a subscription that is removed is dropped, leases included.
pub async fn removed_deliveries_leave(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", None), spec("b", None)]).await;
    let [one, two] = [delivery(lane(1, 9), 1), delivery(lane(1, 9), 2)];
    let kept = delivery(lane(2, 0), 3);
    case.put([one, two, kept]).await;
    let lease = case.take(1).await[0];

    let mut rules = rules_with([spec("a", None), spec("b", None)]);
    rules.subscriptions.remove(&SubscriptionNumber(1));
    harness.set_rules(rules).await;
    assert_eq!(case.queue.extend(vec![lease]).await.expect("extend"), []);
    assert_eq!(case.finish_next().await, kept);
    case.clock.advance(SETTINGS.lease);
    case.assert_nothing_to_lease().await;
    assert_eq!(case.queue.depth().await.expect("depth"), []);
}

/// A delivery of a subscription that the rules do not name yet is refused, and there is a vacancy
/// once they do.
pub async fn an_unknown_subscription_is_told_of_later(harness: &dyn Harness) {
    let case = Case::new(harness, []).await;
    let one = delivery(lane(1, 5), 1);
    assert_eq!(case.offer([one]).await, [Enqueued::Full]);
    let mut waiting = pin!(case.queue.vacancies(PATIENCE));
    start_waiting(waiting.as_mut()).await;
    harness.set_rules(rules_with([spec("a", None)])).await;
    let vacancies = waiting.await.expect("vacancies");
    assert_eq!(vacancies, [Vacancy { lane: one.lane, room: SETTINGS.window }]);
    case.put([one]).await;
    assert_eq!(case.finish_next().await, one);
}

/// Depth counts what is ready, delayed and in flight of each lane, at its priority in force.
pub async fn depth_tells_all(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", Some(8)), spec("b", None)]).await;
    let (first, second) = (lane(1, 2), lane(2, 6));
    let begin = case.now();
    case.put((1..=4).map(|sequence| delivery(first, sequence))).await;
    let leases = case.take(2).await;
    let soon = begin.after(Duration::from_secs(5));
    case.settle(leases[0], Settlement::Nack(soon)).await;
    case.clock.advance(Duration::from_secs(1));
    case.put([delivery(second, 9)]).await;

    let depth = case.queue.depth().await.expect("depth");
    let [a, b] = [(first, 8, begin), (second, 6, case.now())].map(|(lane, priority, due)| {
        LaneDepth { lane, priority, ready: 1, delayed: 0, in_flight: 0, oldest: Some(due) }
    });
    assert_eq!(depth, [LaneDepth { ready: 2, delayed: 1, in_flight: 1, ..a }, b]);
}

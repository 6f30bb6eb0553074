//! Which delivery goes next.

use super::{Case, Harness, SETTINGS, deliveries, delivery, lane, spec};
use crate::{queue::Lease, subscription::SubscriptionSpec, testing::rules_with};
use std::collections::BTreeMap;

/// Inside a lane the oldest delivery goes first, in whatever order they came.
pub async fn first_in_first_out(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", None)]).await;
    let lane = lane(1, 5);
    case.put([3, 1, 2].map(|sequence| delivery(lane, sequence))).await;
    case.put([delivery(lane, 4)]).await;
    let leases = case.take(4).await;
    assert_eq!(deliveries(&leases), [1, 2, 3, 4].map(|sequence| delivery(lane, sequence)));
    case.assert_nothing_to_lease().await;
}

/// Nine before five before nought.
pub async fn important_first(harness: &dyn Harness) {
    let case = Case::new(harness, ["a", "b", "c"].map(|name| spec(name, None))).await;
    let waiting = [delivery(lane(1, 0), 1), delivery(lane(2, 9), 2), delivery(lane(3, 5), 3)];
    case.put(waiting).await;
    let leases = case.take(3).await;
    assert_eq!(deliveries(&leases), [waiting[1], waiting[2], waiting[0]]);
}

/// A subscription's own priority goes before that of its lanes, and changes with the rules. Its
/// lanes are then one line, in the order of the log.
pub async fn own_priority_is_for_all_lanes(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", Some(9)), spec("b", None)]).await;
    let [first, second] = [delivery(lane(1, 8), 1), delivery(lane(1, 0), 2)];
    let [third, other] = [delivery(lane(1, 3), 3), delivery(lane(2, 7), 1)];
    case.put([third, second, first, other]).await;
    assert_eq!(deliveries(&case.take(2).await), [first, second]);

    harness.set_rules(rules_with([spec("a", Some(1)), spec("b", None)])).await;
    assert_eq!(deliveries(&case.take(2).await), [other, third]);
}

/// A subscriber with many subscriptions has no more turns than one with a single one; our own
/// subscriptions count as one subscriber.
pub async fn turns_among_subscribers(harness: &dyn Harness) {
    let of = |name: &str, subscriber: Option<&str>| SubscriptionSpec {
        subscriber: subscriber.map(str::to_owned),
        ..spec(name, None)
    };
    let specs = [
        of("a1", Some("a")),
        of("a2", Some("a")),
        of("a3", Some("a")),
        of("b1", Some("b")),
        of("own1", None),
        of("own2", None),
    ];
    let case = Case::new(harness, specs).await;
    for subscription in 1..=6 {
        case.put((1..=10).map(|sequence| delivery(lane(subscription, 5), sequence))).await;
    }
    let mut starts = BTreeMap::new();
    for lease in case.take(15).await {
        *starts.entry(lease.delivery.lane.subscription().0).or_insert(0) += 1;
    }
    let of = |numbers: &[u32]| numbers.iter().filter_map(|number| starts.get(number)).sum::<i32>();
    assert_eq!([of(&[1, 2, 3]), of(&[4]), of(&[5, 6])], [5, 5, 5], "{starts:?}");
}

/// The subscriptions of one subscriber take turns, however much each has waiting.
pub async fn turns_among_subscriptions(harness: &dyn Harness) {
    let case = Case::new(harness, ["a", "b", "c"].map(|name| spec(name, None))).await;
    case.put((1..=16).map(|sequence| delivery(lane(1, 5), sequence))).await;
    case.put((17..=20).map(|sequence| delivery(lane(2, 5), sequence))).await;
    case.put((21..=24).map(|sequence| delivery(lane(3, 5), sequence))).await;
    let starts = case.take(12).await;
    for number in 1..=3 {
        let of = |lease: &&Lease| lease.delivery.lane == lane(number, 5);
        assert_eq!(starts.iter().filter(of).count(), 4, "{starts:?}");
    }
    // Nobody had two turns in a row while others waited.
    let twice = starts.windows(2).filter(|pair| pair[0].delivery.lane == pair[1].delivery.lane);
    assert_eq!(twice.count(), 0, "{starts:?}");
}

/// With more of the highest priority than can ever be done, the others still get their share.
pub async fn every_priority_gets_its_share(harness: &dyn Harness) {
    const STARTS: u32 = 2000;
    let levels = [9_u8, 5, 0];
    let specs = levels.map(|level| spec(&format!("p{level}"), Some(level)));
    let case = Case::new(harness, specs).await;
    let mut sequence = 0;
    let mut next = |subscription| {
        sequence += 1;
        delivery(lane(subscription, 5), sequence)
    };
    for subscription in 1..=3 {
        case.put((0..4).map(|_| next(subscription)).collect::<Vec<_>>()).await;
    }
    let mut starts = BTreeMap::<u32, u32>::new();
    for _ in 0..STARTS {
        let number = case.finish_next().await.lane.subscription().0;
        *starts.entry(number).or_default() += 1;
        case.put([next(number)]).await;
    }
    let least = SETTINGS.minimum_share * f64::from(STARTS);
    for (number, starts) in &starts {
        assert!(f64::from(*starts) >= least - 1.0, "subscription {number}: {starts} starts");
    }
    assert_eq!(starts.len(), 3, "{starts:?}");
    assert!(f64::from(starts[&1]) >= 0.9 * f64::from(STARTS), "{starts:?}");
}

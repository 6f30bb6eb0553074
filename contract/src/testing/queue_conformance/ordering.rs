//! Deliveries that wait for each other.
#![expect(clippy::expect_used, reason = "a broken expectation is what a case reports")]

use super::{Case, Harness, SETTINGS, deliveries, delivery, lane, spec};
use crate::{
    id::DeliveryId,
    master_api::FeedItem,
    queue::{Enqueued, Lease, Settlement},
    subscription::{Ordering, OrderingKey, SubscriptionSpec},
    testing::rules_with,
};
use std::time::Duration;

fn ordered(ordering: Ordering) -> SubscriptionSpec {
    SubscriptionSpec { ordering, max_in_flight: Some(100), ..spec("ordered", None) }
}

fn by_key() -> SubscriptionSpec {
    ordered(Ordering::Key("event.id".to_owned()))
}

fn of(sequence: u64) -> DeliveryId {
    delivery(lane(1, 5), sequence)
}

impl Case {
    /// Puts deliveries of the first subscription in, each with its key, at once.
    async fn put_keyed(&self, items: impl IntoIterator<Item = (u64, u64)>) {
        let due = self.now();
        let item =
            |(sequence, key)| FeedItem { delivery: of(sequence), due, key: Some(OrderingKey(key)) };
        let items: Vec<_> = items.into_iter().map(item).collect();
        let answers = self.queue.enqueue(items).await.expect("enqueue");
        assert!(answers.iter().all(|answer| *answer == Enqueued::Queued), "{answers:?}");
    }

    /// All that may start now, by sequence.
    async fn take_all(&self) -> Vec<Lease> {
        let mut leases = self.queue.lease(100, Duration::ZERO).await.expect("lease");
        leases.sort_unstable_by_key(|lease| lease.delivery);
        leases
    }

    async fn fails(&self, lease: Lease, after: Duration) {
        self.settle(lease, Settlement::Nack(self.now().after(after))).await;
    }
}

fn sequences(leases: &[Lease]) -> Vec<u64> {
    leases.iter().map(|lease| lease.delivery.sequence.0).collect()
}

/// One at a time, in the order of the log, in whatever order they came; others are not held up.
pub async fn strict_is_one_at_a_time(harness: &dyn Harness) {
    let case = Case::new(harness, [ordered(Ordering::Strict), spec("b", None)]).await;
    case.put([2, 1, 3].map(of)).await;
    case.put([delivery(lane(2, 5), 1)]).await;
    let leases = case.take(2).await;
    assert!(deliveries(&leases).contains(&of(1)), "{leases:?}");
    case.assert_nothing_to_lease().await;
    for lease in &leases {
        case.settle(*lease, Settlement::Ack).await;
    }
    for sequence in [2, 3] {
        assert_eq!(case.finish_next().await, of(sequence));
    }
    case.assert_nothing_to_lease().await;
}

/// What is to be tried again holds up what follows, however far away its time is, and stays in the
/// queue for that.
pub async fn a_strict_lane_waits_for_a_far_retry(harness: &dyn Harness) {
    let case = Case::new(harness, [ordered(Ordering::Strict)]).await;
    case.put([1, 2].map(of)).await;
    let first = case.take(1).await[0];
    let far = SETTINGS.hold_delayed * 100;
    case.fails(first, far).await;
    assert_eq!(case.offer([of(1)]).await, [Enqueued::Held]);
    case.clock.advance(far - Duration::from_micros(1));
    case.assert_nothing_to_lease().await;
    case.clock.advance(Duration::from_micros(1));
    assert_eq!(case.finish_next().await, of(1));
    assert_eq!(case.finish_next().await, of(2));
}

/// Those with the same key go one at a time, those with other keys beside them.
pub async fn keys_go_side_by_side(harness: &dyn Harness) {
    let case = Case::new(harness, [by_key()]).await;
    case.put_keyed([(1, 7), (2, 8), (3, 7), (4, 9), (5, 8), (6, 7)]).await;
    // One without a key waits for nobody.
    case.put([of(7), of(8)]).await;
    let leases = case.take_all().await;
    assert_eq!(sequences(&leases), [1, 2, 4, 7, 8]);
    case.settle(leases[1], Settlement::Ack).await;
    assert_eq!(sequences(&case.take_all().await), [5]);
    case.settle(leases[0], Settlement::Ack).await;
    let next = case.take_all().await;
    assert_eq!(sequences(&next), [3]);
    case.settle(next[0], Settlement::Ack).await;
    assert_eq!(sequences(&case.take_all().await), [6]);
}

/// A key that fails is parked alone, until its delivery is finished.
pub async fn a_failing_key_parks_alone(harness: &dyn Harness) {
    let case = Case::new(harness, [by_key()]).await;
    case.put_keyed([(1, 7), (2, 8), (3, 7)]).await;
    let leases = case.take_all().await;
    let wait = Duration::from_secs(5);
    case.fails(leases[0], wait).await;
    case.settle(leases[1], Settlement::Ack).await;
    case.put_keyed([(4, 7), (5, 8)]).await;
    let others = case.take_all().await;
    assert_eq!(sequences(&others), [5]);
    case.settle(others[0], Settlement::Ack).await;

    for _again in 0..2 {
        case.clock.advance(wait - Duration::from_micros(1));
        case.assert_nothing_to_lease().await;
        case.clock.advance(Duration::from_micros(1));
        let retry = case.take_all().await;
        assert_eq!(sequences(&retry), [1]);
        case.fails(retry[0], wait).await;
    }
    case.clock.advance(wait);
    for sequence in [1, 3, 4] {
        let next = case.take_all().await;
        assert_eq!(sequences(&next), [sequence]);
        case.settle(next[0], Settlement::Ack).await;
    }
}

/// However much waits behind a key that fails (several windows of it), others find room.
pub async fn what_is_parked_leaves_room(harness: &dyn Harness) {
    let case = Case::new(harness, [by_key()]).await;
    let parked = 3 * u64::from(SETTINGS.window);
    case.put_keyed([(1, 7)]).await;
    let first = case.take_all().await;
    case.fails(first[0], Duration::from_secs(5)).await;
    case.put_keyed((2..=parked).map(|sequence| (sequence, 7))).await;
    for sequence in parked + 1..parked + 40 {
        case.put_keyed([(sequence, sequence)]).await;
        let next = case.take_all().await;
        assert_eq!(sequences(&next), [sequence]);
        case.settle(next[0], Settlement::Ack).await;
    }
}

/// A lease that runs out gives back what goes first; an older one that comes late goes before those
/// that have not started.
pub async fn order_outlives_leases_and_late_comers(harness: &dyn Harness) {
    let case = Case::new(harness, [ordered(Ordering::Strict)]).await;
    case.put([3, 4].map(of)).await;
    case.take(1).await;
    case.put([of(2)]).await;
    case.assert_nothing_to_lease().await;
    case.clock.advance(SETTINGS.lease);
    // What was in flight is back, and older ones go first.
    for sequence in [2, 3] {
        assert_eq!(case.finish_next().await, of(sequence));
    }
    case.put([of(1)]).await;
    for sequence in [1, 4] {
        assert_eq!(case.finish_next().await, of(sequence));
    }
    case.assert_nothing_to_lease().await;
}

/// An order that is asked for, or no more, holds from then on.
pub async fn order_follows_the_rules(harness: &dyn Harness) {
    let case = Case::new(harness, [ordered(Ordering::None)]).await;
    case.put((1..=3).map(of)).await;
    let before = case.take(2).await;
    harness.set_rules(rules_with([ordered(Ordering::Strict)])).await;
    case.put([4, 5].map(of)).await;
    // What started before is in nobody's way, and when it comes back it goes first.
    let third = case.take_all().await;
    assert_eq!(sequences(&third), [3]);
    case.settle(before[1], Settlement::Ack).await;
    case.settle(before[0], Settlement::Nack(case.now())).await;
    case.assert_nothing_to_lease().await;
    case.settle(third[0], Settlement::Ack).await;
    assert_eq!(case.finish_next().await, of(1));
    let fourth = case.take_all().await;
    assert_eq!(sequences(&fourth), [4]);

    case.fails(fourth[0], Duration::from_secs(1)).await;
    harness.set_rules(rules_with([ordered(Ordering::None)])).await;
    assert_eq!(sequences(&case.take_all().await), [5]);
    case.clock.advance(Duration::from_secs(1));
    assert_eq!(sequences(&case.take_all().await), [4]);
    assert_eq!(case.offer([of(5)]).await, [Enqueued::Held]);
}

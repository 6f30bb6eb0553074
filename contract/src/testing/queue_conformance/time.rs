//! Delays and leases.
#![expect(clippy::expect_used, reason = "a broken expectation is what a case reports")]

use super::{Case, Harness, SETTINGS, deliveries, delivery, lane, spec, start_waiting};
use crate::{
    master_api::FeedItem,
    queue::{Enqueued, Lease, Settlement},
};
use std::{pin::pin, time::Duration};

/// A delivery starts when it is due, not a microsecond earlier, and wakes who waits for it.
pub async fn delays_are_exact(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", None)]).await;
    let [one, two] = [delivery(lane(1, 5), 1), delivery(lane(1, 5), 2)];
    let due = |seconds| case.now().after(Duration::from_secs(seconds));
    let [early, late] = [due(5), due(9)];
    case.queue
        .enqueue(vec![FeedItem { delivery: one, due: late, key: None }])
        .await
        .expect("enqueue");
    case.put([two]).await;
    let lease = case.take(1).await[0];
    assert_eq!(lease.delivery, two);
    case.settle(lease, Settlement::Nack(early)).await;

    case.clock.advance(Duration::from_micros(4_999_999));
    case.assert_nothing_to_lease().await;
    let mut waiting = pin!(case.take(1));
    start_waiting(waiting.as_mut()).await;
    case.clock.advance(Duration::from_micros(1));
    assert_eq!(deliveries(&waiting.await), [two]);

    case.clock.advance(Duration::from_micros(3_999_999));
    case.assert_nothing_to_lease().await;
    case.clock.advance(Duration::from_micros(1));
    assert_eq!(deliveries(&case.take(1).await), [one]);
}

/// Whoever waits for a delivery that is due later wakes for one that comes and is due sooner.
pub async fn a_sooner_delay_wakes(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", None)]).await;
    let [late, soon] = [delivery(lane(1, 5), 1), delivery(lane(1, 5), 2)];
    let due = |seconds| case.now().after(Duration::from_secs(seconds));
    let items = [(late, due(30)), (soon, due(5))].map(|(delivery, due)| FeedItem {
        delivery,
        due,
        key: None,
    });
    case.queue.enqueue(vec![items[0]]).await.expect("enqueue");
    let mut waiting = pin!(case.take(1));
    start_waiting(waiting.as_mut()).await;
    case.queue.enqueue(vec![items[1]]).await.expect("enqueue");
    start_waiting(waiting.as_mut()).await;
    case.clock.advance(Duration::from_secs(5));
    assert_eq!(deliveries(&waiting.await), [soon]);
}

/// A lease that runs out gives the delivery to the next, and its token is worth nothing then.
pub async fn a_lease_ends_and_fences(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", None)]).await;
    let one = delivery(lane(1, 5), 1);
    case.put([one]).await;
    let old = case.take(1).await[0];
    assert_eq!(old.deadline, case.now().after(SETTINGS.lease));
    case.clock.advance(SETTINGS.lease - Duration::from_micros(1));
    case.assert_nothing_to_lease().await;

    let mut waiting = pin!(case.take(1));
    start_waiting(waiting.as_mut()).await;
    case.clock.advance(Duration::from_micros(1));
    let new = waiting.await[0];
    assert_eq!(new.delivery, one);
    assert_ne!(new.token, old.token);
    case.settle(old, Settlement::Ack).await;
    assert_eq!(case.queue.extend(vec![old]).await.expect("extend"), []);
    assert_eq!(case.offer([one]).await, [Enqueued::Held]);

    case.settle(new, Settlement::Ack).await;
    case.put([one]).await;
}

/// An extended lease ends a lease time after its extension.
pub async fn an_extended_lease_lives_on(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", None)]).await;
    case.put([delivery(lane(1, 5), 1), delivery(lane(1, 5), 2)]).await;
    let leases = case.take(2).await;
    case.clock.advance(SETTINGS.lease / 2);
    let extended = case.queue.extend(vec![leases[0]]).await.expect("extend");
    let deadline = case.now().after(SETTINGS.lease);
    assert_eq!(extended, [Lease { deadline, ..leases[0] }]);

    case.clock.advance(SETTINGS.lease / 2);
    let again = case.take(1).await[0];
    assert_eq!(again.delivery, leases[1].delivery);
    case.assert_nothing_to_lease().await;
    // Its holder may settle it with what it got first: the token is the same.
    case.settle(leases[0], Settlement::Ack).await;
    case.settle(again, Settlement::Ack).await;
    case.clock.advance(SETTINGS.lease * 2);
    case.assert_nothing_to_lease().await;
}

/// A nack that is due at once gives the delivery back, ahead of younger ones.
pub async fn a_nack_at_once_returns(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", None)]).await;
    let [one, two] = [delivery(lane(1, 5), 1), delivery(lane(1, 5), 2)];
    case.put([one, two]).await;
    let first = case.take(1).await[0];
    case.settle(first, Settlement::Nack(case.now())).await;
    let leases = case.take(2).await;
    assert_eq!(deliveries(&leases), [one, two]);
    assert_ne!(leases[0].token, first.token);
}

/// A retry that is due in the far future leaves the queue: who feeds it brings it back.
pub async fn a_far_retry_leaves(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", None)]).await;
    let [near, far] = [delivery(lane(1, 5), 1), delivery(lane(1, 5), 2)];
    case.put([near, far]).await;
    let leases = case.take(2).await;
    let horizon = case.now().after(SETTINGS.hold_delayed);
    case.settle(leases[0], Settlement::Nack(horizon)).await;
    case.settle(leases[1], Settlement::Nack(horizon.after(Duration::from_micros(1)))).await;
    assert_eq!(case.offer([near, far]).await, [Enqueued::Held, Enqueued::Queued]);
}

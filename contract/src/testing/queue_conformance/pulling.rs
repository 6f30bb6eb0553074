//! Subscriptions whose receivers take their deliveries.
#![expect(clippy::expect_used, reason = "a broken expectation is what a case reports")]

use super::{Case, Harness, PATIENCE, SETTINGS, deliveries, delivery, lane, spec, start_waiting};
use crate::{
    id::SubscriptionNumber,
    queue::{Lease, Settlement},
    subscription::SubscriptionSpec,
};
use std::{collections::BTreeSet, pin::pin, time::Duration};

const PULLED: SubscriptionNumber = SubscriptionNumber(1);

fn pulled(max_in_flight: Option<u32>) -> SubscriptionSpec {
    SubscriptionSpec { pull: true, url: String::new(), max_in_flight, ..spec("pulled", None) }
}

impl Case {
    async fn pull(&self, max: u32, wait: Duration) -> Vec<Lease> {
        self.queue.lease_for(PULLED, max, wait).await.expect("lease for receivers")
    }
}

/// Receivers get their subscription's deliveries, best first, each one once, and nobody else does.
pub async fn receivers_share_what_is_theirs(harness: &dyn Harness) {
    let case = Case::new(harness, [pulled(None), spec("sent", None)]).await;
    let (mut one, mut two) = (pin!(case.pull(1, PATIENCE)), pin!(case.pull(1, PATIENCE)));
    start_waiting(one.as_mut()).await;
    start_waiting(two.as_mut()).await;
    let [low, high, sent] =
        [delivery(lane(1, 5), 1), delivery(lane(1, 9), 2), delivery(lane(2, 5), 3)];
    case.put([sent, low, high]).await;
    let (one, two) = tokio::join!(one, two);
    let got: BTreeSet<_> = [one[0].delivery, two[0].delivery].into();
    assert_eq!(got, BTreeSet::from([low, high]));
    assert_eq!(deliveries(&case.take(1).await), [sent]);
    case.assert_nothing_to_lease().await;
    assert_eq!(case.pull(1, Duration::ZERO).await, []);

    // Put back, they come again in their order, the later one when its time has come.
    let later = case.now().after(Duration::from_secs(2));
    case.settle(one[0], Settlement::Nack(case.now())).await;
    case.settle(two[0], Settlement::Nack(case.now())).await;
    let again = case.pull(2, Duration::ZERO).await;
    assert_eq!(deliveries(&again), [high, low]);
    case.settle(again[0], Settlement::Nack(later)).await;
    let mut waiting = pin!(case.pull(1, PATIENCE));
    start_waiting(waiting.as_mut()).await;
    case.clock.advance(Duration::from_secs(2));
    assert_eq!(deliveries(&waiting.await), [high]);
    // A lease that runs out is somebody else's next.
    case.clock.advance(SETTINGS.lease);
    assert_eq!(case.pull(5, PATIENCE).await.len(), 2);
}

/// What receivers hold takes no slots from others, however much it is, up to the cap.
pub async fn receivers_take_no_slots(harness: &dyn Harness) {
    let case = Case::new(harness, [pulled(Some(12)), spec("sent", None)]).await;
    case.put((1..=16).map(|sequence| delivery(lane(1, 9), sequence))).await;
    case.assert_nothing_to_lease().await;
    let held = case.pull(100, Duration::ZERO).await;
    assert_eq!(held.len(), 12, "its cap");
    case.put((1..=16).map(|sequence| delivery(lane(2, 0), 100 + sequence))).await;
    assert_eq!(case.take(16).await.len(), 16);
    case.settle(held[0], Settlement::Ack).await;
    assert_eq!(case.pull(100, Duration::ZERO).await.len(), 1);
}

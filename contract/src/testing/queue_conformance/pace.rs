//! How fast deliveries start.

use super::{Case, Harness, deliveries, delivery, lane, spec, start_waiting};
use crate::{
    queue::Settlement, rate_limit::RateLimit, subscription::SubscriptionSpec, testing::rules_with,
};
use std::{pin::pin, time::Duration};

fn limited(name: &str, per_second: f64, burst: u32) -> SubscriptionSpec {
    let rate_limit = Some(RateLimit { per_second, burst });
    SubscriptionSpec { rate_limit, ..spec(name, Some(9)) }
}

/// Over a run, the rate is within 2 % of the limit, whatever the limit, however late who leases
/// comes round, and however long attempts take; and no other subscription waits for it.
pub async fn a_rate_limit_is_kept_to_two_percent(harness: &dyn Harness) {
    const RUN: Duration = Duration::from_secs(4);
    for (per_second, step) in [(50.0, 5), (312.5, 7), (1000.0, 3)] {
        let step = Duration::from_millis(step);
        let case = Case::new(harness, [limited("polite", per_second, 1), spec("b", None)]).await;
        let (mut sequence, mut polite, mut others) = (0, 0_u32, 0_u32);
        let mut in_flight = Vec::new();
        let end = case.now().after(RUN);
        while case.now() < end {
            sequence += 8;
            let next = |number| (0..8).map(move |n| delivery(lane(number, 5), sequence + n));
            case.offer(next(1).chain(next(2))).await;
            let mut free = 2;
            while free > 0 {
                let Some(lease) = case.try_take().await else { break };
                if lease.delivery.lane == lane(1, 5) {
                    polite += 1;
                    in_flight.push(lease);
                } else {
                    (others, free) = (others + 1, free - 1);
                    case.settle(lease, Settlement::Ack).await;
                }
            }
            // What was started ends three steps later.
            while in_flight.len() > 3 {
                case.settle(in_flight.remove(0), Settlement::Ack).await;
            }
            case.clock.advance(step);
        }
        let wanted = per_second * RUN.as_secs_f64();
        let found = f64::from(polite);
        assert!((found - wanted).abs() <= wanted * 0.02, "{found} starts, {wanted} wanted");
        assert!(others > 1000, "the other had {others}");
        harness.set_rules(rules_with([])).await;
        case.assert_nothing_to_lease().await;
    }
}

/// After a pause a burst starts at once, and what exceeds it evenly, exactly in time, in the order
/// of the lane; it wakes who waits, and takes no worker meanwhile.
pub async fn a_burst_starts_at_once(harness: &dyn Harness) {
    let case = Case::new(harness, [limited("a", 2.0, 3), spec("b", None)]).await;
    case.clock.advance(Duration::from_secs(60));
    case.put((1..=5).map(|sequence| delivery(lane(1, 5), sequence))).await;
    let leases = case.take(3).await;
    assert_eq!(deliveries(&leases), [1, 2, 3].map(|sequence| delivery(lane(1, 5), sequence)));
    case.assert_nothing_to_lease().await;
    case.put([delivery(lane(2, 5), 1)]).await;
    assert_eq!(case.finish_next().await, delivery(lane(2, 5), 1));

    for sequence in [4, 5] {
        case.clock.advance(Duration::from_micros(499_999));
        let mut waiting = pin!(case.take(1));
        start_waiting(waiting.as_mut()).await;
        case.clock.advance(Duration::from_micros(1));
        assert_eq!(deliveries(&waiting.await), [delivery(lane(1, 5), sequence)]);
    }
}

/// Retries count like first attempts, and what is given back untried is not given again at once.
pub async fn a_rate_limit_counts_every_start(harness: &dyn Harness) {
    let case = Case::new(harness, [limited("a", 1.0, 1)]).await;
    let one = delivery(lane(1, 5), 1);
    case.put([one, delivery(lane(1, 5), 2)]).await;
    let first = case.take(1).await[0];
    case.settle(first, Settlement::Nack(case.now())).await;
    case.assert_nothing_to_lease().await;
    case.clock.advance(Duration::from_secs(1));
    assert_eq!(case.finish_next().await, one);
    case.assert_nothing_to_lease().await;
}

/// A limit that is changed or lifted holds, or holds no more, at once.
pub async fn a_rate_limit_follows_the_rules(harness: &dyn Harness) {
    let case = Case::new(harness, [limited("a", 0.01, 1)]).await;
    case.put((1..=4).map(|sequence| delivery(lane(1, 5), sequence))).await;
    case.take(1).await;
    case.assert_nothing_to_lease().await;
    let mut waiting = pin!(case.take(1));
    start_waiting(waiting.as_mut()).await;
    harness.set_rules(rules_with([limited("a", 0.02, 1)])).await;
    waiting.await;
    case.assert_nothing_to_lease().await;
    harness.set_rules(rules_with([spec("a", None)])).await;
    case.take(2).await;
}

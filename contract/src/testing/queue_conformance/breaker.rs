//! Endpoints that are left alone.

use super::{Case, Harness, deliveries, delivery, lane, spec, start_waiting};
use crate::{
    backoff::Span, breaker::Breaker, clock::Timestamp, id::SubscriptionNumber, queue::Settlement,
    rules::Rules, subscription::SubscriptionSpec, testing::rules_with,
};
use std::{pin::pin, sync::Arc, time::Duration};

const EVERY: Duration = Duration::from_secs(5);
const MICROSECOND: Duration = Duration::from_micros(1);

fn specs() -> [SubscriptionSpec; 2] {
    [spec("dead", Some(9)), spec("alive", Some(0))]
}

/// The breaker of the first subscription is open.
fn open(since: Timestamp) -> Rules {
    let mut rules = rules_with(specs());
    if let Some(subscription) = rules.subscriptions.get_mut(&SubscriptionNumber(1)) {
        let (attempts, failures, probe_every) = (20, 20, Span(EVERY));
        let breaker = Breaker { since, attempts, failures, probe_every };
        Arc::make_mut(subscription).breaker = Some(breaker);
    }
    rules
}

/// Behind an open breaker one delivery at a time starts, in its time and not while another is in
/// flight; the others keep and cost nobody anything, and go when it closes.
pub async fn an_open_breaker_lets_probes_through(harness: &dyn Harness) {
    let case = Case::new(harness, specs()).await;
    case.put((1..=6).map(|sequence| delivery(lane(1, 5), sequence))).await;
    let first = case.take(1).await[0];
    harness.set_rules(open(case.now())).await;
    case.put([delivery(lane(2, 5), 1)]).await;
    assert_eq!(case.finish_next().await, delivery(lane(2, 5), 1));
    case.assert_nothing_to_lease().await;
    // What was in flight fails, too.
    let later = |case: &Case| Settlement::Nack(case.now().after(Duration::from_secs(60)));
    case.settle(first, later(&case)).await;

    for sequence in [2, 3] {
        case.clock.advance(EVERY - MICROSECOND);
        case.assert_nothing_to_lease().await;
        let mut waiting = pin!(case.take(1));
        start_waiting(waiting.as_mut()).await;
        case.clock.advance(MICROSECOND);
        let probe = waiting.await[0];
        assert_eq!(probe.delivery, delivery(lane(1, 5), sequence));
        case.assert_nothing_to_lease().await;
        case.settle(probe, later(&case)).await;
    }
    case.clock.advance(EVERY);
    let probe = case.take(1).await[0];
    case.clock.advance(EVERY);
    case.assert_nothing_to_lease().await;
    case.settle(probe, Settlement::Ack).await;

    let mut waiting = pin!(case.take(2));
    start_waiting(waiting.as_mut()).await;
    harness.set_rules(rules_with(specs())).await;
    let rest = [delivery(lane(1, 5), 5), delivery(lane(1, 5), 6)];
    assert_eq!(deliveries(&waiting.await), rest);
}

/// A queue that finds a breaker open reckons from when it opened.
pub async fn probes_go_on_after_a_restart(harness: &dyn Harness) {
    let case = Case::new(harness, []).await;
    let since = case.now();
    case.clock.advance(EVERY - MICROSECOND);
    harness.set_rules(open(since)).await;
    case.put((1..=2).map(|sequence| delivery(lane(1, 5), sequence))).await;
    case.assert_nothing_to_lease().await;
    case.clock.advance(MICROSECOND);
    case.finish_next().await;
    case.assert_nothing_to_lease().await;
}

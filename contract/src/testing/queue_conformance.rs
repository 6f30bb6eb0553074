//! What every [`MessageQueue`] must do, as cases that any implementation runs, directly or over
//! the wire: `contract::queue_conformance!(harness().await);` in a test file makes one test a case.
#![expect(clippy::expect_used, reason = "a broken expectation is what a case reports")]

mod order;
mod bounds;
mod pace;
mod breaker;
mod ordering;
mod time;
mod pulling;
mod waiting;

pub use bounds::{
    an_unknown_subscription_is_told_of_later, caps_hold, depth_tells_all,
    full_windows_and_vacancies, nothing_is_held_twice, paused_deliveries_are_kept,
    removed_deliveries_leave, the_important_find_slots,
};
pub use breaker::{an_open_breaker_lets_probes_through, probes_go_on_after_a_restart};
pub use order::{
    every_priority_gets_its_share, first_in_first_out, important_first,
    own_priority_is_for_all_lanes, turns_among_subscribers, turns_among_subscriptions,
};
pub use ordering::{
    a_failing_key_parks_alone, a_strict_lane_waits_for_a_far_retry, keys_go_side_by_side,
    order_follows_the_rules, order_outlives_leases_and_late_comers, strict_is_one_at_a_time,
    what_is_parked_leaves_room,
};
pub use pace::{
    a_burst_starts_at_once, a_rate_limit_counts_every_start, a_rate_limit_follows_the_rules,
    a_rate_limit_is_kept_to_two_percent,
};
pub use pulling::{receivers_share_what_is_theirs, receivers_take_no_slots};
pub use time::{
    a_far_retry_leaves, a_lease_ends_and_fences, a_nack_at_once_returns, a_sooner_delay_wakes,
    an_extended_lease_lives_on, delays_are_exact,
};
pub use waiting::{
    a_waiter_that_leaves_loses_nothing, many_consumers_share_the_work, waiters_wake,
};

use super::{ManualClock, rules_with, subscription_spec};
use crate::{
    clock::{Clock, Timestamp},
    id::{DeliveryId, LaneId, Sequence, SubscriptionNumber},
    master_api::FeedItem,
    queue::{Enqueued, Lease, MessageQueue, Settlement},
    rules::Rules,
    subscription::{Priority, SubscriptionSpec, SubscriptionStatus},
};
use async_trait::async_trait;
use std::{
    future::{Future, ready},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

/// How the queue of a harness is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Attempts of all consumers at once.
    pub max_in_flight: u32,
    /// Part of the starts that every priority gets.
    pub minimum_share: f64,
    /// Unfinished deliveries of a lane.
    pub window: u32,
    /// How long a lease lasts.
    pub lease: Duration,
    /// Retries due later than this leave the queue.
    pub hold_delayed: Duration,
}

/// The settings that the cases reckon with.
pub const SETTINGS: Settings = Settings {
    max_in_flight: 1000,
    minimum_share: 0.02,
    window: 16,
    lease: Duration::from_secs(10),
    hold_delayed: Duration::from_secs(60),
};

/// What a case needs: a queue of its own that is empty, set as [`SETTINGS`] say, on a clock that
/// the case steps and with rules that the case makes.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The queue.
    fn queue(&self) -> Arc<dyn MessageQueue>;
    /// The clock that it runs on.
    fn clock(&self) -> Arc<ManualClock>;
    /// Puts rules in force. Returns when the queue has them at hand.
    async fn set_rules(&self, rules: Rules);
}

/// Makes one `#[tokio::test]` of each case, on the harness that the expression makes anew. The
/// expression may await.
#[macro_export]
macro_rules! queue_conformance {
    ($harness:expr) => {
        $crate::queue_conformance! { @cases $harness;
            first_in_first_out
            important_first
            own_priority_is_for_all_lanes
            turns_among_subscribers
            turns_among_subscriptions
            caps_hold
            the_important_find_slots
            full_windows_and_vacancies
            nothing_is_held_twice
            delays_are_exact
            a_sooner_delay_wakes
            a_lease_ends_and_fences
            an_extended_lease_lives_on
            a_nack_at_once_returns
            a_far_retry_leaves
            paused_deliveries_are_kept
            removed_deliveries_leave
            an_unknown_subscription_is_told_of_later
            every_priority_gets_its_share
            receivers_share_what_is_theirs
            receivers_take_no_slots
            waiters_wake
            a_waiter_that_leaves_loses_nothing
            many_consumers_share_the_work
            depth_tells_all
            a_rate_limit_is_kept_to_two_percent
            a_burst_starts_at_once
            a_rate_limit_counts_every_start
            a_rate_limit_follows_the_rules
            an_open_breaker_lets_probes_through
            probes_go_on_after_a_restart
            strict_is_one_at_a_time
            a_strict_lane_waits_for_a_far_retry
            keys_go_side_by_side
            a_failing_key_parks_alone
            order_outlives_leases_and_late_comers
            order_follows_the_rules
            what_is_parked_leaves_room
        }
    };
    (@cases $harness:expr; $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                let harness = $harness;
                $crate::testing::queue_conformance::$case(&harness).await;
            }
        )*
    };
}

/// The longest that a case waits for what must come. Only a failing case waits so long.
const PATIENCE: Duration = Duration::from_secs(20);

fn lane(subscription: u32, priority: u8) -> LaneId {
    let priority = Priority::try_from(priority).unwrap_or_default();
    LaneId::new(SubscriptionNumber(subscription), priority)
}

fn delivery(lane: LaneId, sequence: u64) -> DeliveryId {
    DeliveryId { lane, sequence: Sequence(sequence) }
}

fn spec(name: &str, priority: Option<u8>) -> SubscriptionSpec {
    let priority = priority.and_then(|level| Priority::try_from(level).ok());
    SubscriptionSpec { priority, ..subscription_spec(name) }
}

fn with_status(mut rules: Rules, number: u32, status: SubscriptionStatus) -> Rules {
    if let Some(subscription) = rules.subscriptions.get_mut(&SubscriptionNumber(number)) {
        Arc::make_mut(subscription).status = status;
    }
    rules
}

/// A harness in the words of the cases.
struct Case {
    queue: Arc<dyn MessageQueue>,
    clock: Arc<ManualClock>,
}

impl Case {
    async fn new(harness: &dyn Harness, specs: impl IntoIterator<Item = SubscriptionSpec>) -> Self {
        harness.set_rules(rules_with(specs)).await;
        Self { queue: harness.queue(), clock: harness.clock() }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn offer(&self, items: impl IntoIterator<Item = DeliveryId>) -> Vec<Enqueued> {
        let now = self.now();
        let items =
            items.into_iter().map(|delivery| FeedItem { delivery, due: now, key: None }).collect();
        self.queue.enqueue(items).await.expect("enqueue")
    }

    /// Offers deliveries that must be taken.
    async fn put(&self, items: impl IntoIterator<Item = DeliveryId>) {
        let answers = self.offer(items).await;
        assert!(answers.iter().all(|answer| *answer == Enqueued::Queued), "{answers:?}");
    }

    /// The next `n` leases.
    async fn take(&self, n: usize) -> Vec<Lease> {
        let mut leases = Vec::new();
        while leases.len() < n {
            let missing = u32::try_from(n - leases.len()).expect("few");
            let more = self.queue.lease(missing, PATIENCE).await.expect("lease");
            assert!(!more.is_empty(), "{} of {n} leases came", leases.len());
            leases.extend(more);
        }
        leases
    }

    /// The next lease, if something may start now.
    async fn try_take(&self) -> Option<Lease> {
        self.queue.lease(1, Duration::ZERO).await.expect("lease").pop()
    }

    /// The next delivery, settled with an ack.
    async fn finish_next(&self) -> DeliveryId {
        let lease = self.take(1).await[0];
        self.settle(lease, Settlement::Ack).await;
        lease.delivery
    }

    async fn assert_nothing_to_lease(&self) {
        let leases = self.queue.lease(1, Duration::ZERO).await.expect("lease");
        assert_eq!(leases, []);
    }

    async fn settle(&self, lease: Lease, settlement: Settlement) {
        self.queue.settle(vec![(lease, settlement)]).await.expect("settle");
    }
}

fn deliveries(leases: &[Lease]) -> Vec<DeliveryId> {
    leases.iter().map(|lease| lease.delivery).collect()
}

/// Lets a future run until it has to wait.
async fn start_waiting<T>(mut future: Pin<&mut (impl Future<Output = T> + Send)>) {
    tokio::select! {
        biased;
        _ = &mut future => unreachable!("it had nothing to wait for"),
        () = ready(()) => {}
    }
}

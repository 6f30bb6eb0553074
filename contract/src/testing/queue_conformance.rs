//! What every [`MessageQueue`] must do, as cases that any implementation runs, directly or over
//! the wire: `contract::queue_conformance!(harness().await);` in a test file makes one test a case.
#![expect(clippy::expect_used, reason = "a broken expectation is what a case reports")]

use super::{ManualClock, rules_with, subscription_spec};
use crate::{
    clock::{Clock, Timestamp},
    id::{DeliveryId, LaneId, Sequence, SubscriptionNumber},
    master_api::FeedItem,
    queue::{Enqueued, LaneDepth, Lease, MessageQueue, Settlement, Vacancy},
    rules::Rules,
    subscription::{Priority, SubscriptionSpec, SubscriptionStatus},
};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, BTreeSet},
    future::{Future, ready},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
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
            full_windows_and_vacancies
            nothing_is_held_twice
            delays_are_exact
            a_lease_ends_and_fences
            an_extended_lease_lives_on
            a_nack_at_once_returns
            a_far_retry_leaves
            paused_deliveries_are_kept
            removed_deliveries_leave
            an_unknown_subscription_is_told_of_later
            every_priority_gets_its_share
            waiters_wake
            a_waiter_that_leaves_loses_nothing
            many_consumers_share_the_work
            depth_tells_all
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
        let items = items.into_iter().map(|delivery| FeedItem { delivery, due: now }).collect();
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

/// A delivery starts when it is due, not a microsecond earlier, and wakes who waits for it.
pub async fn delays_are_exact(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", None)]).await;
    let [one, two] = [delivery(lane(1, 5), 1), delivery(lane(1, 5), 2)];
    let due = |seconds| case.now().after(Duration::from_secs(seconds));
    let [early, late] = [due(5), due(9)];
    case.queue.enqueue(vec![FeedItem { delivery: one, due: late }]).await.expect("enqueue");
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

/// Work that comes wakes those who wait for it, one for each piece.
pub async fn waiters_wake(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", None)]).await;
    let [one, two] = [delivery(lane(1, 5), 1), delivery(lane(1, 5), 2)];
    let (mut first, mut second) = (pin!(case.take(1)), pin!(case.take(1)));
    start_waiting(first.as_mut()).await;
    start_waiting(second.as_mut()).await;
    case.put([one, two]).await;
    let (first, second) = tokio::join!(first, second);
    let got: BTreeSet<_> = [first[0].delivery, second[0].delivery].into();
    assert_eq!(got, BTreeSet::from([one, two]));
    case.assert_nothing_to_lease().await;
}

/// Whoever goes away while waiting takes no delivery along and passes its wake-up on.
pub async fn a_waiter_that_leaves_loses_nothing(harness: &dyn Harness) {
    let case = Case::new(harness, [spec("a", None)]).await;
    let one = delivery(lane(1, 5), 1);
    let mut stays = Box::pin(case.take(1));
    {
        let mut leaves = Box::pin(case.take(1));
        start_waiting(leaves.as_mut()).await;
        start_waiting(stays.as_mut()).await;
        case.put([one]).await;
    }
    // Over a wire the one that left may have been served already; then its lease runs out.
    let soon = tokio::time::timeout(Duration::from_secs(1), &mut stays).await;
    let leases = match soon {
        Ok(leases) => leases,
        Err(_elapsed) => {
            case.clock.advance(SETTINGS.lease);
            stays.await
        }
    };
    assert_eq!(deliveries(&leases), [one]);
}

/// Four consumers and a feeder that keeps to the windows: everything is finished once, and never
/// do two hold the same delivery.
pub async fn many_consumers_share_the_work(harness: &dyn Harness) {
    const EACH: u64 = 150;
    let case = Case::new(harness, ["a", "b", "c"].map(|name| spec(name, None))).await;
    let lanes = [lane(1, 9), lane(2, 5), lane(3, 5), lane(3, 0)];
    let work = Arc::new(Work::default());
    let total = lanes.len() * usize::try_from(EACH).expect("few");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        tasks.spawn(consume(Arc::clone(&case.queue), Arc::clone(&work), case.now(), total));
    }
    tasks.spawn(feed(Arc::clone(&case.queue), lanes, case.now(), EACH));
    let all = async { while tasks.join_next().await.transpose().expect("no panic").is_some() {} };
    tokio::time::timeout(PATIENCE, all).await.expect("all is done in time");

    let finished = work.finished.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(finished.len(), total);
    assert_eq!(case.queue.depth().await.expect("depth"), []);
}

#[derive(Default)]
struct Work {
    in_hand: Mutex<BTreeSet<DeliveryId>>,
    finished: Mutex<BTreeSet<DeliveryId>>,
}

/// Finishes deliveries until `total` are; gives every seventh back before.
async fn consume(queue: Arc<dyn MessageQueue>, work: Arc<Work>, now: Timestamp, total: usize) {
    while work.finished.lock().unwrap_or_else(PoisonError::into_inner).len() < total {
        let leases = queue.lease(8, Duration::from_millis(50)).await.expect("lease");
        {
            let mut in_hand = work.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
            for lease in &leases {
                assert!(in_hand.insert(lease.delivery), "{} is held twice", lease.delivery);
            }
        }
        tokio::task::yield_now().await;
        let mut settlements = Vec::new();
        for (index, lease) in leases.into_iter().enumerate() {
            work.in_hand.lock().unwrap_or_else(PoisonError::into_inner).remove(&lease.delivery);
            if index == 6 {
                settlements.push((lease, Settlement::Nack(now)));
                continue;
            }
            let mut finished = work.finished.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(finished.insert(lease.delivery), "{} is finished twice", lease.delivery);
            settlements.push((lease, Settlement::Ack));
        }
        queue.settle(settlements).await.expect("settle");
    }
}

/// Feeds `each` deliveries into each lane, in order; into a full lane when there is a vacancy.
async fn feed(queue: Arc<dyn MessageQueue>, lanes: [LaneId; 4], due: Timestamp, each: u64) {
    let mut next: BTreeMap<_, _> = lanes.map(|lane| (lane, 1)).into();
    let mut open: BTreeSet<_> = lanes.into();
    while !next.is_empty() {
        for lane in std::mem::take(&mut open) {
            let first = next.get(&lane).copied().unwrap_or(each + 1);
            let items = (first..=each)
                .map(|sequence| FeedItem { delivery: delivery(lane, sequence), due })
                .collect();
            let answers = queue.enqueue(items).await.expect("enqueue");
            let taken = answers.iter().take_while(|answer| **answer != Enqueued::Full).count();
            let reached = first + u64::try_from(taken).expect("few");
            match reached > each {
                true => next.remove(&lane),
                false => next.insert(lane, reached),
            };
        }
        if !next.is_empty() {
            let vacancies = queue.vacancies(PATIENCE).await.expect("vacancies");
            assert!(!vacancies.is_empty(), "no room for {next:?}");
            open.extend(vacancies.into_iter().map(|vacancy| vacancy.lane));
        }
    }
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

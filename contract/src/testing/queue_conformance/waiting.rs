//! Waiting for work, and sharing it.
#![expect(clippy::expect_used, reason = "a broken expectation is what a case reports")]

use super::{Case, Harness, PATIENCE, SETTINGS, deliveries, delivery, lane, spec, start_waiting};
use crate::{
    clock::Timestamp,
    id::{DeliveryId, LaneId},
    master_api::FeedItem,
    queue::{Enqueued, Lease, MessageQueue, Settlement},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

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
    let total = lanes.len() * usize::try_from(EACH).expect("few");
    let ledger = Arc::new(Ledger::default());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let consumer = consume(Arc::clone(&case.queue), Arc::clone(&ledger), case.now(), total);
        tasks.spawn(consumer);
    }
    tasks.spawn(feed(Arc::clone(&case.queue), lanes, case.now(), EACH));
    let all = async { while tasks.join_next().await.transpose().expect("no panic").is_some() {} };
    tokio::time::timeout(PATIENCE, all).await.expect("all is done in time");

    assert_eq!(ledger.finished(), total);
    assert_eq!(case.queue.depth().await.expect("depth"), []);
}

/// What the consumers have in hand and what they have finished.
#[derive(Default)]
struct Ledger(Mutex<(BTreeSet<DeliveryId>, BTreeSet<DeliveryId>)>);

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, (BTreeSet<DeliveryId>, BTreeSet<DeliveryId>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finished(&self) -> usize {
        self.lock().1.len()
    }

    fn start(&self, leases: &[Lease]) {
        let (in_hand, _) = &mut *self.lock();
        for lease in leases {
            assert!(in_hand.insert(lease.delivery), "{} is held twice", lease.delivery);
        }
    }

    /// Every seventh is given back, the others are finished.
    fn end(&self, leases: Vec<Lease>, now: Timestamp) -> Vec<(Lease, Settlement)> {
        let (in_hand, finished) = &mut *self.lock();
        let mut settlements = Vec::new();
        for (index, lease) in leases.into_iter().enumerate() {
            in_hand.remove(&lease.delivery);
            if index == 6 {
                settlements.push((lease, Settlement::Nack(now)));
                continue;
            }
            assert!(finished.insert(lease.delivery), "{} is finished twice", lease.delivery);
            settlements.push((lease, Settlement::Ack));
        }
        settlements
    }
}

/// Works until `total` deliveries are finished.
async fn consume(queue: Arc<dyn MessageQueue>, ledger: Arc<Ledger>, now: Timestamp, total: usize) {
    while ledger.finished() < total {
        let leases = queue.lease(8, Duration::from_millis(50)).await.expect("lease");
        ledger.start(&leases);
        tokio::task::yield_now().await;
        queue.settle(ledger.end(leases, now)).await.expect("settle");
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
                .map(|sequence| FeedItem { delivery: delivery(lane, sequence), due, key: None })
                .collect();
            let answers = queue.enqueue(items).await.expect("enqueue");
            let taken = answers.iter().take_while(|answer| **answer != Enqueued::Full).count();
            let reached = first + u64::try_from(taken).expect("few");
            if reached > each {
                next.remove(&lane);
            } else {
                next.insert(lane, reached);
            }
        }
        if !next.is_empty() {
            let vacancies = queue.vacancies(PATIENCE).await.expect("vacancies");
            assert!(!vacancies.is_empty(), "no room for {next:?}");
            open.extend(vacancies.into_iter().map(|vacancy| vacancy.lane));
        }
    }
}

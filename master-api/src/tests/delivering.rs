//! Deliveries from the lane to their end.

use super::harness::{Bench, now, operator, put_subscription, report, subscription};
use crate::state::State;
use contract::{
    ErrorCode,
    clock::Timestamp,
    command::{Command, Target},
    delivery::{Cause, DeliveryState, Next},
    id::{DeliveryId, LaneId, Sequence},
    master_api::{Configuration, Deliveries, DeliveryFilter, Events, FeedPage, Lanes, PageRequest},
    subscription::{Ordering, OrderingKey, SubscriptionSpec, SubscriptionStatus},
};
use std::{sync::Arc, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);

async fn one(bench: &Bench) -> DeliveryId {
    let lane = bench.subscribe("ci").await;
    let sequence = bench.store(&[lane]).await.sequence;
    DeliveryId { lane, sequence }
}

async fn feed(bench: &Bench, lane: LaneId, after: u64, limit: u32) -> FeedPage {
    bench.api.feed(lane, Sequence(after), now(bench), limit).await.unwrap()
}

async fn state(bench: &Bench, id: DeliveryId) -> DeliveryState {
    bench.api.delivery(id).await.unwrap().unwrap().state
}

#[tokio::test]
async fn attempts_are_recorded_in_order_and_once() {
    let bench = Bench::memory();
    let id = one(&bench).await;
    let due = now(&bench).after(MINUTE);
    assert!(!bench.attempt(id, 2, Next::Done).await);
    assert!(bench.attempt(id, 1, Next::Retry(due)).await);
    assert!(!bench.attempt(id, 1, Next::Done).await);
    let delivery = bench.api.delivery(id).await.unwrap().unwrap();
    assert_eq!((delivery.due, delivery.attempts.len()), (Some(due), 1));
    assert!(bench.attempt(id, 2, Next::Done).await);
    assert!(!bench.attempt(id, 3, Next::Done).await);
    assert_eq!(state(&bench, id).await, DeliveryState::Delivered);
    let stats = bench.api.stats().await.unwrap();
    assert_eq!((stats.waiting, stats.delivered, stats.dead), (0, 1, 0));
    assert!(bench.api.work(vec![id]).await.unwrap()[0].is_none());
    bench.assert_verified().await;
}

#[tokio::test]
async fn two_reports_of_one_delivery_in_one_batch_count_one_after_the_other() {
    let bench = Bench::embedded();
    let id = one(&bench).await;
    let reports = vec![
        report(id, 1, Next::Retry(now(&bench))),
        report(id, 1, Next::Done),
        report(id, 2, Next::Dead(Cause::Exhausted)),
    ];
    let recorded = bench.api.record_attempts(reports).await.unwrap();
    assert_eq!(recorded, [true, false, true]);
    assert_eq!(state(&bench, id).await, DeliveryState::Dead);
    assert!(feed(&bench, id.lane, 0, 10).await.due.is_empty());
    bench.assert_verified().await;
}

/// The key of a delivery is in the log: whoever feeds it again has it, also after a retry and
/// after all rows were made anew.
#[tokio::test]
async fn a_delivery_keeps_its_ordering_key() {
    let bench = Bench::embedded();
    let (lane, other) = (bench.subscribe("ci").await, bench.subscribe("other").await);
    let key = Some(OrderingKey(7));
    let mut event = bench.event(&[lane, other]);
    event.keys = [(lane, OrderingKey(7)), (LaneId(0xFF9), OrderingKey(8))].into();
    let sequence = bench.api.store_event(event).await.unwrap().sequence;
    let [id, plain] = [lane, other].map(|lane| DeliveryId { lane, sequence });
    assert_eq!(feed(&bench, lane, 0, 10).await.fresh[0].key, key);
    assert_eq!(feed(&bench, other, 0, 10).await.fresh[0].key, None);
    for delivery in [id, plain] {
        assert!(bench.attempt(delivery, 1, Next::Retry(now(&bench))).await);
    }
    assert_eq!(feed(&bench, lane, 0, 10).await.due[0].key, key);
    assert_eq!(feed(&bench, other, 0, 10).await.due[0].key, None);
    let delivery = bench.api.delivery(id).await.unwrap().unwrap();
    assert_eq!(delivery.ordering_key, key);
    bench.assert_verified().await;
    let bench = bench.reopen().await;
    assert!(bench.attempt(id, 2, Next::Dead(Cause::Exhausted)).await);
    bench.api.resend(operator(), id).await.unwrap();
    assert_eq!(feed(&bench, lane, 0, 10).await.due[0].key, key);
    bench.assert_verified().await;
}

#[tokio::test]
async fn nothing_is_promised_that_a_replica_could_not_keep() {
    let bench = Bench::embedded();
    let state = State::clone(&bench.api.shared.state.load());
    bench.api.shared.state.store(Arc::new(State { format: 4, ..state }));
    let spec = SubscriptionSpec { ordering: Ordering::Strict, ..subscription("ci") };
    let put = || vec![Command::PutSubscription { spec: spec.clone(), secrets: Vec::new() }];
    let refused = bench.execute(put()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.message.contains("too old to keep an order"), "{refused}");
    let pulled = SubscriptionSpec { pull: true, url: String::new(), ..subscription("ci") };
    let command = Command::PutSubscription { spec: pulled, secrets: Vec::new() };
    let refused = bench.execute(vec![command]).await.unwrap_err();
    assert!(refused.message.contains("too old to know of receivers"), "{refused}");
    let bench = Bench::embedded();
    bench.execute(put()).await.unwrap();
    assert_eq!(bench.api.rules().borrow().subscription_named("ci").unwrap().spec, spec);
}

#[tokio::test]
async fn a_lane_is_fed_in_order_and_its_retries_when_they_are_due() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(DeliveryId { lane, sequence: bench.store(&[lane]).await.sequence });
    }
    let page = feed(&bench, lane, 0, 3).await;
    let fed = |page: &FeedPage| page.fresh.iter().map(|item| item.delivery).collect::<Vec<_>>();
    assert_eq!((fed(&page), page.more), (ids[..3].to_vec(), true));
    let page = feed(&bench, lane, page.read_to.0, 3).await;
    assert_eq!((fed(&page), page.more), (ids[3..].to_vec(), false));

    let due = now(&bench).after(MINUTE);
    assert!(bench.attempt(ids[1], 1, Next::Retry(due)).await);
    assert!(bench.attempt(ids[0], 1, Next::Retry(due.after(MINUTE))).await);
    let page = feed(&bench, lane, 0, 10).await;
    assert_eq!((fed(&page), page.due.len()), (ids[2..].to_vec(), 0));
    bench.clock.advance(MINUTE);
    let page = feed(&bench, lane, 0, 10).await;
    assert_eq!(page.due.iter().map(|item| item.delivery).collect::<Vec<_>>(), [ids[1]]);
    // One that becomes due before all others is found, although the floor was raised.
    assert!(bench.attempt(ids[2], 1, Next::Retry(Timestamp(0))).await);
    let page = feed(&bench, lane, 0, 10).await;
    let retries: Vec<_> = page.due.iter().map(|item| item.delivery).collect();
    assert_eq!(retries, [ids[1], ids[2]]);

    bench.advance(vec![(lane, ids[2].sequence)]).await.unwrap();
    let bench = bench.reopen().await;
    let lanes = bench.api.lanes(now(&bench)).await.unwrap();
    assert_eq!(lanes.len(), 1);
    assert_eq!((lanes[0].cursor, lanes[0].head), (ids[2].sequence, ids[4].sequence));
    assert_eq!(lanes[0].next_due, Some(due));
    bench.assert_verified().await;
}

#[tokio::test]
async fn a_lane_without_work_is_not_listed() {
    let bench = Bench::memory();
    let id = one(&bench).await;
    bench.subscribe("idle").await;
    let lanes = |until| bench.api.lanes(until);
    assert_eq!(lanes(now(&bench)).await.unwrap().len(), 1);
    bench.advance(vec![(id.lane, id.sequence)]).await.unwrap();
    assert!(lanes(now(&bench)).await.unwrap().is_empty());
    let due = now(&bench).after(MINUTE);
    assert!(bench.attempt(id, 1, Next::Retry(due)).await);
    assert!(lanes(now(&bench)).await.unwrap().is_empty());
    assert_eq!(lanes(due).await.unwrap().len(), 1);
    assert!(bench.attempt(id, 2, Next::Done).await);
    let until = due.after(MINUTE);
    assert!(bench.api.feed(id.lane, id.sequence, until, 9).await.unwrap().due.is_empty());
    assert!(lanes(until).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_dead_letter_is_sent_again() {
    let bench = Bench::embedded();
    let id = one(&bench).await;
    bench.advance(vec![(id.lane, id.sequence)]).await.unwrap();
    let error = bench.api.resend(operator(), id).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert!(bench.attempt(id, 1, Next::Dead(Cause::Exhausted)).await);
    let filter = DeliveryFilter { state: Some(DeliveryState::Dead), ..DeliveryFilter::default() };
    let dead = bench.api.deliveries(filter.clone(), PageRequest::default()).await.unwrap();
    assert_eq!(dead.items.len(), 1);
    assert_eq!(dead.items[0].cause, Some(Cause::Exhausted));

    let again = bench.api.resend(operator(), id).await.unwrap();
    assert_eq!((again.state, again.attempts_before_resend), (DeliveryState::Waiting, 1));
    assert!(bench.api.deliveries(filter, PageRequest::default()).await.unwrap().items.is_empty());
    let page = feed(&bench, id.lane, id.sequence.0, 10).await;
    assert_eq!(page.due.iter().map(|item| item.delivery).collect::<Vec<_>>(), [id]);
    assert!(bench.attempt(id, 2, Next::Done).await);
    assert_eq!(state(&bench, id).await, DeliveryState::Delivered);
    let unknown = DeliveryId { sequence: Sequence(999), ..id };
    let error = bench.api.resend(operator(), unknown).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NotFound);
    bench.assert_verified().await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_pauses_its_subscription() {
    let bench = Bench::memory();
    let id = one(&bench).await;
    let mut gone = report(id, 1, Next::Dead(Cause::Gone));
    gone.pause_subscription = true;
    assert_eq!(bench.api.record_attempts(vec![gone]).await.unwrap(), [true]);
    let rules = bench.api.rules().borrow().clone();
    let subscription = rules.subscription_named("ci").unwrap();
    assert_eq!(subscription.status, SubscriptionStatus::Paused);
    assert_eq!(subscription.status_reason.as_deref(), Some("the endpoint answered 410"));
    // What comes meanwhile is kept.
    assert_eq!(bench.store(&[id.lane]).await.lanes, [id.lane]);
    bench.assert_verified().await;
}

#[tokio::test]
async fn removing_a_subscription_cancels_what_waits() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    let other = bench.subscribe("other").await;
    let mut ids = Vec::new();
    for _ in 0..700 {
        let sequence = bench.store(&[lane, other]).await.sequence;
        ids.push(DeliveryId { lane, sequence });
    }
    let due = now(&bench).after(MINUTE);
    assert!(bench.attempt(ids[0], 1, Next::Retry(due)).await);
    assert!(bench.attempt(ids[1], 1, Next::Done).await);
    let remove = Command::Remove(Target::Subscription("ci".into()));
    bench.execute(vec![remove]).await.unwrap();
    bench.cleared().await;
    let stats = bench.api.stats().await.unwrap();
    assert_eq!((stats.cancelled, stats.delivered, stats.waiting), (699, 1, 700));
    assert!(!bench.attempt(ids[0], 2, Next::Done).await);
    let error = bench.api.resend(operator(), ids[1]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    // Its number is never given again.
    let again = bench.subscribe("ci").await;
    assert!(again > other);
    bench.assert_verified().await;
}

/// Storing, feeding and recording at once, on the real store, until nothing waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_at_once_ends_with_nothing_waiting() {
    const EVENTS: u64 = 400;
    let bench = Arc::new(Bench::embedded());
    let lanes = [bench.subscribe("a").await, bench.subscribe("b").await];
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let bench = bench.clone();
        tasks.spawn(async move {
            for _ in 0..EVENTS / 4 {
                bench.store(&lanes).await;
            }
        });
    }
    for lane in lanes {
        tasks.spawn(deliver_all(bench.clone(), lane, EVENTS));
    }
    let all = async { while tasks.join_next().await.transpose().unwrap().is_some() {} };
    tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    let stats = bench.api.stats().await.unwrap();
    assert_eq!((stats.accepted, stats.delivered, stats.waiting), (EVENTS, 2 * EVENTS, 0));
    bench.assert_verified().await;
}

/// Delivers what a lane brings; every third one at the second attempt.
async fn deliver_all(bench: Arc<Bench>, lane: LaneId, count: u64) {
    let (mut cursor, mut delivered) = (Sequence(0), 0);
    while delivered < count {
        let page = feed(&bench, lane, cursor.0, 32).await;
        let mut reports = Vec::new();
        for item in page.fresh.iter().chain(&page.due) {
            let work = bench.api.work(vec![item.delivery]).await.unwrap().remove(0).unwrap();
            assert!(work.payload.is_some());
            let number = work.delivery.next_attempt();
            let again = number == 1 && item.delivery.sequence.0 % 3 == 0;
            delivered += u64::from(!again);
            let next = if again { Next::Retry(now(&bench)) } else { Next::Done };
            reports.push(report(item.delivery, number, next));
        }
        let recorded = bench.api.record_attempts(reports).await.unwrap();
        assert!(recorded.iter().all(|recorded| *recorded));
        cursor = page.read_to;
        bench.advance(vec![(lane, cursor)]).await.unwrap();
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_restart_goes_on_cancelling() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    for _ in 0..5 {
        bench.store(&[lane]).await;
    }
    let remove = Command::Remove(Target::Subscription("ci".into()));
    bench.execute(vec![remove]).await.unwrap();
    let bench = bench.reopen().await;
    bench.cleared().await;
    assert_eq!(bench.api.stats().await.unwrap().cancelled, 5);
    assert!(bench.api.lanes(Timestamp(i64::MAX)).await.unwrap().is_empty());
    bench.assert_verified().await;
}

#[tokio::test]
async fn deliveries_are_listed_newest_first_page_by_page() {
    let bench = Bench::memory();
    bench.execute(vec![put_subscription("a"), put_subscription("b")]).await.unwrap();
    let rules = bench.api.rules().borrow().clone();
    let [a, b] = ["a", "b"].map(|name| rules.subscription_named(name).unwrap().clone());
    let lane = |number, level: u8| LaneId::new(number, level.try_into().unwrap());
    let mut wanted = Vec::new();
    for n in 0..9_u8 {
        let lanes = [lane(a.number, n % 3), lane(b.number, 5)];
        let sequence = bench.store(&lanes).await.sequence;
        wanted.extend(lanes.map(|lane| DeliveryId { lane, sequence }));
    }
    wanted.reverse();
    let all = |subscription, state| {
        list(&bench, DeliveryFilter { subscription, state, ..DeliveryFilter::default() })
    };
    assert_eq!(all(None, None).await, wanted);
    assert_eq!(all(None, Some(DeliveryState::Waiting)).await, wanted);
    let of_a: Vec<_> =
        wanted.iter().filter(|id| id.lane.subscription() == a.number).copied().collect();
    assert_eq!(all(Some(a.id), None).await, of_a);
    for id in &wanted[..8] {
        assert!(bench.attempt(*id, 1, Next::Dead(Cause::Exhausted)).await);
    }
    assert_eq!(all(None, Some(DeliveryState::Dead)).await, wanted[..8]);
    assert_eq!(all(Some(a.id), Some(DeliveryState::Dead)).await, of_a[..4]);
    let event = bench.api.delivery(wanted[0]).await.unwrap().unwrap().event;
    let of_event = bench.api.deliveries_of(event).await.unwrap();
    assert_eq!(of_event.iter().map(|d| d.id.lane).collect::<Vec<_>>().len(), 2);
}

async fn list(bench: &Bench, filter: DeliveryFilter) -> Vec<DeliveryId> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = PageRequest { first: 5, after };
        let page = bench.api.deliveries(filter.clone(), page).await.unwrap();
        assert!(page.items.len() <= 5);
        ids.extend(page.items.into_iter().map(|delivery| delivery.id));
        after = page.next;
        if after.is_none() {
            return ids;
        }
    }
}

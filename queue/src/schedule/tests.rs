//! What the conformance cases do not reach: learned caps, the reserve, turns of those who come
//! and go, and what is kept of whom.

use super::{LEVELS, STRANGERS_MAX, Schedule, level_of};
use crate::Config;
use contract::{
    clock::Timestamp,
    id::{DeliveryId, LaneId, Sequence, SubscriptionNumber},
    master_api::FeedItem,
    queue::{Enqueued, Lease, Settlement, Vacancy},
    rules::Rules,
    subscription::{Priority, SubscriptionSpec},
    testing::{rules_with, subscription_spec},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const NOW: Timestamp = Timestamp(1_000_000);

fn schedule(config: Config, specs: impl IntoIterator<Item = SubscriptionSpec>) -> Schedule {
    Schedule::new(config, Arc::new(rules_with(specs)), NOW)
}

fn of(subscriber: &str, name: &str) -> SubscriptionSpec {
    SubscriptionSpec { subscriber: Some(subscriber.to_owned()), ..subscription_spec(name) }
}

fn capped(name: &str, cap: u32) -> SubscriptionSpec {
    SubscriptionSpec { max_in_flight: Some(cap), ..subscription_spec(name) }
}

fn lane(subscription: u32, priority: u8) -> LaneId {
    LaneId::new(SubscriptionNumber(subscription), Priority::try_from(priority).unwrap())
}

fn put(schedule: &mut Schedule, lane: LaneId, sequences: impl IntoIterator<Item = u64>) {
    for sequence in sequences {
        let delivery = DeliveryId { lane, sequence: Sequence(sequence) };
        assert_eq!(
            schedule.enqueue(FeedItem { delivery, due: NOW, key: None }, NOW),
            Enqueued::Queued
        );
    }
}

fn start_all(schedule: &mut Schedule) -> Vec<Lease> {
    std::iter::from_fn(|| schedule.start(NOW)).collect()
}

/// Starts the next delivery and finishes it; its lane.
fn finish_next(schedule: &mut Schedule) -> LaneId {
    let lease = schedule.start(NOW).unwrap();
    schedule.settle(&lease, Settlement::Ack, NOW);
    lease.delivery.lane
}

#[test]
fn a_learned_cap_follows_the_endpoint() {
    let mut schedule = schedule(Config::default(), [subscription_spec("a")]);
    let lane = lane(1, 5);
    put(&mut schedule, lane, 1..=1024);
    let mut in_flight = start_all(&mut schedule);
    assert_eq!(in_flight.len(), 32);

    // One by one they succeed, and each makes room for itself and, at the cap, for one more.
    let mut acks = 0;
    while in_flight.len() < 256 {
        schedule.settle(&in_flight.remove(0), Settlement::Ack, NOW);
        in_flight.extend(start_all(&mut schedule));
        acks += 1;
    }
    assert_eq!(acks, 256 - 32);
    schedule.settle(&in_flight.remove(0), Settlement::Ack, NOW);
    in_flight.extend(start_all(&mut schedule));
    assert_eq!(in_flight.len(), 256, "it grows no further");

    // The endpoint dies: all that is in flight fails, and then one at a time is tried.
    let later = Timestamp(NOW.0 + 1);
    for lease in in_flight {
        schedule.settle(&lease, Settlement::Nack(later), NOW);
    }
    assert_eq!(start_all(&mut schedule).len(), 1);
}

#[test]
fn giving_back_untried_says_nothing_about_the_endpoint() {
    let mut schedule = schedule(Config::default(), [subscription_spec("a")]);
    put(&mut schedule, lane(1, 5), 1..=64);
    for lease in start_all(&mut schedule) {
        schedule.settle(&lease, Settlement::Nack(NOW), NOW);
    }
    assert_eq!(start_all(&mut schedule).len(), 32);
}

fn at(priority: u8, name: &str) -> SubscriptionSpec {
    let priority = Some(Priority::try_from(priority).unwrap());
    SubscriptionSpec { priority, ..capped(name, 1000) }
}

fn ten_slots() -> Config {
    Config { max_in_flight: 10, minimum_share: 0.05, ..Config::default() }
}

#[test]
fn who_hangs_first_leaves_the_last_fifth_of_the_slots() {
    let mut schedule = schedule(ten_slots(), [at(0, "a"), at(0, "b"), at(9, "important")]);
    let important = lane(3, 9);
    // Nothing important is there yet, and what starts now never ends.
    put(&mut schedule, lane(1, 0), 1..=20);
    put(&mut schedule, lane(2, 0), 1..=20);
    let mut slow = start_all(&mut schedule);
    assert_eq!(slow.len(), 8);
    assert!(!schedule.has_eligible());

    put(&mut schedule, important, 1..=1000);
    for _ in 0..500 {
        assert_eq!(finish_next(&mut schedule), important);
    }
    // Each slot that they give back may be theirs again.
    schedule.settle(&slow.remove(0), Settlement::Ack, NOW);
    let starts = (0..100).filter(|_| {
        let lease = schedule.start(NOW).unwrap();
        schedule.settle(&lease, Settlement::Nack(NOW), NOW);
        lease.delivery.lane != important
    });
    assert!(starts.count() >= 5);
}

#[test]
fn a_priority_alone_has_all_slots_and_no_more() {
    let mut schedule = schedule(ten_slots(), [at(3, "a"), at(3, "b")]);
    put(&mut schedule, lane(1, 5), 1..=20);
    put(&mut schedule, lane(2, 5), 1..=20);
    let in_flight = start_all(&mut schedule);
    assert_eq!(in_flight.len(), 10);
    schedule.settle(&in_flight[0], Settlement::Ack, NOW);
    assert_eq!(start_all(&mut schedule).len(), 1);
}

#[test]
fn the_reserve_follows_the_rules_and_the_lanes() {
    let unimportant = || [at(0, "a"), at(0, "b")];
    let mut schedule = schedule(ten_slots(), unimportant());
    put(&mut schedule, lane(1, 0), 1..=20);
    put(&mut schedule, lane(2, 0), 1..=20);
    let leases = start_all(&mut schedule);
    assert_eq!(leases.len(), 10);
    for lease in &leases {
        schedule.settle(lease, Settlement::Nack(NOW), NOW);
    }

    // One comes that names no priority: the usual one is expected, and then what it is sent.
    let specs = unimportant().into_iter().chain([capped("c", 1000)]);
    schedule.set_rules(Arc::new(rules_with(specs)));
    let mut leases = start_all(&mut schedule);
    assert_eq!(leases.len(), 8);
    put(&mut schedule, lane(3, 9), [1]);
    assert_eq!(finish_next(&mut schedule), lane(3, 9));
    schedule.settle(&leases.remove(0), Settlement::Nack(NOW), NOW);
    assert_eq!(start_all(&mut schedule), [], "five and nine keep a fifth each");

    schedule.set_rules(Arc::new(rules_with(unimportant())));
    assert_eq!(start_all(&mut schedule).len(), 3);
}

#[test]
fn nobody_takes_more_than_half_of_the_slots_beside_others() {
    let mut schedule = schedule(ten_slots(), [at(5, "greedy"), at(5, "other")]);
    put(&mut schedule, lane(1, 5), 1..=20);
    assert_eq!(start_all(&mut schedule).len(), 5);
    put(&mut schedule, lane(2, 5), [1]);
    assert_eq!(finish_next(&mut schedule), lane(2, 5));
    schedule.set_rules(Arc::new(rules_with([at(5, "greedy")])));
    assert_eq!(start_all(&mut schedule).len(), 5);
}

#[test]
fn a_newcomer_has_its_turn_at_once_but_never_twice_in_a_round() {
    let specs = [of("a", "a"), of("b", "b"), of("c", "c")];
    let mut schedule = schedule(Config::default(), specs);
    put(&mut schedule, lane(1, 5), 1..=500);
    put(&mut schedule, lane(2, 5), 1..=500);
    for _ in 0..10 {
        finish_next(&mut schedule);
    }
    // The third has one at a time, again as soon as it was served.
    let mut starts = BTreeMap::<LaneId, u32>::new();
    for sequence in 1..=300 {
        if !starts.contains_key(&lane(3, 5)) || schedule.counts()[5].ready % 2 == 0 {
            let delivery = DeliveryId { lane: lane(3, 5), sequence: Sequence(sequence) };
            schedule.enqueue(FeedItem { delivery, due: NOW, key: None }, NOW);
        }
        let served = finish_next(&mut schedule);
        if starts.is_empty() {
            assert_eq!(served, lane(3, 5), "the newcomer");
        }
        *starts.entry(served).or_default() += 1;
    }
    assert!(starts[&lane(3, 5)] <= 101, "{starts:?}");
    assert!(starts[&lane(1, 5)] >= 95 && starts[&lane(2, 5)] >= 95, "{starts:?}");
}

#[test]
fn a_full_lane_that_was_filled_again_is_told_later() {
    let config = Config { window: 4, ..Config::default() };
    let mut schedule = schedule(config, [capped("a", 4)]);
    let lane = lane(1, 5);
    put(&mut schedule, lane, 1..=4);
    let full =
        FeedItem { delivery: DeliveryId { lane, sequence: Sequence(9) }, due: NOW, key: None };
    assert_eq!(schedule.enqueue(full, NOW), Enqueued::Full);
    for _ in 0..2 {
        finish_next(&mut schedule);
    }
    // Another takes the room before anybody asked for vacancies.
    put(&mut schedule, lane, 5..=6);
    assert_eq!(schedule.take_vacancies(), []);
    for _ in 0..3 {
        finish_next(&mut schedule);
    }
    assert_eq!(schedule.take_vacancies(), [Vacancy { lane, room: 3 }]);
}

#[test]
fn what_is_kept_of_strangers_and_of_the_gone_is_bounded() {
    let mut schedule = schedule(Config::default(), [of("a", "a"), of("b", "b")]);
    put(&mut schedule, lane(1, 5), [1]);
    put(&mut schedule, lane(2, 5), [1]);
    for number in 100..6000 {
        let delivery = DeliveryId { lane: lane(number, 5), sequence: Sequence(1) };
        assert_eq!(
            schedule.enqueue(FeedItem { delivery, due: NOW, key: None }, NOW),
            Enqueued::Full
        );
    }
    assert_eq!(schedule.strangers.len(), STRANGERS_MAX);

    // The first moves to another subscriber, the second goes; rules as new as the deliveries of
    // the strangers do not name them, so they never will.
    let sequence = Sequence(1);
    schedule.set_rules(Arc::new(Rules { sequence, ..rules_with([of("c", "a")]) }));
    assert_eq!(schedule.strangers.len(), 0);
    assert_eq!(schedule.subscribers.len(), 1);
    assert_eq!(schedule.subscriptions.len(), 1);
    assert_eq!(finish_next(&mut schedule), lane(1, 5));
    assert_eq!(schedule.start(NOW), None);
}

#[test]
fn the_oldest_of_each_priority_is_known() {
    let mut schedule = schedule(Config::default(), [subscription_spec("a"), capped("b", 1)]);
    put(&mut schedule, lane(1, 3), [1, 2]);
    let late = Timestamp(NOW.0 + 7);
    let delivery = DeliveryId { lane: lane(2, 4), sequence: Sequence(1) };
    schedule.enqueue(FeedItem { delivery, due: late, key: None }, NOW);
    let oldest = |schedule: &Schedule| {
        let of = |priority| schedule.oldest()[level_of(Priority::try_from(priority).unwrap())];
        (of(3), of(4))
    };
    assert_eq!(oldest(&schedule), (Some(NOW), None));
    schedule.advance(late);
    assert_eq!(oldest(&schedule), (Some(NOW), Some(late)));
    assert_eq!(start_all(&mut schedule).len(), 3);
    assert_eq!(schedule.oldest(), [None; LEVELS]);
}

#[test]
fn what_is_replayed_goes_behind_all_that_is_live() {
    let specs = [capped("replayed", 10), capped("other", 10)];
    let config = Config { max_in_flight: 100, minimum_share: 0.0, ..Config::default() };
    let mut schedule = schedule(config, specs);
    let behind = LaneId::behind(SubscriptionNumber(1));
    put(&mut schedule, behind, 1..=20);
    put(&mut schedule, lane(2, 0), 21..=22);
    assert_eq!(finish_next(&mut schedule), lane(2, 0), "also behind the lowest priority of others");
    assert_eq!(finish_next(&mut schedule), lane(2, 0));

    // It may not take the whole cap: a live delivery waits for none of it.
    let replayed = start_all(&mut schedule);
    assert_eq!(replayed.len(), 8);
    put(&mut schedule, lane(1, 0), 31..=32);
    assert_eq!(schedule.start(NOW).unwrap().delivery.lane, lane(1, 0));
    assert_eq!(schedule.start(NOW).unwrap().delivery.lane, lane(1, 0));
    put(&mut schedule, lane(1, 0), 33..=33);
    assert_eq!(schedule.start(NOW), None, "the cap is for both");
    schedule.settle(&replayed[0], Settlement::Ack, NOW);
    assert_eq!(schedule.start(NOW).unwrap().delivery.lane, lane(1, 0), "and the live one first");
}

#[test]
fn what_is_replayed_has_its_share_beside_any_load() {
    let specs = [capped("replayed", 1), capped("busy", 1)];
    let config = Config { max_in_flight: 1, minimum_share: 0.02, ..Config::default() };
    let mut schedule = schedule(config, specs);
    put(&mut schedule, LaneId::behind(SubscriptionNumber(1)), 1..=50);
    put(&mut schedule, lane(2, 9), 101..=1100);
    let replayed = (0..1000).filter(|_| finish_next(&mut schedule).is_behind()).count();
    assert_eq!(replayed, 20);
}

#[test]
fn what_receivers_hold_takes_no_slots() {
    let pulled = SubscriptionSpec { pull: true, url: String::new(), ..at(9, "pulled") };
    let config = Config { max_in_flight: 4, ..Config::default() };
    let mut schedule = schedule(config, [pulled.clone(), capped("sent", 1000)]);
    let (theirs, sent) = (lane(1, 9), lane(2, 5));
    put(&mut schedule, theirs, 1..=20);
    assert_eq!(start_all(&mut schedule).len(), 0);
    assert!(!schedule.has_eligible());
    assert_eq!(schedule.take_for_receivers(), [SubscriptionNumber(1)].into());
    assert_eq!(schedule.take_for_receivers(), BTreeSet::new());
    for _ in 0..20 {
        assert!(schedule.start_for(SubscriptionNumber(1), NOW).is_some());
    }
    put(&mut schedule, sent, 101..=120);
    assert_eq!(start_all(&mut schedule).len(), 4);
    assert_eq!(schedule.start_for(SubscriptionNumber(2), NOW), None);

    // It gets a URL: what its receivers hold counts from then on, and what comes is sent.
    let sent_now = SubscriptionSpec { pull: false, ..pulled };
    put(&mut schedule, theirs, 21..=22);
    let mut rules = rules_with([sent_now, capped("sent", 1000)]);
    rules.sequence = Sequence(99);
    schedule.set_rules(Arc::new(rules));
    assert_eq!(schedule.start_for(SubscriptionNumber(1), NOW), None);
    assert_eq!(schedule.start(NOW), None, "24 are in flight and 4 are allowed");
}

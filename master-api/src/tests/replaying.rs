//! What is delivered once more: which, to whom, how fast, and over a restart and a day.

use super::harness::{Bench, DAY, config, now, open_at, operator, put_subscription, subscription};
use contract::{
    ErrorCode,
    clock::Timestamp,
    command::Command,
    delivery::{Cause, Delivery, DeliveryState, Next},
    id::{DeliveryId, EventId, LaneId, Sequence},
    master_api::{Deliveries, Events, Lanes, Stored},
    replay::{Replay, ReplayProgress, ReplaySpec, ReplayState, Replays},
    retention::{ErasureTarget, Retention},
};
use std::{collections::BTreeSet, time::Duration};

const ALL: u32 = 500;

fn delivery(lane: LaneId, stored: &Stored) -> DeliveryId {
    DeliveryId { lane, sequence: stored.sequence }
}

fn behind(lane: LaneId) -> LaneId {
    LaneId::behind(lane.subscription())
}

/// An event whose delivery is given up.
async fn dead(bench: &Bench, lane: LaneId) -> Stored {
    let stored = bench.store(&[lane]).await;
    assert!(bench.attempt(delivery(lane, &stored), 1, Next::Dead(Cause::Exhausted)).await);
    stored
}

/// What waits for its first attempt behind the live deliveries of a lane.
async fn replayed(bench: &Bench, lane: LaneId) -> Vec<Delivery> {
    let page = bench.api.feed(behind(lane), Sequence(0), Timestamp(0), ALL).await.unwrap();
    let mut found = Vec::new();
    for item in page.fresh {
        found.push(bench.api.delivery(item.delivery).await.unwrap().unwrap());
    }
    found
}

async fn start(bench: &Bench, spec: ReplaySpec) -> Replay {
    bench.api.start_replay(operator(), spec).await.unwrap()
}

/// Starts it, and waits until all was looked at.
async fn through(bench: &Bench, spec: ReplaySpec) -> Replay {
    let id = start(bench, spec).await.id;
    bench.replay_is(id, |replay| replay.progress.through).await
}

fn dead_letters_of(name: &str) -> ReplaySpec {
    ReplaySpec { subscription: Some(name.into()), dead: true, ..ReplaySpec::default() }
}

#[tokio::test]
async fn dead_letters_of_a_subscription_are_delivered_once_more() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("a").await;
    let other = bench.subscribe("b").await;
    let letters = [dead(&bench, lane).await, dead(&bench, lane).await];
    dead(&bench, other).await;
    let done = bench.store(&[lane]).await;
    assert!(bench.attempt(delivery(lane, &done), 1, Next::Done).await);
    bench.store(&[lane]).await;

    let preview = bench.api.preview_replay(dead_letters_of("a")).await.unwrap();
    let wanted = ReplayProgress { looked_at: 2, made: 2, through: true, ..preview };
    assert_eq!(preview, wanted);
    assert!(bench.api.replays().await.unwrap().is_empty(), "a preview starts nothing");

    let replay = through(&bench, dead_letters_of("a")).await;
    assert_eq!(replay.state, ReplayState::Running);
    assert_eq!((replay.progress.made, replay.progress.waiting), (2, 2));
    let made = replayed(&bench, lane).await;
    assert_eq!(
        made.iter().map(|made| made.event).collect::<Vec<_>>(),
        letters.each_ref().map(|stored| stored.id),
        "the oldest first"
    );
    assert!(made.iter().all(|made| made.replay == Some(replay.id)));
    assert_eq!(made[0].webhook_id(), letters[0].id.to_string());
    for letter in &letters {
        let old = bench.api.delivery(delivery(lane, letter)).await.unwrap().unwrap();
        assert_eq!(old.state, DeliveryState::Cancelled, "the new one stands for it");
    }
    let stats = bench.api.stats().await.unwrap();
    assert_eq!((stats.dead, stats.cancelled, stats.waiting), (1, 2, 3));

    // A consumer gets all it needs of them, and the event has both.
    let work = bench.api.work(vec![made[0].id]).await.unwrap().remove(0).unwrap();
    assert_eq!((work.event.id, work.payload.is_some()), (letters[0].id, true));
    let all = bench.api.deliveries_of(letters[0].id).await.unwrap();
    assert_eq!(
        all.iter().map(|found| found.id).collect::<Vec<_>>(),
        [delivery(lane, &letters[0]), made[0].id]
    );

    assert!(bench.attempt(made[0].id, 1, Next::Done).await);
    assert!(bench.attempt(made[1].id, 1, Next::Dead(Cause::Exhausted)).await);
    let over = bench.replay_is(replay.id, |replay| replay.state.is_over()).await;
    assert_eq!(over.state, ReplayState::Finished);
    let ReplayProgress { waiting, delivered, dead, .. } = over.progress;
    assert_eq!((waiting, delivered, dead), (0, 1, 1));

    // The one that was given up again is a dead letter like any other.
    let again = through(&bench, dead_letters_of("a")).await;
    assert_eq!(again.progress.made, 1);
    assert_eq!(replayed(&bench, lane).await[0].event, letters[1].id);
    bench.assert_verified().await;
}

#[tokio::test]
async fn a_new_subscription_gets_what_it_may_get_of_the_past() {
    let bench = Bench::memory();
    let lane = bench.subscribe("a").await;
    let before = now(&bench);
    let mut sent = Vec::new();
    for kind in ["github/1/push", "github/1/issues", "shop/1/paid"] {
        bench.clock.advance(Duration::from_secs(1));
        let mut event = bench.event(&[lane]);
        event.event.uri = kind.parse().unwrap();
        event.event.received_at = now(&bench);
        sent.push(bench.api.store_event(event).await.unwrap());
    }
    bench.subscribe("new").await;
    let mut foreign = subscription("foreign");
    foreign.subscriber = Some("org_1".into());
    let subscriber = contract::subscription::Subscriber { id: "org_1".into(), name: "One".into() };
    bench.execute(vec![Command::PutSubscriber(subscriber)]).await.unwrap();
    let put = Command::PutSubscription { spec: foreign, secrets: Vec::new() };
    bench.execute(vec![put]).await.unwrap();

    let to = |name: &str| ReplaySpec { to: Some(name.into()), ..ReplaySpec::default() };
    let spec = ReplaySpec { since: Some(before), ..to("new") };
    let preview = bench.api.preview_replay(spec.clone()).await.unwrap();
    let replay = through(&bench, spec).await;
    assert_eq!((replay.progress.made, replay.progress.skipped_unwanted), (2, 1));
    assert_eq!(preview, ReplayProgress { waiting: 0, ..replay.progress });
    let rules = bench.api.shared.state.load_full();
    let new = LaneId(rules.subscription_named("new").unwrap().number.0 << 4);
    let got: Vec<_> = replayed(&bench, new).await.iter().map(|made| made.event).collect();
    assert_eq!(got, [sent[0].id, sent[1].id]);

    let typed = ReplaySpec {
        uri: Some("github/1/issues".parse().unwrap()),
        subscription: Some("a".into()),
        ..to("new")
    };
    // What the other one has still to deliver is no hindrance: it is another subscription.
    let preview = bench.api.preview_replay(typed).await.unwrap();
    assert_eq!((preview.made, preview.skipped_waiting, preview.looked_at), (0, 1, 1));
    let preview = bench.api.preview_replay(to("foreign")).await.unwrap();
    assert_eq!((preview.made, preview.skipped_unwanted), (0, 3), "own events are for none of it");
    let refused = bench.api.start_replay(operator(), to("nobody")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotFound);
}

#[tokio::test]
async fn named_events_go_once_more_to_all_that_had_them() {
    let bench = Bench::memory();
    let lanes = [bench.subscribe("a").await, bench.subscribe("b").await];
    let stored = bench.store(&lanes).await;
    assert!(bench.attempt(delivery(lanes[0], &stored), 1, Next::Done).await);
    let unknown = bench.new_id();
    let erased = bench.store(&lanes[..1]).await;
    bench.api.erase(operator(), ErasureTarget::Event(erased.id)).await.unwrap();
    let spec = ReplaySpec {
        events: vec![stored.id, unknown, erased.id],
        new_ids: true,
        ..ReplaySpec::default()
    };
    let replay = through(&bench, spec).await;
    let ReplayProgress { made, skipped_expired, skipped_waiting, .. } = replay.progress;
    assert_eq!((made, skipped_waiting, skipped_expired), (1, 1, 2));
    let made = replayed(&bench, lanes[0]).await;
    assert_eq!(made.len(), 1);
    assert_eq!(made[0].webhook_id(), made[0].id.to_string());
    assert_eq!(replayed(&bench, lanes[1]).await, []);
    bench.assert_verified().await;
}

#[tokio::test]
async fn a_replay_goes_on_after_a_restart_and_repeats_nothing() {
    let mut bench = Bench::with_config(|config| {
        config.replay_ahead_max = 3;
        config.replay_batch_max = 2;
    });
    let lane = bench.subscribe("a").await;
    let mut letters = BTreeSet::new();
    for _ in 0..10 {
        letters.insert(dead(&bench, lane).await.id);
    }
    let id = start(&bench, dead_letters_of("a")).await.id;
    let mut delivered: Vec<EventId> = Vec::new();
    let mut attempted = BTreeSet::new();
    while delivered.len() < letters.len() {
        let enough = letters.len().min(delivered.len() + 3);
        let made = u64::try_from(enough).unwrap();
        let replay = bench.replay_is(id, |replay| replay.progress.made == made).await;
        assert!(replay.progress.waiting <= 3, "{replay:?}");
        // Whatever it was about to do, it is cut short.
        bench = bench.closed().await;
        let mut config = config(bench.directory.path());
        (config.replay_ahead_max, config.replay_batch_max) = (3, 2);
        bench.api = open_at(&bench.clock, config).unwrap();
        for made in replayed(&bench, lane).await {
            assert!(attempted.insert(made.id));
            assert!(bench.attempt(made.id, 1, Next::Done).await);
            delivered.push(made.event);
        }
    }
    let over = bench.replay_is(id, |replay| replay.state.is_over()).await;
    assert_eq!((over.progress.made, over.progress.delivered), (10, 10));
    assert_eq!(delivered, letters.iter().copied().collect::<Vec<_>>(), "once each, in order");
    bench.assert_verified().await;
}

#[tokio::test]
async fn what_waits_of_a_cancelled_replay_is_taken_back() {
    let bench = Bench::with_config(|config| config.replay_ahead_max = 3);
    let lane = bench.subscribe("a").await;
    for _ in 0..5 {
        dead(&bench, lane).await;
    }
    let id = start(&bench, dead_letters_of("a")).await.id;
    bench.replay_is(id, |replay| replay.progress.waiting == 3).await;
    let made = replayed(&bench, lane).await;
    let later = now(&bench).after(Duration::from_secs(60));
    assert!(bench.attempt(made[0].id, 1, Next::Retry(later)).await);
    let live = bench.store(&[lane]).await;
    let cancelled = bench.api.cancel_replay(operator(), id).await.unwrap();
    assert!(!matches!(cancelled.state, ReplayState::Running | ReplayState::Finished));
    let over = bench.replay_is(id, |replay| replay.state.is_over()).await;
    assert_eq!(over.state, ReplayState::Cancelled);
    assert_eq!((over.progress.made, over.progress.cancelled, over.progress.waiting), (3, 3, 0));
    let state = async |id| bench.api.delivery(id).await.unwrap().unwrap().state;
    assert_eq!(state(made[0].id).await, DeliveryState::Cancelled, "also what was to be retried");
    assert_eq!(state(delivery(lane, &live)).await, DeliveryState::Waiting);
    let again = bench.api.cancel_replay(operator(), id).await.unwrap();
    assert_eq!(again, over, "what is over stays as it is");
    let again = bench.api.resend(operator(), made[0].id).await.unwrap();
    assert_eq!(again.state, DeliveryState::Waiting, "but one can be sent by itself");
    bench.assert_verified().await;
}

#[tokio::test]
async fn a_replay_keeps_its_rate() {
    let bench = Bench::memory();
    let lane = bench.subscribe("a").await;
    for _ in 0..9 {
        dead(&bench, lane).await;
    }
    let spec = ReplaySpec { rate: Some(4), ..dead_letters_of("a") };
    let id = start(&bench, spec).await.id;
    bench.replay_is(id, |replay| replay.progress.made == 1).await;
    for made in [3, 5, 7, 9] {
        bench.clock.advance(Duration::from_millis(500));
        bench.replay_is(id, |replay| replay.progress.made == made).await;
    }
    bench.clock.advance(Duration::from_millis(500));
    bench.replay_is(id, |replay| replay.progress.through).await;
}

#[tokio::test]
async fn what_is_replayed_outlives_the_day_of_its_event() {
    let store = std::sync::Arc::new(crate::store::Memory::default());
    let bench = Bench::forgetful(store, 7);
    let lane = bench.subscribe("a").await;
    let stored = dead(&bench, lane).await;
    bench.clock.advance(DAY);
    let replay = through(&bench, dead_letters_of("a")).await;
    let made = replayed(&bench, lane).await.remove(0);
    for _ in 0..3 {
        bench.clock.advance(DAY);
        bench.store(&[lane]).await;
        bench.api.run_retention(false).await.unwrap();
        bench.assert_verified().await;
    }
    let old = bench.api.delivery(delivery(lane, &stored)).await.unwrap();
    assert_eq!(old, None, "it went with its day");
    let work = bench.api.work(vec![made.id]).await.unwrap().remove(0).unwrap();
    assert_eq!((work.event.id, work.payload.is_some()), (stored.id, true));
    assert_eq!(bench.api.deliveries_of(stored.id).await.unwrap().len(), 1);
    assert!(bench.attempt(made.id, 1, Next::Done).await);
    let over = bench.replay_is(replay.id, |replay| replay.state.is_over()).await;
    assert_eq!((over.progress.made, over.progress.delivered), (1, 1));
    for _ in 0..4 {
        bench.clock.advance(DAY);
        bench.store(&[lane]).await;
        bench.api.run_retention(false).await.unwrap();
        bench.assert_verified().await;
    }
    assert_eq!(bench.api.delivery(made.id).await.unwrap(), None);
}

#[tokio::test]
async fn a_removed_subscription_ends_what_is_replayed_to_it() {
    let bench = Bench::memory();
    let lane = bench.subscribe("a").await;
    dead(&bench, lane).await;
    let replay = through(&bench, dead_letters_of("a")).await;
    let target = contract::command::Target::Subscription("a".into());
    bench.execute(vec![Command::Remove(target), put_subscription("b")]).await.unwrap();
    bench.cleared().await;
    let over = bench.replay_is(replay.id, |replay| replay.state.is_over()).await;
    assert_eq!((over.state, over.progress.cancelled), (ReplayState::Finished, 1));
    bench.assert_verified().await;
}

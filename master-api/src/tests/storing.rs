//! Storing events: repeats, rules, refusals beside each other.

use super::harness::{Bench, DAY, event, subscription};
use crate::keeper::DayTables;
use contract::{
    ErrorCode,
    command::Command,
    event::{Audience, Direction, EventState, Headers, NewEvent, Origin, Trace},
    id::Sequence,
    master_api::{Configuration, Deliveries, EventFilter, Events, PageRequest, StoreEvent},
    subscription::Priority,
};
use std::{sync::Arc, time::Duration};

#[tokio::test]
async fn an_event_is_there_byte_for_byte() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    let command = bench.event(&[lane]);
    let stored = bench.api.store_event(command.clone()).await.unwrap();
    assert!(!stored.duplicate);
    assert_eq!(stored.lanes, [lane]);
    let event = bench.api.event(command.id).await.unwrap().unwrap();
    assert_eq!(event.headers, command.event.headers);
    assert_eq!((event.state, event.sequence), (EventState::Accepted, stored.sequence));
    assert_eq!(event.stamp, command.stamp);
    let payload = bench.api.payload(command.id).await.unwrap().unwrap();
    assert_eq!(payload, command.event.payload);
    let deliveries = bench.api.deliveries_of(command.id).await.unwrap();
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].id.lane, lane);
    assert!(bench.api.event(bench.new_id()).await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_kept_aside_goes_to_nobody() {
    let bench = Bench::memory();
    let lane = bench.subscribe("ci").await;
    let mut command = bench.event(&[lane]);
    command.quarantine = Some("breaks its schema".into());
    let stored = bench.api.store_event(command.clone()).await.unwrap();
    assert!(stored.quarantined);
    assert!(stored.lanes.is_empty());
    let event = bench.api.event(command.id).await.unwrap().unwrap();
    assert_eq!(event.reason.as_deref(), Some("breaks its schema"));
    let stats = bench.api.stats().await.unwrap();
    assert_eq!((stats.accepted, stats.quarantined, stats.waiting), (0, 1, 0));
    bench.assert_verified().await;
}

#[tokio::test]
async fn repeats_get_the_first_answer() {
    let bench = Bench::memory();
    let lane = bench.subscribe("ci").await;
    let mut first = bench.event(&[lane]);
    first.event.idempotency_key = Some("k".into());
    let answer = bench.api.store_event(first.clone()).await.unwrap();
    assert_eq!(bench.api.store_event(first.clone()).await.unwrap(), answer);

    let again = |id| StoreEvent { id, ..first.clone() };
    let repeat = bench.api.store_event(again(bench.new_id())).await.unwrap();
    assert!(repeat.duplicate);
    assert_eq!((repeat.id, &repeat.lanes), (answer.id, &answer.lanes));

    let mut other = again(bench.new_id());
    other.event.payload = "other".into();
    let conflict = bench.api.store_event(other.clone()).await.unwrap_err();
    assert_eq!(conflict.code, ErrorCode::IdempotencyConflict);
    other.event.origin = Origin::Source("stripe".into());
    assert!(!bench.api.store_event(other).await.unwrap().duplicate);

    bench.clock.advance(DAY - Duration::from_secs(1));
    assert!(bench.api.store_event(again(bench.new_id())).await.unwrap().duplicate);
    bench.clock.advance(Duration::from_secs(1));
    assert!(!bench.api.store_event(again(bench.new_id())).await.unwrap().duplicate);
    assert!(bench.api.store_event(again(bench.new_id())).await.unwrap().duplicate);
    assert_eq!(bench.api.stats().await.unwrap().accepted, 3);
    bench.assert_verified().await;
}

/// The same key with anything else is another event, and must not pass for a repeat.
#[tokio::test]
async fn only_the_same_event_is_a_repeat() {
    type Change = fn(&mut NewEvent);
    let to = |id: &str| Audience::Subscriber(id.into());
    let table: [(&str, bool, Change); 8] = [
        ("nothing", true, |_| {}),
        ("trace", true, |event| event.trace = Trace::default()),
        ("headers", true, |event| event.headers = Headers::default()),
        ("payload", false, |event| event.payload = "other".into()),
        ("type", false, |event| event.uri = "github/1/issues".parse().unwrap()),
        ("major version", false, |event| event.uri = "github/2/push".parse().unwrap()),
        ("audience", false, |event| event.audience = Audience::All),
        ("direction", false, |event| event.direction = Direction::Incoming),
    ];
    let bench = Bench::memory();
    let mut first = bench.event(&[]);
    first.event.idempotency_key = Some("k".into());
    (first.event.direction, first.event.audience) = (Direction::Outgoing, to("acme"));
    bench.api.store_event(first.clone()).await.unwrap();
    let again = async |change: &dyn Fn(&mut NewEvent)| {
        let mut command = StoreEvent { id: bench.new_id(), ..first.clone() };
        change(&mut command.event);
        bench.api.store_event(command).await.map_err(|error| error.code)
    };
    for (what, same, change) in table {
        match (again(&change).await, same) {
            (Ok(stored), true) => assert!(stored.duplicate, "{what}"),
            (Err(code), false) => assert_eq!(code, ErrorCode::IdempotencyConflict, "{what}"),
            (other, _) => panic!("{what}: {other:?}"),
        }
    }
    let other = again(&|event: &mut NewEvent| event.audience = to("other")).await;
    assert_eq!(other, Err(ErrorCode::IdempotencyConflict));
}

#[tokio::test]
async fn rules_that_are_no_longer_in_force_are_refused() {
    let bench = Bench::memory();
    let lane = bench.subscribe("ci").await;
    let before = bench.rules();
    let store = |rules| bench.api.store_event(event(bench.new_id(), &[lane], rules));
    bench.subscribe("other").await;
    assert_eq!(store(before).await.unwrap_err().code, ErrorCode::StaleRules);
    let matching = bench.rules();
    // A new URL changes nothing about who gets an event, a new priority does.
    let mut spec = subscription("ci");
    spec.url = "https://example.com/".into();
    let put = |spec| Command::PutSubscription { spec, secrets: Vec::new() };
    bench.execute(vec![put(spec.clone())]).await.unwrap();
    assert!(bench.rules() > matching);
    assert!(store(matching).await.is_ok());
    spec.priority = Priority::try_from(9).ok();
    bench.execute(vec![put(spec)]).await.unwrap();
    assert_eq!(store(matching).await.unwrap_err().code, ErrorCode::StaleRules);
    assert!(store(bench.rules()).await.is_ok());
    let ahead = Sequence(bench.rules().0 + 100);
    assert_eq!(store(ahead).await.unwrap_err().code, ErrorCode::StaleRules);
}

/// Many at once, on the real store: each gets its own answer, whatever its neighbours get.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_refused_command_does_not_harm_its_neighbours() {
    let bench = Arc::new(Bench::embedded());
    let lane = bench.subscribe("ci").await;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..300_u32 {
        let (bench, rules) = (bench.clone(), bench.rules());
        tasks.spawn(async move {
            let mut command = event(bench.new_id(), &[lane], rules);
            match n % 3 {
                0 => command.rules = Sequence(0),
                1 => command.event.idempotency_key = Some(format!("{}", n % 10)),
                _ => {}
            }
            let id = command.id;
            (n, id, bench.api.store_event(command).await)
        });
    }
    let (mut taken, mut stale, mut conflicts) = (0, 0, 0);
    while let Some(done) = tasks.join_next().await {
        match done.unwrap() {
            (_, id, Ok(stored)) => {
                taken += 1;
                assert_eq!(stored.id, id);
                assert!(bench.api.event(id).await.unwrap().is_some());
            }
            (n, id, Err(error)) => {
                stale += u32::from(error.code == ErrorCode::StaleRules && n % 3 == 0);
                conflicts += u32::from(error.code == ErrorCode::IdempotencyConflict && n % 3 == 1);
                assert!(bench.api.event(id).await.unwrap().is_none());
            }
        }
    }
    // Of the hundred with one of ten keys, the first of each key is taken.
    assert_eq!((taken, stale, conflicts), (110, 100, 90));
    assert_eq!(bench.api.stats().await.unwrap().accepted, 110);
    bench.assert_verified().await;
}

#[tokio::test]
async fn events_are_listed_newest_first_page_by_page() {
    let bench = Bench::memory();
    let mut ids = Vec::new();
    for n in 0..7 {
        bench.clock.advance(Duration::from_secs(1));
        let mut command = bench.event(&[]);
        command.event.received_at = super::harness::now(&bench);
        command.event.idempotency_key = Some(n.to_string());
        ids.insert(0, bench.api.store_event(command).await.unwrap().id);
    }
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = PageRequest { first: 3, after };
        let page = bench.api.events(EventFilter::default(), page).await.unwrap();
        listed.extend(page.items.into_iter().map(|event| event.id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(listed, ids);
    let since = super::harness::now(&bench).before(Duration::from_secs(2));
    let filters = [
        (EventFilter { idempotency_key: Some("2".into()), ..EventFilter::default() }, 1),
        (EventFilter { source: Some("github".into()), ..EventFilter::default() }, 7),
        (EventFilter { source: Some("stripe".into()), ..EventFilter::default() }, 0),
        (EventFilter { since: Some(since), ..EventFilter::default() }, 3),
        (EventFilter { until: Some(since), ..EventFilter::default() }, 4),
    ];
    for (filter, count) in filters {
        let page = bench.api.events(filter.clone(), PageRequest::default()).await.unwrap();
        assert_eq!(page.items.len(), count, "{filter:?}");
    }
    let bad = PageRequest { first: 1, after: Some("x".into()) };
    let error = bench.api.events(EventFilter::default(), bad).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidRequest);
}

#[tokio::test]
async fn a_day_that_ends_is_sealed() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    let mut stored = Vec::new();
    for _ in 0..4 {
        let mut command = bench.event(&[lane]);
        command.event.idempotency_key = Some(command.id.to_string());
        stored.push(bench.api.store_event(command).await.unwrap());
        bench.clock.advance(DAY);
    }
    assert_eq!(bench.api.shared.state.load().buckets.len(), 3);
    DayTables::default().keep(&bench.api.shared).unwrap();
    let keys = |table: &crate::store::Table| matches!(table, crate::store::Table::Idempotency(_));
    let tables = bench.api.shared.store.tables();
    let days = tables.iter().filter(|table| keys(table)).filter_map(|table| table.day());
    let today = crate::fact::Bucket::of(super::harness::now(&bench));
    assert_eq!(days.collect::<Vec<_>>(), [today.before(), today, today.after()]);
    let bench = bench.reopen().await;
    for stored in &stored {
        let delivery = contract::id::DeliveryId { lane, sequence: stored.sequence };
        let work = bench.api.work(vec![delivery]).await.unwrap().remove(0).unwrap();
        assert_eq!(work.event.id, stored.id);
        assert!(work.payload.is_some());
    }
    bench.assert_verified().await;
    assert_eq!(bench.api.rules().borrow().subscriptions.len(), 1);
}

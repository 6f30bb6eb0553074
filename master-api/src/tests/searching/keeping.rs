//! What searches find while the log is upgraded, repaired, and let go of.

use super::{filters, fits, found, listed, stored};
use crate::{
    MasterApi,
    fact::{Bucket, FORMAT},
    log,
    store::{Batch, Embedded, Memory, Rows, Scan, StateStore, Table},
    tests::harness::{Bench, DAY, START, around, as_of_format, config, now, operator},
    writer::{Command, Upkeep},
};
use contract::{
    delivery::{DeliveryState, Next},
    event::Event,
    id::DeliveryId,
    master_api::{Configuration, DeliveryFilter, EventFilter, Events, PageRequest},
    retention::Retention,
};
use std::{sync::Arc, time::Duration};

#[tokio::test]
async fn a_log_without_the_index_gets_it_when_it_is_opened() {
    let bench = Bench::embedded();
    let mut events = stored(&bench, 1500, &[]).await;
    bench.clock.advance(DAY);
    events.splice(..0, stored(&bench, 20, &[]).await);
    let bench = bench.closed().await;
    {
        let path = log::store_in(bench.directory.path());
        let head = as_of_format(&Embedded::open(&path, 1 << 20).unwrap(), 3);
        let mark = log::head_file::HeadMark::from(&head);
        log::head_file::write(bench.directory.path(), &mark).unwrap();
        // It is whole without the index, too.
        let report = log::verify(bench.directory.path()).unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
    }
    let bench = bench.reopen().await;
    assert_eq!(bench.api.shared.state.load().format, FORMAT);
    let ids: Vec<_> = events.iter().map(|event| event.id).collect();
    assert_eq!(found(&bench, &EventFilter::default(), 500).await, ids);
    bench.assert_verified().await;
    // While it has none, the facts themselves are gone through.
    let block = bench.api.shared.block.swap(None);
    for filter in filters() {
        let wanted: Vec<_> =
            events.iter().filter(|event| fits(event, &filter)).map(|event| event.id).collect();
        assert_eq!(found(&bench, &filter, 500).await, wanted, "{filter:?}");
    }
    bench.api.shared.block.store(block);
}

#[tokio::test]
async fn what_is_wrong_with_the_index_is_found_and_made_anew() {
    let bench = Bench::embedded();
    let ids: Vec<_> = stored(&bench, 1200, &[]).await.iter().map(|event| event.id).collect();
    let bench = bench.closed().await;
    {
        let path = log::store_in(bench.directory.path());
        let store = Embedded::open(&path, 1 << 20).unwrap();
        let table = Table::Search(Bucket::of(START));
        let rows = store.scan(&Scan::all(table, 9)).unwrap();
        assert_eq!(rows.len(), 2, "one block, in two rows");
        let mut batch = Batch::default();
        batch.remove(table, rows[0].0.to_vec());
        store.commit(batch).unwrap();
    }
    let report = log::verify(bench.directory.path()).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].starts_with("Search"), "{:?}", report.problems);
    log::rebuild(bench.directory.path(), &|_, _, _| ()).unwrap();
    let report = log::verify(bench.directory.path()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    let bench = bench.reopen().await;
    assert_eq!(found(&bench, &EventFilter::default(), 500).await, ids);
}

/// The ids of the deliveries that fit, by pages of any size the same.
async fn both_ways(bench: &Bench, filter: DeliveryFilter) -> Vec<DeliveryId> {
    let all = listed(bench, &filter, 500).await;
    assert_eq!(listed(bench, &filter, 1).await, all, "{filter:?}");
    all
}

#[tokio::test]
async fn what_is_carried_is_found_where_it_lies_and_what_is_dropped_is_not() {
    let bench = Bench::forgetful(Arc::new(Memory::default()), 7);
    let lanes = [bench.subscribe("ci").await, bench.subscribe("other").await];
    let all_old = stored(&bench, 8, &lanes).await;
    let old: Vec<_> = all_old.iter().filter(|event| !event.lanes.is_empty()).collect();
    let at = |event: &Event, n: usize| DeliveryId { lane: lanes[n], sequence: event.sequence };
    // All but two of them are finished; of those one waits in one lane alone.
    for event in &old[2..] {
        for n in [0, 1] {
            assert!(bench.attempt(at(event, n), 1, Next::Done).await);
        }
    }
    assert!(bench.attempt(at(old[1], 0), 1, Next::Done).await);
    bench.clock.advance(DAY * 3);
    let midway = now(&bench);
    let new = stored(&bench, 2, &lanes).await;
    let retained = bench.api.run_retention(false).await.unwrap();
    assert_eq!(retained.days_dropped, 1);
    let tables = bench.api.shared.store.tables();
    assert!(!tables.contains(&Table::Search(Bucket::of(START))));

    // What was carried last is the newest of the log.
    let any = EventFilter::default();
    let mut found_all = found(&bench, &any, 1).await;
    found_all.sort();
    let mut wanted: Vec<_> =
        new.iter().chain(old[..2].iter().copied()).map(|event| event.id).collect();
    wanted.sort();
    assert_eq!(found_all, wanted);
    for event in all_old.iter().chain(&new) {
        let key = event.idempotency_key.clone();
        let filter = EventFilter {
            uri: Some(event.uri.to_string().parse().unwrap()),
            idempotency_key: key,
            since: Some(event.received_at),
            until: Some(event.received_at.after(Duration::from_secs(1))),
            ..EventFilter::default()
        };
        let there = if wanted.contains(&event.id) { vec![event.id] } else { Vec::new() };
        assert_eq!(found(&bench, &filter, 3).await, there, "{filter:?}");
    }

    let any = DeliveryFilter::default;
    let sorted = |mut ids: Vec<DeliveryId>| {
        ids.sort_by_key(|id| (id.sequence, id.lane));
        ids
    };
    let carried = sorted(vec![at(old[0], 0), at(old[0], 1), at(old[1], 1)]);
    let early = DeliveryFilter { until: Some(midway), ..any() };
    assert_eq!(sorted(both_ways(&bench, early.clone()).await), carried);
    let late = sorted(both_ways(&bench, DeliveryFilter { since: Some(midway), ..any() }).await);
    assert!(late.iter().all(|id| !carried.contains(id)) && !late.is_empty());
    assert_eq!(sorted(both_ways(&bench, any()).await), [carried.clone(), late].concat());
    let uri = || Some(old[1].uri.to_string().parse().unwrap());
    let of_type = [at(old[1], 1)];
    assert_eq!(both_ways(&bench, DeliveryFilter { uri: uri(), ..early.clone() }).await, of_type);
    for state in [Some(DeliveryState::Waiting), None] {
        let subscription = bench.api.rules().borrow().subscription_named("other").unwrap().id;
        let filter =
            DeliveryFilter { uri: uri(), state, subscription: Some(subscription), ..early.clone() };
        assert_eq!(both_ways(&bench, filter).await, of_type);
    }
    let waiting = DeliveryFilter { uri: uri(), state: Some(DeliveryState::Waiting), ..early };
    assert_eq!(both_ways(&bench, waiting).await, of_type);
    bench.assert_verified().await;
}

#[tokio::test]
async fn the_block_of_a_day_ends_with_it_though_nothing_comes() {
    let store = Arc::new(Memory::default());
    let bench = Bench::forgetful(store.clone(), 7);
    let ids: Vec<_> = stored(&bench, 3, &[]).await.iter().map(|event| event.id).collect();
    bench.clock.advance(DAY * 2);
    let day = Bucket::of(START);
    assert_eq!(store.scan(&Scan::all(Table::Search(day), 9)).unwrap().len(), 0);
    let upkeep = |step| bench.api.writer.ask(|reply| Command::Upkeep(operator(), step, reply));
    upkeep(Upkeep::Retire(day)).await.unwrap();
    assert_eq!(store.scan(&Scan::all(Table::Search(day), 9)).unwrap().len(), 2);
    assert_eq!(found(&bench, &EventFilter::default(), 50).await, ids);
    bench.assert_verified().await;
    let again = MasterApi::on(
        Arc::new(store.copy()),
        config(bench.directory.path()),
        around(&bench.clock, 9),
    );
    let again = again.unwrap();
    let page = again.events(EventFilter::default(), PageRequest::default()).await.unwrap();
    let listed: Vec<_> = page.items.iter().map(|event| event.id).collect();
    // Retention goes on with the day where it was left, and may be through with it by now.
    assert!(listed == ids || again.shared.state.load().dropped.day(day), "{listed:?}");
    assert_eq!(again.verify().await.unwrap().problems, Vec::<String>::new());
}

#[tokio::test]
async fn a_repaired_log_of_an_older_program_has_the_index() {
    let bench = Bench::embedded();
    let ids: Vec<_> = stored(&bench, 3, &[]).await.iter().map(|event| event.id).collect();
    let bench = bench.closed().await;
    let directory = bench.directory.path();
    {
        let store = Embedded::open(&log::store_in(directory), 1 << 20).unwrap();
        let head = as_of_format(&store, 3);
        let table = Table::Payloads(Bucket::of(START));
        let lost = store.scan(&Scan::all(table, 1)).unwrap().remove(0);
        let mut batch = Batch::default();
        batch.remove(table, lost.0.to_vec());
        store.commit(batch).unwrap();
        let mark = log::head_file::HeadMark::from(&head);
        log::head_file::write(directory, &mark).unwrap();
    }
    let loss = log::repair(directory, Some(now(&bench)), &|_, _, _| ()).unwrap().unwrap();
    assert_eq!((loss.payloads.len(), loss.accepted), (1, true));
    assert_eq!(log::verify(directory).unwrap().problems, Vec::<String>::new());
    let bench = bench.reopen().await;
    assert_eq!(bench.api.shared.state.load().format, FORMAT);
    assert_eq!(found(&bench, &EventFilter::default(), 50).await, ids);
    bench.assert_verified().await;
}

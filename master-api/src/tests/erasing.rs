//! What somebody has erased is nowhere any more, and everything says so.

use super::harness::{Bench, DAY, operator};
use crate::store::{Memory, Table};
use contract::{
    ErrorCode,
    delivery::{Cause, DeliveryState, Next},
    event::Audience,
    id::{DeliveryId, EventId},
    master_api::{Deliveries, EventFilter, Events, PageRequest, ReleaseEvent, StoreEvent, Stored},
    retention::{ErasureTarget, PayloadState, Retention},
};
use std::{fs, path::Path, sync::Arc, time::Duration};

const SECRET: &str = "the-unique-name-of-a-person-4711";

fn telling(mut command: StoreEvent) -> StoreEvent {
    command.event.payload = format!(r#"{{"name":"{SECRET}"}}"#).into();
    command.event.idempotency_key = Some(command.id.to_string());
    command
}

/// Files of a directory in which the secret stands.
fn telling_files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(telling_files(&entry.path()));
        } else {
            let bytes = fs::read(entry.path()).unwrap();
            if bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()) {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

async fn assert_erased(bench: &Bench, id: EventId) {
    assert_eq!(bench.api.payload(id).await.unwrap(), None);
    assert_eq!(bench.api.payload_state(id).await.unwrap(), Some(PayloadState::Erased));
    assert!(bench.api.event(id).await.unwrap().is_some(), "the event itself stays");
    let page = PageRequest { first: 500, after: None };
    let page = bench.api.events(EventFilter::default(), page).await.unwrap();
    assert_eq!(page.items.iter().filter(|event| event.id == id).count(), 1);
}

fn erase_event(stored: &Stored) -> ErasureTarget {
    ErasureTarget::Event(stored.id)
}

#[tokio::test]
async fn an_erased_payload_is_in_no_file_of_the_store() {
    let bench = Bench::embedded();
    let lane = bench.subscribe("ci").await;
    let other = bench.store(&[lane]).await;
    let stored = bench.api.store_event(telling(bench.event(&[lane]))).await.unwrap();
    assert!(!telling_files(bench.directory.path()).is_empty(), "the journal has it");
    let erased = bench.api.erase(operator(), erase_event(&stored)).await.unwrap();
    assert_eq!((erased.events, erased.deliveries, erased.done), (1, 1, true));
    assert_erased(&bench, stored.id).await;
    assert!(bench.api.shared.recent.get(stored.sequence).is_none());
    let id = DeliveryId { lane, sequence: stored.sequence };
    assert_eq!(bench.api.work(vec![id]).await.unwrap(), [None]);
    let dead = bench.api.delivery(id).await.unwrap().unwrap();
    assert_eq!((dead.state, dead.cause), (DeliveryState::Dead, Some(Cause::Erased)));
    let refused = bench.api.resend(operator(), id).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
    bench.assert_verified().await;
    bench.api.run_retention(true).await.unwrap();
    assert_eq!(telling_files(bench.directory.path()), Vec::<String>::new());
    bench.assert_verified().await;
    assert!(bench.api.payload(other.id).await.unwrap().is_some());
    let bench = bench.reopen().await;
    assert_erased(&bench, stored.id).await;
    assert!(bench.api.payload(other.id).await.unwrap().is_some());
    assert_eq!(telling_files(bench.directory.path()), Vec::<String>::new());
    // A second time there is nothing to do; what never was is not found.
    let again = bench.api.erase(operator(), erase_event(&stored)).await.unwrap();
    assert_eq!((again.events, again.done), (0, true));
    let none = ErasureTarget::Event(bench.new_id());
    assert_eq!(bench.api.erase(operator(), none).await.unwrap_err().code, ErrorCode::NotFound);
    let bench = bench.closed().await;
    let report = crate::log::verify(bench.directory.path()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

#[tokio::test]
async fn the_hash_by_which_repeats_are_known_goes_too() {
    let bench = Bench::memory();
    let stored = bench.api.store_event(telling(bench.event(&[]))).await.unwrap();
    let keys = |bench: &Bench| {
        let tables = bench.api.shared.store.tables().into_iter();
        let days = tables.filter(|table| matches!(table, Table::Idempotency(_)));
        days.map(|day| bench.api.shared.store.bytes(day).unwrap()).sum::<u64>()
    };
    assert!(keys(&bench) > 0);
    bench.api.erase(operator(), erase_event(&stored)).await.unwrap();
    assert_eq!(keys(&bench), 0);
    bench.assert_verified().await;
}

#[tokio::test]
async fn what_lies_aside_is_erased_and_not_released() {
    let bench = Bench::memory();
    let lane = bench.subscribe("ci").await;
    let aside = |n: u8| {
        let mut command = telling(bench.event(&[]));
        command.quarantine = Some(format!("odd {n}"));
        command
    };
    let release = |id| ReleaseEvent {
        id,
        schema_minor: None,
        lanes: vec![lane],
        keys: Default::default(),
        rules: bench.rules(),
    };
    let (kept, released) = (aside(1), aside(2));
    let [kept, released] = [
        bench.api.store_event(kept).await.unwrap(),
        bench.api.store_event(released).await.unwrap(),
    ];
    // One was released before, on another day: its payload lies in two places.
    bench.clock.advance(DAY);
    bench.api.release_event(operator(), release(released.id)).await.unwrap();
    for stored in [&kept, &released] {
        bench.api.erase(operator(), erase_event(stored)).await.unwrap();
        assert_erased(&bench, stored.id).await;
    }
    let refused = bench.api.release_event(operator(), release(kept.id)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotFound);
    let tables = bench.api.shared.store.tables().into_iter();
    for table in tables.filter(|table| matches!(table, Table::Payloads(_))) {
        assert_eq!(bench.api.shared.store.bytes(table).unwrap(), 0);
    }
    bench.assert_verified().await;
}

#[tokio::test]
async fn a_subscribers_payloads_go_and_nobody_elses() {
    let bench = Bench::forgetful(Arc::new(Memory::default()), 7);
    let lane = bench.subscribe("ci").await;
    let to = |audience: &str| {
        let mut command = bench.event(&[lane]);
        command.event.audience = Audience::Subscriber(audience.into());
        command
    };
    let old = bench.api.store_event(to("org_1")).await.unwrap();
    let other = bench.api.store_event(to("org_2")).await.unwrap();
    // The first one is carried, and has been delivered when the second one comes.
    bench.clock.advance(DAY * 3);
    bench.api.run_retention(false).await.unwrap();
    let mut mine = vec![old];
    for n in 0..150 {
        bench.clock.advance(Duration::from_secs(1));
        mine.push(bench.api.store_event(to("org_1")).await.unwrap());
        if n % 2 == 0 {
            let id = DeliveryId { lane, sequence: mine[n].sequence };
            bench.attempt(id, 1, Next::Done).await;
        }
    }
    let target = ErasureTarget::Subscriber("org_1".into());
    let erased = bench.api.erase(operator(), target.clone()).await.unwrap();
    assert_eq!((erased.events, erased.deliveries, erased.done), (151, 76, true));
    for stored in &mine {
        assert_erased(&bench, stored.id).await;
    }
    assert!(bench.api.payload(other.id).await.unwrap().is_some());
    assert_eq!(bench.api.stats().await.unwrap().waiting, 1);
    bench.assert_verified().await;
    let listed = crate::log::erasures(bench.api.shared.rows()).unwrap();
    let [listed] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((&listed.actor, &listed.target), (&operator(), &target));
    assert_eq!(listed.time, super::harness::now(&bench));
    let later = bench.api.store_event(to("org_1")).await.unwrap();
    assert!(bench.api.payload(later.id).await.unwrap().is_some(), "what comes later is not meant");
    assert_eq!(bench.api.erase(operator(), target).await.unwrap().events, 1);
    // With their days, they go like all others.
    bench.clock.advance(DAY * 9);
    bench.api.run_retention(false).await.unwrap();
    bench.assert_verified().await;
}

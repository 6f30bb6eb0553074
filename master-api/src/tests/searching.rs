//! Searching events and deliveries: what is found, in which order, and how many rows it takes.

mod keeping;

use super::harness::{Bench, DAY, START, now, principal, put_subscription, subscription};
use crate::{
    graphql,
    store::{Batch, Memory, Row, Rows, Scan, StateStore, StoreError, Table},
};
use async_graphql::Request;
use bytes::Bytes;
use contract::{
    command::{Command, Target},
    delivery::{Cause, Delivery, DeliveryState, Next},
    event::{Audience, Direction, Event, EventState, Origin},
    id::{DeliveryId, EventId, KeyId, LaneId},
    master_api::{
        Configuration, Deliveries, DeliveryFilter, EventFilter, Events, PageRequest, ReleaseEvent,
    },
    subscription::{Priority, Subscriber},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// A store in memory that counts the questions it is asked.
#[derive(Default)]
struct Counting {
    inner: Memory,
    reads: Arc<AtomicUsize>,
}

impl Counting {
    fn rows(&self) -> &dyn Rows {
        self.reads.fetch_add(1, Ordering::Relaxed);
        &self.inner
    }
}

impl Rows for Counting {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.rows().get(table, key)
    }
    fn get_many(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Row>, StoreError> {
        self.rows().get_many(table, keys)
    }
    fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        self.rows().scan(scan)
    }
}

impl StateStore for Counting {
    fn commit(&self, batch: Batch) -> Result<(), StoreError> {
        self.inner.commit(batch)
    }
    fn snapshot(&self) -> Box<dyn Rows> {
        self.inner.snapshot()
    }
    fn tables(&self) -> Vec<Table> {
        self.inner.tables()
    }
    fn create(&self, tables: &[Table]) -> Result<(), StoreError> {
        self.inner.create(tables)
    }
    fn drop_table(&self, table: Table) -> Result<(), StoreError> {
        self.inner.drop_table(table)
    }
    fn bytes(&self, table: Table) -> Result<u64, StoreError> {
        self.inner.bytes(table)
    }
    fn compact(&self, tables: &[Table]) -> Result<(), StoreError> {
        self.inner.compact(tables)
    }
}

/// `count` events of several kinds, a second apart, one in three kept aside; newest first.
async fn stored(bench: &Bench, count: usize, lanes: &[LaneId]) -> Vec<Event> {
    let types = ["github/1/push", "github/1/issues", "stripe/2/charge", "shop/1/paid"];
    let audiences =
        [Audience::Own, Audience::Subscriber("org_1".into()), Audience::All, Audience::Own];
    let mut ids = Vec::new();
    for n in 0..count {
        bench.clock.advance(Duration::from_secs(1));
        let mut command = bench.event(lanes);
        command.event.uri = types[n % 4].parse().unwrap();
        command.event.audience = audiences[n / 4 % 4].clone();
        command.event.direction =
            if n % 5 == 0 { Direction::Outgoing } else { Direction::Incoming };
        command.event.origin = match n % 7 {
            0 => Origin::Producer(KeyId::from_bytes([9; 16])),
            1 => Origin::Server,
            source => Origin::Source(format!("source-{source}")),
        };
        command.event.received_at = now(bench);
        command.event.idempotency_key = (n % 2 == 0).then(|| format!("key-{n}"));
        command.quarantine = (n % 3 == 0).then(|| "test".to_owned());
        ids.push(bench.api.store_event(command).await.unwrap().id);
    }
    let mut events = Vec::new();
    for id in ids.into_iter().rev() {
        events.push(bench.api.event(id).await.unwrap().unwrap());
    }
    events
}

async fn found(bench: &Bench, filter: &EventFilter, first: u32) -> Vec<EventId> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = bench.api.events(filter.clone(), PageRequest { first, after }).await.unwrap();
        ids.extend(page.items.iter().map(|event| event.id));
        after = page.next;
        if after.is_none() {
            return ids;
        }
    }
}

fn filters() -> Vec<EventFilter> {
    let any = EventFilter::default;
    let pattern = |text: &str| Some(text.parse().unwrap());
    let at = |seconds| Some(START.after(Duration::from_secs(seconds)));
    vec![
        any(),
        EventFilter { uri: pattern("github/1/push"), ..any() },
        EventFilter { uri: pattern("github/*/*"), ..any() },
        EventFilter { uri: pattern("nothing/1/here"), ..any() },
        EventFilter { prefix: Some("s".into()), ..any() },
        EventFilter { source: Some("source-3".into()), ..any() },
        EventFilter { producer: Some(KeyId::from_bytes([9; 16])), ..any() },
        EventFilter { subscriber: Some("org_1".into()), ..any() },
        EventFilter { subscriber: Some("*".into()), ..any() },
        EventFilter { direction: Some(Direction::Outgoing), ..any() },
        EventFilter { state: Some(EventState::Quarantined), ..any() },
        EventFilter { state: Some(EventState::Accepted), ..any() },
        EventFilter { idempotency_key: Some("key-4".into()), ..any() },
        EventFilter { idempotency_key: Some("key-2050".into()), ..any() },
        EventFilter { idempotency_key: Some("key-5".into()), ..any() },
        EventFilter { since: at(900), until: at(1100), ..any() },
        EventFilter { since: at(2000), source: Some("source-2".into()), ..any() },
        EventFilter {
            uri: pattern("github/1/push"),
            direction: Some(Direction::Incoming),
            state: Some(EventState::Accepted),
            until: at(1500),
            ..any()
        },
    ]
}

fn fits(event: &Event, filter: &EventFilter) -> bool {
    let from = |name: &String| event.origin == Origin::Source(name.clone());
    let to = |id: &String| match &event.audience {
        Audience::Own => false,
        Audience::Subscriber(found) => found == id,
        Audience::All => id == "*",
    };
    filter.uri.as_ref().is_none_or(|uri| uri.matches(&event.uri))
        && filter.prefix.as_ref().is_none_or(|start| event.uri.as_str().starts_with(start))
        && filter.source.as_ref().is_none_or(from)
        && filter.producer.is_none_or(|key| event.origin == Origin::Producer(key))
        && filter.subscriber.as_ref().is_none_or(to)
        && filter.direction.is_none_or(|direction| direction == event.direction)
        && filter.state.is_none_or(|state| state == event.state)
        && filter.since.is_none_or(|since| event.received_at >= since)
        && filter.until.is_none_or(|until| event.received_at < until)
        && (filter.idempotency_key.is_none() || filter.idempotency_key == event.idempotency_key)
}

#[tokio::test]
async fn every_filter_finds_what_fits_and_nothing_else() {
    let bench = Bench::embedded();
    let events = stored(&bench, 2500, &[]).await;
    let check = async |bench: &Bench| {
        for filter in filters() {
            let wanted: Vec<_> =
                events.iter().filter(|event| fits(event, &filter)).map(|event| event.id).collect();
            for first in [7, 500] {
                assert_eq!(found(bench, &filter, first).await, wanted, "{filter:?}");
            }
        }
    };
    check(&bench).await;
    bench.assert_verified().await;
    // The block that was open is read again, and what comes later goes on with it.
    let bench = bench.reopen().await;
    check(&bench).await;
    bench.store(&[]).await;
    bench.assert_verified().await;
}

#[tokio::test]
async fn blocks_end_with_their_day() {
    let bench = Bench::embedded();
    let mut ids = Vec::new();
    for _ in 0..3 {
        for _ in 0..2 {
            ids.insert(0, bench.store(&[]).await.id);
        }
        bench.clock.advance(DAY);
    }
    assert_eq!(found(&bench, &EventFilter::default(), 1).await, ids);
    let days = bench.api.shared.store.tables();
    assert_eq!(days.iter().filter(|table| matches!(table, Table::Search(_))).count(), 2);
    let bench = bench.reopen().await;
    assert_eq!(found(&bench, &EventFilter::default(), 4).await, ids);
    bench.assert_verified().await;
}

#[tokio::test]
async fn a_released_event_is_found_at_its_new_place_alone() {
    let bench = Bench::memory();
    let mut aside = bench.event(&[]);
    aside.quarantine = Some("test".into());
    let aside = bench.api.store_event(aside).await.unwrap();
    let other = bench.store(&[]).await;
    let release = ReleaseEvent {
        id: aside.id,
        schema_minor: None,
        lanes: Vec::new(),
        keys: Default::default(),
        rules: bench.rules(),
    };
    bench.api.release_event(super::harness::operator(), release).await.unwrap();
    assert_eq!(found(&bench, &EventFilter::default(), 50).await, [aside.id, other.id]);
    let state = Some(EventState::Quarantined);
    let filter = EventFilter { state, ..EventFilter::default() };
    assert_eq!(found(&bench, &filter, 50).await, []);
}

#[tokio::test]
async fn a_search_reads_no_event_that_does_not_fit() {
    let store = Counting::default();
    let reads = Arc::clone(&store.reads);
    let bench = Bench::on(Arc::new(store));
    stored(&bench, 5000, &[]).await;
    let pages = [
        EventFilter { idempotency_key: Some("key-8".into()), ..EventFilter::default() },
        EventFilter { uri: Some("shop/1/paid".parse().unwrap()), ..EventFilter::default() },
        EventFilter { prefix: Some("nothing".into()), ..EventFilter::default() },
    ];
    for filter in pages {
        let before = reads.load(Ordering::Relaxed);
        bench.api.events(filter.clone(), PageRequest::default()).await.unwrap();
        // The summaries at once, the columns of a block or two, the facts at once.
        let took = reads.load(Ordering::Relaxed) - before;
        assert!(took <= 8, "{took} questions for {filter:?}");
    }
}

async fn listed(bench: &Bench, filter: &DeliveryFilter, first: u32) -> Vec<DeliveryId> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = PageRequest { first, after };
        let page = bench.api.deliveries(filter.clone(), page).await.unwrap();
        ids.extend(page.items.iter().map(|delivery| delivery.id));
        after = page.next;
        if after.is_none() {
            return ids;
        }
    }
}

#[tokio::test]
async fn deliveries_are_found_by_state_subscriber_type_and_time() {
    let bench = Bench::memory();
    let owner = Subscriber { id: "org_1".into(), name: String::new() };
    let mut owned = subscription("theirs");
    owned.subscriber = Some("org_1".into());
    bench
        .execute(vec![
            Command::PutSubscriber(owner),
            put_subscription("ours"),
            Command::PutSubscription { spec: owned, secrets: Vec::new() },
        ])
        .await
        .unwrap();
    let rules = bench.api.rules().borrow().clone();
    let of = |name: &str| rules.subscription_named(name).unwrap().clone();
    let lanes = ["ours", "theirs"].map(|name| LaneId::new(of(name).number, Priority::default()));
    let events = stored(&bench, 200, &lanes).await;
    for (n, event) in events.iter().enumerate() {
        for lane in &event.lanes {
            let id = DeliveryId { lane: *lane, sequence: event.sequence };
            let next = match n % 4 {
                0 => Next::Done,
                1 => Next::Dead(Cause::Exhausted),
                2 => Next::Retry(now(&bench).after(Duration::from_secs(60))),
                _ => continue,
            };
            assert!(bench.attempt(id, 1, next).await);
        }
    }
    let mut all: Vec<(Event, Delivery)> = Vec::new();
    for event in &events {
        let deliveries = bench.api.deliveries_of(event.id).await.unwrap();
        all.extend(deliveries.into_iter().rev().map(|delivery| (event.clone(), delivery)));
    }
    let any = DeliveryFilter::default;
    let at = |seconds| Some(START.after(Duration::from_secs(seconds)));
    let uri = || Some("github/1/*".parse().unwrap());
    let mut filters: Vec<_> =
        DeliveryState::ALL.map(|state| DeliveryFilter { state: Some(state), ..any() }).into();
    filters.extend([
        any(),
        DeliveryFilter { subscription: Some(of("ours").id), uri: uri(), ..any() },
        DeliveryFilter { subscriber: Some("org_1".into()), ..any() },
        DeliveryFilter { subscriber: Some("org_2".into()), ..any() },
        DeliveryFilter { uri: uri(), ..any() },
        DeliveryFilter { since: at(50), until: at(100), ..any() },
        DeliveryFilter { subscription: Some(of("ours").id), since: at(150), ..any() },
        DeliveryFilter { state: Some(DeliveryState::Dead), uri: uri(), until: at(120), ..any() },
        DeliveryFilter {
            state: Some(DeliveryState::Waiting),
            subscriber: Some("org_1".into()),
            since: at(20),
            ..any()
        },
    ]);
    for filter in filters {
        let wanted = all.iter().filter(|(event, delivery)| {
            let lane = delivery.id.lane;
            let for_theirs = event.audience.includes(Some("org_1"));
            filter.state.is_none_or(|state| state == delivery.state)
                && filter.subscription.is_none_or(|id| id == of("ours").id && lane == lanes[0])
                && filter.subscriber.as_ref().is_none_or(|id| {
                    // The lanes of this test ignore whom an event is for; a search need not.
                    id == "org_1" && lane == lanes[1] && (for_theirs || filter.state.is_some())
                })
                && filter.uri.as_ref().is_none_or(|uri| uri.matches(&event.uri))
                && filter.since.is_none_or(|since| delivery.created_at >= since)
                && filter.until.is_none_or(|until| delivery.created_at < until)
        });
        let wanted: Vec<_> = wanted.map(|(_, delivery)| delivery.id).collect();
        for first in [3, 500] {
            assert_eq!(listed(&bench, &filter, first).await, wanted, "{filter:?}");
        }
    }
    let gone = vec![Command::Remove(Target::Subscription("ours".into()))];
    bench.execute(gone).await.unwrap();
    bench.cleared().await;
    let filter = DeliveryFilter { state: Some(DeliveryState::Cancelled), ..any() };
    assert!(!listed(&bench, &filter, 500).await.is_empty());
}

#[tokio::test]
async fn a_nested_page_is_not_read_row_by_row() {
    let store = Counting::default();
    let reads = Arc::clone(&store.reads);
    let bench = Bench::on(Arc::new(store));
    let lane = bench.subscribe("ci").await;
    stored(&bench, 120, &[lane]).await;
    let schema = graphql::schema(bench.api.clone(), None, None);
    let pages = [
        "{ events(first: 50) { nodes { id deliveries { state attempts { status } } } } }",
        "{ deliveries(first: 50) { nodes { id event { type } attempts { status } } } }",
        "{ events(first: 50) { nodes { payloadState } } }",
        "{ events(first: 50) { nodes { payloadState ...e } } } fragment e on Event { deliveries { event { id } } }",
    ];
    for query in pages {
        let before = reads.load(Ordering::Relaxed);
        let admin = Some(principal(&["admin"], None));
        let response = graphql::answer(&schema, admin, Request::new(query)).await.unwrap();
        assert!(response.errors.is_empty(), "{:?}", response.errors);
        let took = reads.load(Ordering::Relaxed) - before;
        assert!(took <= 12, "{took} questions for {query}");
    }
}

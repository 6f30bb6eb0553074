//! Stores events in DIR and writes the id of each to standard output when it is acknowledged, one
//! write each: what is traced by the power-cut tests. `power-child DIR EVENTS SEED`

#![expect(clippy::expect_used, reason = "a child that cannot run has nothing to say")]

use bytes::Bytes;
use contract::{
    access::Actor,
    clock::SystemClock,
    command::{Changeset, Command},
    delivery::{Attempt, AttemptReport, Next},
    event::{Audience, Direction, Disposition, Headers, NewEvent, Origin, Trace},
    id::{DeliveryId, EventId, IdGenerator, LaneId, SecretId, Uuid7},
    master_api::{Configuration, Deliveries, Events, StoreEvent},
    random::SystemRandom,
    stamp::Stamp,
    subscription::{Priority, SubscriptionSpec},
};
use master_api::{Config, MasterApi, Metrics};
use std::{collections::BTreeMap, io::Write, path::PathBuf, sync::Arc};

/// Small, so that a short run meets flushes and compactions.
const MEMTABLE_BYTES: u64 = 32 << 10;
/// Callers at once.
const CALLERS: u64 = 4;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let data_dir = PathBuf::from(arguments.next().expect("DIR"));
    let events: u64 = arguments.next().and_then(|text| text.parse().ok()).expect("EVENTS");
    let seed: u64 = arguments.next().and_then(|text| text.parse().ok()).expect("SEED");
    let (clock, random) = (Arc::new(SystemClock), Arc::new(SystemRandom));
    let ids = Uuid7::new(clock.clone(), random.clone());
    let config = Config { data_dir, memtable_bytes: MEMTABLE_BYTES, ..Config::default() };
    let metrics = Metrics::new(&mut prometheus_client::registry::Registry::default());
    let api = MasterApi::open(config, clock, random, metrics).expect("a log");
    let lane = subscribe(&api).await;
    let callers = (0..CALLERS).map(|caller| {
        let (api, ids) = (api.clone(), &ids);
        async move {
            for number in (caller..events).step_by(4) {
                let id = EventId::from_bytes(ids.uuid());
                let size = 100 + seed.wrapping_add(number).wrapping_mul(2_654_435_761) % 6000;
                let stored = api.store_event(event(&api, id, lane, size)).await.expect("stored");
                acknowledge(&id);
                if number % 3 == 0 {
                    let delivery = DeliveryId { lane, sequence: stored.sequence };
                    api.record_attempts(vec![done(delivery)]).await.expect("recorded");
                }
            }
        }
    });
    futures_util::future::join_all(callers).await;
    api.close().await;
}

fn acknowledge(id: &EventId) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{id}\n").as_bytes()).and_then(|()| out.flush()).expect("a reader");
}

async fn subscribe(api: &MasterApi) -> LaneId {
    let spec = SubscriptionSpec {
        name: "power".into(),
        url: "http://127.0.0.1:9/".into(),
        events: vec!["power/1/*".parse().expect("a pattern")],
        ..SubscriptionSpec::default()
    };
    let commands = vec![Command::PutSubscription { spec, secrets: Vec::new() }];
    let changes = Changeset { commands, ..Changeset::default() };
    api.execute(Actor::Component("test".into()), changes).await.expect("a subscription");
    let rules = api.rules().borrow().clone();
    LaneId::new(rules.subscription_named("power").expect("it").number, Priority::default())
}

fn event(api: &MasterApi, id: EventId, lane: LaneId, size: u64) -> StoreEvent {
    let text = id.to_string();
    let payload = text.bytes().cycle().take(usize::try_from(size).unwrap_or(100));
    let event = NewEvent {
        uri: "power/1/cut".parse().expect("a type"),
        direction: Direction::Incoming,
        audience: Audience::Own,
        origin: Origin::Source("power".into()),
        payload: Bytes::from(payload.collect::<Vec<_>>()),
        content_type: "text/plain".into(),
        headers: Headers(Vec::new()),
        idempotency_key: Some(text.clone()),
        received_at: contract::clock::Clock::now(&SystemClock),
        trace: Trace::default(),
        unvalidated: Disposition::Reject,
        invalid: Disposition::Reject,
        rules: api.rules().borrow().sequence,
    };
    let stamp = Stamp { key: SecretId::from_bytes([1; 16]), mac: [2; 32] };
    let (rules, lanes) = (event.rules, vec![lane]);
    let (schema_minor, quarantine, keys) = (None, None, BTreeMap::new());
    StoreEvent { id, event, stamp, schema_minor, quarantine, lanes, keys, rules }
}

fn done(delivery: DeliveryId) -> AttemptReport {
    let attempt = Attempt {
        number: 1,
        started_at: contract::clock::Clock::now(&SystemClock),
        duration_ms: 1,
        status: Some(200),
        cause: None,
        error: None,
        address: None,
        response_excerpt: None,
        backoff_rule: None,
    };
    AttemptReport { delivery, attempt, exchange: None, next: Next::Done, pause_subscription: false }
}

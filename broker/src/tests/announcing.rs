//! The announcer between a log and a broker: it goes on where it was, and tells nothing twice
//! under another id.

use super::model::{ModelLog, ModelQueue};
use crate::{Announcer, AnnouncerConfig, Broker, Config, Feeder, Metrics};
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    backoff::Span,
    clock::Timestamp,
    event::{Audience, Origin},
    id::{KeyId, LaneId, SecretId, Sequence, SubscriptionNumber},
    log::{Chain, LoggedFact, NOTABLE_SINCE_FORMAT},
    master_api::StoreEvent,
    rules::Rules,
    schema::{EventValidator, Validated},
    secret::Secret,
    subscription::Priority,
    testing::{ManualClock, rules_with, seeded_ids, subscription_spec},
    uri::EventUri,
};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Knows the server's own contracts, as soon as they are there.
#[derive(Default)]
struct OwnContracts(AtomicBool);

impl EventValidator for OwnContracts {
    fn validate(&self, uri: &EventUri, _: &str, payload: &[u8]) -> Result<Validated> {
        let json: Value = serde_json::from_slice(payload).map_err(Error::internal)?;
        match uri.is_own() && json.is_object() && self.0.load(Ordering::SeqCst) {
            true => Ok(Validated::Against(0)),
            false => Ok(Validated::NoSchema),
        }
    }
}

struct World {
    log: Arc<ModelLog>,
    broker: Arc<Broker>,
    metrics: Metrics,
    contracts: Arc<OwnContracts>,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new(Timestamp(1_700_000_000_000_000));
        let metrics = Metrics::new(&mut Registry::default());
        let pattern = |events: &str| events.parse().into_iter().collect();
        let named = |name, events| contract::subscription::SubscriptionSpec {
            events: pattern(events),
            ..subscription_spec(name)
        };
        let specs = [named("ops", "_certes/1/*"), named("all", "*/1/*")];
        let stamp_keys = vec![(SecretId::from_bytes([1; 16]), Secret::new("key"))];
        let sequence = Sequence(100);
        let log = ModelLog::new(Rules { sequence, stamp_keys, ..rules_with(specs) });
        let queue = ModelQueue::new(16, Arc::clone(&log), true);
        let rules_timeout = Span(Duration::from_millis(50));
        let config = Config { rules_timeout, ..Config::default() };
        let feeder =
            Feeder::new(config.feeder.clone(), log.clone(), queue, clock.clone(), metrics.clone());
        let contracts = Arc::new(OwnContracts(AtomicBool::new(true)));
        let broker = Broker::new(
            config,
            contracts.clone(),
            log.clone(),
            Arc::new(feeder),
            seeded_ids(clock, 7),
            metrics.clone(),
        );
        Self { log, broker: Arc::new(broker), metrics, contracts }
    }

    fn announcer(&self) -> Announcer {
        let config = AnnouncerConfig { page_facts: 2, ..AnnouncerConfig::default() };
        Announcer::new(config, self.log.clone(), self.broker.clone(), self.metrics.clone())
    }

    /// What was stored, by type.
    fn stored(&self) -> Vec<(String, StoreEvent)> {
        let named = |stored: StoreEvent| (stored.event.uri.to_string(), stored);
        self.log.asked().into_iter().map(named).collect()
    }
}

fn fact(sequence: u64, kind: &str, body: Value) -> LoggedFact {
    LoggedFact {
        sequence: Sequence(sequence),
        time: Timestamp(1_700_000_000_000_000 + i64::try_from(sequence).unwrap()),
        actor: Actor::Key(KeyId::from_bytes([4; 16])),
        chain: Chain::Configuration,
        kind: kind.to_owned(),
        body,
        prev_hash: "ab".repeat(32),
    }
}

fn removed(sequence: u64) -> LoggedFact {
    fact(sequence, "source_removed", json!({"name": format!("source {sequence}")}))
}

fn raised(sequence: u64, format: u32) -> LoggedFact {
    fact(sequence, "format_raised", json!({"format": format}))
}

async fn all(announcer: &Announcer) -> usize {
    let mut events = 0;
    for _ in 0..5 {
        events += announcer.run_once(Duration::ZERO).await.unwrap();
    }
    events
}

#[tokio::test]
async fn facts_become_events_for_those_who_name_them() {
    let world = World::new();
    world.log.happen(vec![raised(1, NOTABLE_SINCE_FORMAT), removed(2), removed(3), removed(5)]);
    let announcer = world.announcer();
    assert_eq!(all(&announcer).await, 3);
    assert_eq!(world.log.follower(), Some(Sequence(5)));
    let stored = world.stored();
    assert_eq!(stored.len(), 3);
    for (at, (uri, stored)) in [2, 3, 5].into_iter().zip(&stored) {
        assert_eq!(uri, "_certes/1/source_removed");
        let payload: Value = serde_json::from_slice(&stored.event.payload).unwrap();
        assert_eq!(payload["source"], format!("source {at}"));
        assert_eq!(
            (&stored.event.origin, &stored.event.audience),
            (&Origin::Server, &Audience::Own)
        );
        let ops = LaneId::new(SubscriptionNumber(1), Priority::default());
        assert_eq!(stored.lanes, [ops], "`*` does not stand for `_certes`");
    }
    assert_eq!(all(&announcer).await, 0);
}

#[tokio::test]
async fn what_happened_before_it_could_be_told_is_not_told() {
    let world = World::new();
    let before = NOTABLE_SINCE_FORMAT - 1;
    world.log.happen(vec![raised(1, before), removed(2), raised(3, NOTABLE_SINCE_FORMAT)]);
    assert_eq!(all(&world.announcer()).await, 0);
    world.log.happen(vec![removed(4)]);
    assert_eq!(all(&world.announcer()).await, 1);
}

/// A crash between storing and moving the cursor.
#[tokio::test]
async fn what_is_told_again_has_the_id_it_had() {
    let world = World::new();
    world.log.happen(vec![raised(1, NOTABLE_SINCE_FORMAT), removed(2), removed(3)]);
    world.log.set_cursor_stuck(true);
    assert!(world.announcer().run_once(Duration::ZERO).await.is_err());
    assert_eq!(world.log.follower(), None);
    let first = world.stored();
    assert_eq!(first.len(), 2);
    // Another announcer, as after a restart.
    world.log.set_cursor_stuck(false);
    assert_eq!(all(&world.announcer()).await, 2);
    let again = world.stored().split_off(2);
    for ((_, first), (_, again)) in first.iter().zip(&again) {
        assert_eq!(first.id, again.id);
        assert_eq!(first.event.payload, again.event.payload);
    }
    assert_ne!(first[0].1.id, first[1].1.id);
}

#[tokio::test]
async fn what_cannot_be_told_yet_is_told_later_and_in_order() {
    let world = World::new();
    world.contracts.0.store(false, Ordering::SeqCst);
    world.log.happen(vec![raised(1, NOTABLE_SINCE_FORMAT), removed(2), removed(3)]);
    let announcer = world.announcer();
    let refusal = announcer.run_once(Duration::ZERO).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::UnknownEventType);
    assert_eq!(world.stored().len(), 0);
    world.contracts.0.store(true, Ordering::SeqCst);
    assert_eq!(all(&announcer).await, 2);
    let names = world.stored().into_iter().map(|(_, stored)| {
        serde_json::from_slice::<Value>(&stored.event.payload).unwrap()["source"].clone()
    });
    assert_eq!(names.collect::<Vec<_>>(), ["source 2", "source 3"]);
}

#[tokio::test]
async fn who_is_told_is_said_by_rules_that_know_the_fact() {
    let world = World::new();
    let fact_after_the_rules = 101;
    world.log.happen(vec![raised(1, NOTABLE_SINCE_FORMAT), removed(fact_after_the_rules)]);
    let announcer = world.announcer();
    let refusal = announcer.run_once(Duration::ZERO).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::Unavailable);
    assert_eq!(world.stored().len(), 0);
    world.log.rules.send_modify(|rules| {
        Arc::make_mut(rules).sequence = Sequence(fact_after_the_rules);
    });
    assert_eq!(all(&announcer).await, 1);
}

#[tokio::test]
async fn what_nobody_wants_is_not_stored() {
    let world = World::new();
    world.log.rules.send_modify(|rules| {
        Arc::make_mut(rules).subscriptions.remove(&SubscriptionNumber(1));
    });
    world.log.happen(vec![raised(1, NOTABLE_SINCE_FORMAT), removed(2)]);
    assert_eq!(all(&world.announcer()).await, 0);
    assert_eq!(world.stored().len(), 0);
    assert_eq!(world.log.follower(), Some(Sequence(2)));
}

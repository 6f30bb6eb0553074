//! Following the rules in force: completeness, changes, and what could not be fetched.

use super::*;
use crate::{
    MemoryStore, Registry,
    testing::{FakeRules, metrics, source, version},
};
use contract::{
    access::Actor, backoff::Span, clock::SystemClock, master_api::Configuration as _,
    schema::SchemaSource,
};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(20);
const JSON: &str = "application/json";

fn schema(uri: &str, field: &str) -> SchemaSource {
    source(uri, &[("x.proto", &format!("syntax = 'proto3'; message X {{ {field} }}"))])
}

fn registry(rules: &Arc<FakeRules>) -> Arc<Registry> {
    let store = Arc::new(MemoryStore::new());
    let clock = Arc::new(SystemClock);
    Arc::new(Registry::new(Config::default(), store, Arc::clone(rules) as _, clock, metrics()))
}

fn validator() -> Arc<LocalValidator> {
    let config = Config { fetch_retry: Span(Duration::from_millis(10)), ..Config::default() };
    Arc::new(LocalValidator::new(config, metrics()))
}

async fn publish(registry: &Registry, source: SchemaSource) -> SchemaVersion {
    let actor = Actor::Component("test".to_owned());
    registry.publish(actor, source).await.unwrap().version
}

#[tokio::test]
async fn it_follows_the_rules_until_it_is_stopped() {
    let (rules, validator, stop) = (FakeRules::new(), validator(), CancellationToken::new());
    let registry = registry(&rules);
    let first = publish(&registry, schema("a/1/x", "int32 n = 1;")).await;
    assert!(!validator.is_complete());
    assert_eq!(validator.validate(&first.uri, JSON, b"{}"), Ok(Validated::NoSchema));

    let run = tokio::spawn({
        let (validator, registry, stop) = (validator.clone(), registry.clone(), stop.clone());
        let rules = rules.rules();
        async move { validator.run(registry, rules, stop).await }
    });
    timeout(DEADLINE, validator.wait_for(Sequence(0))).await.unwrap();
    assert!(validator.is_complete());
    assert_eq!(validator.validate(&first.uri, JSON, b"{}"), Ok(Validated::Against(0)));

    let second = publish(&registry, schema("a/1/x", "int32 n = 1; bool b = 2;")).await;
    let sequence = rules.rules().borrow().sequence;
    timeout(DEADLINE, validator.wait_for(sequence)).await.unwrap();
    assert_eq!(validator.validate(&second.uri, JSON, b"{}"), Ok(Validated::Against(1)));

    rules.change(|rules| rules.schemas.clear());
    let sequence = rules.rules().borrow().sequence;
    timeout(DEADLINE, validator.wait_for(sequence)).await.unwrap();
    assert_eq!(validator.validate(&second.uri, JSON, b"{}"), Ok(Validated::NoSchema));

    stop.cancel();
    timeout(DEADLINE, run).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_cannot_be_fetched_lets_nothing_pass() {
    let (rules, validator) = (FakeRules::new(), validator());
    let registry = registry(&rules);
    let good = publish(&registry, schema("a/1/good", "int32 n = 1;")).await;
    let lost = version("a/1/lost", 0);
    rules.change(|rules| {
        rules.schemas.insert(lost.uri.clone(), Arc::new(lost.clone()));
    });
    validator.sync(registry.as_ref(), &rules.rules()).await.unwrap_err();
    assert!(!validator.is_complete());
    assert_eq!(validator.validate(&good.uri, JSON, b"{}"), Ok(Validated::Against(0)));
    let error = validator.validate(&lost.uri, JSON, b"{}").unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);

    // The loop asks again by itself, and ends well once the bundle can be had.
    let stop = CancellationToken::new();
    let run = tokio::spawn({
        let (validator, registry, stop) = (validator.clone(), registry.clone(), stop.clone());
        let rules = rules.rules();
        async move { validator.run(registry, rules, stop).await }
    });
    rules.change(|rules| {
        rules.schemas.remove(&lost.uri);
    });
    timeout(DEADLINE, validator.wait_for(Sequence(0))).await.unwrap();
    assert_eq!(validator.validate(&lost.uri, JSON, b"{}"), Ok(Validated::NoSchema));
    stop.cancel();
    timeout(DEADLINE, run).await.unwrap().unwrap();
}

#[tokio::test]
async fn it_only_moves_forward_and_trusts_digests_alone() {
    let (rules, validator) = (FakeRules::new(), validator());
    let registry = registry(&rules);
    let uri = publish(&registry, schema("a/1/x", "int32 n = 1;")).await.uri;
    let old = registry.get(&uri).await.unwrap();
    publish(&registry, schema("a/1/x", "int32 n = 1; bool b = 2;")).await;
    let new = registry.get(&uri).await.unwrap();

    validator.install(&new).unwrap();
    validator.install(&old).unwrap();
    assert_eq!(validator.version(&uri), Some(new.version.clone()));

    let mut forged = SchemaBundle::clone(&new);
    forged.version.minor = 7;
    forged.files[0].text.push(' ');
    assert!(validator.install(&forged).is_err());
    assert_eq!(validator.version(&uri), Some(new.version.clone()));
}

#[tokio::test]
async fn it_shows_what_a_payload_looks_like() {
    let (rules, validator) = (FakeRules::new(), validator());
    let registry = registry(&rules);
    let made = publish(&registry, schema("a/1/x", "int32 n = 1;")).await;
    let stored =
        SchemaSource { example: Some("{\"n\": 7}".into()), ..schema("a/1/y", "int32 n = 1;") };
    let stored = publish(&registry, stored).await;
    validator.sync(registry.as_ref(), &rules.rules()).await.unwrap();
    let published = validator.example(&stored.uri).unwrap().unwrap();
    assert_eq!((&published.payload[..], published.published), (&b"{\"n\": 7}"[..], true));
    let skeleton = validator.example(&made.uri).unwrap().unwrap();
    assert!(!skeleton.published);
    assert_eq!(validator.validate(&made.uri, JSON, &skeleton.payload), Ok(Validated::Against(0)));
    assert_eq!(validator.example(&"a/1/z".parse().unwrap()), Ok(None));
}

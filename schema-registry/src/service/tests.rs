//! Publishing: versions, refusals, races, and the validator that follows.

use super::*;
use crate::{
    DirectoryStore, MemoryStore,
    testing::{FakeRules, metrics, source},
};
use contract::{
    clock::Timestamp,
    schema::{EventValidator, UnknownFields, Validated},
    testing::ManualClock,
};

struct World {
    rules: Arc<FakeRules>,
    store: Arc<MemoryStore>,
    validator: Arc<LocalValidator>,
    registry: Arc<Registry>,
}

fn world() -> World {
    let (rules, store) = (FakeRules::new(), Arc::new(MemoryStore::new()));
    let validator = Arc::new(LocalValidator::new(Config::default(), metrics()));
    let registry = registry(&rules, store.clone()).announcing_to(Arc::clone(&validator));
    World { rules, store, validator, registry: Arc::new(registry) }
}

fn registry(rules: &Arc<FakeRules>, store: Arc<dyn BundleStore>) -> Registry {
    let clock = ManualClock::new(Timestamp(1_000_000));
    Registry::new(Config::default(), store, Arc::clone(rules) as _, clock, metrics())
}

fn actor() -> Actor {
    Actor::Component("test".to_owned())
}

fn schema(fields: &str) -> SchemaSource {
    let text = format!("syntax = 'proto3'; package shop.v1; message Paid {{ {fields} }}");
    source("shop/1/paid", &[("shop/1/paid.proto", &text)])
}

fn texts(published: &Published) -> Vec<&str> {
    published.differences.iter().map(|found| found.text.as_str()).collect()
}

const JSON: &str = "application/json";

#[tokio::test]
async fn a_first_version_is_in_use_when_it_is_answered() {
    let world = world();
    let published = world.registry.publish(actor(), schema("int32 amount = 1;")).await.unwrap();
    assert!(published.changed && published.differences.is_empty());
    assert_eq!((published.version.minor, published.version.message.as_str()), (0, "shop.v1.Paid"));
    assert_eq!(published.version.published_at, Timestamp(1_000_000));

    let uri = &published.version.uri;
    assert_eq!(world.validator.validate(uri, JSON, br#"{"amount": 1}"#), Ok(Validated::Against(0)));
    let error = world.validator.validate(uri, JSON, br#"{"amount": "x"}"#).unwrap_err();
    assert_eq!(error.violations[0].path, "amount");
    assert_eq!(world.registry.list().await.unwrap(), std::slice::from_ref(&published.version));
    let bundle = world.registry.get(uri).await.unwrap();
    assert_eq!(bundle.version, published.version);
    assert_eq!(bundle.files[0].path, "shop/1/paid.proto");
}

#[tokio::test]
async fn the_same_content_changes_nothing() {
    let world = world();
    let first = world.registry.publish(actor(), schema("int32 amount = 1;")).await.unwrap();
    let sequence = world.rules.rules().borrow().sequence;
    let again = world.registry.publish(actor(), schema("int32 amount = 1;")).await.unwrap();
    assert!(!again.changed);
    assert_eq!(again.version, first.version);
    assert_eq!(world.rules.rules().borrow().sequence, sequence, "no command was sent");
    let stricter =
        SchemaSource { unknown_fields: UnknownFields::Reject, ..schema("int32 amount = 1;") };
    let stricter = world.registry.publish(actor(), stricter).await.unwrap();
    assert_eq!((stricter.changed, stricter.version.minor), (true, 1));
    assert_eq!(texts(&stricter), ["unknown fields are refused now"]);
    let error = world.validator.validate(&stricter.version.uri, JSON, br#"{"a": 1}"#).unwrap_err();
    assert_eq!(error.violations[0].rule, "unknown_field");
}

#[tokio::test]
async fn compatible_is_the_next_minor_and_breaking_is_refused() {
    let world = world();
    world.registry.publish(actor(), schema("int32 amount = 1;")).await.unwrap();
    let wider = schema("int32 amount = 1; string currency = 2;");
    let checked = world.registry.check(wider.clone()).await.unwrap();
    assert!(checked.changed);
    assert_eq!(world.registry.list().await.unwrap()[0].minor, 0, "a check changes nothing");
    let published = world.registry.publish(actor(), wider).await.unwrap();
    assert_eq!(published, checked);
    assert_eq!(published.version.minor, 1);
    assert_eq!(texts(&published), ["field `shop.v1.Paid.currency` (2) was added"]);
    assert_eq!(world.validator.version(&published.version.uri), Some(published.version.clone()));

    let breaking = schema("int64 amount = 1;");
    let checked = world.registry.check(breaking.clone()).await.unwrap();
    assert!(checked.is_breaking() && checked.changed);
    assert_eq!(checked.version, published.version, "nothing else is in force");
    let error = world.registry.publish(actor(), breaking).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidDefinition);
    for part in ["shop/1/paid (version 1.1)", "is of type int64", "currency", "as major 2"] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    assert_eq!(checked.refusal.as_ref(), Some(&error.message));
    let rules: Vec<_> = error.violations.iter().map(|found| found.rule.as_str()).collect();
    assert_eq!(rules, ["field_type_same_encoding", "field_removed"]);
    assert_eq!(error.violations[0].path, "shop.v1.Paid.amount");
    assert_eq!(world.registry.list().await.unwrap()[0].minor, 1);
}

#[tokio::test]
async fn bad_definitions_store_nothing() {
    let world = world();
    let error = world.registry.publish(actor(), schema("int32 = 1;")).await.unwrap_err();
    assert!(error.message.starts_with("shop/1/paid.proto:1:"), "{error}");
    let foreign = SchemaSource { uri: "a.example/b/1/c".parse().unwrap(), ..schema("") };
    let error = world.registry.publish(actor(), foreign).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidDefinition);
    assert_eq!(world.registry.list().await.unwrap(), []);
    let unknown = world.registry.get(&"shop/1/paid".parse().unwrap()).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::UnknownEventType);
}

#[tokio::test]
async fn many_at_once_make_one_version_each() {
    let world = world();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let registry = Arc::clone(&world.registry);
            tokio::spawn(
                async move { registry.publish(actor(), schema("int32 amount = 1;")).await },
            )
        })
        .collect();
    let mut changed = 0;
    for task in tasks {
        let published = task.await.unwrap().unwrap();
        assert_eq!(published.version.minor, 0);
        changed += usize::from(published.changed);
    }
    assert_eq!(changed, 1);
}

#[tokio::test]
async fn a_faster_registry_elsewhere_is_taken_into_account() {
    let world = world();
    let other = Arc::new(registry(&world.rules, world.store.clone()));
    let first = other.publish(actor(), schema("int32 amount = 1;")).await.unwrap();
    // While we publish a wider one, another registry publishes a wider one of its own.
    let theirs = schema("int32 amount = 1; bool theirs = 9;");
    let version = other.check(theirs.clone()).await.unwrap().version;
    let candidate = other.candidate(theirs.clone()).await.unwrap();
    world.store.put(candidate.digest, candidate.bytes.clone()).await.unwrap();
    let faster = |version: SchemaVersion| -> Option<crate::testing::Interruption> {
        Some(Box::new(move |rules: &FakeRules| rules.publish(&version)))
    };
    *world.rules.before_next.lock().unwrap() = faster(version);
    let ours = schema("int32 amount = 1; bool ours = 2;");
    let error = world.registry.publish(actor(), ours).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Conflict);
    assert!(error.message.contains("the current version is 1.1 now"), "{error}");

    let both = schema("int32 amount = 1; bool theirs = 9; bool ours = 2;");
    let version = world.registry.check(both.clone()).await.unwrap().version;
    let candidate = other.candidate(both.clone()).await.unwrap();
    world.store.put(candidate.digest, candidate.bytes.clone()).await.unwrap();
    *world.rules.before_next.lock().unwrap() = faster(version);
    let published = world.registry.publish(actor(), both).await.unwrap();
    assert!(!published.changed, "the winner published the same");
    assert_eq!((first.version.minor, published.version.minor), (0, 2));
}

#[tokio::test]
async fn a_restart_finds_the_bundles() {
    let (rules, dir) = (FakeRules::new(), tempfile::tempdir().unwrap());
    let store = || Arc::new(DirectoryStore::open(dir.path()).unwrap());
    let published =
        registry(&rules, store()).publish(actor(), schema("int32 amount = 1;")).await.unwrap();
    let again = registry(&rules, store());
    let bundle = again.get(&published.version.uri).await.unwrap();
    assert_eq!(bundle.version, published.version);
    assert_eq!(bundle::verify(&bundle), Ok(()));

    let lost = registry(&rules, Arc::new(MemoryStore::new()));
    let error = lost.get(&published.version.uri).await.unwrap_err();
    assert!(error.message.contains("lacks the bundle"), "{error}");
}

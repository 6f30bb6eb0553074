//! Publishing: versions, refusals, races, and the validator that follows.

mod sets;

use super::*;
use crate::{
    DirectoryStore, MemoryStore,
    testing::{FakeRules, metrics, source},
};
use contract::{
    clock::Timestamp,
    schema::{EventValidator, Rulebook, SchemaSource, UnknownFields, Validated},
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
}

fn handling(unknown_fields: UnknownFields, fields: &str) -> SchemaSource {
    SchemaSource { unknown_fields: Some(unknown_fields), ..schema(fields) }
}

#[tokio::test]
async fn who_says_nothing_of_unknown_fields_keeps_what_was_said() {
    let world = world();
    let strict = handling(UnknownFields::Reject, "int32 amount = 1;");
    let first = world.registry.publish(actor(), strict).await.unwrap();
    let again = world.registry.publish(actor(), schema("int32 amount = 1;")).await.unwrap();
    assert!(!again.changed, "{again:?}");
    let wider = schema("int32 amount = 1; string note = 2;");
    let wider = world.registry.publish(actor(), wider).await.unwrap();
    assert_eq!(wider.version.unknown_fields, UnknownFields::Reject);
    assert_eq!(texts(&wider), ["field `shop.v1.Paid.note` (2) was added"]);
    let error = world.validator.validate(&first.version.uri, JSON, br#"{"a": 1}"#).unwrap_err();
    assert_eq!(error.violations[0].rule, "unknown_field");
    let example = SchemaSource {
        example: Some(r#"{"a": 1}"#.to_owned()),
        ..schema("int32 amount = 1; string note = 2;")
    };
    let refused = world.registry.publish(actor(), example).await.unwrap_err();
    assert_eq!(refused.violations[0].rule, "unknown_field", "its example, too");
    let next = SchemaSource { next_major: true, ..schema("int64 amount = 1; string note = 2;") };
    let next = world.registry.publish(actor(), next).await.unwrap();
    assert_eq!(next.version.uri.major(), 2);
    assert_eq!(next.version.unknown_fields, UnknownFields::Reject);
}

#[tokio::test]
async fn refusing_unknown_fields_breaks_and_letting_them_pass_does_not() {
    let world = world();
    let first = world.registry.publish(actor(), schema("int32 amount = 1;")).await.unwrap();
    assert_eq!(first.version.unknown_fields, UnknownFields::Ignore, "as configured");
    let strict = handling(UnknownFields::Reject, "int32 amount = 1;");
    let refused = world.registry.publish(actor(), strict.clone()).await.unwrap_err();
    assert_eq!(refused.violations[0].rule, "unknown_fields_refused");
    let wire = SchemaSource { rulebook: Some(Rulebook::Wire), ..strict };
    let wire = world.registry.publish(actor(), wire).await.unwrap();
    assert_eq!((wire.version.minor, wire.version.unknown_fields), (1, UnknownFields::Reject));
    let lenient = SchemaSource {
        rulebook: Some(Rulebook::Certes),
        ..handling(UnknownFields::Ignore, "int32 amount = 1;")
    };
    let lenient = world.registry.publish(actor(), lenient).await.unwrap();
    assert_eq!((lenient.version.minor, lenient.is_breaking()), (2, false));
    assert!(texts(&lenient).contains(&"unknown fields pass now"));
}

/// Servers that were started before keep their subscribers: what is told grows by fields.
#[tokio::test]
async fn what_the_server_tells_of_schemas_grows_compatibly() {
    let path = "_certes/1/schema_published.proto";
    let text = include_str!("../../../schemas/_certes/1/schema_published.proto");
    let before = text.replace("string rulebook = 10;", "");
    assert_ne!(before, text);
    let world = world();
    let publish = async |text: &str| {
        let source = source("_certes/1/schema_published", &[(path, text)]);
        world.registry.publish(actor(), source).await.unwrap()
    };
    publish(&before).await;
    let grown = publish(text).await;
    assert_eq!((grown.version.minor, grown.is_breaking()), (1, false));
    assert_eq!(texts(&grown), ["field `certes.ops.v1.SchemaPublished.rulebook` (10) was added"]);
}

fn subscription(number: u32, pattern: &str) -> contract::subscription::Subscription {
    use contract::{id, subscription};
    let spec = serde_json::json!({
        "name": format!("s{number:03}"), "url": "https://x.example", "events": [pattern],
    });
    subscription::Subscription {
        id: id::SubscriptionId::from_bytes([u8::try_from(number).unwrap(); 16]),
        number: id::SubscriptionNumber(number),
        spec: serde_json::from_value(spec).unwrap(),
        status: subscription::SubscriptionStatus::Paused,
        status_reason: None,
        breaker: None,
        secrets: Vec::new(),
        created_at: Timestamp(0),
    }
}

/// An answer has an end, and what it leaves out is counted.
#[tokio::test]
async fn answers_list_so_much_and_count_the_rest() {
    let world = world();
    let fields = |kind: &str, from: usize, to: usize| -> String {
        (from..=to).map(|n| format!("{kind} f{n} = {n};")).collect()
    };
    world.registry.publish(actor(), schema(&fields("int32", 1, 600))).await.unwrap();
    world.rules.change(|rules| {
        for n in 0..130_u32 {
            let added = subscription(n, "shop/1/paid");
            rules.subscriptions.insert(added.number, Arc::new(added));
        }
    });
    // 100 break; as many as they are, the 700 that are added come after them.
    let changed = fields("int32", 1, 500) + &fields("bool", 501, 600) + &fields("int32", 601, 1300);
    let checked = world.registry.check(schema(&changed)).await.unwrap();
    assert!(checked.is_breaking());
    assert_eq!((checked.differences.len(), checked.differences_left_out), (500, 300));
    let breaks = |found: &Difference| found.verdict == contract::schema::Verdict::Breaking;
    assert_eq!(checked.differences.iter().filter(|found| breaks(found)).count(), 100);
    assert!(checked.differences[..100].iter().all(breaks));
    assert_eq!((checked.subscriptions.len(), checked.subscriptions_left_out), (100, 30));
    let refusal = checked.refusal.unwrap();
    assert!(refusal.contains("(130): s000, s001, "), "{refusal}");
    assert!(refusal.contains("s019 and 110 more."), "{refusal}");
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
    assert!(checked.is_breaking() && !checked.changed, "what is refused changes nothing");
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

/// Puts a bundle where the other registry would.
async fn keep(world: &World, other: &Registry, source: SchemaSource) {
    let offer = other.offers(source.into(), &other.rules()).await.unwrap().remove(0);
    let candidate = offer.candidate.unwrap();
    world.store.put(candidate.digest, candidate.bytes).await.unwrap();
}

#[tokio::test]
async fn a_faster_registry_elsewhere_is_taken_into_account() {
    let world = world();
    let other = Arc::new(registry(&world.rules, world.store.clone()));
    let first = other.publish(actor(), schema("int32 amount = 1;")).await.unwrap();
    // While we publish a wider one, another registry publishes a wider one of its own.
    let theirs = schema("int32 amount = 1; bool theirs = 9;");
    let version = other.check(theirs.clone()).await.unwrap().version;
    keep(&world, &other, theirs.clone()).await;
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
    keep(&world, &other, both.clone()).await;
    *world.rules.before_next.lock().unwrap() = faster(version);
    let published = world.registry.publish(actor(), both).await.unwrap();
    assert!(!published.changed, "the winner published the same");
    assert_eq!((first.version.minor, published.version.minor), (0, 2));
}

#[tokio::test]
async fn publishing_again_heals_a_torn_bundle() {
    let (rules, dir) = (FakeRules::new(), tempfile::tempdir().unwrap());
    let store = || Arc::new(DirectoryStore::open(dir.path()).unwrap());
    let first = registry(&rules, store()).publish(actor(), schema("int32 amount = 1;")).await;
    let version = first.unwrap().version;
    let file = dir.path().join(format!("{}.bundle", hex::encode(version.digest)));
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let again = registry(&rules, store());
    let error = again.get(&version.uri).await.unwrap_err();
    assert!(error.message.contains("is damaged"), "{error}");
    let healed = again.publish(actor(), schema("int32 amount = 1;")).await.unwrap();
    assert!(!healed.changed);
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
    assert_eq!(again.get(&version.uri).await.unwrap().version, version);
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

#[tokio::test]
async fn of_two_clients_at_once_one_gets_a_conflict() {
    let world = world();
    let first = world.registry.publish(actor(), schema("int32 amount = 1;")).await.unwrap();
    let expected = Some(first.version.number());
    // Whichever comes second has read the first's version, or not yet.
    let on_first = |fields| SchemaSource { expected, ..schema(fields) };
    let (ours, theirs) = tokio::join!(
        world.registry.publish(actor(), on_first("int32 amount = 1; bool ours = 2;")),
        world.registry.publish(actor(), on_first("int32 amount = 1; bool theirs = 3;")),
    );
    let (won, lost) = if ours.is_ok() { (ours, theirs) } else { (theirs, ours) };
    assert_eq!(won.unwrap().version.minor, 1);
    let lost = lost.unwrap_err();
    assert_eq!(lost.code, ErrorCode::Conflict);
    assert!(lost.message.contains("current version") && lost.message.contains("1.1"), "{lost}");
}

#[tokio::test]
async fn the_next_major_lives_beside_the_old_one() {
    let world = world();
    let next = |fields| SchemaSource { next_major: true, ..schema(fields) };
    let first = world.registry.publish(actor(), next("int32 amount = 1;")).await.unwrap();
    assert_eq!(first.version.number().to_string(), "1.0", "nothing breaks");
    let wider = world.registry.publish(actor(), next("int32 amount = 1; bool b = 2;")).await;
    assert_eq!(wider.unwrap().version.number().to_string(), "1.1", "nothing breaks");
    for changed in [true, false] {
        let second = world.registry.publish(actor(), next("string amount = 1;")).await.unwrap();
        assert_eq!((second.version.uri.as_str(), second.changed), ("shop/2/paid", changed));
        assert_eq!(second.version.number().to_string(), "2.0");
        assert!(second.is_breaking() && second.refusal.is_none());
    }
    let third = world.registry.publish(actor(), next("bytes other = 7;")).await.unwrap();
    assert_eq!(third.version.number().to_string(), "3.0");
    let uris: Vec<_> = world.registry.list().await.unwrap();
    assert_eq!(uris.len(), 3);
    let number = |text: &str| text.parse().unwrap();
    let uri = &first.version.uri;
    let across = world.registry.diff(uri, number("1.1"), number("2.0"), None).await.unwrap();
    assert!(across.iter().any(|found| found.rule == "field_type_changed"), "{across:?}");
    let missing = world.registry.diff(uri, number("1.1"), number("2.7"), None).await.unwrap_err();
    assert_eq!(missing.code, ErrorCode::NotFound);
    assert!(missing.message.contains("the newest is 2.0"), "{missing}");
}

#[tokio::test]
async fn every_version_is_kept_and_no_number_is_given_twice() {
    let world = world();
    let first = world.registry.publish(actor(), schema("int32 amount = 1;")).await.unwrap();
    let uri = &first.version.uri;
    let number = |text: &str| text.parse().unwrap();
    world.registry.delete(actor(), uri).await.unwrap();
    let gone = world.registry.get(uri).await.unwrap_err();
    assert_eq!(gone.code, ErrorCode::UnknownEventType);
    let gone = world.registry.delete(actor(), uri).await.unwrap_err();
    assert_eq!(gone.code, ErrorCode::UnknownEventType);
    let kept = world.registry.version(uri, number("1.0")).await.unwrap();
    assert_eq!(kept.version, first.version);

    let again = world.registry.publish(actor(), schema("string amount = 1;")).await.unwrap();
    assert_eq!((again.changed, again.version.minor), (true, 1));
    assert_eq!(again.differences, [], "there is nothing that it could break");
    let versions = world.registry.versions(uri).await.unwrap();
    assert_eq!(versions, [first.version.clone(), again.version]);
}

#[tokio::test]
async fn an_example_keeps_its_contract_or_nothing_is_published() {
    let world = world();
    let with = |example: &str| SchemaSource {
        example: Some(example.to_owned()),
        ..schema("int32 amount = 1;")
    };
    let refused = world.registry.publish(actor(), with(r#"{"amount": "much"}"#)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ContractViolation);
    assert_eq!(refused.violations[0].path, "amount");
    let refused = world.registry.publish(actor(), with("no json")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::MalformedPayload);
    assert_eq!(world.registry.list().await.unwrap(), []);
    let published = world.registry.publish(actor(), with(r#"{"amount": 5}"#)).await.unwrap();
    let bundle = world.registry.get(&published.version.uri).await.unwrap();
    assert_eq!(bundle.example.as_deref(), Some(r#"{"amount": 5}"#));
    assert_eq!(bundle::verify(&bundle), Ok(()));
}

#[tokio::test]
async fn types_of_the_servers_own_are_its_own() {
    let world = world();
    let key = || Actor::Key(contract::id::KeyId::from_bytes([1; 16]));
    let own = |fields: &str| {
        let text = format!("syntax = 'proto3'; message Dead {{ {fields} }}");
        source("_certes/1/dead", &[("_certes/1/dead.proto", &text)])
    };
    let refused = world.registry.publish(key(), own("int32 n = 1;")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PermissionDenied);
    assert!(world.registry.check(own("int32 n = 1;")).await.unwrap().refusal.is_some());
    let published = world.registry.publish(actor(), own("int32 n = 1;")).await.unwrap();
    let same = world.registry.publish(key(), own("int32 n = 1;")).await.unwrap();
    assert!(!same.changed);
    let refused = world.registry.delete(key(), &published.version.uri).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PermissionDenied);
}

//! Several schemas in one step, an expected version, archives, and what a deletion leaves.

use super::*;
use contract::schema::{PublishSettings, VersionNumber};

fn one(uri: &str, text: &str) -> SchemaSource {
    source(uri, &[(&format!("{uri}.proto"), text)])
}

fn message(fields: &str) -> String {
    format!("syntax = 'proto3'; message M {{ {fields} }}")
}

async fn publish(world: &World, sources: Vec<SchemaSource>) -> Vec<SchemaVerdict> {
    world.registry.publish_all(actor(), SchemaSet::Sources(sources)).await.unwrap()
}

fn codes(verdicts: &[SchemaVerdict]) -> Vec<Option<ErrorCode>> {
    verdicts.iter().map(|verdict| verdict.error.as_ref().map(|error| error.code)).collect()
}

fn sequence(world: &World) -> u64 {
    world.rules.rules().borrow().sequence.0
}

#[tokio::test]
async fn all_take_effect_by_one_change() {
    let world = world();
    let text = "syntax = 'proto3'; import 'shop/1/money.proto'; message Paid { M m = 1; }";
    let set = vec![one("shop/1/paid", text), one("shop/1/money", &message("int64 cents = 1;"))];
    let before = sequence(&world);
    let verdicts = publish(&world, set.clone()).await;
    assert_eq!(codes(&verdicts), [None, None]);
    assert_eq!(sequence(&world), before + 1, "one changeset");
    for verdict in &verdicts {
        assert!(world.validator.version(&verdict.uri).is_some(), "{}", verdict.uri);
    }
    // The import was found in the same call, and belongs to the version from now on.
    let paid = world.registry.get(&verdicts[0].uri).await.unwrap();
    let paths: Vec<_> = paid.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["shop/1/money.proto", "shop/1/paid.proto"]);

    // Importers see the new text of what they import: both become a new version.
    let wider = one("shop/1/money", &message("int64 cents = 1; string currency = 2;"));
    let verdicts = publish(&world, vec![set[0].clone(), wider]).await;
    for verdict in verdicts {
        let published = verdict.published.unwrap();
        assert_eq!((published.changed, published.version.minor), (true, 1), "{}", verdict.uri);
    }
    let json = br#"{"m": {"currency": 7}}"#;
    let error = world.validator.validate(&paid.version.uri, JSON, json).unwrap_err();
    assert_eq!(error.violations[0].path, "m.currency");
}

#[tokio::test]
async fn one_refusal_refuses_all_and_everybody_gets_a_verdict() {
    let world = world();
    publish(&world, vec![one("a/1/breaks", &message("int32 n = 1;"))]).await;
    let (before, listed) = (sequence(&world), world.registry.list().await.unwrap());
    let with_example = SchemaSource {
        example: Some(r#"{"n": "many"}"#.into()),
        ..one("a/1/example", &message("int32 n = 1;"))
    };
    let set = vec![
        one("a/1/fine", &message("")),
        one("a/1/breaks", &message("string n = 1;")),
        one("a/1/syntax", "syntax = 'proto3';\nmessage"),
        with_example,
        one("a/1/fine", &message("bool again = 1;")),
        one("a/1/breaks2", &message("")),
    ];
    let checked = world.registry.check_all(SchemaSet::Sources(set.clone())).await.unwrap();
    let verdicts = publish(&world, set).await;
    assert_eq!(checked, verdicts, "a check says what publishing says");
    let invalid = Some(ErrorCode::InvalidDefinition);
    let violation = Some(ErrorCode::ContractViolation);
    assert_eq!(codes(&verdicts), [None, invalid, invalid, violation, invalid, None]);
    let breaking = verdicts[1].published.as_ref().unwrap();
    assert!(breaking.is_breaking() && breaking.refusal.is_some());
    let syntax = &verdicts[2].error.as_ref().unwrap().message;
    assert!(syntax.starts_with("a/1/syntax.proto:"), "{syntax}");
    assert!(verdicts[4].error.as_ref().unwrap().message.contains("given twice"));
    assert_eq!((sequence(&world), world.registry.list().await.unwrap()), (before, listed));
    assert_eq!(world.validator.version(&"a/1/fine".parse().unwrap()), None);
    let none = world.registry.publish_all(actor(), SchemaSet::Sources(vec![])).await.unwrap_err();
    assert_eq!(none.code, ErrorCode::InvalidDefinition);
}

#[tokio::test]
async fn majors_of_one_set_do_not_meet() {
    let world = world();
    let all = |fields: [&str; 2]| -> Vec<_> {
        let next = |(major, fields): (u32, &str)| SchemaSource {
            next_major: true,
            ..one(&format!("a/{major}/x"), &message(fields))
        };
        [1, 2].into_iter().zip(fields).map(next).collect()
    };
    publish(&world, all(["int32 n = 1;", "int32 n = 2;"])).await;
    let verdicts = publish(&world, all(["string n = 1;", "string n = 2;"])).await;
    let uris: Vec<_> = verdicts
        .iter()
        .map(|found| found.published.as_ref().unwrap().version.uri.as_str())
        .collect();
    assert_eq!(uris, ["a/3/x", "a/4/x"]);
}

#[tokio::test]
async fn two_hundred_are_one_change() {
    let (rules, dir) = (FakeRules::new(), tempfile::tempdir().unwrap());
    let store = Arc::new(DirectoryStore::open(dir.path()).unwrap());
    let validator = Arc::new(LocalValidator::new(Config::default(), metrics()));
    let registry = registry(&rules, store).announcing_to(Arc::clone(&validator));
    let sources = (0..200).map(|n| one(&format!("a/1/t{n}"), &message("int32 n = 1;"))).collect();
    let verdicts = registry.publish_all(actor(), SchemaSet::Sources(sources)).await.unwrap();
    assert!(verdicts.iter().all(|verdict| !verdict.is_refused()));
    assert_eq!(rules.rules().borrow().sequence.0, 1);
    assert!(verdicts.iter().all(|verdict| validator.version(&verdict.uri).is_some()));
}

#[tokio::test]
async fn an_expected_version_is_the_current_one_or_a_conflict() {
    let world = world();
    let expecting = |fields: &str, expected: &str| SchemaSource {
        expected: Some(expected.parse().unwrap()),
        ..schema(fields)
    };
    let refused = world.registry.publish(actor(), expecting("int32 n = 1;", "1.0")).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.message.contains("no version of shop/1/paid is in force"), "{refused}");
    world.registry.publish(actor(), schema("int32 n = 1;")).await.unwrap();
    let wider = "int32 n = 1; bool b = 2;";
    let published = world.registry.publish(actor(), expecting(wider, "1.0")).await.unwrap();
    assert_eq!(published.version.number(), VersionNumber { major: 1, minor: 1 });
    let late = expecting("int32 n = 1; bool c = 3;", "1.0");
    let refused = world.registry.publish(actor(), late.clone()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.message.contains("current version of shop/1/paid is 1.1"), "{refused}");
    assert!(world.registry.check(late).await.unwrap().refusal.unwrap().contains("1.1"));

    // Of two who expect the same, one wins.
    let (ours, theirs) = tokio::join!(
        world.registry.publish(actor(), expecting(&format!("{wider} bool o = 4;"), "1.1")),
        world.registry.publish(actor(), expecting(&format!("{wider} bool t = 5;"), "1.1")),
    );
    let lost = if ours.is_ok() { theirs } else { ours };
    let lost = lost.unwrap_err();
    assert_eq!(lost.code, ErrorCode::Conflict);
    assert!(lost.message.contains("1.2"), "{lost}");
}

#[tokio::test]
async fn a_deleted_contract_is_let_go_of_before_the_answer() {
    let world = world();
    let published = world.registry.publish(actor(), schema("int32 n = 1;")).await.unwrap();
    let uri = &published.version.uri;
    world.registry.delete(actor(), uri).await.unwrap();
    assert_eq!(world.validator.version(uri), None);
    assert_eq!(world.validator.validate(uri, JSON, b"{}"), Ok(Validated::NoSchema));
    world.registry.publish(actor(), schema("string n = 1;")).await.unwrap();
    assert_eq!(world.validator.validate(uri, JSON, br#"{"n": "x"}"#), Ok(Validated::Against(1)));
}

#[tokio::test]
async fn an_archive_is_published_as_its_directory_would_be() {
    let world = world();
    let archive = |files: &[(&str, &str)]| {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        bytes::Bytes::from(builder.into_inner().unwrap())
    };
    let paid = "syntax = 'proto3'; import 'shop/money.proto'; message Paid { Money m = 1; }";
    let money = "syntax = 'proto3'; message Money { int64 cents = 1; }";
    let files = [
        ("shop/1/paid.proto", paid),
        ("shop/1/paid.example.json", "{}"),
        ("shop/1/refunded.proto", "syntax = 'proto3'; message Refunded {}"),
        ("shop/money.proto", money),
    ];
    let settings = PublishSettings {
        unknown_fields: Some(UnknownFields::Reject),
        ..PublishSettings::default()
    };
    let set = |files: &[(&str, &str)], settings| SchemaSet::Archive(archive(files), settings);
    let verdicts = world.registry.publish_all(actor(), set(&files, settings)).await.unwrap();
    let uris: Vec<_> = verdicts.iter().map(|verdict| verdict.uri.as_str()).collect();
    assert_eq!(
        (uris, codes(&verdicts)),
        (vec!["shop/1/paid", "shop/1/refunded"], vec![None, None])
    );
    let version = &verdicts[0].published.as_ref().unwrap().version;
    assert_eq!(version.unknown_fields, UnknownFields::Reject);
    let bundle = world.registry.get(&version.uri).await.unwrap();
    assert_eq!(bundle.example.as_deref(), Some("{}"));

    let expected =
        PublishSettings { expected: Some(version.number()), ..PublishSettings::default() };
    let refused = world.registry.publish_all(actor(), set(&files, expected)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest, "a version of which of them?");
    let bad = SchemaSet::Archive("no archive".into(), settings);
    let refused = world.registry.publish_all(actor(), bad).await.unwrap_err();
    assert!(refused.message.starts_with("the archive: "), "{refused}");
}

#[tokio::test]
async fn what_is_published_together_is_bounded() {
    let rules = FakeRules::new();
    let config = Config { set_bytes_max: 400, set_files_max: 3, ..Config::default() };
    let store = Arc::new(MemoryStore::new());
    let clock = ManualClock::new(Timestamp(0));
    let registry = Registry::new(config, store, rules as _, clock, metrics());
    let set = |count: usize, text: &str| {
        SchemaSet::Sources((0..count).map(|n| one(&format!("a/1/t{n}"), text)).collect())
    };
    let refusal = async |set| registry.check_all(set).await.unwrap_err().message;
    assert!(registry.check_all(set(3, &message(""))).await.is_ok());
    assert!(refusal(set(4, &message(""))).await.contains("at most 3"));
    let long = format!("{}//{}", message(""), "x".repeat(200));
    assert!(refusal(set(2, &long)).await.contains("more than 400 bytes"));
}

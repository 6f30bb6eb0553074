//! Settings: typed, versioned, checked, and in force at once.

use super::harness::{Bench, DAY};
use contract::{
    ErrorCode, Result,
    command::{Change, ChangeKind, Command},
    log::{LogFilter, LogQuery},
    master_api::{Configuration, Events, Log},
    retention::Retention,
    setting::{FEATURES_MAX, RETENTION_AGE, RETENTION_SIZE},
};
use std::time::Duration;

async fn set(bench: &Bench, key: &str, value: Option<&str>, expect: Option<u64>) -> Result<Change> {
    let (key, value) = (key.to_owned(), value.map(str::to_owned));
    let done = bench.execute(vec![Command::SetSetting { key, value, expect }]).await;
    done.map(|mut changes| changes.remove(0))
}

#[tokio::test]
async fn a_setting_has_a_type_a_version_and_a_history() {
    let bench = Bench::embedded();
    let made = set(&bench, "feature.checkout", Some("true"), Some(0)).await.unwrap();
    assert_eq!((made.kind, made.id.as_deref()), (ChangeKind::Created, Some("1")));
    assert!(bench.api.rules().borrow().settings.is_on("feature.checkout"));
    let same = set(&bench, "feature.checkout", Some("true"), None).await.unwrap();
    assert_eq!((same.kind, same.id.as_deref()), (ChangeKind::Unchanged, Some("1")));
    let late = set(&bench, "feature.checkout", Some("false"), Some(0)).await.unwrap_err();
    assert_eq!(late.code, ErrorCode::Conflict);
    let reset = set(&bench, "feature.checkout", None, Some(1)).await.unwrap();
    assert_eq!((reset.kind, reset.id.as_deref()), (ChangeKind::Changed, Some("2")));
    let wrong = [
        ("feature.checkout", "7", ErrorCode::InvalidDefinition),
        (RETENTION_AGE, "1h", ErrorCode::InvalidDefinition),
        (RETENTION_SIZE, "much", ErrorCode::InvalidDefinition),
        ("retention.every", "1h", ErrorCode::NotFound),
    ];
    for (key, value, code) in wrong {
        assert_eq!(set(&bench, key, Some(value), None).await.unwrap_err().code, code, "{key}");
    }
    let kinds = vec!["config_set".to_owned()];
    let query =
        LogQuery { filter: LogFilter { kinds, ..LogFilter::default() }, ..LogQuery::default() };
    let facts = bench.api.facts(query).await.unwrap().facts;
    let values: Vec<_> = facts.iter().map(|fact| fact.body["setting"]["value"].clone()).collect();
    assert_eq!(values, [serde_json::json!({"bool": true}), serde_json::Value::Null]);
    bench.assert_verified().await;
    let bench = bench.reopen().await;
    let settings = bench.api.rules().borrow().settings.clone();
    assert_eq!(settings.0["feature.checkout"].version, 2);
}

#[tokio::test]
async fn feature_flags_are_bounded() {
    let bench = Bench::memory();
    let flag = |n: usize| Command::SetSetting {
        key: format!("feature.{n}"),
        value: Some("true".into()),
        expect: None,
    };
    bench.execute((0..FEATURES_MAX).map(flag).collect()).await.unwrap();
    let one_more = bench.execute(vec![flag(FEATURES_MAX)]).await.unwrap_err();
    assert_eq!(one_more.code, ErrorCode::InvalidDefinition);
    bench.execute(vec![flag(0)]).await.unwrap();
}

#[tokio::test]
async fn retention_goes_by_what_was_set() {
    let bench = Bench::embedded();
    let stored = bench.store(&[]).await;
    bench.clock.advance(DAY * 4);
    bench.store(&[]).await;
    let plan = bench.api.retention_plan().await.unwrap();
    assert_eq!(plan.age, DAY * 30);
    assert_eq!(bench.api.run_retention(false).await.unwrap().days_dropped, 0);
    set(&bench, RETENTION_AGE, Some("2d"), None).await.unwrap();
    set(&bench, RETENTION_SIZE, Some("1000000000"), None).await.unwrap();
    let plan = bench.api.retention_plan().await.unwrap();
    assert_eq!((plan.age, plan.size_bytes_max), (Duration::from_secs(2 * 86_400), 1_000_000_000));
    assert_eq!(bench.api.run_retention(false).await.unwrap().days_dropped, 1);
    assert_eq!(bench.api.payload(stored.id).await.unwrap(), None);
    set(&bench, RETENTION_AGE, None, None).await.unwrap();
    assert_eq!(bench.api.retention_plan().await.unwrap().age, DAY * 30);
}

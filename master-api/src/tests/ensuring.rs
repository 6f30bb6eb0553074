//! A subscriber's code declares what it wants.

use super::harness::{Bench, operator, principal, put_subscription, signing_secret, subscription};
use crate::graphql;
use async_graphql::Request;
use contract::{
    ErrorCode, Result,
    command::{Change, ChangeKind, Changeset, Command, DeclaredSubscription},
    limits::ENSURED_MAX,
    master_api::Configuration,
    subscription::Subscriber,
};
use serde_json::json;

fn wanted(names: &[&str]) -> Vec<DeclaredSubscription> {
    let declare = |name: &&str| DeclaredSubscription { spec: subscription(name), secrets: vec![] };
    names.iter().map(declare).collect()
}

fn ensure(whose: &str, subscriptions: Vec<DeclaredSubscription>, prune: bool) -> Command {
    Command::EnsureSubscriptions { subscriber: Some(whose.into()), subscriptions, prune }
}

async fn bench() -> Bench {
    let bench = Bench::memory();
    let named = |id: &str| Command::PutSubscriber(Subscriber { id: id.into(), name: "".into() });
    bench.execute(vec![named("org_1"), named("org_2")]).await.unwrap();
    bench
}

fn kinds(changes: &[Change]) -> Vec<(ChangeKind, &str)> {
    changes.iter().map(|change| (change.kind, change.name.as_str())).collect()
}

fn names(bench: &Bench) -> Vec<String> {
    let rules = bench.api.rules().borrow().clone();
    rules.subscriptions.values().map(|found| found.spec.name.clone()).collect()
}

#[tokio::test]
async fn what_is_declared_is_there_once() {
    let bench = bench().await;
    let made = bench.execute(vec![ensure("org_1", wanted(&["a", "b"]), false)]).await.unwrap();
    assert_eq!(kinds(&made), [(ChangeKind::Created, "a"), (ChangeKind::Created, "b")]);
    assert!(made.iter().all(|change| change.revealed.is_some()));
    let rules = bench.api.rules().borrow().clone();
    let of = |name| rules.subscription_named(name).unwrap().spec.subscriber.clone();
    assert_eq!((of("a"), of("b")), (Some("org_1".into()), Some("org_1".into())));

    let before = bench.rules();
    let again = bench.execute(vec![ensure("org_1", wanted(&["a", "b"]), true)]).await.unwrap();
    assert_eq!(kinds(&again), [(ChangeKind::Unchanged, "a"), (ChangeKind::Unchanged, "b")]);
    assert_eq!(bench.rules(), before, "no fact was recorded");
    assert!(again.iter().all(|change| change.revealed.is_none()));

    let mut changed = wanted(&["b", "c"]);
    changed[0].spec.url = "https://example.com/new".into();
    changed[1].secrets = vec![signing_secret(4)];
    let done = bench.execute(vec![ensure("org_1", changed, true)]).await.unwrap();
    let expected =
        [(ChangeKind::Changed, "b"), (ChangeKind::Created, "c"), (ChangeKind::Removed, "a")];
    assert_eq!(kinds(&done), expected);
    assert_eq!(names(&bench), ["b", "c"]);
    bench.cleared().await;
    bench.assert_verified().await;
}

#[tokio::test]
async fn it_happens_as_a_whole_or_not_at_all() {
    let bench = bench().await;
    let before = bench.rules();
    let mut broken = wanted(&["a", "b"]);
    broken[1].spec.url = "no url".into();
    let refused = async |command| bench.execute(vec![command]).await.unwrap_err().code;
    assert_eq!(refused(ensure("org_1", broken, false)).await, ErrorCode::InvalidDefinition);
    let twice = ensure("org_1", wanted(&["a", "a"]), false);
    assert_eq!(refused(twice).await, ErrorCode::InvalidDefinition);
    let many = ensure("org_1", wanted(&vec!["a"; ENSURED_MAX + 1]), false);
    assert_eq!(refused(many).await, ErrorCode::InvalidDefinition);
    let mut others = wanted(&["a"]);
    others[0].spec.subscriber = Some("org_2".into());
    assert_eq!(refused(ensure("org_1", others, false)).await, ErrorCode::InvalidDefinition);
    assert_eq!(bench.rules(), before);
    let dry = Changeset {
        commands: vec![ensure("org_1", wanted(&["a"]), true)],
        dry_run: true,
        ..Changeset::default()
    };
    let would = bench.api.execute(operator(), dry).await.unwrap();
    assert_eq!(kinds(&would), [(ChangeKind::Created, "a")]);
    assert_eq!((would[0].revealed.as_ref(), bench.rules()), (None, before));
}

#[tokio::test]
async fn nobody_elses_are_touched() {
    let bench = bench().await;
    bench.execute(vec![put_subscription("ours")]).await.unwrap();
    bench.execute(vec![ensure("org_2", wanted(&["theirs"]), false)]).await.unwrap();
    bench.execute(vec![ensure("org_1", wanted(&["a"]), true)]).await.unwrap();
    assert_eq!(names(&bench), ["ours", "theirs", "a"]);
    for name in ["ours", "theirs"] {
        let taken = bench.execute(vec![ensure("org_1", wanted(&[name]), false)]).await;
        assert_eq!(taken.unwrap_err().code, ErrorCode::Conflict, "{name}");
    }
    let acting = async |whose: Option<&str>| -> Result<Vec<Change>> {
        let (subscriber, subscriptions) = (whose.map(str::to_owned), wanted(&["ours"]));
        let command = Command::EnsureSubscriptions { subscriber, subscriptions, prune: false };
        let acting_for = Some("org_1".to_owned());
        let changes = Changeset { commands: vec![command], acting_for, ..Changeset::default() };
        bench.api.execute(operator(), changes).await
    };
    assert_eq!(acting(Some("org_2")).await.unwrap_err().code, ErrorCode::PermissionDenied);
    assert_eq!(acting(None).await.unwrap_err().code, ErrorCode::PermissionDenied);
    let (subscriptions, prune) = (Vec::new(), true);
    let all_ours = Command::EnsureSubscriptions { subscriber: None, subscriptions, prune };
    let refused = bench.execute(vec![all_ours]).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidDefinition);
    assert_eq!(names(&bench), ["ours", "theirs", "a"]);
}

#[tokio::test]
async fn a_key_of_one_subscriber_declares_its_own_over_graphql() {
    let bench = bench().await;
    let schema = graphql::schema(bench.api.clone(), None, None);
    let ask = async |query: &str| {
        let tenant = Some(principal(&["subscriptions:write"], Some("org_1")));
        let response = graphql::answer(&schema, tenant, Request::new(query)).await.unwrap();
        serde_json::to_value(response).unwrap()
    };
    let declare = r#"mutation { ensureSubscriptions(prune: true, subscriptions: [
        {name: "a", url: "https://example.com", events: ["github/1/*"]}])
        { kind name secret subscription { name } } }"#;
    let made = ask(declare).await["data"]["ensureSubscriptions"][0].clone();
    assert_eq!((&made["kind"], &made["name"]), (&json!("created"), &json!("a")));
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    assert_eq!(made["subscription"]["name"], "a");
    let again = ask(declare).await["data"]["ensureSubscriptions"][0].clone();
    assert_eq!((&again["kind"], &again["secret"]), (&json!("unchanged"), &json!(null)));
    let others =
        r#"mutation { ensureSubscriptions(subscriber: "org_2", subscriptions: []) { kind } }"#;
    assert_eq!(ask(others).await["errors"][0]["extensions"]["code"], "permission_denied");
    let none = r#"mutation { ensureSubscriptions(prune: true, subscriptions: []) { kind subscription { name } } }"#;
    let removed = ask(none).await["data"]["ensureSubscriptions"].clone();
    assert_eq!(removed, json!([{ "kind": "removed", "subscription": null }]));
}

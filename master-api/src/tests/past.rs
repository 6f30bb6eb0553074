//! Questions about the past over GraphQL, and that the schema document is the schema.

use super::harness::{Bench, now, principal, put_subscription, subscription};
use crate::graphql;
use async_graphql::Request;
use contract::{
    access::Roles,
    command::{Command, Target},
    master_api::Events,
    secret::Secret,
    subscription::SubscriptionStatus,
};
use serde_json::{Value, json};
use std::{fs, path::Path, time::Duration};

async fn ask(bench: &Bench, roles: &[&str], query: &str) -> Value {
    let schema = graphql::schema(bench.api.clone(), None, None);
    let asker = Some(principal(roles, None));
    let response = graphql::answer(&schema, asker, Request::new(query)).await.unwrap();
    serde_json::to_value(response).unwrap()
}

async fn admin(bench: &Bench, query: &str) -> Value {
    let answer = ask(bench, &["admin"], query).await;
    assert!(answer["errors"].is_null(), "{answer}");
    answer["data"].clone()
}

#[tokio::test]
async fn the_configuration_is_shown_as_it_stood() {
    let bench = Bench::memory();
    bench.execute(vec![put_subscription("ci")]).await.unwrap();
    let then = now(&bench);
    bench.clock.advance(Duration::from_secs(5));
    let pause = Command::SetSubscriptionStatus {
        name: "ci".into(),
        status: SubscriptionStatus::Paused,
        reason: Some("test".into()),
    };
    bench.execute(vec![pause, put_subscription("later")]).await.unwrap();
    let fields = "sequence subscription(name: \"ci\") { status } subscriptions { name }";
    let at = admin(&bench, &format!("{{ stateAt(time: \"{then}\") {{ {fields} }} }}")).await;
    assert_eq!(at["stateAt"]["subscription"]["status"], "active");
    assert_eq!(at["stateAt"]["subscriptions"], json!([{ "name": "ci" }]));
    let now = admin(&bench, &format!("{{ stateAt {{ {fields} }} }}")).await;
    assert_eq!(now["stateAt"]["subscription"]["status"], "paused");
    assert_eq!(now["stateAt"]["subscriptions"].as_array().unwrap().len(), 2);
    let live = bench.api.shared.state.load().sequence;
    assert_eq!(now["stateAt"]["sequence"], live.to_string());
    let before = admin(&bench, "{ stateAt(time: \"2000-01-01T00:00:00Z\") { time } }").await;
    assert_eq!(before["stateAt"]["time"], Value::Null);
    let refused = ask(&bench, &["subscriptions:read"], "{ stateAt { time } }").await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "permission_denied");
}

#[tokio::test]
async fn a_history_says_who_changed_what() {
    let bench = Bench::memory();
    bench.execute(vec![put_subscription("ci"), put_subscription("other")]).await.unwrap();
    let mut spec = subscription("ci");
    spec.url = "https://example.com/new".into();
    bench.execute(vec![Command::PutSubscription { spec, secrets: Vec::new() }]).await.unwrap();
    bench.execute(vec![Command::Remove(Target::Subscription("ci".into()))]).await.unwrap();
    let query = "{ history(kind: \"subscription\", name: \"ci\") {
        sequence actor kind differences { path before after } } }";
    let history = admin(&bench, query).await["history"].clone();
    let kinds: Vec<_> =
        history.as_array().unwrap().iter().map(|entry| entry["kind"].clone()).collect();
    assert_eq!(kinds, ["subscription_created", "subscription_changed", "subscription_removed"]);
    assert_eq!(history[1]["actor"], "test");
    let change = json!([{ "path": "spec.url", "before": "http://127.0.0.1:9000/hook", "after": "https://example.com/new" }]);
    assert_eq!(history[1]["differences"], change);
    assert_eq!(history[2]["differences"][0]["after"], Value::Null);
    let bad = ask(&bench, &["admin"], "{ history(kind: \"x\", name: \"y\") { kind } }").await;
    assert_eq!(bad["errors"][0]["extensions"]["code"], "invalid_request");
}

/// Everything that facts are about has a history, found by its id and by its name.
#[tokio::test]
async fn settings_keys_and_users_have_a_history() {
    let bench = Bench::memory();
    let roles = |role: &str| Roles::parse([role]).unwrap();
    let setting = |value: Option<&str>| Command::SetSetting {
        key: "retention.age".into(),
        value: value.map(str::to_owned),
        expect: None,
    };
    let user = |name: &str| Command::CreateUser {
        name: name.into(),
        password: Secret::new("correct horse battery"),
        roles: roles("events:read"),
        subscriber: None,
    };
    let key = |name: &str| Command::IssueKey {
        name: name.into(),
        roles: roles("events:read"),
        subscriber: None,
        expires_at: None,
    };
    let ada = || "ada".to_owned();
    bench.execute(vec![setting(Some("60d")), user("ada"), user("eve")]).await.unwrap();
    let made = bench.execute(vec![key("job"), key("other"), put_subscription("ci")]).await.unwrap();
    let id = made[0].id.clone().unwrap();
    let revoke = Command::RevokeKey(id.parse().unwrap());
    let set_roles = Command::SetUserRoles { name: ada(), roles: roles("events:write") };
    let password = Secret::new("another one that is long");
    let password = Command::SetPassword { name: ada(), password };
    let disable = Command::SetUserDisabled { name: ada(), disabled: true };
    bench.execute(vec![setting(None), revoke, set_roles, password, disable]).await.unwrap();
    let reveal = Command::RevealSecret { name: "ci".into() };
    bench.execute(vec![Command::RemoveUser(ada()), reveal]).await.unwrap();

    let of = async |kind: &str, name: &str| {
        let fields = "kind differences { path before after }";
        let query = format!("{{ history(kind: \"{kind}\", name: \"{name}\") {{ {fields} }} }}");
        admin(&bench, &query).await["history"].clone()
    };
    let kinds = |history: &Value| -> Vec<String> {
        let all = history.as_array().unwrap().iter();
        all.map(|entry| entry["kind"].as_str().unwrap().to_owned()).collect()
    };
    let settings = of("setting", "retention.age").await;
    assert_eq!(kinds(&settings), ["config_set", "config_set"]);
    assert!(settings[1]["differences"].to_string().contains("\"version\""), "{settings}");
    let job = of("key", "job").await;
    assert_eq!(
        (kinds(&job), of("key", &id).await),
        (vec!["key_issued".into(), "key_revoked".into()], job.clone())
    );
    assert!(!job.to_string().contains("sha256"), "{job}");
    let users = of("user", "ada").await;
    let facts =
        ["user_created", "user_roles_set", "user_password_set", "user_disabled", "user_removed"];
    assert_eq!(kinds(&users), facts);
    let role = json!([{ "path": "roles", "before": ["events:read"], "after": ["events:write"] }]);
    assert_eq!(users[1]["differences"], role);
    let revealed = kinds(&of("subscription", "ci").await);
    assert_eq!(revealed, ["subscription_created", "secret_revealed"]);
}

#[tokio::test]
async fn why_names_the_version_of_each_rule() {
    let bench = Bench::memory();
    let lane = bench.subscribe("ci").await;
    let created = bench.api.shared.state.load().sequence;
    let mut elsewhere = subscription("elsewhere");
    elsewhere.events = vec!["stripe/1/*".parse().unwrap()];
    bench
        .execute(vec![Command::PutSubscription { spec: elsewhere, secrets: Vec::new() }])
        .await
        .unwrap();
    let event = bench.store(&[lane]).await.id;
    // What is changed later had no say.
    bench.execute(vec![Command::Remove(Target::Subscription("ci".into()))]).await.unwrap();
    bench.execute(vec![put_subscription("late")]).await.unwrap();
    let why = async |name: &str| {
        let query = format!(
            "{{ why(event: \"{event}\", subscription: \"{name}\") {{
                verdict deliveryId payloadExpired rules {{ rule fact passed text }} }} }}"
        );
        admin(&bench, &query).await["why"].clone()
    };
    let matched = why("ci").await;
    let state = bench.api.deliveries_of(event).await.unwrap()[0].state;
    assert_eq!(matched["verdict"], state.as_str());
    assert_eq!(matched["payloadExpired"], false);
    assert!(matched["deliveryId"].is_string());
    let rule = |why: &Value, name: &str| {
        let all = why["rules"].as_array().unwrap();
        all.iter().find(|rule| rule["rule"] == name).unwrap().clone()
    };
    assert_eq!(rule(&matched, "pattern")["passed"], true);
    let facts = rule(&matched, "pattern")["fact"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(facts <= created.0 && facts > 0);
    assert_eq!(rule(&matched, "backoff")["fact"], Value::Null);
    let other = why("elsewhere").await;
    assert_eq!(other["verdict"], "no_pattern");
    assert_eq!(rule(&other, "pattern")["passed"], false);
    assert_eq!(why("late").await["verdict"], "no_subscription");
}

#[tokio::test]
async fn what_rules_deliveries_is_made_changed_and_removed() {
    let bench = Bench::memory();
    let put = r#"mutation {
        putSubscriber(id: "org_1", name: "One") { id name }
        putEventType(uri: "shop/1/paid", priority: 9) { uri priority }
        putBackoff(target: "type:shop/1/paid", direction: "outgoing",
            policy: {kind: "linear", base: "10s", max_retries: 3}) { target direction policy }
    }"#;
    let made = admin(&bench, put).await;
    assert_eq!(made["putSubscriber"], json!({ "id": "org_1", "name": "One" }));
    assert_eq!(made["putEventType"]["priority"], 9);
    assert_eq!(made["putBackoff"]["target"], "type:shop/1/paid");
    let list = "{ subscribers { id } eventTypes { uri } backoffs { target direction } }";
    let listed = admin(&bench, list).await;
    assert_eq!(listed["backoffs"][0]["direction"], "outgoing");
    let remove = r#"mutation {
        deleteSubscriber(id: "org_1") deleteEventType(uri: "shop/1/paid")
        deleteBackoff(target: "type:shop/1/paid", direction: "outgoing")
    }"#;
    admin(&bench, remove).await;
    let none = json!({ "subscribers": [], "eventTypes": [], "backoffs": [] });
    assert_eq!(admin(&bench, list).await, none);
    bench.subscribe("ci").await;
    let disable = r#"mutation { disableSubscription(name: "ci", reason: "x") { status } }"#;
    assert_eq!(admin(&bench, disable).await["disableSubscription"]["status"], "disabled");
}

#[tokio::test]
async fn the_schema_document_is_the_schema() {
    let bench = Bench::memory();
    let schema = graphql::schema(bench.api, None, None).sdl();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema.graphql");
    if std::env::var_os("CERTES_WRITE_GOLDEN").is_some() {
        fs::write(&path, &schema).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    let say = "master-api/schema.graphql is not the schema: write it with CERTES_WRITE_GOLDEN=1";
    assert!(committed == schema, "{say}");
}

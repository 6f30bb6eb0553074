//! What changes over GraphQL answer, and what they refuse before anything is changed.

use super::harness::{Bench, START, principal};
use crate::graphql;
use async_graphql::Request;
use contract::{
    access::Principal, command::Command, master_api::Configuration, subscription::Subscriber,
};
use serde_json::{Value, json};
use std::time::Duration;

async fn ask(bench: &Bench, principal: Principal, query: &str) -> Value {
    let schema = graphql::schema(bench.api.clone(), None, None);
    let response = graphql::answer(&schema, Some(principal), Request::new(query)).await.unwrap();
    serde_json::to_value(response).unwrap()
}

fn code(answer: &Value) -> &Value {
    &answer["errors"][0]["extensions"]["code"]
}

fn message(answer: &Value) -> &str {
    answer["errors"][0]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_key_is_made_for_a_while() {
    let bench = Bench::memory();
    let admin = || principal(&["admin"], None);
    let make = |at: &str| {
        format!(
            "mutation {{ createKey(name: \"job\", roles: [\"events:read\"], expiresAt: \"{at}\") \
             {{ key {{ expiresAt }} token }} }}"
        )
    };
    let (past, soon) = (START, START.after(Duration::from_secs(3600)));
    assert_eq!(code(&ask(&bench, admin(), &make(&past.to_string())).await), "invalid_definition");
    assert_eq!(code(&ask(&bench, admin(), &make("soon")).await), "invalid_request");
    let made = ask(&bench, admin(), &make(&soon.to_string())).await;
    let made = &made["data"]["createKey"];
    assert_eq!(made["key"], json!({ "expiresAt": soon.to_string() }), "{made}");
    let token = contract::secret::Secret::new(made["token"].as_str().unwrap());
    let rules = bench.api.rules().borrow().clone();
    assert!(rules.authenticate(&token, START).is_some());
    assert!(rules.authenticate(&token, soon).is_none());
}

#[tokio::test]
async fn the_last_day_of_all_is_refused_in_clear_words() {
    let bench = Bench::memory();
    let query = r#"{ events(filter: {since: "9999-12-31T23:59:59Z"}) { nodes { id } } }"#;
    let refused = ask(&bench, principal(&["admin"], None), query).await;
    assert_eq!(code(&refused), "invalid_request");
    assert!(message(&refused).contains("before 9999-12-30T22:00:00Z"), "{refused}");
    let before = query.replace("31T23:59:59Z", "30T21:59:59Z");
    let answered = ask(&bench, principal(&["admin"], None), &before).await;
    assert_eq!(answered["data"]["events"]["nodes"], json!([]));
}

fn create(name: &str, fields: &str) -> String {
    format!(
        "mutation {{ createSubscription(input: {{name: \"{name}\", url: \"https://example.com\", \
         events: [\"a/1/*\"]}}) {{ secret subscription {{ {fields} }} }} }}"
    )
}

#[tokio::test]
async fn a_taken_name_does_not_say_whose_it_is() {
    let bench = Bench::memory();
    let put = |id: &str| Command::PutSubscriber(Subscriber { id: id.into(), name: String::new() });
    bench.execute(vec![put("org_1"), put("org_2")]).await.unwrap();
    let tenant = |id: &str| principal(&["subscriptions:write"], Some(id));
    for (id, name) in [("org_1", "same"), ("org_2", "else")] {
        let made = ask(&bench, tenant(id), &create(name, "name")).await;
        assert!(made["data"]["createSubscription"]["secret"].is_string(), "{made}");
    }
    let own = ask(&bench, tenant("org_1"), &create("same", "name")).await;
    let others = ask(&bench, tenant("org_1"), &create("else", "name")).await;
    assert_eq!((code(&own), code(&others)), (&json!("conflict"), &json!("conflict")));
    assert_eq!(message(&own).replace("same", "else"), message(&others));
}

#[tokio::test]
async fn a_secret_is_not_made_for_an_answer_that_is_refused() {
    let bench = Bench::memory();
    let writer = || principal(&["subscriptions:write"], None);
    let rotate = |fields: &str| {
        format!(
            "mutation {{ rotateSubscriptionSecret(name: \"ci\") \
             {{ secret subscription {{ {fields} }} }} }}"
        )
    };
    let ensure = |fields: &str| {
        format!(
            "mutation {{ ensureSubscriptions(subscriptions: [{{name: \"b\", events: [\"a/1/*\"], \
             url: \"https://example.com\"}}]) {{ secret subscription {{ {fields} }} }} }}"
        )
    };
    let changes: [&dyn Fn(&str) -> String; 3] = [&|fields| create("ci", fields), &rotate, &ensure];
    for change in changes {
        let before = bench.rules();
        for hidden in
            ["url", "name secretFingerprints", "... on Subscription { secrets { until } }"]
        {
            let refused = ask(&bench, writer(), &change(hidden)).await;
            assert_eq!(code(&refused), "permission_denied", "{refused}");
            assert_eq!(bench.rules(), before, "{hidden}: nothing was changed");
        }
        let made = ask(&bench, writer(), &change("name")).await;
        assert!(made.to_string().contains("whsec_"), "{made}");
        assert!(bench.rules() > before);
    }
    let paused = "mutation { pauseSubscription(name: \"ci\") { url } }";
    assert_eq!(code(&ask(&bench, writer(), paused).await), "permission_denied");
    let status = "{ subscriptions { status } }";
    let shown = ask(&bench, principal(&["admin"], None), status).await;
    assert_eq!(shown["data"]["subscriptions"][0]["status"], "active");
}

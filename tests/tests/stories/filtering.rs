//! Subscriptions that want some events of a type only, and in a form of their own.

use super::main_path::manifest;
use serde_json::{Value, json};
use tests::{Deployment, SIGNING_SECRET, Subscriber, Wiring, eventually, github, stories};

stories!(
    only_wanted_events_are_delivered,
    a_filter_that_is_none_is_refused_with_its_place,
    a_body_is_made_of_the_event_and_signed,
);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");
const FILTER: &str = r#"event.ref == "refs/heads/main" && headers["x-github-event"] == "push""#;

fn with_filter(url: &str, filter: &str) -> String {
    manifest(url, &format!(", filter: '{filter}'"))
}

async fn only_wanted_events_are_delivered(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&with_filter(&subscriber.url(), FILTER)).await.unwrap();
    let on_branch =
        String::from_utf8(PUSH.to_vec()).unwrap().replace("refs/heads/main", "refs/heads/dev");

    let unwanted = github(&certes.http, "push", "d-1", on_branch.as_bytes()).await.unwrap();
    assert_eq!(unwanted.json()["deliveries"], 0);
    let wanted = github(&certes.http, "push", "d-2", PUSH).await.unwrap();
    assert_eq!(wanted.json()["deliveries"], 1);
    let received = subscriber.wait_for(1).await;
    assert_eq!(received[0].header("webhook-id"), wanted.id());

    let remote = certes.remote().await.unwrap();
    let why = remote.why(unwanted.id().parse().unwrap(), "ci").await.unwrap();
    assert_eq!(why.verdict, "filtered_out");
    let rule = why.rules.iter().find(|rule| rule.rule == "filter").unwrap();
    assert_eq!(rule.passed, Some(false));
    assert!(
        rule.text.contains(r#"`event.ref == "refs/heads/main"`, which does not hold"#),
        "{}",
        rule.text
    );
    let why = remote.why(wanted.id().parse().unwrap(), "ci").await.unwrap();
    assert!(why.rules.iter().any(|rule| rule.rule == "filter" && rule.passed == Some(true)));

    // Another filter is in force from the next event on.
    certes.apply(&with_filter(&subscriber.url(), "event.ref.endsWith(\"dev\")")).await.unwrap();
    let shown = certes.graphql("{ subscriptions { filter } }").await.unwrap();
    assert_eq!(shown["subscriptions"][0]["filter"], "event.ref.endsWith(\"dev\")");
    let wanted = github(&certes.http, "push", "d-3", on_branch.as_bytes()).await.unwrap();
    assert_eq!(wanted.json()["deliveries"], 1);
    subscriber.wait_for(2).await;
    certes.stop().await.unwrap();
}

async fn a_filter_that_is_none_is_refused_with_its_place(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let url = "http://127.0.0.1:9/hook";
    for (filter, said) in [
        ("event.ref == ", "filter: line 1, column 14"),
        ("evnt.ref == \"a\"", "filter: line 1, column 1: `evnt` is not known"),
        ("size(event.ref)", "a condition is true or false, and this gives a number"),
    ] {
        let refused = certes.apply(&with_filter(url, filter)).await.unwrap_err();
        let refused = format!("{refused:#}");
        assert!(refused.contains(said), "{refused}");
    }
    let shown = certes.graphql("{ subscriptions { name } }").await.unwrap();
    assert_eq!(shown["subscriptions"].as_array().unwrap().len(), 0);
    certes.stop().await.unwrap();
}

async fn a_body_is_made_of_the_event_and_signed(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    let transform = |source: &str| manifest(&subscriber.url(), &format!(", transform: '{source}'"));
    certes
        .apply(&transform(
            r#"{"text": "push to " + event.ref, "event": id, "names": [source, type]}"#,
        ))
        .await
        .unwrap();
    let event = github(&certes.http, "push", "d-1", PUSH).await.unwrap().id();
    let received = subscriber.wait_for(1).await;
    let body: Value = serde_json::from_slice(&received[0].body).unwrap();
    let names = ["github", "github/1/push"];
    assert_eq!(body, json!({"text": "push to refs/heads/main", "event": event, "names": names}));
    assert_eq!(received[0].header("content-type"), "application/json");
    // What is signed is what is sent; the judge is not ours.
    let judge = standardwebhooks::Webhook::new(SIGNING_SECRET).unwrap();
    judge.verify(&received[0].body, &received[0].headers).unwrap();

    // No body can be made: nothing is sent, and nothing is tried again.
    certes.apply(&transform(r#"{"text": event.no_such_field}"#)).await.unwrap();
    let event = github(&certes.http, "push", "d-2", PUSH).await.unwrap().id();
    let query = format!(
        "{{ event(id: \"{event}\") {{ deliveries {{ state cause attempts {{ error }} }} }} }}"
    );
    let dead = eventually("the delivery is dead", async || {
        let found = certes.graphql(&query).await.ok()?["event"]["deliveries"][0].clone();
        (found["state"] == "dead").then_some(found)
    })
    .await;
    assert_eq!(dead["cause"], "transform");
    let attempts = dead["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1);
    let error = attempts[0]["error"].as_str().unwrap();
    assert!(error.contains("there is no `no_such_field`"), "{error}");
    let refused = certes.apply(&transform("event.ref + 1 == 2")).await.unwrap_err();
    let refused = format!("{refused:#}");
    assert!(
        refused.contains("transform: ") && refused.contains("gives true or false"),
        "{refused}"
    );
    certes.stop().await.unwrap();
    assert_eq!(subscriber.received().len(), 1);
}

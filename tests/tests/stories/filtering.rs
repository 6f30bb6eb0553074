//! Subscriptions that want some events of a type only.

use super::main_path::manifest;
use tests::{Deployment, Subscriber, Wiring, github, stories};

stories!(only_wanted_events_are_delivered, a_filter_that_is_none_is_refused_with_its_place);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");
const FILTER: &str =
    r#"event.ref == "refs/heads/main" && headers["x-github-event"] == "push""#;

fn with_filter(url: &str, filter: &str) -> String {
    manifest(url, &format!(", filter: '{filter}'"))
}

async fn only_wanted_events_are_delivered(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&with_filter(&subscriber.url(), FILTER)).await.unwrap();
    let on_branch = String::from_utf8(PUSH.to_vec()).unwrap().replace("refs/heads/main", "refs/heads/dev");

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
    assert!(rule.text.contains(r#"`event.ref == "refs/heads/main"`, which does not hold"#), "{}", rule.text);
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
        let refused = certes.apply(&with_filter(url, filter)).await.unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
    let shown = certes.graphql("{ subscriptions { name } }").await.unwrap();
    assert_eq!(shown["subscriptions"].as_array().unwrap().len(), 0);
    certes.stop().await.unwrap();
}

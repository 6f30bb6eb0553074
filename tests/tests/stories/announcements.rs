//! Events of the server's own: whoever subscribes to them is told, nobody forges them, and they do
//! not feed themselves.

use super::main_path::manifest;
use contract::{
    id::Sequence,
    log::{LogFilter, LogQuery},
};
use http::StatusCode;
use proto::{
    client::Bearer,
    v1::{
        HandleIncomingEventRequest, SendOutgoingEventRequest,
        event_broker_client::EventBrokerClient, handle_incoming_event_request as incoming,
        send_outgoing_event_request as outgoing,
    },
};
use serde_json::{Value, json};
use std::time::Duration;
use tests::{Deployment, Subscriber, Wiring, eventually, github, stories};
use tonic::{Code, transport::Channel};

stories!(
    a_dead_delivery_is_told,
    an_erased_delivery_is_told,
    what_operators_do_is_told,
    a_restart_tells_nothing_again,
    what_nobody_wants_is_not_stored,
    nobody_forges_them,
    the_log_is_followed,
);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");
const AT_ONCE: &str = ", backoff: {kind: constant, base: 20ms, jitter: none, max_retries: 1}";

/// One more subscription of the manifest.
fn also(name: &str, url: &str, pattern: &str, more: &str) -> String {
    format!("  - {{name: {name}, url: \"{url}\", events: [\"{pattern}\"]{more}}}\n")
}

/// All events of a type, newest first, with their payloads.
async fn told(certes: &Deployment, name: &str) -> Vec<(String, Value)> {
    let query = format!(
        r#"{{ events(first: 50, filter: {{type: "_certes/1/{name}"}}) {{
            nodes {{ id state payload }} }} }}"#
    );
    let found = certes.graphql(&query).await.unwrap();
    let nodes = found["events"]["nodes"].as_array().unwrap().iter().map(|node| {
        assert_eq!(node["state"], "accepted", "{node}");
        let payload = serde_json::from_str(node["payload"].as_str().unwrap()).unwrap();
        (node["id"].as_str().unwrap().to_owned(), payload)
    });
    nodes.collect()
}

async fn a_dead_delivery_is_told(wiring: Wiring) {
    let dead = Subscriber::behaving(|_n| StatusCode::BAD_GATEWAY).await.unwrap();
    let (ops, all) = (Subscriber::start().await.unwrap(), Subscriber::start().await.unwrap());
    // It is told of dead letters, and cannot take it.
    let deaf = Subscriber::behaving(|_n| StatusCode::BAD_GATEWAY).await.unwrap();
    let clerk = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    let manifest = manifest(&dead.url(), AT_ONCE)
        + &also("ops", &ops.url(), "_certes/1/delivery_dead", "")
        + &also("clerk", &clerk.url(), "_certes/1/key_issued", "")
        + &also("all", &all.url(), "*/1/*", "")
        + &also("deaf", &deaf.url(), "_certes/1/delivery_dead", AT_ONCE);
    certes.apply(&manifest).await.unwrap();
    let event = github(&certes.http, "push", "d-1", PUSH).await.unwrap().id();

    let received = ops.wait_for(1).await;
    let got = &received[0];
    assert_eq!(got.header("certes-event-type"), "_certes/1/delivery_dead");
    let payload: Value = serde_json::from_slice(&got.body).unwrap();
    assert_eq!(payload["event_id"], event);
    assert_eq!(payload["event_type"], "github/1/push");
    assert_eq!(payload["subscription_name"], "ci");
    assert_eq!(payload["cause"], "exhausted");
    assert_eq!(
        (&payload["attempts"], &payload["last_attempt"]["status"]),
        (&json!(2), &json!(502))
    );
    eventually("the deaf one's delivery is dead, too", async || {
        let stats = certes.graphql("{ stats { dead waiting } }").await.ok()?;
        (stats["stats"] == json!({"dead": 2, "waiting": 0})).then_some(())
    })
    .await;
    // Whatever would be told of that is told before what happens after it.
    certes.remote().await.unwrap().execute_one(issue("later")).await.unwrap();
    clerk.wait_for(1).await;
    let all_told = told(&certes, "delivery_dead").await;
    assert_eq!(all_told, [(got.header("webhook-id").to_owned(), payload)]);
    certes.stop().await.unwrap();
    assert_eq!(ops.received().len(), 1);
    let types = all.received();
    let types: Vec<_> = types.iter().map(|got| got.header("certes-event-type")).collect();
    assert_eq!(types, ["github/1/push"], "`*` does not stand for `_certes`");
}

async fn an_erased_delivery_is_told(wiring: Wiring) {
    let busy = Subscriber::behaving(|_n| StatusCode::SERVICE_UNAVAILABLE).await.unwrap();
    let ops = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    let slow = ", backoff: {kind: constant, base: 1h, jitter: none, max_retries: 9}";
    let manifest =
        manifest(&busy.url(), slow) + &also("ops", &ops.url(), "_certes/1/delivery_dead", "");
    certes.apply(&manifest).await.unwrap();
    let event = github(&certes.http, "push", "d-1", PUSH).await.unwrap().id();
    busy.wait_for(1).await;
    eventually("its attempt is recorded", async || {
        let query =
            format!("{{ event(id: \"{event}\") {{ deliveries {{ attempts {{ number }} }} }} }}");
        let found = certes.graphql(&query).await.ok()?;
        (found["event"]["deliveries"][0]["attempts"].as_array()?.len() == 1).then_some(())
    })
    .await;
    let target = contract::retention::ErasureTarget::Event(event.parse().unwrap());
    certes.remote().await.unwrap().erase(target).await.unwrap();
    let received = ops.wait_for(1).await;
    let payload: Value = serde_json::from_slice(&received[0].body).unwrap();
    assert_eq!((&payload["event_id"], &payload["cause"]), (&json!(event), &json!("erased")));
    assert_eq!(
        (&payload["attempts"], &payload["last_attempt"]["status"]),
        (&json!(1), &json!(503))
    );
    certes.stop().await.unwrap();
}

fn issue(name: &str) -> contract::command::Command {
    contract::command::Command::IssueKey {
        name: name.to_owned(),
        roles: contract::access::Roles::parse(["producer"]).unwrap(),
        subscriber: None,
        expires_at: None,
    }
}

async fn what_operators_do_is_told(wiring: Wiring) {
    let (ci, ops) = (Subscriber::start().await.unwrap(), Subscriber::start().await.unwrap());
    let certes = Deployment::start(wiring).await.unwrap();
    let ops_first = format!("subscriptions:\n{}", also("ops", &ops.url(), "_certes/1/*", ""));
    certes.apply(&ops_first).await.unwrap();
    certes.apply(&manifest(&ci.url(), "")).await.unwrap();
    for status in ["pauseSubscription", "resumeSubscription"] {
        certes.graphql(&format!("mutation {{ {status}(name: \"ci\") {{ name }} }}")).await.unwrap();
    }
    let key = certes.remote().await.unwrap().execute_one(issue("short-lived")).await.unwrap();
    let id = key.id.unwrap();
    let revoke = contract::command::Command::RevokeKey(id.parse().unwrap());
    certes.remote().await.unwrap().execute_one(revoke).await.unwrap();
    eventually("all is told", async || {
        let received = ops.received();
        let about = |name: &str, field: &str, value: &str| {
            received.iter().any(|got| {
                let payload: Value = serde_json::from_slice(&got.body).unwrap();
                got.header("certes-event-type") == format!("_certes/1/{name}")
                    && payload[field] == value
            })
        };
        let told = about("subscription_paused", "subscription_name", "ci")
            && about("subscription_resumed", "subscription_name", "ci")
            && about("key_issued", "key_name", "short-lived")
            && about("key_revoked", "key_id", &id)
            && about("source_changed", "scheme", "github")
            && about("schema_published", "event_type", "github/1/push");
        told.then_some(())
    })
    .await;
    // By whom, too.
    let paused = told(&certes, "subscription_paused").await;
    assert!(paused[0].1["actor"].as_str().unwrap().starts_with("key_"), "{paused:?}");
    let published = told(&certes, "schema_published").await;
    assert!(
        !published
            .iter()
            .any(|(_, news)| { news["event_type"].as_str().unwrap().starts_with("_certes") })
    );
    certes.stop().await.unwrap();
}

async fn a_restart_tells_nothing_again(wiring: Wiring) {
    let (ci, ops) = (Subscriber::start().await.unwrap(), Subscriber::start().await.unwrap());
    let certes = Deployment::start(wiring).await.unwrap();
    let patterns = "_certes/1/source_changed\", \"_certes/1/key_issued";
    certes
        .apply(&(manifest(&ci.url(), "") + &also("ops", &ops.url(), patterns, "")))
        .await
        .unwrap();
    ops.wait_for(1).await;
    let before = told(&certes, "source_changed").await;
    let certes = certes.restart(wiring).await.unwrap();
    certes.remote().await.unwrap().execute_one(issue("later")).await.unwrap();
    eventually("what came later is told", async || {
        (!told(&certes, "key_issued").await.is_empty()).then_some(())
    })
    .await;
    assert_eq!(before.len(), 1);
    assert_eq!(told(&certes, "source_changed").await, before);
    certes.stop().await.unwrap();
}

async fn what_nobody_wants_is_not_stored(wiring: Wiring) {
    let (ci, ops) = (Subscriber::start().await.unwrap(), Subscriber::start().await.unwrap());
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&ci.url(), "")).await.unwrap();
    let only = also("ops", &ops.url(), "_certes/1/key_issued", "");
    certes.apply(&format!("subscriptions:\n{only}")).await.unwrap();
    certes.remote().await.unwrap().execute_one(issue("later")).await.unwrap();
    ops.wait_for(1).await;
    let stats = certes.graphql("{ stats { accepted quarantined } }").await.unwrap();
    assert_eq!(stats["stats"], json!({"accepted": 1, "quarantined": 0}));
    certes.stop().await.unwrap();
}

async fn nobody_forges_them(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let channel = Channel::from_shared(certes.grpc.clone()).unwrap().connect().await.unwrap();
    let bearer = Bearer::new(&certes.key).unwrap();
    let mut broker = EventBrokerClient::with_interceptor(channel, bearer);
    let forged = HandleIncomingEventRequest {
        event_uri: "_certes/1/delivery_dead".to_owned(),
        content: Some(incoming::Content::Payload(b"{}".as_slice().into())),
        content_type: "application/json".to_owned(),
        ..Default::default()
    };
    let refused = broker.handle_incoming_event(forged).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let auth = format!("Bearer {}", certes.key.expose());
    let headers = [("content-type", "application/json"), ("authorization", auth.as_str())];
    let url = format!("{}/events/_certes/1/delivery_dead", certes.http);
    let refused = tests::post(&url, &headers, b"{}".to_vec()).await.unwrap();
    assert_eq!(refused.status, 403);

    let to_all = SendOutgoingEventRequest {
        subscriber: "*".to_owned(),
        event_uri: "_certes/1/delivery_dead".to_owned(),
        content: Some(outgoing::Content::Payload(b"{}".as_slice().into())),
        ..Default::default()
    };
    let refused = broker.send_outgoing_event(to_all).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    // A third party names its types itself.
    let source = r#"sources: [{name: forger, verify: none, event_type: "{header:x-type}"}]"#;
    certes.apply(source).await.unwrap();
    let url = format!("{}/events/forger", certes.http);
    for forged in ["_certes/1/delivery_dead", "_certes/1/key_issued"] {
        let headers = [("content-type", "application/json"), ("x-type", forged)];
        let refused = tests::post(&url, &headers, b"{}".to_vec()).await.unwrap();
        assert_eq!(refused.status, 403, "{forged}: {:?}", refused.body);
    }
    let stats = certes.graphql("{ stats { accepted quarantined } }").await.unwrap();
    assert_eq!(stats["stats"], json!({"accepted": 0, "quarantined": 0}));
    certes.stop().await.unwrap();
}

async fn the_log_is_followed(wiring: Wiring) {
    let ci = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&ci.url(), "")).await.unwrap();
    let remote = certes.remote().await.unwrap();
    let kinds = vec!["attempt_recorded".to_owned()];
    let filter = LogFilter { kinds, ..LogFilter::default() };
    let wait = Duration::from_secs(5);
    let query = LogQuery { filter, wait, ..LogQuery::default() };
    github(&certes.http, "push", "d-1", PUSH).await.unwrap();
    let mut after = Sequence(0);
    let fact = loop {
        let page = remote.facts(LogQuery { after, ..query.clone() }).await.unwrap();
        after = page.read_to;
        if let Some(fact) = page.facts.into_iter().next() {
            break fact;
        }
    };
    assert_eq!(fact.body["next"], "done");
    let query = r#"{ log(first: 2, chain: TRAFFIC, kind: "event_accepted") {
        nodes { sequence chain kind actor body prevHash } pageInfo { hasNextPage } } }"#;
    let found = certes.graphql(query).await.unwrap();
    let node = &found["log"]["nodes"][0];
    assert_eq!((&node["chain"], &node["kind"]), (&json!("TRAFFIC"), &json!("event_accepted")));
    assert!(node["body"]["event"]["uri"].is_string(), "{node}");
    // Reading the log is a right of its own.
    let made = remote.execute_one(issue("no reader")).await.unwrap();
    let secret = made.revealed.unwrap();
    let refused = certes.graphql_as(secret.expose(), "{ log { nodes { kind } } }").await.unwrap();
    assert_eq!(refused.json()["errors"][0]["extensions"]["code"], "permission_denied");
    certes.stop().await.unwrap();
}

//! The main job: a real webhook in, a signed delivery out.

use serde_json::json;
use tests::{Deployment, SIGNING_SECRET, Subscriber, Wiring, eventually, github, stories};

stories!(
    a_push_arrives_once_and_verifies,
    a_repeated_delivery_id_is_one_event,
    everything_can_be_asked
);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");

/// GitHub as a source, its schemas, and one subscription of everything it sends.
pub fn manifest(url: &str, more: &str) -> String {
    format!(
        r#"
sources:
  - {{name: github, verify: github, secret: {{env: GITHUB_SECRET}},
     event_type: "github/1/{{header:x-github-event}}"}}
schemas: [{{dir: SCHEMAS/github}}]
subscriptions:
  - {{name: ci, url: "{url}", events: ["github/1/push", "github/1/*"], secret: {{env: SIGNING_SECRET}}{more}}}
"#
    )
}

async fn a_push_arrives_once_and_verifies(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&subscriber.url(), "")).await.unwrap();

    let answer =
        github(&certes.http, "push", "72d3162e-cc78-11e3-81ab-4c9367dc0958", PUSH).await.unwrap();
    assert_eq!(answer.status, 202, "{:?}", answer.body);
    assert_eq!(answer.json()["deliveries"], 1);

    let received = subscriber.wait_for(1).await;
    let got = &received[0];
    assert_eq!(got.body, PUSH, "byte for byte");
    assert_eq!(got.header("webhook-id"), answer.id());
    assert_eq!(got.header("certes-event-type"), "github/1/push");
    assert_eq!(got.header("certes-attempt"), "1");
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("x-github-event"), "push");
    // The judge is not ours.
    let judge = standardwebhooks::Webhook::new(SIGNING_SECRET).unwrap();
    judge.verify(&got.body, &got.headers).unwrap();
    let hmac_sig = got.header("hmac-sig");
    assert!(hmac_sig.starts_with("SHA256 ") && hmac_sig.len() == 7 + 64, "{hmac_sig}");

    eventually("the delivery is recorded", async || {
        let stats = certes.graphql("{ stats { delivered waiting } }").await.ok()?;
        (stats["stats"] == json!({"delivered": 1, "waiting": 0})).then_some(())
    })
    .await;
    certes.stop().await.unwrap();
    assert_eq!(subscriber.received().len(), 1, "once");
}

async fn a_repeated_delivery_id_is_one_event(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&subscriber.url(), "")).await.unwrap();

    let first = github(&certes.http, "push", "d-1", PUSH).await.unwrap();
    let again = github(&certes.http, "push", "d-1", PUSH).await.unwrap();
    assert_eq!((first.status, again.status), (202.try_into().unwrap(), 202.try_into().unwrap()));
    assert_eq!(first.id(), again.id());
    assert_eq!(again.headers["certes-duplicate"], "true");
    assert!(!first.headers.contains_key("certes-duplicate"));

    let mut other = PUSH.to_vec();
    other.push(b'\n');
    let conflict = github(&certes.http, "push", "d-1", &other).await.unwrap();
    assert_eq!(conflict.status, 409);
    assert_eq!(conflict.json()["code"], "idempotency_conflict");

    subscriber.wait_for(1).await;
    certes.stop().await.unwrap();
    assert_eq!(subscriber.received().len(), 1);
}

async fn everything_can_be_asked(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&subscriber.url(), "")).await.unwrap();
    for n in 0..5 {
        github(&certes.http, "push", &format!("d-{n}"), PUSH).await.unwrap();
    }
    subscriber.wait_for(5).await;

    let query = r#"{ events(first: 3, filter: {type: "github/1/push"}) {
        nodes { id type state receivedAt deliveries { id state subscription { name }
                attempts { number status error durationMs } } }
        pageInfo { hasNextPage endCursor } } }"#;
    let events = eventually("all five are delivered", async || {
        let data = certes.graphql(query).await.ok()?;
        let nodes = data["events"]["nodes"].as_array()?.clone();
        let delivered = |node: &serde_json::Value| node["deliveries"][0]["state"] == "delivered";
        nodes.iter().all(delivered).then_some(data["events"].clone())
    })
    .await;
    assert_eq!(events["nodes"].as_array().unwrap().len(), 3);
    assert_eq!(events["nodes"][0]["deliveries"][0]["subscription"]["name"], "ci");
    assert_eq!(events["nodes"][0]["deliveries"][0]["attempts"][0]["status"], 204);
    assert_eq!(events["pageInfo"]["hasNextPage"], true);

    let cursor = events["pageInfo"]["endCursor"].as_str().unwrap();
    let rest = format!(
        "{{ events(first: 3, after: \"{cursor}\") {{ nodes {{ id }} pageInfo {{ hasNextPage }} }} }}"
    );
    let rest = certes.graphql(&rest).await.unwrap();
    assert_eq!(rest["events"]["nodes"].as_array().unwrap().len(), 2);
    assert_eq!(rest["events"]["pageInfo"]["hasNextPage"], false);

    let delivery = events["nodes"][0]["deliveries"][0]["id"].as_str().unwrap();
    let resend = format!("mutation {{ resendDelivery(id: \"{delivery}\") {{ state }} }}");
    assert_eq!(certes.graphql(&resend).await.unwrap()["resendDelivery"]["state"], "waiting");
    let received = subscriber.wait_for(6).await;
    assert_eq!(received[5].header("webhook-id"), events["nodes"][0]["id"].as_str().unwrap());

    let lists = certes
        .graphql("{ sources { name verify } subscriptions { name url } schemas { uri version } }");
    let lists = lists.await.unwrap();
    assert_eq!(lists["sources"], json!([{"name": "github", "verify": "github"}]));
    assert_eq!(lists["subscriptions"][0]["url"], subscriber.url());
    let schemas = lists["schemas"].as_array().unwrap();
    assert!(
        schemas.iter().any(|schema| schema == &json!({"uri": "github/1/push", "version": "1.0"}))
    );
    certes.stop().await.unwrap();
}

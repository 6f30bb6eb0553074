//! How deliveries are sent, as a subscription wants it: its headers, and what proves who sends.

use super::main_path::manifest;
use serde_json::json;
use tests::{Deployment, Subscriber, Wiring, github, stories};

stories!(a_subscription_adds_headers_and_proves_who_sends);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");

async fn a_subscription_adds_headers_and_proves_who_sends(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    let refused = manifest(&subscriber.url(), ", headers: {Webhook-Id: mine}");
    let refused = format!("{:#}", certes.apply(&refused).await.unwrap_err());
    assert!(refused.contains("`webhook-id` cannot be set: it is the server's own"), "{refused}");

    let more = r#", headers: {X-Tenant: meetly},
        auth: {basic: {username: ada, password: {env: GITHUB_SECRET}}}"#;
    certes.apply(&manifest(&subscriber.url(), more)).await.unwrap();
    github(&certes.http, "push", "d-1", PUSH).await.unwrap();
    let got = subscriber.wait_for(1).await.remove(0);
    assert_eq!((got.header("x-tenant"), &got.body[..]), ("meetly", PUSH));
    let basic = "Basic YWRhOkl0J3MgYSBTZWNyZXQgdG8gRXZlcnlib2R5";
    assert_eq!(got.header("authorization"), basic);

    let fields = "headers { name value } auth { method username secretFingerprint }";
    let data = certes.graphql(&format!("{{ subscriptions {{ {fields} }} }}")).await.unwrap();
    let ci = &data["subscriptions"][0];
    assert_eq!(ci["headers"], json!([{"name": "x-tenant", "value": "meetly"}]));
    assert_eq!((&ci["auth"]["method"], &ci["auth"]["username"]), (&json!("basic"), &json!("ada")));
    assert_eq!(ci["auth"]["secretFingerprint"].as_str().unwrap().len(), 16);
    // Another way, by the API; what is not said of `auth` is no longer so.
    let change = format!(
        r#"mutation {{ updateSubscription(input: {{name: "ci", url: "{}", events: ["github/1/*"],
            auth: {{header: {{name: "X-Api-Key", value: "hush-hush"}}}}}}) {{ subscription {{ {fields} }} }} }}"#,
        subscriber.url()
    );
    let changed = certes.graphql(&change).await.unwrap();
    let ci = &changed["updateSubscription"]["subscription"];
    assert_eq!((&ci["headers"], &ci["auth"]["method"]), (&json!([]), &json!("header")));
    github(&certes.http, "push", "d-2", PUSH).await.unwrap();
    let got = subscriber.wait_for(2).await.remove(1);
    assert_eq!((got.header("x-api-key"), got.header("authorization")), ("hush-hush", ""));
    // Neither the log nor what is kept of the attempts shows a secret.
    let seen = "{ log(first: 200) { nodes { body } }
        deliveries { nodes { attempts { exchange { requestHeaders { name value } } } } } }";
    let seen = certes.graphql(seen).await.unwrap().to_string();
    assert!(seen.contains("x-api-key") && seen.contains("\"*** "), "{seen}");
    for secret in ["hush-hush", "Secret to Everybody", "YWRhOkl0"] {
        assert!(!seen.contains(secret), "{secret}");
    }
    certes.stop().await.unwrap();
}

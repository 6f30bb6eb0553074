//! How deliveries are sent, as a subscription wants it: its headers, and what proves who sends.

use super::main_path::manifest;
use base64::{Engine, engine::general_purpose::STANDARD};
use certes::verify::{self, Terms, Verdict};
use contract::{
    clock::{Clock, SystemClock},
    secret::Secret,
};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::json;
use std::time::Duration;
use tests::{Deployment, Received, SIGNING_SECRET, Subscriber, Wiring, get, github, stories};

stories!(
    a_subscription_adds_headers_and_proves_who_sends,
    a_key_signs_beside_the_secret_and_its_public_half_is_published,
    payloads_come_in_the_form_that_is_wanted,
);

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

async fn a_key_signs_beside_the_secret_and_its_public_half_is_published(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&subscriber.url(), "")).await.unwrap();
    let rotate = r#"mutation { rotateSubscriptionSecret(name: "ci", scheme: "v1a") {
        secret subscription { id secrets { publicKey } } } }"#;
    let made = certes.graphql(rotate).await.unwrap();
    let made = &made["rotateSubscriptionSecret"];
    let public = made["secret"].as_str().unwrap();
    let secrets = &made["subscription"]["secrets"];
    assert_eq!(*secrets, json!([{"publicKey": null}, {"publicKey": public}]));
    // Everybody may have it.
    let id = made["subscription"]["id"].as_str().unwrap();
    let published = format!("{}/.well-known/webhook-keys/{id}", certes.http);
    let answer = get(&published).await.unwrap();
    assert_eq!(
        (answer.status, &answer.json()["keys"][0]["whpk"]),
        (200.try_into().unwrap(), &json!(public))
    );
    assert_eq!(answer.json()["keys"][0]["crv"], "Ed25519");
    for nobody in ["sub_x", &id.replace(char::is_numeric, "0")] {
        let path = format!("{}/.well-known/webhook-keys/{nobody}", certes.http);
        assert_eq!(get(&path).await.unwrap().status, 404);
    }
    // A manifest that names the secret alone leaves the key as it is.
    certes.apply(&manifest(&subscriber.url(), "")).await.unwrap();
    github(&certes.http, "push", "d-1", PUSH).await.unwrap();
    let got = subscriber.wait_for(1).await.remove(0);
    standardwebhooks::Webhook::new(SIGNING_SECRET)
        .unwrap()
        .verify(&got.body, &got.headers)
        .unwrap();
    let codes: Vec<_> = got.header("webhook-signature").split(' ').collect();
    let [_, code] = codes[..] else { unreachable!("a secret and a key: {codes:?}") };
    let code = STANDARD.decode(code.strip_prefix("v1a,").unwrap()).unwrap();
    let key = STANDARD.decode(public.strip_prefix("whpk_").unwrap()).unwrap();
    let before = format!("{}.{}.", got.header("webhook-id"), got.header("webhook-timestamp"));
    let key = UnparsedPublicKey::new(&ED25519, key);
    key.verify(&[before.as_bytes(), &got.body].concat(), &code).unwrap();
    assert!(key.verify(&[before.as_bytes(), b"{}"].concat(), &code).is_err());
    // What `certes verify` says of it, by the secret and by the key.
    for secret in [SIGNING_SECRET, public] {
        let good = verdict(&got, secret, &got.body);
        assert!(good.verified, "{good:?}");
        let trimmed = verdict(&got, secret, &[&got.body[..], b"\n"].concat());
        assert!(!trimmed.verified && trimmed.findings[0].contains("line end"), "{trimmed:?}");
    }
    // What is revealed is the secret, and the log has no private key.
    let reveal = r#"mutation { revealSubscriptionSecret(name: "ci") { secret } }"#;
    let shown = certes.graphql(reveal).await.unwrap();
    assert_eq!(shown["revealSubscriptionSecret"]["secret"], SIGNING_SECRET);
    let log = certes.graphql("{ log(first: 200) { nodes { body } } }").await.unwrap().to_string();
    assert!(log.contains(public) && !log.contains("whsk_"));
    certes.stop().await.unwrap();
}

async fn payloads_come_in_the_form_that_is_wanted(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    let judge = standardwebhooks::Webhook::new(SIGNING_SECRET).unwrap();
    let mut seen = 0;
    for (format, content_type) in [
        ("json", "application/json"),
        ("protobuf", "application/protobuf"),
        ("cloudevents-binary", "application/json"),
        ("cloudevents-structured", "application/cloudevents+json; charset=utf-8"),
    ] {
        let more = format!(", format: {format}");
        certes.apply(&manifest(&subscriber.url(), &more)).await.unwrap();
        let data = certes.graphql("{ subscriptions { format } }").await.unwrap();
        assert_eq!(data["subscriptions"][0]["format"], format);
        let event = github(&certes.http, "push", format, PUSH).await.unwrap().id();
        seen += 1;
        let got = subscriber.wait_for(seen).await.remove(seen - 1);
        assert_eq!(got.header("content-type"), content_type);
        let payload: serde_json::Value = serde_json::from_slice(PUSH).unwrap();
        match format {
            "json" => {
                assert_eq!(
                    serde_json::from_slice::<serde_json::Value>(&got.body).unwrap(),
                    payload
                );
                assert!(got.body.starts_with(br#"{"after":"#), "sorted, without spaces");
            }
            "protobuf" => {
                // The reference in the first field that has text.
                let text = payload["ref"].as_str().unwrap().as_bytes();
                assert!(got.body.windows(text.len()).any(|window| window == text));
                assert!(got.body.len() < PUSH.len() && !got.body.starts_with(b"{"));
            }
            "cloudevents-binary" => {
                assert_eq!((&got.body[..], got.header("ce-id")), (PUSH, event.as_str()));
                assert_eq!(got.header("ce-source"), "/events/github");
            }
            _ => {
                let document: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
                assert_eq!((&document["data"], &document["id"]), (&payload, &json!(event)));
            }
        }
        // The library wants text; binary is judged by `certes verify`, which knows the same rules.
        match format {
            "protobuf" => {
                let verdict = verdict(&got, SIGNING_SECRET, &got.body);
                assert!(verdict.verified, "{verdict:?}");
            }
            _ => judge.verify(&got.body, &got.headers).unwrap(),
        }
    }
    certes.stop().await.unwrap();
}

/// What `certes verify` says of a delivery with this body.
fn verdict(got: &Received, secret: &str, body: &[u8]) -> Verdict {
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let headers: Vec<_> =
        got.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let (secrets, now) = ([Secret::new(secret)], SystemClock.now());
    let terms = Terms { secrets: &secrets, now, tolerance: Duration::from_secs(300) };
    verify::judge(&verify::Received { headers: &headers, body }, &terms)
}

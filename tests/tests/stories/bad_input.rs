//! What bad input gets: a stable code, a clear text, and nothing half stored.

use super::main_path::manifest;
use tests::{Answer, Deployment, Subscriber, Wiring, get, github, post, stories};

stories!(refusals_have_stable_codes, every_broken_field_is_named, quarantine_keeps_what_is_broken);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");

fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{:?}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.json()["code"], code);
    assert_eq!(answer.json()["status"], status);
}

async fn refusals_have_stable_codes(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&subscriber.url(), "")).await.unwrap();
    let base = &certes.http;
    let bearer = format!("Bearer {}", certes.key.expose());
    let json = ("content-type", "application/json");
    let auth = ("authorization", bearer.as_str());

    let send = async |path: &str, headers: &[(&str, &str)], body: &[u8]| {
        post(&format!("{base}/events/{path}"), headers, body.to_vec()).await.unwrap()
    };

    let event = ("x-github-event", "push");
    assert_problem(&send("github", &[json, event], PUSH).await, 401, "invalid_signature");
    let wrong = ("x-hub-signature-256", "sha256=00");
    assert_problem(&send("github", &[json, event, wrong], PUSH).await, 401, "invalid_signature");
    assert_problem(&send("nobody", &[json], PUSH).await, 404, "unknown_source");
    let unknown = github(base, "no_such_event", "d-1", b"{}").await.unwrap();
    assert_problem(&unknown, 404, "unknown_event_type");
    let no_json = github(base, "push", "d-2", b"{\"ref\": ").await.unwrap();
    assert_problem(&no_json, 422, "malformed_payload");
    assert_problem(&send("github/1/push", &[json], PUSH).await, 401, "unauthenticated");
    let zero = send("github/zero/push", &[json, auth], PUSH).await;
    assert_problem(&zero, 400, "invalid_event_uri");
    let own = send("_certes/1/delivery_dead", &[json, auth], b"{}").await;
    assert_problem(&own, 403, "permission_denied");
    let large = vec![b' '; 5 * 1024 * 1024 + 1];
    let large = send("github/1/push", &[json, auth], &large).await;
    assert_problem(&large, 413, "body_too_large");
    assert_problem(&get(&format!("{base}/nowhere")).await.unwrap(), 404, "not_found");

    let nothing = certes.graphql("{ stats { accepted quarantined } }").await.unwrap();
    assert_eq!(nothing["stats"], serde_json::json!({"accepted": 0, "quarantined": 0}));
    certes.stop().await.unwrap();
}

async fn every_broken_field_is_named(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&subscriber.url(), "")).await.unwrap();
    let mut push: serde_json::Value = serde_json::from_slice(PUSH).unwrap();
    push["repository"]["id"] = "not a number".into();
    push["commits"][0]["author"] = 7.into();
    push["forced"] = "yes".into();
    let body = push.to_string();
    let refused = github(&certes.http, "push", "d-1", body.as_bytes()).await.unwrap();
    assert_problem(&refused, 422, "contract_violation");
    let errors = refused.json()["errors"].clone();
    let mut paths: Vec<_> =
        errors.as_array().unwrap().iter().map(|error| error["path"].as_str().unwrap()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["commits[0].author", "forced", "repository.id"]);
    for error in errors.as_array().unwrap() {
        for key in ["expected", "found", "rule"] {
            assert!(!error[key].as_str().unwrap().is_empty(), "{error}");
        }
    }
    certes.stop().await.unwrap();
}

async fn quarantine_keeps_what_is_broken(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    let manifest = manifest(&subscriber.url(), "")
        .replace("verify: github,", "verify: github, invalid: quarantine, unvalidated: accept,");
    certes.apply(&manifest).await.unwrap();
    let broken = github(&certes.http, "push", "d-1", br#"{"ref": 5}"#).await.unwrap();
    assert_eq!(broken.status, 202);
    assert_eq!(broken.json()["quarantined"], true);
    let unknown = github(&certes.http, "brand_new", "d-2", b"{}").await.unwrap();
    assert_eq!((unknown.status.as_u16(), &unknown.json()["deliveries"]), (202, &1.into()));
    subscriber.wait_for(1).await;
    let query = "{ events(filter: {state: \"quarantined\"}) { nodes { id reason } } }";
    let kept = certes.graphql(query).await.unwrap();
    assert_eq!(kept["events"]["nodes"][0]["id"], broken.id());
    assert!(!kept["events"]["nodes"][0]["reason"].as_str().unwrap().is_empty());
    certes.stop().await.unwrap();
    assert_eq!(subscriber.received().len(), 1, "the quarantined one goes to nobody");
}

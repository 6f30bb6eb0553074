//! The command line, word for word as the documents say.

use crate::process::{Process, apply, certes, printed};
use std::os::unix::fs::PermissionsExt;
use tests::{Subscriber, eventually, get};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_needs_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let subscriber = Subscriber::start().await.unwrap();
    let server = Process::serve(path);
    let mode = std::fs::metadata(path.join("data/admin.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let applied = apply(path, &subscriber.url());
    assert!(applied.contains("created   source github"), "{applied}");
    assert!(applied.contains("created   subscription ci"), "{applied}");
    let again = printed(&certes(path, &["apply", "-f", "certes.yaml"]));
    assert!(again.starts_with("0 changed"), "{again}");
    let dry = printed(&certes(path, &["apply", "-f", "certes.yaml", "--prune", "--dry-run"]));
    assert!(dry.starts_with("0 would be changed"), "{dry}");

    let push = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/examples/github/push.json");
    let sent = printed(&certes(path, &["send", "github", "push", push]));
    assert!(sent.starts_with("202 Accepted {\"id\":\"evt_"), "{sent}");
    subscriber.wait_for(1).await;
    let listed = printed(&certes(path, &["event", "list", "--json"]));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let id = listed[0]["id"].as_str().unwrap();
    // It is recorded a moment after the subscriber has it.
    let shown = eventually("the attempt in the trail", || async {
        let shown = printed(&certes(path, &["event", "get", id]));
        shown.contains("attempt 1").then_some(shown)
    });
    assert!(shown.await.contains("github/1/push"));
    let payload = certes(path, &["event", "get", id, "--payload"]);
    assert_eq!(payload.stdout, std::fs::read(push).unwrap());
    let deliveries = printed(&certes(path, &["delivery", "list", "--state", "delivered"]));
    assert!(deliveries.contains(id), "{deliveries}");

    let why = printed(&certes(path, &["why", id, "ci"]));
    assert!(why.contains("it was delivered") && why.contains("pattern"), "{why}");
    let each = printed(&certes(path, &["why", id]));
    assert!(each.contains("ci") && each.contains("delivered"), "{each}");
    let history = printed(&certes(path, &["history", "subscription/ci"]));
    assert!(history.contains("subscription_created by key_"), "{history}");
    let state = printed(&certes(path, &["state", "--at", "2000-01-01T00:00:00Z"]));
    assert!(state.starts_with("nothing had happened yet"), "{state}");
    assert!(printed(&certes(path, &["state", "--json"])).contains("\"ci\""));
    assert_eq!(certes(path, &["history", "ci"]).status.code(), Some(2));

    let token = printed(&certes(path, &["key", "create", "--role", "producer"]));
    assert!(token.starts_with("certes_"), "{token}");
    assert!(!printed(&certes(path, &["key", "list"])).contains(token.trim()));
    assert!(printed(&certes(path, &["schema", "list"])).contains("github/1/push"));
    assert!(printed(&certes(path, &["subscription", "list"])).contains("ci"));
    assert!(printed(&certes(path, &["doctor"])).contains("ok   server"));
    let metrics = get(&format!("{}/metrics", server.admin)).await.unwrap();
    assert!(String::from_utf8_lossy(&metrics.body).contains("certes_"));
    assert!(server.terminate());
    assert!(!path.join("data/server.json").exists());
    let verified = printed(&certes(path, &["log", "verify"]));
    assert!(verified.contains("ok"), "{verified}");
}

#[test]
fn mistakes_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("certes.toml"), "[gateway]\nhtpp = \"127.0.0.1:0\"\n").unwrap();
    let refused = certes(dir.path(), &["serve"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{text}");
    assert!(text.contains("certes.toml") && text.contains("did you mean `http`"), "{text}");
    std::fs::remove_file(dir.path().join("certes.toml")).unwrap();

    let nobody = certes(dir.path(), &["event", "list", "--server", "http://127.0.0.1:9"]);
    assert_eq!(nobody.status.code(), Some(1));
    let usage = certes(dir.path(), &["event", "lst"]);
    assert_eq!(usage.status.code(), Some(2));
    let preview = "{kind: linear, base: 10s, jitter: none, max_retries: 3}";
    let preview = printed(&certes(dir.path(), &["backoff", "preview", preview]));
    assert!(preview.contains("30s") && preview.contains("1m"), "{preview}");
    assert!(printed(&certes(dir.path(), &["config", "show"])).contains("gateway.http"));
}

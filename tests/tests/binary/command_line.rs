//! The command line, word for word as the documents say.

use crate::process::{Process, apply, certes, printed};
use std::os::unix::fs::PermissionsExt;
use tests::{Subscriber, get};

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
    let shown = printed(&certes(path, &["event", "get", id]));
    assert!(shown.contains("github/1/push") && shown.contains("attempt 1"), "{shown}");
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

#[test]
fn a_contract_is_checked_published_and_explained() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(path.join("contracts/shop/1")).unwrap();
        std::fs::write(path.join("contracts/shop/1").join(name), text).unwrap();
    };
    let contract = |fields: &str| {
        write("paid.proto", &format!("syntax = 'proto3'; message Paid {{ {fields} }}"));
    };
    let _server = Process::serve(path);
    contract("int64 cents = 1;");
    write("paid.example.json", r#"{"cents": "12"}"#);
    let run = |args: &[&str]| certes(path, args);
    let checked = printed(&run(&["schema", "check", "contracts"]));
    assert_eq!(checked, "would be published shop/1/paid 1.0\n");
    let published = printed(&run(&["schema", "publish", "contracts"]));
    assert_eq!(published, "published shop/1/paid 1.0\n");
    let tar = ["-C", "contracts", "-czf", "contracts.tgz", "."];
    let packed = std::process::Command::new("tar").args(tar).current_dir(path).status().unwrap();
    assert!(packed.success());
    let again = printed(&run(&["schema", "publish", "contracts.tgz"]));
    assert_eq!(again, "unchanged shop/1/paid 1.0\n");

    std::fs::write(
        path.join("certes.yaml"),
        "subscriptions: [{name: ledger, url: 'https://example.com/', events: ['shop/1/paid']}]",
    )
    .unwrap();
    printed(&run(&["apply", "-f", "certes.yaml"]));
    contract("string cents = 1;");
    write("paid.example.json", r#"{"cents": "twelve"}"#);
    let refused = run(&["schema", "check", "contracts"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(text.contains("breaking   field `Paid.cents` is of type string"), "{text}");
    assert!(text.contains("hits the subscriptions ledger"), "{text}");
    // One refusal refuses all, and lists every verdict.
    write("other.proto", "syntax = 'proto3'; message Other {}");
    let refused = run(&["schema", "publish", "contracts"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(text.starts_with("would be published shop/1/other 1.0\n"), "{text}");
    assert!(text.contains("refused shop/1/paid: breaks 1.0"), "{text}");
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(errors.contains("1 of 2 schemas are refused, so none is published"), "{errors}");
    assert!(!printed(&run(&["schema", "list"])).contains("shop/1/other"));
    std::fs::remove_file(path.join("contracts/shop/1/other.proto")).unwrap();
    let late = run(&["schema", "publish", "contracts", "--next-major", "--expect", "1.7"]);
    assert_eq!(late.status.code(), Some(1));
    let text = String::from_utf8_lossy(&late.stdout).into_owned();
    assert!(text.contains("current version of shop/1/paid is 1.0"), "{text}");
    let next =
        printed(&run(&["schema", "publish", "contracts", "--next-major", "--expect", "1.0"]));
    assert!(next.starts_with("published shop/2/paid 2.0\n"), "{next}");

    let example = printed(&run(&["schema", "example", "shop/2/paid"]));
    assert_eq!(example, "{\n  \"cents\": \"cents\"\n}\n");
    let example = printed(&run(&["schema", "example", "shop/1/paid", "--stored"]));
    assert_eq!(example, "{\"cents\": \"12\"}\n");
    let diff = printed(&run(&["schema", "diff", "shop/1/paid", "1.0", "2.0"]));
    assert!(diff.contains("breaking   field `Paid.cents`"), "{diff}");
    assert!(printed(&run(&["schema", "get", "shop/1/paid"])).contains("int64 cents = 1;"));
    printed(&run(&["schema", "get", "shop/1/paid", "--version", "1.0", "--out", "old"]));
    assert!(path.join("old/shop/1/paid.proto").exists());
    assert!(path.join("old/shop/1/paid.example.json").exists());
    assert_eq!(run(&["schema", "delete", "shop/1/paid"]).status.code(), Some(1), "it is needed");
    assert_eq!(printed(&run(&["schema", "delete", "shop/2/paid"])), "deleted shop/2/paid\n");
    assert!(printed(&run(&["schema", "list", "shop/2/paid"])).contains("2.0"));
}

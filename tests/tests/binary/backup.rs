//! A backup of the running binary becomes another server with the same events.

use crate::process::{self, Process, certes, printed};
use tests::{Subscriber, github};

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_server_is_backed_up_and_restored_elsewhere() {
    let [dir, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let server = Process::serve(dir.path());
    let subscriber = Subscriber::start().await.unwrap();
    process::apply(dir.path(), &subscriber.url());
    let mut ids = Vec::new();
    for n in 0..5 {
        let answer = github(&server.http, "push", &format!("before-{n}"), PUSH).await.unwrap();
        ids.push(answer.id());
    }
    let made = printed(&certes(dir.path(), &["backup", "copy", "--json"]));
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["payloads"], 5);
    assert_eq!(made["missing_schemas"], serde_json::json!([]));
    assert!(!made["schemas"].as_array().unwrap().is_empty());
    let again = certes(dir.path(), &["backup", "copy"]);
    assert_eq!(again.status.code(), Some(2), "nothing is overwritten");
    let late = github(&server.http, "push", "after", PUSH).await.unwrap().id();

    let copy = dir.path().join("copy");
    let copy = copy.to_str().unwrap();
    let restore = ["restore", copy, "--data-dir", "data"];
    assert!(printed(&certes(other.path(), &restore)).contains("restored and verified"));
    assert!(!certes(other.path(), &restore).status.success(), "nothing is overwritten");
    assert!(!other.path().join("data/secret.key").exists());
    let key =
        |name: &str| (dir.path().join("data").join(name), other.path().join("data").join(name));
    for name in ["secret.key", "admin.key"] {
        let (from, to) = key(name);
        std::fs::copy(from, to).unwrap();
    }
    assert!(server.terminate());
    let restored = Process::serve(other.path());
    for id in &ids {
        printed(&certes(other.path(), &["event", "get", id]));
    }
    assert!(!certes(other.path(), &["event", "get", &late]).status.success());
    // Contracts and secrets came along: events are checked and signed as before.
    let answer = github(&restored.http, "push", "restored", PUSH).await.unwrap();
    assert_eq!(answer.status, 202);
    assert!(restored.terminate());

    // A backup without its end is none.
    let log = std::path::Path::new(copy).join("log");
    let bytes = std::fs::read(&log).unwrap();
    std::fs::write(&log, &bytes[..bytes.len() / 2]).unwrap();
    let cut = certes(other.path(), &["restore", copy, "--data-dir", "third"]);
    assert!(!cut.status.success());
    assert!(String::from_utf8_lossy(&cut.stderr).contains("cut off"), "{cut:?}");
}

//! What was kept aside, from the command line: looked at, and taken after all.

use crate::process::{Process, certes, printed};
use tests::{Subscriber, post};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_aside_is_inspected_and_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let subscriber = Subscriber::start().await.unwrap();
    let server = Process::serve(path);
    let run = |args: &[&str]| certes(path, args);
    let contract = |field: &str| {
        let file = path.join("contracts/shop/1/order.proto");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let text = format!("syntax = 'proto3'; message Order {{ string id = 1; {field} }}");
        std::fs::write(file, text).unwrap();
        printed(&run(&["schema", "publish", "contracts", "--reject-unknown-fields"]))
    };
    contract("");
    let manifest = format!(
        "sources:\n\
         - {{name: shop, verify: none, event_type: shop/1/order, invalid: quarantine}}\n\
         - {{name: outlet, verify: none, event_type: shop/1/order, invalid: quarantine}}\n\
         - {{name: strict, verify: none, event_type: shop/1/order, invalid: reject}}\n\
         subscriptions: [{{name: all, url: \"{}\", events: [\"shop/1/*\"]}}]",
        subscriber.url()
    );
    std::fs::write(path.join("certes.yaml"), manifest).unwrap();
    printed(&run(&["apply", "-f", "certes.yaml"]));

    // Per source: refused, or kept aside.
    let send = async |source: &str, body: &'static str| {
        let headers = [("content-type", "application/json")];
        post(&format!("{}/events/{source}", server.http), &headers, body).await.unwrap()
    };
    assert_eq!(send("strict", r#"{"note": "x"}"#).await.status, 422);
    let mut ids = Vec::new();
    for source in ["shop", "shop", "outlet"] {
        let kept = send(source, r#"{"note": "x"}"#).await;
        assert_eq!((kept.status.as_u16(), &kept.json()["quarantined"]), (202, &true.into()));
        ids.push(kept.id());
    }
    let broken = send("shop", r#"{"id": 7}"#).await.id();

    let listed = printed(&run(&["quarantine", "list"]));
    assert!(ids.iter().chain([&broken]).all(|id| listed.contains(id)), "{listed}");
    assert!(listed.contains("note (unknown_field)"), "{listed}");
    let listed = printed(&run(&["quarantine", "list", "--source", "outlet"]));
    assert!(listed.contains(&ids[2]) && !listed.contains(&ids[0]), "{listed}");
    let shown = printed(&run(&["quarantine", "get", &ids[0]]));
    assert!(shown.contains("shop/1/order") && shown.contains("note (unknown_field)"), "{shown}");
    let payload = run(&["quarantine", "get", &ids[0], "--payload"]);
    assert_eq!(payload.stdout, br#"{"note": "x"}"#);

    // It stays until the schema is fixed.
    let stays = run(&["quarantine", "resubmit", &ids[0]]);
    assert_eq!(stays.status.code(), Some(1));
    let text = String::from_utf8_lossy(&stays.stdout).into_owned();
    assert!(text.contains("0 released, 0 released before, 1 stay aside"), "{text}");
    assert!(text.contains("note: expected"), "every violation: {text}");
    let text = String::from_utf8_lossy(&stays.stderr).into_owned();
    assert!(text.contains("1 event still breaks its contract"), "{text}");
    let neither = run(&["quarantine", "resubmit"]);
    assert_eq!(neither.status.code(), Some(2));
    let text = String::from_utf8_lossy(&neither.stderr).into_owned();
    assert!(text.contains("<ID|--all>"), "{text}");
    assert!(contract("string note = 2;").starts_with("published shop/1/order 1.1"));
    let one = printed(&run(&["quarantine", "resubmit", &ids[0]]));
    assert_eq!(one, "1 released, 0 released before, 0 stay aside\n");
    let again = printed(&run(&["quarantine", "resubmit", &ids[0]]));
    assert_eq!(again, "0 released, 1 released before, 0 stay aside\n");
    let outlet = printed(&run(&["quarantine", "resubmit", "--all", "--source", "outlet"]));
    assert_eq!(outlet, "1 released, 0 released before, 0 stay aside\n");
    let rest = run(&["quarantine", "resubmit", "--all", "--json"]);
    assert_eq!(rest.status.code(), Some(1), "one is still broken");
    let rest: serde_json::Value = serde_json::from_slice(&rest.stdout).unwrap();
    assert_eq!((&rest["released"], &rest["aside"][0]["id"]), (&1.into(), &broken.into()));
    assert_eq!(rest["aside"][0]["errors"][0]["path"], "id");

    let received = subscriber.wait_for(3).await;
    let mut got: Vec<_> = received.iter().map(|got| got.header("webhook-id").to_owned()).collect();
    got.sort();
    assert_eq!(got, ids, "under the ids they had");
    let left = printed(&run(&["quarantine", "list", "--json"]));
    let left: serde_json::Value = serde_json::from_str(&left).unwrap();
    assert_eq!(left.as_array().unwrap().len(), 1);
    assert_eq!(run(&["quarantine", "resubmit"]).status.code(), Some(2), "name one, or all");
    assert!(server.terminate());
}

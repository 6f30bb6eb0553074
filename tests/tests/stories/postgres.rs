//! The main job on PostgreSQL as state database.

use super::main_path::manifest;
use contract::secret::Secret;
use serde_json::json;
use std::sync::atomic::{AtomicU32, Ordering};
use tests::{Deployment, Subscriber, Wiring, eventually, github, stories};

stories!(a_push_arrives_once);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");

async fn a_push_arrives_once(wiring: Wiring) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    #[expect(clippy::disallowed_methods, reason = "the way by which tests are told of servers")]
    let server = std::env::var("CERTES_TEST_POSTGRES").unwrap();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let schema = format!("story_{}_{number}", std::process::id());
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::configured(wiring, |config| {
        config.master_api.store = server.parse().unwrap();
        config.master_api.postgres.schema.clone_from(&schema);
        config.master_api.secret_key = Some(Secret::new("22".repeat(32)));
    });
    let certes = certes.await.unwrap();
    certes.apply(&manifest(&subscriber.url(), "")).await.unwrap();
    let first = github(&certes.http, "push", "d-1", PUSH).await.unwrap();
    assert_eq!(first.status, 202, "{:?}", first.body);
    let again = github(&certes.http, "push", "d-1", PUSH).await.unwrap();
    assert_eq!(first.id(), again.id());
    let received = subscriber.wait_for(1).await;
    assert_eq!(received[0].body, PUSH, "byte for byte");
    assert_eq!(received[0].header("webhook-id"), first.id());
    eventually("the delivery is recorded", async || {
        let stats = certes.graphql("{ stats { delivered waiting } }").await.ok()?;
        (stats["stats"] == json!({"delivered": 1, "waiting": 0})).then_some(())
    })
    .await;
    assert!(!certes.dir().join("data/store").exists(), "nothing of it is in a directory");
    certes.stop().await.unwrap();
    assert_eq!(subscriber.received().len(), 1, "once");
}

//! What operators set takes effect while everything runs, and says who set it.

use super::main_path::manifest;
use contract::{
    command::Command,
    log::{LogFilter, LogQuery},
};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::{Deployment, Subscriber, Wiring, eventually, github, stories};

stories!(events_are_paused_and_taken_again, flags_have_versions_and_a_history,);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");

async fn events_are_paused_and_taken_again(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&subscriber.url(), "")).await.unwrap();
    github(&certes.http, "push", "before", PUSH).await.unwrap();
    certes
        .graphql(r#"mutation { setSetting(key: "events.paused", value: "true") { version } }"#)
        .await
        .unwrap();
    let tries = AtomicUsize::new(0);
    let refused = eventually("events are refused", async || {
        let n = tries.fetch_add(1, Ordering::Relaxed);
        let answer = github(&certes.http, "push", &format!("during-{n}"), PUSH).await.ok()?;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(refused.headers["retry-after"], "10");
    assert_eq!(refused.json()["code"], "unavailable");
    certes.graphql(r#"mutation { resetSetting(key: "events.paused") { version } }"#).await.unwrap();
    eventually("events are taken", async || {
        let answer = github(&certes.http, "push", "after", PUSH).await.ok()?;
        (answer.status == 202).then_some(())
    })
    .await;
    certes.stop().await.unwrap();
}

async fn flags_have_versions_and_a_history(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let shown = "{ settings { key type value defaultValue version } setting(key: \"feature.dark\") { value version } }";
    let before = certes.graphql(shown).await.unwrap();
    assert_eq!(before["setting"], json!({"value": null, "version": 0}));
    assert!(before["settings"].as_array().unwrap().iter().any(|setting| {
        *setting == json!({"key": "retention.age", "type": "duration", "value": null, "defaultValue": "30d", "version": 0})
    }));
    let set = "mutation { setSetting(key: \"feature.dark\", value: \"true\", expectVersion: 0) \
               { key value version changedAt } }";
    let made = certes.graphql(set).await.unwrap();
    assert_eq!(
        (&made["setSetting"]["value"], &made["setSetting"]["version"]),
        (&json!("true"), &json!(1))
    );
    let again = certes.graphql(set).await.unwrap_err().to_string();
    assert!(again.contains("version is 1"), "{again}");
    // The same over gRPC, as the command line does it.
    let remote = certes.remote().await.unwrap();
    let flag = |settings: Vec<certes::remote::ListedSetting>| {
        settings.into_iter().find(|setting| setting.key == "feature.dark")
    };
    let listed = flag(remote.settings().await.unwrap()).unwrap();
    assert_eq!((listed.value.as_deref(), listed.version), (Some("true"), 1));
    let key = "feature.dark".to_owned();
    let reset = Command::SetSetting { key, value: None, expect: Some(1) };
    remote.execute_one(reset).await.unwrap();
    eventually("it is reset everywhere", async || {
        flag(remote.settings().await.ok()?).filter(|setting| setting.value.is_none())
    })
    .await;
    let kinds = vec!["config_set".to_owned()];
    let filter = LogFilter { kinds, ..LogFilter::default() };
    let facts = remote.facts(LogQuery { filter, ..LogQuery::default() }).await.unwrap().facts;
    let versions: Vec<_> = facts.iter().map(|fact| &fact.body["setting"]["version"]).collect();
    assert_eq!(versions, [1, 2]);
    assert!(facts.iter().all(|fact| fact.actor.to_string().starts_with("key_")));
    certes.stop().await.unwrap();
}

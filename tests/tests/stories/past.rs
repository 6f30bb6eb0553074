//! What an operator's program asks about the past, through the public gRPC port.

use crate::main_path::manifest;
use contract::{
    access::Roles,
    command::{Command, Target},
    id::EventId,
    past::Subject,
    subscription::SubscriptionStatus,
};
use tests::{Deployment, Subscriber, Wiring, github, stories};

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");

stories!(the_past_has_answers);

fn reader() -> Command {
    let roles = Roles::parse(["events:read"]).unwrap();
    Command::IssueKey { name: "reader".into(), roles, subscriber: None, expires_at: None }
}

async fn the_past_has_answers(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    let url = subscriber.url();
    let more = format!("}}\n  - {{name: money, url: \"{url}\", events: [\"stripe/1/*\"]");
    certes.apply(&manifest(&url, &more)).await.unwrap();
    let remote = certes.remote().await.unwrap();
    let before = remote.state_at(None).await.unwrap();
    let id: EventId = github(&certes.http, "push", "d1", PUSH).await.unwrap().id().parse().unwrap();
    subscriber.wait_for(1).await;
    let pause = Command::SetSubscriptionStatus {
        name: "ci".into(),
        status: SubscriptionStatus::Paused,
        reason: Some("holiday".into()),
    };
    remote.execute_one(pause).await.unwrap();

    let why = remote.why(id, "ci").await.unwrap();
    assert!(why.delivery.is_some(), "{why:?}");
    assert!(why.backoff.is_some() && !why.payload_expired);
    assert_eq!(why.rules_fact, before.sequence, "what came later had no say");
    let pattern = why.rules.iter().find(|rule| rule.rule == "pattern").unwrap();
    assert_eq!(pattern.passed, Some(true));
    assert_eq!(remote.why(id, "money").await.unwrap().verdict, "no_pattern");
    assert_eq!(remote.why(id, "nobody").await.unwrap().verdict, "no_subscription");
    let unknown = remote.why(EventId::from_bytes([0; 16]), "ci").await.unwrap_err();
    assert!(unknown.to_string().contains("not_found"), "{unknown}");

    let then = remote.state_at(before.time).await.unwrap();
    assert_eq!(then, before);
    let named = |name: &str| before.subscriptions.iter().any(|found| found.spec.name == name);
    assert!(named("ci") && named("money") && before.sources.len() == 1);
    let now = remote.state_at(None).await.unwrap();
    assert!(now.subscriptions.iter().any(|found| found.status == SubscriptionStatus::Paused));

    let history =
        remote.history(&Subject::Object(Target::Subscription("ci".into()))).await.unwrap();
    let kinds: Vec<_> = history.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["subscription_created", "subscription_status_changed"]);
    let reason = history[1].changes.iter().find(|change| change.path == "status_reason").unwrap();
    assert_eq!(reason.after, Some("holiday".into()));
    assert!(history.iter().all(|entry| entry.actor.to_string().starts_with("key_")));

    let set = |value: &str| Command::SetSetting {
        key: "retention.age".into(),
        value: Some(value.into()),
        expect: None,
    };
    remote.execute_one(set("60d")).await.unwrap();
    remote.execute_one(set("90d")).await.unwrap();
    let key = remote.execute_one(reader()).await.unwrap().id.unwrap();
    remote.execute_one(Command::RevokeKey(key.parse().unwrap())).await.unwrap();
    let kinds = async |subject| -> Vec<_> {
        let history = remote.history(&subject).await.unwrap();
        history.into_iter().map(|entry| entry.kind).collect()
    };
    let setting = Subject::Setting("retention.age".into());
    assert_eq!(kinds(setting).await, ["config_set", "config_set"]);
    for of_key in [key, "reader".into()] {
        assert_eq!(kinds(Subject::Key(of_key)).await, ["key_issued", "key_revoked"]);
    }
    assert_eq!(kinds(Subject::User("nobody".into())).await, [""; 0]);
    certes.stop().await.unwrap();
}

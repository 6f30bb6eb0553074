//! A subscriber's code declares its subscriptions at its own start, by its own key.

use certes::remote::Remote;
use contract::{
    access::Roles,
    command::{ChangeKind, Command, DeclaredSubscription},
    subscription::Subscriber as Owner,
    testing::subscription_spec,
};
use tests::{Deployment, Subscriber, Wiring, stories};

stories!(a_subscribers_code_declares_what_it_wants);

fn declared(name: &str, url: &str) -> DeclaredSubscription {
    let mut spec = subscription_spec(name);
    spec.url = url.to_owned();
    DeclaredSubscription { spec, secrets: Vec::new() }
}

async fn a_subscribers_code_declares_what_it_wants(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    let admin = certes.remote().await.unwrap();
    let owner = Owner { id: "org_1".into(), name: "One".into() };
    admin.execute_one(Command::PutSubscriber(owner)).await.unwrap();
    let issue = Command::IssueKey {
        name: "code".into(),
        roles: Roles::parse(["subscriptions:write", "subscriptions:read"]).unwrap(),
        subscriber: Some("org_1".into()),
        expires_at: None,
    };
    let token = admin.execute_one(issue).await.unwrap().revealed.unwrap();
    let code = Remote::connect(&certes.http, token).await.unwrap();

    let wanted =
        || vec![declared("org_1-a", &subscriber.url()), declared("org_1-b", &subscriber.url())];
    let made = code.ensure_subscriptions(None, wanted(), true).await.unwrap();
    assert!(made.iter().all(|change| change.kind == ChangeKind::Created), "{made:?}");
    assert!(made.iter().all(|change| change.revealed.is_some()));
    let again = code.ensure_subscriptions(None, wanted(), true).await.unwrap();
    assert!(again.iter().all(|change| change.kind == ChangeKind::Unchanged), "{again:?}");
    let fewer = code.ensure_subscriptions(None, wanted().split_off(1), true).await.unwrap();
    let kinds: Vec<_> = fewer.iter().map(|change| change.kind).collect();
    assert_eq!(kinds, [ChangeKind::Unchanged, ChangeKind::Removed]);
    let left = code.subscriptions().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].spec.subscriber.as_deref(), Some("org_1"));

    let others = code.ensure_subscriptions(Some("org_2"), wanted(), false).await.unwrap_err();
    assert!(others.to_string().contains("permission_denied"), "{others}");
    let everybodys = admin.ensure_subscriptions(None, Vec::new(), true).await.unwrap_err();
    assert!(everybodys.to_string().contains("invalid_definition"), "{everybodys}");
    certes.stop().await.unwrap();
}

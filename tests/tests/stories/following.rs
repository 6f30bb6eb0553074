//! A program follows events, goes away, and comes back to where it was.

use crate::main_path::manifest;
use certes::remote::{Followed, Following, Remote};
use contract::{
    access::Roles,
    command::Command,
    event::Event,
    id::{KeyId, Sequence},
    limits::LOG_WAIT_MAX,
    master_api::EventFilter,
};
use tests::{Deployment, Subscriber, Wiring, github, stories};

stories!(whoever_follows_misses_nothing, a_revoked_key_follows_no_more);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");

/// The next event, and where it leaves the reader.
async fn event(following: &mut Following) -> (Event, Sequence) {
    loop {
        let next = following.next().await.unwrap().unwrap();
        assert_eq!(next.passed_over, 0);
        if let Some(event) = next.event {
            return (event, next.position);
        }
    }
}

async fn opened(remote: &Remote, filter: EventFilter, after: Option<Sequence>) -> Following {
    let mut following = remote.follow(filter, after).await.unwrap();
    let Followed { event, .. } = following.next().await.unwrap().unwrap();
    assert_eq!(event, None, "the first message says that it is open");
    following
}

async fn whoever_follows_misses_nothing(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&subscriber.url(), "")).await.unwrap();
    let remote = certes.remote().await.unwrap();
    let all = EventFilter { source: Some("github".into()), ..EventFilter::default() };
    let mut following = opened(&remote, all.clone(), None).await;
    let none = EventFilter { source: Some("nobody".into()), ..EventFilter::default() };
    let mut nobodys = opened(&remote, none, None).await;
    let push = async |id: &str| github(&certes.http, "push", id, PUSH).await.unwrap().id();
    let first = push("d1").await;
    let (found, position) = event(&mut following).await;
    assert_eq!((found.id.to_string(), found.sequence), (first, position));

    drop(following);
    let sent = [push("d2").await, push("d3").await];
    let mut following = opened(&remote, all, Some(position)).await;
    let mut last = position;
    for id in sent {
        let (found, position) = event(&mut following).await;
        assert_eq!(found.id.to_string(), id);
        last = position;
    }
    // Who wants none of them is told how far the log was looked at.
    loop {
        let quiet = nobodys.next().await.unwrap().unwrap();
        assert_eq!(quiet.event, None);
        if quiet.position >= last {
            break;
        }
    }
    certes.stop().await.unwrap();
}

async fn a_revoked_key_follows_no_more(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&subscriber.url(), "")).await.unwrap();
    let admin = certes.remote().await.unwrap();
    let issue = Command::IssueKey {
        name: "reader".into(),
        roles: Roles::parse(["events:read"]).unwrap(),
        subscriber: None,
        expires_at: None,
    };
    let key = admin.execute_one(issue).await.unwrap();
    let reader = Remote::connect(&certes.http, key.revealed.unwrap()).await.unwrap();
    let mut following = opened(&reader, EventFilter::default(), None).await;
    let id: KeyId = key.id.unwrap().parse().unwrap();
    admin.execute_one(Command::RevokeKey(id)).await.unwrap();
    // Nothing happens that it could see, and its wait for something would be longer.
    let ended = async {
        loop {
            match following.next().await {
                Ok(Some(Followed { event, .. })) => assert_eq!(event, None, "it sees no more"),
                Ok(None) => break String::new(),
                Err(error) => break error.to_string(),
            }
        }
    };
    let ended = tokio::time::timeout(LOG_WAIT_MAX / 2, ended).await.unwrap();
    assert!(ended.contains("unauthenticated"), "{ended}");
    certes.stop().await.unwrap();
}

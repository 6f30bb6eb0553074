//! Those whom no URL reaches take their deliveries.

use certes::{
    cli::ServerArgs,
    commands::listen::{self, ListenArgs},
    remote::{Pulling, Remote, Told},
};
use contract::{
    access::Roles,
    command::Command,
    delivery::Attempt,
    id::KeyId,
    pull::{Answer, Ask, Handout},
};
use http::StatusCode;
use serde_json::Value;
use std::time::{Duration, Instant};
use tests::{Deployment, SIGNING_SECRET, Subscriber, Wiring, eventually, github, stories};
use tokio_util::sync::CancellationToken;

stories!(
    a_receiver_takes_and_answers,
    receivers_share_and_leave,
    a_key_takes_its_own_and_no_more,
    what_is_no_receivers_is_refused,
    a_local_url_gets_what_is_sent,
);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");
const LEASE: Option<Duration> = Some(Duration::from_secs(20));

fn manifest(more: &str) -> String {
    format!(
        r#"
sources:
  - {{name: github, verify: github, secret: {{env: GITHUB_SECRET}},
     event_type: "github/1/{{header:x-github-event}}"}}
schemas: [{{dir: SCHEMAS/github}}]
subscribers: [{{id: org_1}}]
subscriptions:
  - {{name: pulled, pull: true, events: ["github/1/*"], secret: {{env: SIGNING_SECRET}}{more},
     backoff: {{kind: constant, base: 100ms, jitter: none, max_retries: 5}}}}
"#
    )
}

async fn start(wiring: Wiring) -> Deployment {
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest("")).await.unwrap();
    certes
}

async fn push(certes: &Deployment, id: &str) -> String {
    let answer = github(&certes.http, "push", id, PUSH).await.unwrap();
    assert_eq!(answer.json()["deliveries"], 1, "{:?}", answer.body);
    answer.id()
}

async fn open(remote: &Remote, max_in_flight: u32, lease: Option<Duration>) -> Pulling {
    let mut stream = remote.pull("pulled", max_in_flight, lease).await.unwrap();
    assert!(matches!(stream.next().await.unwrap(), Some(Told::Opened)));
    stream
}

async fn delivery(stream: &mut Pulling) -> Handout {
    let told = tokio::time::timeout(Duration::from_secs(20), stream.next()).await.unwrap();
    match told.unwrap() {
        Some(Told::Delivery(handout)) => *handout,
        other => unreachable!("{other:?} instead of a delivery"),
    }
}

async fn say(stream: &Pulling, ticket: u64, answer: Answer) {
    stream.say().say(Ask::Answer { ticket, answer }).await;
}

fn header<'a>(handout: &'a Handout, name: &str) -> &'a str {
    let found = handout.headers.0.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str()).unwrap_or_default()
}

/// The attempts of a delivery, once there are so many.
async fn attempts(remote: &Remote, handout: &Handout, count: usize) -> Vec<Attempt> {
    eventually(&format!("{count} attempts are recorded"), async || {
        let found = remote.delivery(handout.delivery).await.ok()??;
        Some(found.attempts).filter(|attempts| attempts.len() >= count)
    })
    .await
}

async fn a_receiver_takes_and_answers(wiring: Wiring) {
    let certes = start(wiring).await;
    let remote = certes.remote().await.unwrap();
    let id = push(&certes, "d1").await;
    // Sooner or later, whoever comes: it waited.
    let mut stream = open(&remote, 1, LEASE).await;
    let first = delivery(&mut stream).await;
    assert_eq!((first.payload.as_ref(), first.attempt), (PUSH, 1), "byte for byte");
    assert_eq!(first.event_uri.to_string(), "github/1/push");
    assert_eq!(header(&first, "webhook-id"), id);
    assert_eq!(header(&first, "certes-hops"), "1");
    assert_eq!(header(&first, "x-github-event"), "push");
    let judged: http::HeaderMap = first
        .headers
        .0
        .iter()
        .map(|(n, v)| (http::HeaderName::try_from(n).unwrap(), v.parse().unwrap()))
        .collect();
    let judge = standardwebhooks::Webhook::new(SIGNING_SECRET).unwrap();
    judge.verify(&first.payload, &judged).unwrap();

    // One at a time: the second comes after the answer to the first.
    let second_id = push(&certes, "d2").await;
    let quiet = tokio::time::timeout(Duration::from_millis(300), stream.next()).await;
    assert!(quiet.is_err(), "more than was asked for: {quiet:?}");
    let reason = "not now".to_owned();
    let delay = Some(Duration::from_millis(600));
    let nacked = Instant::now();
    say(&stream, first.ticket, Answer::Nack { status: None, delay, reason }).await;
    let second = delivery(&mut stream).await;
    assert_eq!(header(&second, "webhook-id"), second_id);
    say(&stream, second.ticket, Answer::Ack { status: Some(202) }).await;
    let again = delivery(&mut stream).await;
    assert_eq!((again.delivery, again.attempt), (first.delivery, 2));
    assert_eq!(header(&again, "webhook-id"), id, "the same on every attempt");
    assert!(nacked.elapsed() >= Duration::from_millis(600), "not before its time");
    say(&stream, again.ticket, Answer::Ack { status: None }).await;

    let recorded = attempts(&remote, &first, 2).await;
    assert_eq!(recorded[0].cause.map(|cause| cause.as_str()), Some("status"));
    let error = recorded[0].error.as_deref().unwrap();
    assert_eq!(error, "the receiver did not take it: not now");
    assert_eq!((recorded[1].cause, recorded[1].status), (None, None));
    assert_eq!(attempts(&remote, &second, 1).await[0].status, Some(202));
    certes.stop().await.unwrap();
}

async fn receivers_share_and_leave(wiring: Wiring) {
    let certes = start(wiring).await;
    let remote = certes.remote().await.unwrap();
    let (mut one, mut two) = (open(&remote, 1, LEASE).await, open(&remote, 1, LEASE).await);
    push(&certes, "d1").await;
    push(&certes, "d2").await;
    let (first, second) = (delivery(&mut one).await, delivery(&mut two).await);
    assert_ne!(first.delivery, second.delivery, "each has one");
    say(&two, second.ticket, Answer::Ack { status: None }).await;
    // One goes without an answer: that was an attempt, and the other gets the next.
    drop(one);
    let again = delivery(&mut two).await;
    assert_eq!((again.delivery, again.attempt), (first.delivery, 2));
    say(&two, again.ticket, Answer::Ack { status: None }).await;
    let recorded = attempts(&remote, &first, 2).await;
    assert_eq!(recorded[0].cause.map(|cause| cause.as_str()), Some("reset"));

    // A lease that ends is told, recorded, and tried again; one that is extended is not.
    let mut short = open(&remote, 2, Some(Duration::from_secs(1))).await;
    two.say().say(Ask::MaxInFlight(0)).await;
    push(&certes, "d3").await;
    let slow = delivery(&mut short).await;
    assert!(matches!(short.next().await.unwrap(), Some(Told::Expired(t)) if t == slow.ticket));
    let again = delivery(&mut short).await;
    let by = Some(Duration::from_secs(20));
    short.say().say(Ask::Extend { ticket: again.ticket, by }).await;
    let quiet = tokio::time::timeout(Duration::from_millis(1500), short.next()).await;
    assert!(quiet.is_err(), "it has the time: {quiet:?}");
    say(&short, again.ticket, Answer::Ack { status: None }).await;
    let recorded = attempts(&remote, &slow, 2).await;
    assert_eq!(recorded[0].cause.map(|cause| cause.as_str()), Some("timeout"));
    assert_eq!(recorded[1].cause, None);

    // 410 means what it means over HTTP.
    push(&certes, "d4").await;
    let last = delivery(&mut short).await;
    let gone = Answer::Nack { status: Some(410), delay: None, reason: String::new() };
    say(&short, last.ticket, gone).await;
    eventually("it is paused", async || {
        let found = remote.subscription("pulled").await.ok()?;
        (found.status.to_string() == "paused").then_some(())
    })
    .await;
    certes.stop().await.unwrap();
}

async fn key(certes: &Deployment, roles: &str, subscriber: Option<&str>) -> (Remote, KeyId) {
    let issue = Command::IssueKey {
        name: format!("{roles} {subscriber:?}"),
        roles: Roles::parse([roles]).unwrap(),
        subscriber: subscriber.map(str::to_owned),
        expires_at: None,
    };
    let key = certes.remote().await.unwrap().execute_one(issue).await.unwrap();
    let remote = Remote::connect(&certes.http, key.revealed.unwrap()).await.unwrap();
    (remote, key.id.unwrap().parse().unwrap())
}

async fn a_key_takes_its_own_and_no_more(wiring: Wiring) {
    let certes = Deployment::start(wiring).await.unwrap();
    let text = manifest("")
        + "  - {name: theirs, pull: true, events: ['github/1/*'], subscriber: org_1}\n";
    certes.apply(&text).await.unwrap();
    let (theirs, id) = key(&certes, "subscriptions:write", Some("org_1")).await;
    let refused = theirs.pull("pulled", 1, LEASE).await.unwrap_err().to_string();
    assert!(refused.contains("not_found"), "{refused}");
    let (reader, _) = key(&certes, "subscriptions:read", None).await;
    let refused = reader.pull("pulled", 1, LEASE).await.unwrap_err().to_string();
    assert!(refused.contains("permission_denied"), "{refused}");

    let mut stream = theirs.pull("theirs", 1, LEASE).await.unwrap();
    assert!(matches!(stream.next().await.unwrap(), Some(Told::Opened)));
    let admin = certes.remote().await.unwrap();
    let revoked = Instant::now();
    admin.execute_one(Command::RevokeKey(id)).await.unwrap();
    let ended = stream.next().await.unwrap_err().to_string();
    assert!(ended.contains("unauthenticated"), "{ended}");
    assert!(revoked.elapsed() < Duration::from_secs(1), "after {:?}", revoked.elapsed());
    certes.stop().await.unwrap();
}

async fn what_is_no_receivers_is_refused(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = start(wiring).await;
    let both = format!(
        "  - {{name: both, pull: true, url: \"{}\", events: ['a/1/b']}}\n",
        subscriber.url()
    );
    let refused = certes.apply(&(manifest("") + &both)).await.unwrap_err();
    let refused = format!("{refused:#}");
    assert!(refused.contains("not to both"), "{refused}");
    let neither = "  - {name: neither, events: ['a/1/b']}\n";
    assert!(certes.apply(&(manifest("") + neither)).await.is_err());
    let sent = format!("  - {{name: sent, url: \"{}\", events: ['a/1/b']}}\n", subscriber.url());
    certes.apply(&(manifest("") + &sent)).await.unwrap();
    let remote = certes.remote().await.unwrap();
    let refused = async |name: &str, max, lease| match remote.pull(name, max, lease).await {
        Ok(mut stream) => stream.next().await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(refused("sent", 1, LEASE).await.contains("conflict"));
    assert!(refused("nobody", 1, LEASE).await.contains("not_found"));
    assert!(refused("pulled", 1001, LEASE).await.contains("at most 1000"));
    let day = Some(Duration::from_secs(86_400));
    assert!(refused("pulled", 1, day).await.contains("invalid_request"));
    // It gets a URL: whoever takes from it is told.
    let mut stream = open(&remote, 1, LEASE).await;
    let url = format!(
        "mutation {{ updateSubscription(input: {{name: \"pulled\", url: \"{}\", events: [\"github/1/*\"]}}) {{ subscription {{ pull url }} }} }}",
        subscriber.url()
    );
    let data = certes.graphql(&url).await.unwrap();
    assert_eq!(data["updateSubscription"]["subscription"]["pull"], Value::Bool(false));
    let ended = stream.next().await.unwrap_err().to_string();
    assert!(ended.contains("go to its URL"), "{ended}");
    push(&certes, "d1").await;
    subscriber.wait_for(1).await;
    certes.stop().await.unwrap();
}

async fn a_local_url_gets_what_is_sent(wiring: Wiring) {
    let local = Subscriber::behaving(|n| match n {
        0 => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::NO_CONTENT,
    });
    let local = local.await.unwrap();
    let certes = start(wiring).await;
    let remote = certes.remote().await.unwrap();
    let server = ServerArgs {
        server: Some(certes.http.clone()),
        key_file: None,
        key: Some(certes.key.expose().to_owned()),
        json: true,
    };
    let args = |subscription: Option<&str>, events: &[&str]| ListenArgs {
        forward: local.url().parse().unwrap(),
        subscription: subscription.map(str::to_owned),
        events: events.iter().map(|pattern| pattern.parse().unwrap()).collect(),
        subscriber: None,
        max_in_flight: 4,
        timeout: "5s".parse().unwrap(),
        server: server.clone(),
    };
    let stop = CancellationToken::new();
    let listening = tokio::spawn(listen::run(args(Some("pulled"), &[]), stop.clone()));
    let id = push(&certes, "d1").await;
    let received = local.wait_for(2).await;
    let judge = standardwebhooks::Webhook::new(SIGNING_SECRET).unwrap();
    for (got, attempt) in received.iter().zip(["1", "2"]) {
        assert_eq!((got.body.as_ref(), got.header("webhook-id")), (PUSH, id.as_str()));
        assert_eq!(got.header("certes-attempt"), attempt);
        judge.verify(&got.body, &got.headers).unwrap();
    }
    stop.cancel();
    listening.await.unwrap().unwrap();
    assert_eq!(remote.subscriptions().await.unwrap().len(), 1, "it was not made for this");

    // One that is made for this goes with it.
    let stop = CancellationToken::new();
    let listening =
        tokio::spawn(listen::run(args(None, &["github/1/ping", "github/1/push"]), stop.clone()));
    eventually("it is there", async || {
        let found = remote.subscriptions().await.ok()?;
        found.iter().any(|found| found.spec.name.starts_with("listen-")).then_some(())
    })
    .await;
    let answer = github(&certes.http, "push", "d2", PUSH).await.unwrap();
    assert_eq!(answer.json()["deliveries"], 2);
    assert_eq!(local.wait_for(3).await[2].header("webhook-id"), answer.id());
    stop.cancel();
    listening.await.unwrap().unwrap();
    let left = remote.subscriptions().await.unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
    certes.stop().await.unwrap();
}

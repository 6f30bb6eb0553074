//! What was given up is delivered once more, and a subscription that comes late gets the past.

use super::main_path::manifest;
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tests::{Deployment, Subscriber, Wiring, eventually, github, stories};

stories!(dead_letters_come_once_more, a_late_subscription_gets_the_past);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");
const ONCE: &str = ", backoff: {kind: constant, base: 20ms, jitter: none, max_retries: 1}";
const EVENTS: usize = 5;

/// Waits until a replay is over; what it did.
async fn over(certes: &Deployment, id: &str) -> Value {
    let query = format!(
        "{{ replay(id: \"{id}\") {{ state endedAt
            progress {{ made waiting delivered skippedUnwanted through }} }} }}"
    );
    eventually("the replay is over", async || {
        let replay = certes.graphql(&query).await.ok()?["replay"].clone();
        replay["endedAt"].is_string().then_some(replay)
    })
    .await
}

async fn dead_letters_come_once_more(wiring: Wiring) {
    let healed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&healed);
    let answer = move |_n| match seen.load(Ordering::SeqCst) {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let subscriber = Subscriber::behaving(answer).await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&subscriber.url(), ONCE)).await.unwrap();
    let mut sent = Vec::new();
    for n in 0..EVENTS {
        sent.push(github(&certes.http, "push", &format!("d-{n}"), PUSH).await.unwrap().id());
    }
    eventually("all are given up", async || {
        let stats = certes.graphql("{ stats { dead waiting } }").await.ok()?;
        (stats["stats"] == json!({"dead": EVENTS, "waiting": 0})).then_some(())
    })
    .await;
    healed.store(true, Ordering::SeqCst);

    let input = "{subscription: \"ci\", dead: true}";
    let preview = format!("{{ previewedReplay(input: {input}) {{ made through }} }}");
    let preview = certes.graphql(&preview).await.unwrap();
    assert_eq!(preview["previewedReplay"], json!({"made": "5", "through": true}));
    let start = format!("mutation {{ startReplay(input: {input}) {{ id }} }}");
    let started = certes.graphql(&start).await.unwrap();
    let replay = over(&certes, started["startReplay"]["id"].as_str().unwrap()).await;
    assert_eq!(replay["state"], "finished");
    assert_eq!(replay["progress"]["delivered"], EVENTS.to_string());

    let received = subscriber.wait_for(EVENTS * 3).await;
    let mut again: Vec<_> = received[EVENTS * 2..]
        .iter()
        .map(|got| (got.header("webhook-id").to_owned(), got.header("certes-attempt").to_owned()))
        .collect();
    again.sort();
    sent.sort();
    let wanted: Vec<_> = sent.iter().map(|id| (id.clone(), "1".to_owned())).collect();
    assert_eq!(again, wanted, "under the same ids");
    let stats = certes.graphql("{ stats { dead waiting cancelled delivered } }").await.unwrap();
    let wanted = json!({"dead": 0, "waiting": 0, "cancelled": EVENTS, "delivered": EVENTS});
    assert_eq!(stats["stats"], wanted);
    let why = format!(
        "{{ why(event: \"{}\", subscription: \"ci\") {{ verdict rules {{ rule }} }} }}",
        sent[0]
    );
    let why = certes.graphql(&why).await.unwrap()["why"].clone();
    assert_eq!(why["verdict"], "delivered");
    assert!(why["rules"].as_array().unwrap().contains(&json!({"rule": "replay"})), "{why}");
    certes.stop().await.unwrap();
    assert_eq!(subscriber.received().len(), EVENTS * 3);
}

async fn a_late_subscription_gets_the_past(wiring: Wiring) {
    let (early, late) = (Subscriber::start().await.unwrap(), Subscriber::start().await.unwrap());
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&manifest(&early.url(), "")).await.unwrap();
    let event = github(&certes.http, "push", "d-1", PUSH).await.unwrap().id();
    early.wait_for(1).await;
    let create = format!(
        "mutation {{ createSubscription(input: {{name: \"late\", url: \"{}\",
            events: [\"github/1/*\"]}}) {{ subscription {{ name }} }} }}",
        late.url()
    );
    certes.graphql(&create).await.unwrap();
    let start = "mutation { startReplay(input: {to: \"late\", newIds: true, rate: 100}) { id } }";
    let started = certes.graphql(start).await.unwrap();
    let replay = over(&certes, started["startReplay"]["id"].as_str().unwrap()).await;
    assert_eq!((&replay["progress"]["made"], &replay["state"]), (&json!("1"), &json!("finished")));
    let received = late.wait_for(1).await;
    assert_eq!(received[0].body, PUSH, "byte for byte");
    assert_eq!(received[0].header("webhook-id"), received[0].header("certes-delivery"));
    let why = format!("{{ why(event: \"{event}\", subscription: \"late\") {{ verdict }} }}");
    assert_eq!(certes.graphql(&why).await.unwrap()["why"]["verdict"], "delivered");
    certes.stop().await.unwrap();
    assert_eq!((early.received().len(), late.received().len()), (1, 1));
}

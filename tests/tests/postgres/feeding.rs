//! Two replicas with everything, each with a queue of its own: one of them feeds and delivers, the
//! other takes over when it is gone.

use super::{PUSH, replica, running, verified};
use http::StatusCode;
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tests::{Deployment, Received, Subscriber, eventually, github};

/// A leader that is gone is noticed within its lease and a round of asking; what it left takes some
/// rounds of inspection.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(12);
const EACH: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_delivers_and_the_other_takes_over() {
    let (server, subscriber) = (running(), Subscriber::start().await.unwrap());
    let [one, two] = [replica(&server).await, replica(&server).await];
    let manifest = format!(
        "sources:\n  - {{name: github, verify: github, secret: {{env: GITHUB_SECRET}},\n     \
         event_type: \"github/1/push\", unvalidated: accept}}\n\
         subscriptions:\n  - {{name: ci, url: \"{}\", events: [\"github/1/*\"], \
         secret: {{env: SIGNING_SECRET}}}}\n",
        subscriber.url()
    );
    one.apply(&manifest).await.unwrap();
    eventually("the other knows the source", async || {
        let answer = github(&two.http, "push", "first", PUSH).await.unwrap();
        (answer.status == StatusCode::ACCEPTED).then_some(())
    })
    .await;
    for n in 0..EACH {
        for (at, replica) in [&one, &two].into_iter().enumerate() {
            let key = format!("{at}-{n}");
            let answer = github(&replica.http, "push", &key, PUSH).await.unwrap();
            assert_eq!(answer.status, StatusCode::ACCEPTED);
        }
    }
    let all = 2 * EACH + 1;
    assert_each_once(&subscriber.wait_for(all).await, all);
    assert_eq!((leads(&one).await, leads(&two).await), (true, false));

    // The one that leads is gone without a word; its lease has to end.
    drop(one);
    let (begun, before) = (Instant::now(), all);
    for n in 0..EACH {
        let answer = github(&two.http, "push", &format!("after-{n}"), PUSH).await.unwrap();
        assert_eq!(answer.status, StatusCode::ACCEPTED);
    }
    let all = before + EACH;
    subscriber.wait_for(all).await;
    assert!(begun.elapsed() < TAKEN_OVER_WITHIN, "{:?}", begun.elapsed());
    assert!(leads(&two).await);
    eventually("all are recorded", async || {
        let stats = two.graphql("{ stats { delivered waiting } }").await.ok()?;
        (stats["stats"] == serde_json::json!({"delivered": all, "waiting": 0})).then_some(())
    })
    .await;
    assert_each_once(&subscriber.received(), all);
    two.stop().await.unwrap();
    verified(&server).await;
}

fn assert_each_once(received: &[Received], count: usize) {
    let ids: BTreeSet<_> = received.iter().map(|got| got.header("webhook-id").to_owned()).collect();
    assert_eq!((received.len(), ids.len()), (count, count));
}

async fn leads(replica: &Deployment) -> bool {
    let metrics = tests::get(&format!("{}/metrics", replica.admin)).await.unwrap();
    String::from_utf8_lossy(&metrics.body).lines().any(|line| line == "certes_feeder_leads 1")
}

//! Contracts change while events flow: nothing is lost, refused wrongly, or checked by half of one.

use certes::config::Role;
use contract::schema::{ProtoFile, SchemaSource, UnknownFields};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tests::{Answer, Deployment, Subscriber, Wiring, eventually, post, stories};

stories!(
    publishing_under_load_refuses_nobody,
    deleting_and_publishing_anew_under_load,
    a_new_type_can_be_sent_at_once,
);

/// Version `minor` of a type that takes no field it does not know.
pub(super) fn order(uri: &str, minor: usize) -> SchemaSource {
    let fields: String = (0..=minor).map(|n| format!("  string f{n} = {};\n", n + 1)).collect();
    let text = format!("syntax = \"proto3\";\nmessage Order {{\n{fields}}}\n");
    SchemaSource {
        uri: uri.parse().unwrap(),
        entry: "order.proto".into(),
        files: vec![ProtoFile { path: "order.proto".into(), text }],
        message: None,
        unknown_fields: Some(UnknownFields::Reject),
        rulebook: None,
        next_major: false,
        example: None,
        expected: None,
    }
}

pub(super) async fn send(certes: (&str, &str), uri: &str, body: String) -> Answer {
    let (http, key) = certes;
    let bearer = format!("Bearer {key}");
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    post(&format!("{http}/events/{uri}"), &headers, body).await.unwrap()
}

fn subscription(url: &str) -> String {
    format!("subscriptions: [{{name: all, url: \"{url}\", events: [\"shop/1/*\"]}}]")
}

async fn publishing_under_load_refuses_nobody(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&subscription(&subscriber.url())).await.unwrap();
    let remote = certes.remote().await.unwrap();
    remote.publish(order("shop/1/order", 0)).await.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = (0..4)
        .map(|producer| {
            let (http, key) = (certes.http.clone(), certes.key.expose().to_owned());
            let stop = stop.clone();
            tokio::spawn(async move {
                let mut sent = 0;
                while !stop.load(Ordering::SeqCst) {
                    let body = format!("{{\"f0\": \"{producer}-{sent}\"}}");
                    let answer = send((&http, &key), "shop/1/order", body).await;
                    assert_eq!(answer.status, 202, "{:?}", answer.body);
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    let door = (certes.http.as_str(), certes.key.expose());
    let mut sent = 0;
    for minor in 1..=12 {
        let started = Instant::now();
        let published = remote.publish(order("shop/1/order", minor)).await.unwrap();
        assert_eq!(published.version.minor, u32::try_from(minor).unwrap());
        // A field that no earlier version knows, as soon as the publication is answered.
        let answer = send(door, "shop/1/order", format!("{{\"f{minor}\": \"x\"}}")).await;
        assert_eq!(answer.status, 202, "{:?}", answer.body);
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
        let unknown = format!("{{\"f{}\": \"x\"}}", minor + 1);
        assert_eq!(send(door, "shop/1/order", unknown).await.status, 422);
        sent += 1;
    }
    stop.store(true, Ordering::SeqCst);
    for producer in producers {
        sent += producer.await.unwrap();
    }
    subscriber.wait_for(sent).await;
    let stats = certes.graphql("{ stats { accepted } }").await.unwrap();
    assert_eq!(stats["stats"]["accepted"], sent);
    certes.stop().await.unwrap();
    assert_eq!(subscriber.received().len(), sent, "each once");
}

async fn deleting_and_publishing_anew_under_load(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    let kept = format!(
        "subscriptions: [{{name: all, url: \"{}\", events: [\"shop/1/order\"]}}]",
        subscriber.url()
    );
    let remote = certes.remote().await.unwrap();
    remote.publish(order("shop/1/order", 0)).await.unwrap();
    remote.publish(order("shop/1/passing", 0)).await.unwrap();
    certes.apply(&kept).await.unwrap();

    let stop = Arc::new(AtomicBool::new(false));
    let stream = |uri: &'static str| {
        let (http, key) = (certes.http.clone(), certes.key.expose().to_owned());
        let stop = stop.clone();
        tokio::spawn(async move {
            let (mut accepted, mut unknown) = (0, 0);
            while !stop.load(Ordering::SeqCst) {
                let answer = send((&http, &key), uri, "{\"f0\": \"x\"}".into()).await;
                let status = answer.status.as_u16();
                assert!(matches!(status, 202 | 404), "{uri}: {status} {:?}", answer.body);
                *if status == 202 { &mut accepted } else { &mut unknown } += 1;
            }
            (accepted, unknown)
        })
    };
    let (beside, passing) = (stream("shop/1/order"), stream("shop/1/passing"));
    let (door, body) = ((certes.http.as_str(), certes.key.expose()), "{\"f0\": \"x\"}");
    let passes = async || send(door, "shop/1/passing", body.into()).await.status.as_u16();
    for round in 0..6 {
        remote.delete_schema(&"shop/1/passing".parse().unwrap()).await.unwrap();
        assert_eq!(passes().await, 404, "gone when the answer is there, round {round}");
        // Nothing that was deleted binds: another text, of which the old one knows nothing.
        remote.publish(order("shop/1/passing", round % 2 + 1)).await.unwrap();
        assert_eq!(passes().await, 202, "there when the answer is there, round {round}");
    }
    stop.store(true, Ordering::SeqCst);
    let ((sent, refused), (passed, unknown)) = (beside.await.unwrap(), passing.await.unwrap());
    assert_eq!(refused, 0, "a neighbour is not touched");
    subscriber.wait_for(sent).await;
    let stats = certes.graphql("{ stats { accepted } }").await.unwrap();
    assert_eq!(stats["stats"]["accepted"], sent + passed + 6, "{unknown} were refused");
    certes.stop().await.unwrap();
    assert_eq!(subscriber.received().len(), sent, "each once");
}

async fn a_new_type_can_be_sent_at_once(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    certes.apply(&subscription(&subscriber.url())).await.unwrap();
    let remote = certes.remote().await.unwrap();
    let door = (certes.http.as_str(), certes.key.expose());
    assert_eq!(send(door, "shop/1/t0", "{}".into()).await.status, 404);
    for n in 0..20 {
        let uri = format!("shop/1/t{n}");
        remote.publish(order(&uri, 0)).await.unwrap();
        let answer = send(door, &uri, "{\"f0\": \"x\"}".into()).await;
        assert_eq!(answer.status, 202, "{uri}: {:?}", answer.body);
        let broken = send(door, &uri, "{\"f0\": 7}".into()).await;
        assert_eq!(broken.status, 422, "{uri}: {:?}", broken.body);
    }
    subscriber.wait_for(20).await;
    certes.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_registry_brokers_go_on() {
    let subscriber = Subscriber::start().await.unwrap();
    let quickly = |config: &mut certes::config::Config| {
        config.schema_registry.registry_probe = "100ms".parse().unwrap();
    };
    let mut certes = Deployment::configured(Wiring::Split, quickly).await.unwrap();
    certes.apply(&subscription(&subscriber.url())).await.unwrap();
    certes.remote().await.unwrap().publish(order("shop/1/order", 0)).await.unwrap();
    let (http, key) = (certes.http.clone(), certes.key.expose().to_owned());
    let door = (http.as_str(), key.as_str());

    assert_eq!(send(door, "shop/1/order", "{\"f0\": \"x\"}".into()).await.status, 202);
    certes.stop_part(Role::SchemaRegistry).await.unwrap();
    assert_eq!(send(door, "shop/1/order", "{\"f0\": \"x\"}".into()).await.status, 202);
    assert_eq!(send(door, "shop/1/order", "{\"f0\": 1}".into()).await.status, 422);
    let warning = eventually("the broker warns", async || {
        let health = certes.health_of(Role::Broker).await.unwrap();
        assert_eq!(health.status, 200, "it goes on: {:?}", health.body);
        health.json()["warnings"][0].as_str().map(str::to_owned)
    });
    let warning = warning.await;
    assert!(warning.contains("schema registry at http://127.0.0.1:"), "{warning}");
    let warning = eventually("the gateway warns", async || {
        let health = certes.health_of(Role::Gateway).await.unwrap();
        assert_eq!(health.status, 200, "it goes on: {:?}", health.body);
        health.json()["warnings"][0].as_str().map(str::to_owned)
    });
    assert!(warning.await.contains("schema registry at http://127.0.0.1:"));
    let refused = certes.remote().await.unwrap().publish(order("shop/1/order", 1)).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("the schema registry at http://127.0.0.1:"), "{refused}");
    assert!(refused.contains("cannot be reached"), "{refused}");

    // A broker that starts now has no contracts: it waits for them, and lets nothing pass.
    certes.stop_part(Role::Broker).await.unwrap();
    certes.start_part(Role::Broker).await.unwrap();
    assert_eq!(certes.health_of(Role::Broker).await.unwrap().status, 503);
    assert_eq!(send(door, "shop/1/order", "{\"f0\": 1}".into()).await.status, 503);
    certes.start_part(Role::SchemaRegistry).await.unwrap();
    eventually("the broker has its contracts", async || {
        let answer = send(door, "shop/1/order", "{\"f0\": \"x\"}".into()).await;
        (answer.status == 202).then_some(())
    })
    .await;
    assert_eq!(certes.health_of(Role::Broker).await.unwrap().status, 200);
    subscriber.wait_for(3).await;
    certes.stop().await.unwrap();
}

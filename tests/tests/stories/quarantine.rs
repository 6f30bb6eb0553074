//! What breaks its contract is kept aside, and comes back once the contract is right.

use certes::{commands::log::LogCommand, config::Role};
use contract::{
    event::EventState,
    master_api::{EventFilter, PageRequest},
    schema::{ProtoFile, SchemaSource, UnknownFields},
};
use serde_json::json;
use tests::{Deployment, Subscriber, Wiring, post, stories};

stories!(what_was_kept_aside_is_released, what_is_still_broken_stays);

fn order(fields: &str) -> SchemaSource {
    let text = format!("syntax = \"proto3\"; message Order {{ string id = 1; {fields} }}");
    SchemaSource {
        uri: "shop/1/order".parse().unwrap(),
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

/// A deployment whose source keeps aside what breaks its contract, and orders with a field that
/// the contract lacks.
async fn with_broken_orders(wiring: Wiring, subscriber: &Subscriber) -> (Deployment, Vec<String>) {
    let certes = Deployment::start(wiring).await.unwrap();
    let manifest = format!(
        "sources: [{{name: shop, verify: none, event_type: shop/1/order, invalid: quarantine, \
         idempotency_key: \"{{header:x-id}}\"}}]\n\
         subscriptions: [{{name: all, url: \"{}\", events: [\"shop/1/*\"]}}]",
        subscriber.url()
    );
    certes.apply(&manifest).await.unwrap();
    certes.remote().await.unwrap().publish(order("")).await.unwrap();
    let mut ids = Vec::new();
    for n in 0..5 {
        let body = format!("{{\"id\": \"{n}\", \"note\": \"x\"}}");
        let id = n.to_string();
        let headers = [("content-type", "application/json"), ("x-id", id.as_str())];
        let answer = post(&format!("{}/events/shop", certes.http), &headers, body).await.unwrap();
        assert_eq!(answer.status, 202, "{:?}", answer.body);
        assert_eq!(answer.json()["quarantined"], true);
        ids.push(answer.id());
    }
    (certes, ids)
}

async fn what_was_kept_aside_is_released(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let (certes, ids) = with_broken_orders(wiring, &subscriber).await;
    let remote = certes.remote().await.unwrap();
    remote.publish(order("string note = 2;")).await.unwrap();

    // One by GraphQL, twice: the second time it is there already.
    for _ in 0..2 {
        let mutation = format!(
            "mutation {{ resubmitEvent(id: \"{}\") {{ id state deliveries {{ state }} }} }}",
            ids[0]
        );
        let released = certes.graphql(&mutation).await.unwrap();
        assert_eq!(released["resubmitEvent"]["id"], ids[0]);
        assert_eq!(released["resubmitEvent"]["state"], "accepted");
        assert_eq!(released["resubmitEvent"]["deliveries"].as_array().unwrap().len(), 1);
    }
    // The others by gRPC, as the command line does, two at a time.
    for id in &ids[1..] {
        let again = remote.clone();
        let id: contract::id::EventId = id.parse().unwrap();
        let (one, other) = tokio::join!(remote.resubmit(id), again.resubmit(id));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!((one.id, one.deliveries, other.deliveries), (id, 1, 1));
        assert!(one.duplicate != other.duplicate, "released once: {one:?} {other:?}");
    }
    let received = subscriber.wait_for(5).await;
    let mut got: Vec<_> = received.iter().map(|got| got.header("webhook-id").to_owned()).collect();
    got.sort();
    assert_eq!(got, ids, "under the ids they had");

    // The sender's repeat is still known.
    let headers = [("content-type", "application/json"), ("x-id", "0")];
    let (url, body) = (format!("{}/events/shop", certes.http), r#"{"id": "0", "note": "x"}"#);
    let repeat = post(&url, &headers, body).await.unwrap();
    assert_eq!((repeat.status.as_u16(), repeat.id()), (202, ids[0].clone()));
    assert_eq!(repeat.headers["certes-duplicate"], "true");

    let stats = certes.graphql("{ stats { accepted quarantined } }").await.unwrap();
    assert_eq!(stats["stats"], json!({"accepted": 5, "quarantined": 0}));
    let aside = EventFilter { state: Some(EventState::Quarantined), ..EventFilter::default() };
    assert!(remote.events(aside, PageRequest::default()).await.unwrap().items.is_empty());

    let mut certes = certes.restart(wiring).await.unwrap();
    let data = certes.dir().join("data");
    let stats = certes.graphql("{ stats { accepted quarantined } }").await.unwrap();
    assert_eq!(stats["stats"], json!({"accepted": 5, "quarantined": 0}));
    certes.stop_part(Role::MasterApi).await.unwrap();
    let verify = LogCommand::Verify { data_dir: data, json: true };
    certes::commands::log::run(verify).await.unwrap();
    certes.stop().await.unwrap();
    assert_eq!(subscriber.received().len(), 5);
}

async fn what_is_still_broken_stays(wiring: Wiring) {
    let subscriber = Subscriber::start().await.unwrap();
    let (certes, ids) = with_broken_orders(wiring, &subscriber).await;
    let mutation = format!("mutation {{ resubmitEvent(id: \"{}\") {{ state }} }}", ids[0]);
    let refused = certes.graphql_as(certes.key.expose(), &mutation).await.unwrap().json();
    let extensions = &refused["errors"][0]["extensions"];
    assert_eq!(extensions["code"], "contract_violation", "{refused}");
    assert_eq!(extensions["errors"][0]["path"], "note");

    let query = format!("{{ event(id: \"{}\") {{ state reason }} }}", ids[0]);
    let event = certes.graphql(&query).await.unwrap();
    assert_eq!(event["event"]["state"], "quarantined");
    let unknown = "mutation { resubmitEvent(id: \"evt_01890a5d-ac96-774b-bcce-b302099a8057\") \
                   { state } }";
    let unknown = certes.graphql_as(certes.key.expose(), unknown).await.unwrap().json();
    let code = &unknown["errors"][0]["extensions"]["code"];
    assert!(code == "not_found" || code == "invalid_request", "{unknown}");
    certes.stop().await.unwrap();
    assert!(subscriber.received().is_empty());
}

//! What somebody has erased is gone and says so; what is kept can be asked.

use certes::{commands::log::LogCommand, config::Role};
use contract::{
    delivery::{Cause, DeliveryState},
    id::EventId,
    retention::{ErasureTarget, PayloadState},
};
use serde_json::json;
use tests::{Deployment, Wiring, post, stories};

stories!(an_erased_payload_is_gone_and_says_so, letting_go_needs_its_role);

/// A deployment with three events for a subscription that is paused, so that they wait.
async fn with_waiting_events(wiring: Wiring) -> (Deployment, Vec<EventId>) {
    let certes = Deployment::start(wiring).await.unwrap();
    let manifest = "subscribers: [{id: org_1}]\n\
        sources: [{name: shop, verify: none, event_type: shop/1/order, unvalidated: accept, \
        subscriber: org_1, idempotency_key: \"{header:x-id}\"}]\n\
        subscriptions: [{name: all, url: \"http://127.0.0.1:9/x\", events: [\"shop/1/*\"], \
        subscriber: org_1}]";
    certes.apply(manifest).await.unwrap();
    let pause = "mutation { pauseSubscription(name: \"all\") { name } }";
    certes.graphql(pause).await.unwrap();
    let mut ids = Vec::new();
    for n in 0..3 {
        let (id, body) = (n.to_string(), json!({"name": format!("person-{n}")}).to_string());
        let headers = [("content-type", "application/json"), ("x-id", id.as_str())];
        let answer = post(&format!("{}/events/shop", certes.http), &headers, body).await.unwrap();
        assert_eq!(answer.status, 202, "{:?}", answer.body);
        ids.push(answer.id().parse().unwrap());
    }
    (certes, ids)
}

async fn an_erased_payload_is_gone_and_says_so(wiring: Wiring) {
    let (mut certes, ids) = with_waiting_events(wiring).await;
    let remote = certes.remote().await.unwrap();
    assert_eq!(remote.payload_state(ids[0]).await.unwrap(), Some(PayloadState::Present));
    let erased = remote.erase(ErasureTarget::Event(ids[0])).await.unwrap();
    assert_eq!((erased.events, erased.deliveries, erased.done), (1, 1, true));
    assert_eq!(remote.payload(ids[0]).await.unwrap(), None);
    assert_eq!(remote.payload_state(ids[0]).await.unwrap(), Some(PayloadState::Erased));
    let dead = remote.deliveries_of(ids[0]).await.unwrap().remove(0);
    assert_eq!((dead.state, dead.cause), (DeliveryState::Dead, Some(Cause::Erased)));

    // The other two by their subscriber, through GraphQL.
    let mutation = "mutation { eraseSubscriber(id: \"org_1\") { events deliveries done } }";
    let erased = certes.graphql(mutation).await.unwrap();
    let wanted = json!({"events": "2", "deliveries": "2", "done": true});
    assert_eq!(erased["eraseSubscriber"], wanted);
    let query = format!("{{ event(id: \"{}\") {{ payload payloadState }} }}", ids[1]);
    let shown = certes.graphql(&query).await.unwrap();
    assert_eq!(shown["event"], json!({"payload": null, "payloadState": "erased"}));

    let plan = certes
        .graphql("{ retentionPlan { age daysDropped erasuresWaiting days { facts due } } }")
        .await
        .unwrap();
    let plan = &plan["retentionPlan"];
    assert_eq!((&plan["age"], &plan["erasuresWaiting"]), (&json!("30d"), &json!("0")));
    assert_eq!(plan["days"].as_array().unwrap().len(), 1);
    let done = remote.run_retention(false).await.unwrap();
    assert_eq!(done.days_dropped, 0);
    assert!(remote.retention_plan().await.unwrap().last_run.is_some());

    let data_dir = certes.dir().join("data");
    certes.stop_part(Role::MasterApi).await.unwrap();
    certes::commands::log::run(LogCommand::Verify { data_dir, json: true }).await.unwrap();
    certes.stop().await.unwrap();
}

async fn letting_go_needs_its_role(wiring: Wiring) {
    let (certes, ids) = with_waiting_events(wiring).await;
    let key =
        "mutation { createKey(name: \"p\", roles: [\"events:write\", \"events:read\"]) { token } }";
    let made = certes.graphql(key).await.unwrap();
    let token = contract::secret::Secret::new(made["createKey"]["token"].as_str().unwrap());
    let producer = certes::remote::Remote::connect(&certes.grpc, token).await.unwrap();
    let refusals = [
        producer.erase(ErasureTarget::Event(ids[0])).await.map(drop),
        producer.erase(ErasureTarget::Subscriber("org_1".into())).await.map(drop),
        producer.run_retention(true).await.map(drop),
        producer.retention_plan().await.map(drop),
    ];
    for refusal in refusals {
        assert!(refusal.unwrap_err().to_string().contains("permission_denied"));
    }
    assert_eq!(producer.payload_state(ids[0]).await.unwrap(), Some(PayloadState::Present));
}

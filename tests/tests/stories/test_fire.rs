//! An operator tries an endpoint before an event does.

use crate::main_path::manifest;
use contract::{broker::PayloadOf, delivery::DeliveryState, event::Origin, subscription::Priority};
use http::StatusCode;
use std::time::Duration;
use tests::{Deployment, SIGNING_SECRET, Subscriber, Wiring, github, stories};

stories!(an_endpoint_is_tried);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");
const WAIT: Duration = Duration::from_secs(15);

async fn an_endpoint_is_tried(wiring: Wiring) {
    let tried = Subscriber::behaving(|n| match n {
        2 => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::NO_CONTENT,
    });
    let (tried, other) = (tried.await.unwrap(), Subscriber::start().await.unwrap());
    let certes = Deployment::start(wiring).await.unwrap();
    let more = format!("}}\n  - {{name: other, url: \"{}\", events: [\"github/1/*\"]", other.url());
    certes.apply(&manifest(&tried.url(), &more)).await.unwrap();
    let remote = certes.remote().await.unwrap();

    let push = "github/1/push".parse().unwrap();
    let fired = remote.test_fire("ci", Some(push), None, WAIT).await.unwrap();
    assert_ne!(fired.payload_of, PayloadOf::Given);
    assert_eq!(fired.delivery.state, DeliveryState::Delivered, "{fired:?}");
    assert_eq!(fired.delivery.attempts[0].status, Some(204));
    assert_eq!(fired.delivery.id.lane.priority(), Priority::MAX);
    let got = tried.wait_for(1).await.remove(0);
    assert_eq!(got.header("certes-test"), "true");
    assert_eq!(got.header("webhook-id"), fired.delivery.event.to_string());
    let judge = standardwebhooks::Webhook::new(SIGNING_SECRET).unwrap();
    judge.verify(&got.body, &got.headers).unwrap();

    // A payload of one's own, over GraphQL; it has to keep its contract.
    let fire = |payload: &str| {
        format!(
            "mutation {{ testSubscription(name: \"ci\", type: \"github/1/push\", waitSeconds: 15, \
             payload: {}) {{ type payloadOf delivery {{ id state attempts {{ status }} }} }} }}",
            serde_json::Value::from(payload)
        )
    };
    let own = std::str::from_utf8(PUSH).unwrap();
    let own = certes.graphql(&fire(own)).await.unwrap()["testSubscription"].clone();
    assert_eq!(
        (&own["payloadOf"], &own["delivery"]["state"]),
        (&"given".into(), &"delivered".into())
    );
    assert_eq!(tried.wait_for(2).await[1].body, PUSH);
    let broken = certes.graphql_as(certes.key.expose(), &fire("{\"ref\": 1}")).await.unwrap();
    assert_eq!(broken.json()["errors"][0]["extensions"]["code"], "contract_violation");

    // An endpoint that fails: the answer says how, and the delivery goes on.
    let fired = remote.test_fire("ci", None, None, WAIT).await.unwrap();
    assert_eq!(fired.delivery.attempts[0].status, Some(500));
    assert_eq!(fired.delivery.state, DeliveryState::Waiting);

    // It is in the log as what it was, and nobody else got anything.
    let event = remote.event(fired.delivery.event).await.unwrap().unwrap();
    assert!(event.is_test() && matches!(event.origin, Origin::Producer(_)));
    let why = remote.why(event.id, "other").await.unwrap();
    assert_eq!(why.verdict, "other_audience");
    assert!(why.rules.iter().any(|rule| rule.rule == "test"), "{why:?}");
    github(&certes.http, "push", "d1", PUSH).await.unwrap();
    let got = other.wait_for(1).await;
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].header("certes-test"), "");
    let nobody = remote.test_fire("nobody", None, None, WAIT).await.unwrap_err();
    assert!(nobody.to_string().contains("not_found"), "{nobody}");
    certes.stop().await.unwrap();
}

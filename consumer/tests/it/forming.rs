//! The form in which a subscriber gets its payloads.

use crate::{
    receiver::Receiver,
    world::{PAYLOAD, SECRETS, World, constant, event_id, open_config, restamp, spec},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use contract::{
    clock::{Clock, Timestamp},
    delivery::{Cause, DeliveryState},
    event::Origin,
    master_api::Work,
    queue::Settlement,
    schema::{Rulebook, SchemaVersion, UnknownFields},
    sending::PayloadFormat,
    subscription::SubscriptionSpec,
    uri::EventUri,
};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use std::{sync::Arc, time::Duration};

const CANONICAL: &[u8] = br#"{"odd":"spacing","ref":"refs/heads/main"}"#;

fn world(receiver: &Receiver, format: PayloadFormat) -> World {
    World::new(
        SubscriptionSpec { format, ..spec(&receiver.url(), constant("1s", 3)) },
        open_config(),
    )
}

#[tokio::test]
async fn each_form_is_what_is_signed() {
    for (format, content_type, body) in [
        (PayloadFormat::AsReceived, "application/json; charset=utf-8", PAYLOAD.to_vec()),
        (PayloadFormat::Json, "application/json", CANONICAL.to_vec()),
        (PayloadFormat::Protobuf, "application/protobuf", [b"!", PAYLOAD].concat()),
    ] {
        let receiver = Receiver::answering(200).await;
        let world = world(&receiver, format);
        let (attempt, _) = world.attempt_one().await;
        assert_eq!(attempt.cause, None, "{attempt:?}");
        let got = receiver.received().remove(0);
        assert_eq!(
            (got.headers["content-type"].to_str().unwrap(), &got.body[..]),
            (content_type, &body[..])
        );
        Webhook::new(SECRETS[0]).unwrap().verify(&got.body, &got.headers).unwrap();
        assert_eq!(got.headers["content-length"], body.len().to_string().as_str());
    }
}

fn cloud_headers(work: &mut Work) {
    work.event.origin = Origin::Source("git hub".into());
}

#[tokio::test]
async fn a_cloud_event_has_its_attributes_in_headers_or_in_its_document() {
    let receiver = Receiver::answering(200).await;
    let first = world(&receiver, PayloadFormat::CloudeventsBinary);
    first.add_changed([1], cloud_headers).await;
    first.settlement(1).await;
    let got = receiver.received().remove(0);
    assert_eq!(got.body, PAYLOAD);
    assert_eq!(got.headers["content-type"], "application/json; charset=utf-8");
    for (name, value) in [
        ("ce-id", event_id(1).to_string()),
        ("ce-source", "/events/git%20hub".replace('%', "%25")),
        ("ce-specversion", "1.0".into()),
        ("ce-type", "github/1/push".into()),
        ("ce-time", first.clock.now().to_string()),
    ] {
        assert_eq!(got.headers[name], value.as_str(), "{name}");
    }
    Webhook::new(SECRETS[0]).unwrap().verify(&got.body, &got.headers).unwrap();

    let second = world(&receiver, PayloadFormat::CloudeventsStructured);
    second.add_changed([1], cloud_headers).await;
    second.settlement(1).await;
    let got = receiver.received().remove(1);
    assert_eq!(got.headers["content-type"], "application/cloudevents+json; charset=utf-8");
    assert!(got.headers.keys().all(|name| !name.as_str().starts_with("ce-")));
    let document: Value = serde_json::from_slice(&got.body).unwrap();
    let wanted = json!({
        "id": event_id(1).to_string(), "source": "/events/git%20hub", "specversion": "1.0",
        "type": "github/1/push", "time": second.clock.now().to_string(),
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "datacontenttype": "application/json; charset=utf-8",
        "data": {"ref": "refs/heads/main", "odd": "spacing"},
    });
    assert_eq!(document, wanted);
    // The payload stands in it byte for byte.
    let text = std::str::from_utf8(&got.body).unwrap();
    assert!(text.contains(std::str::from_utf8(PAYLOAD).unwrap()), "{text}");
    Webhook::new(SECRETS[0]).unwrap().verify(&got.body, &got.headers).unwrap();
}

#[tokio::test]
async fn what_cannot_be_converted_is_dead_and_says_why() {
    let receiver = Receiver::answering(200).await;
    let world = world(&receiver, PayloadFormat::Protobuf);
    world
        .add_changed([1], |work| restamp(work, |event| event.uri = "shop/1/paid".parse().unwrap()))
        .await;
    assert_eq!(world.settlement(1).await, Settlement::Ack);
    let attempt = world.attempts(1).remove(0);
    assert_eq!(attempt.cause, Some(Cause::Format));
    let why = attempt.error.unwrap();
    assert!(why.contains("cannot be sent as protobuf: there is none"), "{why}");
    assert_eq!(world.work(1).delivery.state, DeliveryState::Dead);
    // One whose contract is only not at hand yet waits for it, and no attempt is counted.
    world
        .add_changed([2], |work| {
            restamp(work, |event| event.uri = "github/1/later".parse().unwrap())
        })
        .await;
    let due = world.clock.now().after(Duration::from_secs(1));
    assert_eq!(world.settlement(2).await, Settlement::Nack(due));
    assert_eq!(world.attempts(2), []);
    // And so does one that the rules know and the converter does not, yet.
    let uri: EventUri = "shop/1/sold".parse().unwrap();
    world.change_rules(|rules| {
        let version = SchemaVersion {
            uri: uri.clone(),
            minor: 0,
            message: "Sold".into(),
            digest: [0; 32],
            unknown_fields: UnknownFields::Ignore,
            rulebook: Rulebook::Certes,
            published_at: Timestamp(0),
        };
        rules.schemas.insert(uri.clone(), Arc::new(version));
    });
    world.add_changed([3], |work| restamp(work, |event| event.uri = uri.clone())).await;
    assert!(matches!(world.settlement(3).await, Settlement::Nack(_)));
    assert_eq!(world.attempts(3), []);
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn other_payloads_stand_in_base64_and_what_was_a_cloud_event_stays_the_same() {
    let receiver = Receiver::answering(200).await;
    let world = world(&receiver, PayloadFormat::CloudeventsStructured);
    let pairs = [
        ("ce-id", "A234"),
        ("ce-source", "/my%20shop"),
        ("ce-specversion", "1.0"),
        ("ce-type", "com.shop.paid"),
        ("ce-tenant", "t1"),
    ];
    world
        .add_changed([1], |work| {
            restamp(work, |event| {
                event.content_type = "text/plain".into();
                let kept = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
                event.headers.0.extend(kept);
            });
        })
        .await;
    world.settlement(1).await;
    let document: Value = serde_json::from_slice(&receiver.received()[0].body).unwrap();
    let wanted = json!({
        "id": "A234", "source": "/my shop", "specversion": "1.0", "type": "com.shop.paid",
        "tenant": "t1", "datacontenttype": "text/plain", "data_base64": STANDARD.encode(PAYLOAD),
    });
    assert_eq!(document, wanted);
}

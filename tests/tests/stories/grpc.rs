//! Producers that speak gRPC: on port 9601, and on 9600 beside HTTP.

use super::main_path::manifest;
use proto::{
    client::Bearer,
    v1::{
        HandleIncomingEventRequest, SendOutgoingEventRequest,
        event_broker_client::EventBrokerClient, handle_incoming_event_request as incoming,
        send_outgoing_event_request as outgoing,
    },
};
use tests::{Deployment, Subscriber, Wiring, stories};
use tonic::{Code, transport::Channel};

stories!(producers_send_both_ways, health_answers_everybody);

const PUSH: &[u8] = include_bytes!("../../../schemas/examples/github/push.json");

async fn channel(url: &str) -> Channel {
    Channel::from_shared(url.to_owned()).unwrap().connect().await.unwrap()
}

fn to_us(uri: &str) -> HandleIncomingEventRequest {
    HandleIncomingEventRequest {
        event_uri: uri.to_owned(),
        content: Some(incoming::Content::Payload(PUSH.into())),
        content_type: "application/json".to_owned(),
        ..Default::default()
    }
}

fn to(subscriber: &str) -> SendOutgoingEventRequest {
    SendOutgoingEventRequest {
        subscriber: subscriber.to_owned(),
        event_uri: "github/1/push".to_owned(),
        content: Some(outgoing::Content::Payload(PUSH.into())),
        content_type: "application/json".to_owned(),
        ..Default::default()
    }
}

async fn producers_send_both_ways(wiring: Wiring) {
    let ours = Subscriber::start().await.unwrap();
    let theirs = Subscriber::start().await.unwrap();
    let certes = Deployment::start(wiring).await.unwrap();
    let manifest = manifest(&ours.url(), "")
        + &format!(
            "  - {{name: of-a, url: \"{0}\", events: [\"github/1/*\"], subscriber: a}}\n  \
             - {{name: of-b, url: \"{0}\", events: [\"github/1/push\"], subscriber: b}}\n\
             subscribers: [{{id: a}}, {{id: b}}]\n",
            theirs.url()
        );
    certes.apply(&manifest).await.unwrap();

    let mut stranger = EventBrokerClient::new(channel(&certes.grpc).await);
    let refused = stranger.handle_incoming_event(to_us("github/1/push")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);

    // Both ports speak it.
    for url in [&certes.grpc, &certes.http] {
        let bearer = Bearer::new(&certes.key).unwrap();
        let mut producer = EventBrokerClient::with_interceptor(channel(url).await, bearer);
        let taken = producer.handle_incoming_event(to_us("github/1/push")).await.unwrap();
        assert_eq!(taken.into_inner().deliveries, 1);
        let one = producer.send_outgoing_event(to("a")).await.unwrap().into_inner();
        let all = producer.send_outgoing_event(to("*")).await.unwrap().into_inner();
        assert_eq!((one.deliveries, all.deliveries), (1, 2));

        let unknown = producer.handle_incoming_event(to_us("github/1/nothing")).await.unwrap_err();
        assert_eq!(proto::status::error(&unknown).code.as_str(), "unknown_event_type");
        let mut broken = to_us("github/1/push");
        broken.content = Some(incoming::Content::Payload(b"{\"forced\": 3}"[..].into()));
        let broken = producer.handle_incoming_event(broken).await.unwrap_err();
        assert_eq!(proto::status::error(&broken).violations[0].path, "forced");
    }
    assert_eq!(ours.wait_for(2).await.len(), 2);
    assert_eq!(theirs.wait_for(6).await.len(), 6);
    certes.stop().await.unwrap();
}

async fn health_answers_everybody(wiring: Wiring) {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    let certes = Deployment::start(wiring).await.unwrap();
    let mut health = HealthClient::new(channel(&certes.grpc).await);
    for service in ["", "certes.v1.EventBroker"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status, 1, "serving: {service}");
    }
    certes.stop().await.unwrap();
}

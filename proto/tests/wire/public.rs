//! The public port: who gets in, what they may do, and what becomes of their events.

use crate::{
    fake::Fake,
    listen::{keyed, public},
    samples,
};
use contract::{
    Error, ErrorCode,
    access::Actor,
    command::Command,
    event::{Audience, Direction, Disposition, NewEvent, Origin},
    id::{KeyId, LaneId},
};
use prost_types::Any;
use proto::{
    status,
    v1::{
        self, configuration_client::ConfigurationClient, deliveries_client::DeliveriesClient,
        event_broker_client::EventBrokerClient, events_client::EventsClient,
        handle_incoming_event_request::Content, send_outgoing_event_request,
    },
};
use std::collections::BTreeMap;
use tonic::{Request, Response, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

fn code<T>(outcome: Result<Response<T>, Status>) -> ErrorCode {
    error(outcome).code
}

fn error<T>(outcome: Result<Response<T>, Status>) -> Error {
    status::error(&outcome.err().unwrap())
}

fn incoming() -> v1::HandleIncomingEventRequest {
    v1::HandleIncomingEventRequest {
        event_uri: "github/1/push".into(),
        content: Some(Content::Payload("{}".into())),
        content_type: String::new(),
        headers: BTreeMap::from([("X-Kept".into(), "1".into()), ("cookie".into(), "c".into())]),
        idempotency_key: Some("once".into()),
    }
}

fn outgoing(subscriber: &str) -> v1::SendOutgoingEventRequest {
    v1::SendOutgoingEventRequest {
        subscriber: subscriber.into(),
        event_uri: "1/meeting".into(),
        content: Some(send_outgoing_event_request::Content::Payload("{}".into())),
        ..v1::SendOutgoingEventRequest::default()
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_good_key() {
    let fake = Fake::new();
    let listener = public(&fake).await;
    let mut client = EventBrokerClient::new(listener.peers().channel());
    let outcome = client.handle_incoming_event(incoming()).await;
    assert_eq!(outcome.as_ref().unwrap_err().code(), tonic::Code::Unauthenticated);
    assert_eq!(code(outcome), ErrorCode::Unauthenticated);

    for bad in ["Bearer certes_nobody", "Bearer ", "Basic certes_admin", "certes_admin"] {
        let mut request = Request::new(incoming());
        request.metadata_mut().insert("authorization", bad.parse().unwrap());
        let outcome = client.handle_incoming_event(request).await;
        assert_eq!(code(outcome), ErrorCode::Unauthenticated, "{bad}");
    }
    let mut client = EventBrokerClient::new(keyed(&listener, "late"));
    assert_eq!(code(client.handle_incoming_event(incoming()).await), ErrorCode::Unauthenticated);
    assert!(fake.accepted.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_role_decides() {
    let fake = Fake::new();
    let listener = public(&fake).await;
    let mut reader = EventBrokerClient::new(keyed(&listener, "reader"));
    let outcome = reader.handle_incoming_event(incoming()).await;
    assert_eq!(outcome.as_ref().unwrap_err().code(), tonic::Code::PermissionDenied);
    let refused = error(outcome);
    assert_eq!(refused.code, ErrorCode::PermissionDenied);
    assert!(refused.message.contains("events:write"), "{}", refused.message);
    assert!(fake.accepted.lock().unwrap().is_empty());

    let mut events = EventsClient::new(keyed(&listener, "reader"));
    let wanted = v1::GetEventRequest { id: samples::event_id().to_string() };
    let event = events.get(wanted).await.unwrap().into_inner();
    assert_eq!(event, samples::event().into());
    let mut settings = ConfigurationClient::new(keyed(&listener, "reader"));
    let refused = settings.list_keys(v1::ListKeysRequest {}).await;
    assert_eq!(code(refused), ErrorCode::PermissionDenied);
}

#[tokio::test]
async fn an_incoming_event_reaches_the_broker() {
    let fake = Fake::new();
    let listener = public(&fake).await;
    let mut client = EventBrokerClient::new(keyed(&listener, "producer"));
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut request = Request::new(incoming());
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    request.metadata_mut().insert("certes-hops", "2".parse().unwrap());
    let answer = client.handle_incoming_event(request).await.unwrap().into_inner();
    assert_eq!(answer, samples::accepted().into());

    let event = fake.accepted.lock().unwrap().pop().unwrap();
    assert_eq!(event.trace.traceparent, traceparent);
    assert_eq!(event.trace.trail, ["ext.gw.4bf92f3577b34da6a3ce929d0e0e4736"]);
    assert_eq!(event.trace.hops, 2);
    assert_eq!(event.headers.get("x-kept"), Some("1"));
    assert!(event.headers.get("cookie").unwrap().starts_with("*** "));
    let expected = NewEvent {
        uri: samples::uri(),
        direction: Direction::Incoming,
        audience: Audience::Own,
        origin: Origin::Producer(KeyId::from_bytes([2; 16])),
        payload: "{}".into(),
        content_type: "application/json".into(),
        headers: event.headers.clone(),
        idempotency_key: Some("once".into()),
        received_at: samples::NOW,
        trace: event.trace.clone(),
        unvalidated: Disposition::Reject,
        invalid: Disposition::Reject,
        rules: event.rules,
    };
    assert_eq!(event.rules, fake.rules.borrow().sequence);
    assert_eq!(event, expected);
}

#[tokio::test]
async fn a_message_is_a_payload_of_protobuf() {
    let fake = Fake::new();
    let listener = public(&fake).await;
    let mut client = EventBrokerClient::new(keyed(&listener, "producer"));
    let of = |name: &str| {
        let any = Any { type_url: format!("type.googleapis.com/{name}"), value: vec![8, 1] };
        v1::HandleIncomingEventRequest { content: Some(Content::Message(any)), ..incoming() }
    };
    client.handle_incoming_event(of("certes.github.v1.Push")).await.unwrap();
    let event = fake.accepted.lock().unwrap().pop().unwrap();
    assert_eq!(
        (&event.payload[..], event.content_type.as_str()),
        (&[8, 1][..], "application/protobuf")
    );

    let refused = error(client.handle_incoming_event(of("certes.github.v1.Star")).await);
    assert_eq!(refused.code, ErrorCode::InvalidRequest);
    assert!(refused.message.contains("message.type_url"), "{}", refused.message);
    let json = v1::HandleIncomingEventRequest {
        content_type: "application/json".into(),
        ..of("certes.github.v1.Push")
    };
    assert_eq!(code(client.handle_incoming_event(json).await), ErrorCode::UnsupportedMediaType);
}

#[tokio::test]
async fn bad_events_are_refused_at_the_door() {
    type Change = fn(&mut v1::HandleIncomingEventRequest);
    let cases: [(Change, ErrorCode); 11] = [
        (|event| event.event_uri.clear(), ErrorCode::InvalidRequest),
        (|event| event.event_uri = "push".into(), ErrorCode::InvalidEventUri),
        (|event| event.event_uri = "_certes/1/dead".into(), ErrorCode::PermissionDenied),
        (|event| event.content = None, ErrorCode::InvalidRequest),
        (
            |event| event.content = Some(Content::Payload(vec![b'x'; 6 * 1024 * 1024].into())),
            ErrorCode::BodyTooLarge,
        ),
        (|event| event.content_type = "a\nb".into(), ErrorCode::UnsupportedMediaType),
        (|event| event.idempotency_key = Some(String::new()), ErrorCode::InvalidRequest),
        (|event| event.idempotency_key = Some("k".repeat(256)), ErrorCode::InvalidRequest),
        (|event| _ = event.headers.insert("a b".into(), "1".into()), ErrorCode::InvalidRequest),
        (|event| _ = event.headers.insert("a".into(), "\r\n".into()), ErrorCode::InvalidRequest),
        (
            |event| event.headers = (0..65).map(|n| (format!("x-{n}"), String::new())).collect(),
            ErrorCode::InvalidRequest,
        ),
    ];
    let fake = Fake::new();
    let listener = public(&fake).await;
    let mut client = EventBrokerClient::new(keyed(&listener, "producer"));
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let mut request = incoming();
        change(&mut request);
        let outcome = client.handle_incoming_event(request).await;
        assert_eq!(code(outcome), expected, "case {number}");
    }
    let mut request = Request::new(incoming());
    request.metadata_mut().insert("certes-hops", "9".parse().unwrap());
    assert_eq!(code(client.handle_incoming_event(request).await), ErrorCode::TooManyHops);
    assert!(fake.accepted.lock().unwrap().is_empty());
}

#[tokio::test]
async fn who_may_be_sent_to() {
    let fake = Fake::new();
    let listener = public(&fake).await;
    let mut producer = EventBrokerClient::new(keyed(&listener, "producer"));
    let mut tenant = EventBrokerClient::new(keyed(&listener, "tenant"));
    let taken = || {
        let event = fake.accepted.lock().unwrap().pop().unwrap();
        (event.direction, event.audience)
    };
    producer.send_outgoing_event(outgoing("org_9")).await.unwrap();
    assert_eq!(taken(), (Direction::Outgoing, Audience::Subscriber("org_9".into())));
    producer.send_outgoing_event(outgoing("*")).await.unwrap();
    assert_eq!(taken(), (Direction::Outgoing, Audience::All));
    tenant.send_outgoing_event(outgoing("org_123")).await.unwrap();
    assert_eq!(taken(), (Direction::Outgoing, Audience::Subscriber("org_123".into())));

    let refused = producer.send_outgoing_event(outgoing("")).await;
    assert_eq!(code(refused), ErrorCode::InvalidRequest);
    for others in ["org_9", "*"] {
        let refused = tenant.send_outgoing_event(outgoing(others)).await;
        assert_eq!(code(refused), ErrorCode::PermissionDenied, "{others}");
    }
    let refused = tenant.handle_incoming_event(incoming()).await;
    assert_eq!(code(refused), ErrorCode::PermissionDenied);
    assert!(fake.accepted.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_subscribers_key_sees_its_own_deliveries() {
    let fake = Fake::new();
    let listener = public(&fake).await;
    let mut admin = DeliveriesClient::new(keyed(&listener, "admin"));
    let mut tenant = DeliveriesClient::new(keyed(&listener, "tenant"));
    // The sample is a delivery of subscription 1, which is our own.
    let id = samples::delivery_id();
    let get = v1::GetDeliveryRequest { id: id.to_string() };
    assert!(admin.get(get.clone()).await.is_ok());
    assert_eq!(code(tenant.get(get).await), ErrorCode::NotFound);
    let resend = v1::ResendRequest { id: id.to_string() };
    assert_eq!(code(tenant.resend(resend).await), ErrorCode::NotFound);
    let own = tenant.list(v1::ListDeliveriesRequest::default()).await.unwrap();
    assert!(own.get_ref().deliveries.is_empty());
    let others =
        v1::ListDeliveriesRequest { subscriber: Some("org_9".into()), ..Default::default() };
    assert_eq!(code(tenant.list(others).await), ErrorCode::PermissionDenied);
    let ours =
        v1::ListDeliveriesRequest::from((samples::delivery_filter(), samples::page_request()));
    assert!(admin.list(ours.clone()).await.is_ok());
    assert_eq!(code(tenant.list(ours).await), ErrorCode::PermissionDenied);
    // One of subscription 2 would be its own; the fake knows none, so it is let through and not
    // found there.
    let calls = fake.calls.load(std::sync::atomic::Ordering::SeqCst);
    let own = contract::id::DeliveryId { lane: LaneId(2 << 4), ..id };
    let get = v1::GetDeliveryRequest { id: own.to_string() };
    assert_eq!(code(tenant.get(get).await), ErrorCode::NotFound);
    assert_eq!(fake.calls.load(std::sync::atomic::Ordering::SeqCst), calls + 1);

    let mut settings = ConfigurationClient::new(keyed(&listener, "tenant"));
    let seen = settings.list_subscriptions(v1::ListSubscriptionsRequest {}).await.unwrap();
    let numbers: Vec<_> = seen.get_ref().subscriptions.iter().map(|one| one.number).collect();
    assert_eq!(numbers, [2]);
}

#[tokio::test]
async fn commands_are_carried_out_for_the_key() {
    let fake = Fake::new();
    let listener = public(&fake).await;
    let published = v1::ExecuteRequest { changeset: Some(samples::changeset().into()) };
    let mut wanted = samples::changeset();
    wanted.commands.retain(|command| !matches!(command, Command::PublishSchema(_)));
    let request = v1::ExecuteRequest { changeset: Some(wanted.clone().into()) };
    let mut tenant = ConfigurationClient::new(keyed(&listener, "tenant"));
    assert_eq!(code(tenant.execute(request.clone()).await), ErrorCode::PermissionDenied);
    let empty = tenant.execute(v1::ExecuteRequest::default()).await;
    assert!(error(empty).message.contains("`changeset`"));

    let mut admin = ConfigurationClient::new(keyed(&listener, "admin"));
    let refused = error(admin.execute(published).await);
    assert_eq!(refused.code, ErrorCode::PermissionDenied);
    assert!(refused.message.contains("through the schema registry"), "{refused}");
    let changes = admin.execute(request).await.unwrap().into_inner().changes;
    let expected: Vec<v1::Change> = samples::changes().into_iter().map(Into::into).collect();
    assert_eq!(changes, expected);
    let actor = Actor::Key(KeyId::from_bytes([1; 16]));
    assert_eq!(fake.executed.lock().unwrap().pop(), Some((actor, wanted)));
    assert!(fake.executed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn listings_show_everything_but_secrets() {
    let listener = public(&Fake::new()).await;
    let mut admin = ConfigurationClient::new(keyed(&listener, "admin"));
    let sources = admin.list_sources(v1::ListSourcesRequest {}).await.unwrap().into_inner();
    let subscriptions = admin.list_subscriptions(v1::ListSubscriptionsRequest {}).await.unwrap();
    let subscribers = admin.list_subscribers(v1::ListSubscribersRequest {}).await.unwrap();
    let types = admin.list_event_types(v1::ListEventTypesRequest {}).await.unwrap();
    let backoffs = admin.list_backoffs(v1::ListBackoffsRequest {}).await.unwrap();
    let schemas = admin.list_schemas(v1::ListSchemasRequest {}).await.unwrap();
    let keys = admin.list_keys(v1::ListKeysRequest {}).await.unwrap();
    assert_eq!(sources.sources, [samples::source(contract::source::Scheme::Github).into()]);
    assert_eq!(subscriptions.get_ref().subscriptions.len(), 2);
    assert_eq!(subscribers.get_ref().subscribers[0].name, "Meetly");
    assert_eq!(types.get_ref().event_types[0].uri, "github/1/push");
    assert_eq!(backoffs.get_ref().backoffs[0].target, "type:github/1/push");
    assert_eq!(schemas.get_ref().schemas, [samples::schema_version().into()]);
    assert_eq!(keys.get_ref().keys.len(), 6);
    let users = admin.list_users(v1::ListUsersRequest {}).await.unwrap();
    assert_eq!(users.get_ref().users, [samples::user().into()]);
    let everything = format!("{sources:?}{subscriptions:?}{keys:?}{users:?}");
    assert!(!everything.contains("hidden"), "{everything}");
}

#[tokio::test]
async fn a_test_shows_what_came_back_to_those_who_may_read_it() {
    let fake = Fake::new();
    let listener = public(&fake).await;
    let tried = v1::TestFireRequest { subscription: "ci".into(), ..Default::default() };
    for (key, shown) in [("admin", true), ("writer", false)] {
        let mut broker = EventBrokerClient::new(keyed(&listener, key));
        let fired = broker.test_fire(tried.clone()).await.unwrap().into_inner();
        let attempts = fired.delivery.unwrap().attempts;
        assert!(attempts.iter().any(|attempt| attempt.status == Some(503)), "{key}");
        let found = attempts.iter().any(|attempt| attempt.response_excerpt.is_some());
        assert_eq!(found, shown, "{key}");
    }
}

#[tokio::test]
async fn what_went_over_the_wire_is_read_page_by_page() {
    let listener = public(&Fake::new()).await;
    let mut deliveries = DeliveriesClient::new(keyed(&listener, "admin"));
    let id = samples::delivery_id().to_string();
    for page in [None, Some(samples::page_request().into())] {
        let wanted = v1::GetExchangesRequest { id: id.clone(), page };
        let found = deliveries.get_exchanges(wanted).await.unwrap().into_inner();
        assert_eq!((found.exchanges.len(), found.next.as_deref()), (2, Some("2")));
    }
}

#[tokio::test]
async fn reflection_and_health_are_open_and_know_the_public_services_only() {
    let listener = public(&Fake::new()).await;
    let mut reflection = ServerReflectionClient::new(listener.peers().channel());
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        reflection.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "certes.v1.Configuration",
            "certes.v1.Deliveries",
            "certes.v1.EventBroker",
            "certes.v1.Events",
            "certes.v1.Live",
            "certes.v1.LogService",
            "certes.v1.Past",
            "certes.v1.Pull",
            "certes.v1.Replays",
            "certes.v1.Retention",
            "certes.v1.SchemaRegistry",
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
        ]
    );

    let mut health = HealthClient::new(listener.peers().channel());
    for service in ["", "certes.v1.EventBroker", "certes.v1.Configuration"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.unwrap();
        assert_eq!(answer.get_ref().status, 1, "{service}");
    }
}

#[tokio::test]
async fn internal_services_are_not_there() {
    use proto::v1::internal::{
        AcceptRequest, WatchRequest, broker_client::BrokerClient, rules_client::RulesClient,
    };
    let fake = Fake::new();
    let listener = public(&fake).await;
    let mut broker = BrokerClient::new(keyed(&listener, "admin"));
    let request = AcceptRequest { event: Some(samples::new_event().into()) };
    assert_eq!(broker.accept(request).await.unwrap_err().code(), tonic::Code::Unimplemented);
    let mut rules = RulesClient::new(keyed(&listener, "admin"));
    let refused = rules.watch(WatchRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unimplemented);
    assert!(fake.accepted.lock().unwrap().is_empty());
}

/// The same services behind the other door need no key.
#[tokio::test]
async fn peers_need_no_key() {
    let listener = crate::listen::master_api(&Fake::new()).await;
    let mut events = EventsClient::new(listener.peers().channel());
    let wanted = v1::GetEventRequest { id: samples::event_id().to_string() };
    assert!(events.get(wanted).await.is_ok());
}

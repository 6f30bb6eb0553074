//! Every noun becomes a message, bytes, a message and the same noun again; what is missing or
//! malformed is named.

use crate::samples;
use contract::{
    Error, ErrorCode,
    access::ApiKey,
    backoff::{BackoffPolicy, BackoffRule},
    clock::Timestamp,
    command::{Change, Changeset, Command, Target},
    delivery::{Attempt, AttemptReport, Delivery, DeliveryState},
    event::{Accepted, Audience, Event, NewEvent, Origin, Trace},
    master_api::{
        DeliveryFilter, EventFilter, FeedItem, FeedPage, LaneStatus, PageRequest, StoreEvent,
        Stored, Work,
    },
    queue::{LaneDepth, Lease, Settlement},
    schema::{ProtoFile, Published, SchemaBundle, SchemaSource, SchemaVersion},
    source::{Scheme, Source, SourceSpec},
    stamp::Stamp,
    subscription::{EventType, SecretRef, Subscriber, Subscription, SubscriptionSpec},
};
use proptest::prelude::*;
use prost::Message;
use proto::{
    convert::{Malformed, duration, duration_from, moment, moment_from},
    v1::{self, internal},
};
use std::{fmt::Debug, time::Duration};

/// The noun after a way through bytes of `W`.
fn there_and_back<W, N>(noun: &N)
where
    W: Message + Default + From<N>,
    N: TryFrom<W, Error = Malformed> + Clone + PartialEq + Debug,
{
    let bytes = W::from(noun.clone()).encode_to_vec();
    let back = N::try_from(W::decode(bytes.as_slice()).unwrap());
    assert_eq!(back.as_ref(), Ok(noun));
}

fn all<W, N>(nouns: &[N])
where
    W: Message + Default + From<N>,
    N: TryFrom<W, Error = Malformed> + Clone + PartialEq + Debug,
{
    assert!(!nouns.is_empty());
    nouns.iter().for_each(there_and_back::<W, N>);
}

#[test]
fn nouns_of_an_event() {
    all::<internal::NewEvent, _>(&samples::new_events());
    all::<v1::EventResponse, _>(&[samples::accepted()]);
    all::<v1::Event, _>(&samples::events());
    all::<internal::StoreEventRequest, _>(&[samples::store_event()]);
    all::<internal::Stored, _>(&[samples::stored()]);
    all::<v1::ListEventsRequest, _>(&[
        (samples::event_filter(), samples::page_request()),
        (EventFilter::default(), PageRequest::default()),
    ]);
}

#[test]
fn nouns_of_a_delivery() {
    all::<v1::Delivery, _>(&DeliveryState::ALL.map(samples::delivery));
    all::<internal::AttemptReport, _>(&samples::reports());
    all::<v1::Exchange, _>(&samples::exchanges());
    all::<internal::Work, _>(&samples::work().into_iter().flatten().collect::<Vec<_>>());
    all::<v1::ListDeliveriesRequest, _>(&[
        (samples::delivery_filter(), samples::page_request()),
        (DeliveryFilter::default(), PageRequest::default()),
    ]);
    all::<internal::LaneStatus, _>(&samples::lane_statuses());
    all::<internal::FeedPage, _>(&[samples::feed_page(), FeedPage::default()]);
    all::<internal::Lease, _>(&[samples::lease()]);
    all::<internal::Settlement, _>(&samples::settlements());
    all::<internal::LaneDepth, _>(&samples::depths());
}

#[test]
fn nouns_of_the_configuration() {
    all::<v1::BackoffPolicy, _>(&samples::policies());
    all::<v1::Source, _>(&Scheme::ALL.iter().copied().map(samples::source).collect::<Vec<_>>());
    all::<v1::Subscription, _>(&samples::subscriptions());
    all::<v1::Command, _>(&samples::commands());
    all::<v1::Changeset, _>(&[samples::changeset(), Changeset::default()]);
    all::<v1::Change, _>(&samples::changes());
    all::<v1::SchemaSource, _>(&[samples::schema_source()]);
    all::<v1::SchemaSet, _>(&samples::schema_sets());
    all::<v1::SchemaVerdict, _>(&samples::verdicts());
    all::<v1::SchemaBundle, _>(&[samples::bundle()]);
    all::<v1::Published, _>(&[samples::published()]);
}

#[test]
fn a_key_is_told_without_its_digest() {
    let key = samples::key("producer", 2, &["producer"], Some("org_123"));
    let told = v1::ApiKey::from(ApiKey { expires_at: Some(samples::NOW), ..key.clone() });
    assert_eq!(told.id, key.id.to_string());
    assert_eq!(told.roles, ["events:write"]);
    assert_eq!(told.subscriber.as_deref(), Some("org_123"));
    assert_eq!(told.expires_at, Some(moment(samples::NOW)));
    assert!(!format!("{told:?}").contains(&key.token_sha256));
}

#[test]
fn a_user_is_told_without_anything_of_its_password() {
    let user = samples::user();
    let told = v1::User::from(user.clone());
    assert_eq!((told.id.as_str(), told.name.as_str()), (&*user.id.to_string(), "ada"));
    assert!(told.disabled && told.roles == ["events:read"]);
    assert!(!format!("{told:?}").contains("hidden"));
}

#[test]
fn messages_with_secrets_do_not_print_them() {
    let printed = format!("{:?}", v1::Changeset::from(samples::changeset()));
    assert!(printed.contains("PutSubscription") && !printed.contains("whsec_c"), "{printed}");
    let passwords = printed.contains("correct horse") || printed.contains("battery staple");
    assert!(printed.contains("CreateUser") && !passwords, "{printed}");
    let session = v1::internal::Session::from(samples::session());
    assert!(!format!("{session:?}").contains("hidden"));
    let changes: Vec<v1::Change> = samples::changes().into_iter().map(Into::into).collect();
    let printed = format!("{changes:?}");
    assert!(printed.contains("***") && !printed.contains("whsec_shown"), "{printed}");
}

/// The field that an empty message misses first.
fn missed<W, N>() -> String
where
    W: Default,
    N: TryFrom<W, Error = Malformed> + Debug,
{
    let malformed = N::try_from(W::default()).unwrap_err();
    assert_eq!(malformed, Malformed::missing(&malformed.field));
    malformed.field
}

#[test]
fn what_is_required_is_never_made_up() {
    assert_eq!(missed::<internal::NewEvent, NewEvent>(), "uri");
    assert_eq!(missed::<v1::EventResponse, Accepted>(), "id");
    assert_eq!(missed::<v1::Event, Event>(), "id");
    assert_eq!(missed::<v1::Audience, Audience>(), "");
    assert_eq!(missed::<v1::Origin, Origin>(), "");
    assert_eq!(missed::<v1::Attempt, Attempt>(), "started_at");
    assert_eq!(missed::<v1::Delivery, Delivery>(), "id");
    assert_eq!(missed::<internal::AttemptReport, AttemptReport>(), "delivery");
    assert_eq!(missed::<internal::Next, contract::delivery::Next>(), "");
    assert_eq!(missed::<internal::StoreEventRequest, StoreEvent>(), "id");
    assert_eq!(missed::<internal::Stored, Stored>(), "id");
    assert_eq!(missed::<internal::Work, Work>(), "delivery");
    assert_eq!(missed::<internal::FeedItem, FeedItem>(), "delivery");
    assert_eq!(missed::<internal::Lease, Lease>(), "delivery");
    assert_eq!(missed::<internal::Settlement, (Lease, Settlement)>(), "lease");
    assert_eq!(missed::<v1::SchemaVersion, SchemaVersion>(), "uri");
    assert_eq!(missed::<v1::ProtoFile, ProtoFile>(), "path");
    assert_eq!(missed::<v1::SchemaSource, SchemaSource>(), "uri");
    assert_eq!(missed::<v1::SchemaBundle, SchemaBundle>(), "version");
    assert_eq!(missed::<v1::Published, Published>(), "version");
    assert_eq!(missed::<v1::BackoffPolicy, BackoffPolicy>(), "kind");
    assert_eq!(missed::<v1::BackoffRule, BackoffRule>(), "target");
    assert_eq!(missed::<v1::Subscriber, Subscriber>(), "id");
    assert_eq!(missed::<v1::EventType, EventType>(), "uri");
    assert_eq!(missed::<v1::SecretRef, SecretRef>(), "id");
    assert_eq!(missed::<v1::SourceSpec, SourceSpec>(), "name");
    assert_eq!(missed::<v1::Source, Source>(), "spec");
    assert_eq!(missed::<v1::SubscriptionSpec, SubscriptionSpec>(), "name");
    assert_eq!(missed::<v1::Subscription, Subscription>(), "id");
    assert_eq!(missed::<v1::Command, Command>(), "");
    assert_eq!(missed::<v1::Target, Target>(), "");
    assert_eq!(missed::<v1::Change, Change>(), "kind");
    let named = |malformed: Malformed| Error::from(malformed).message;
    assert_eq!(named(Malformed::missing("spec.name")), "the field `spec.name` is missing");
}

/// The field that makes a changed sample unreadable.
fn refused<W, N>(noun: impl Into<W>, change: impl FnOnce(&mut W)) -> String
where
    N: TryFrom<W, Error = Malformed> + Debug,
{
    let mut wire = noun.into();
    change(&mut wire);
    let malformed = N::try_from(wire).unwrap_err();
    assert_eq!(Error::from(malformed.clone()).code, ErrorCode::InvalidRequest);
    malformed.field
}

#[test]
fn a_malformed_field_is_named_by_its_path() {
    type E = v1::Event;
    let event = |change: fn(&mut E)| refused::<E, Event>(samples::event(), change);
    assert_eq!(event(|event| event.id = "evt_?".into()), "id");
    assert_eq!(event(|event| event.uri = "push".into()), "uri");
    assert_eq!(event(|event| event.state = 0), "state");
    assert_eq!(event(|event| event.state = 99), "state");
    assert_eq!(event(|event| event.origin = None), "origin");
    assert_eq!(event(|event| event.headers[1].name.clear()), "headers[1].name");
    assert_eq!(event(|event| event.trace.as_mut().unwrap().hops = 256), "trace.hops");
    let short = |event: &mut E| event.stamp.as_mut().unwrap().mac = vec![1; 31].into();
    assert_eq!(event(short), "stamp.mac");
    let nanos = |event: &mut E| event.received_at.as_mut().unwrap().nanos = -1;
    assert_eq!(event(nanos), "received_at");

    type D = v1::Delivery;
    let delivery =
        |change: fn(&mut D)| refused::<D, Delivery>(samples::delivery(DeliveryState::Dead), change);
    assert_eq!(
        delivery(|delivery| delivery.attempts[2].status = Some(65_536)),
        "attempts[2].status"
    );
    assert_eq!(delivery(|delivery| delivery.attempts[0].cause = Some(0)), "attempts[0].cause");

    type C = v1::Changeset;
    let spec = |changes: &mut C, at: usize| match changes.commands[at].command.as_mut() {
        Some(v1::command::Command::PutSource(put)) => put.spec.take().unwrap(),
        other => panic!("{other:?}"),
    };
    let broken = |change: fn(&mut v1::SourceSpec)| {
        refused::<C, Changeset>(samples::changeset(), |changes| {
            let mut changed = spec(changes, 3);
            change(&mut changed);
            let put = v1::PutSource { spec: Some(changed), secrets: Vec::new() };
            changes.commands[3].command = Some(v1::command::Command::PutSource(put));
        })
    };
    let at = "commands[3].put_source.spec";
    assert_eq!(broken(|spec| spec.verify = "magic".into()), format!("{at}.verify"));
    assert_eq!(broken(|spec| spec.priority = Some(10)), format!("{at}.priority"));
    assert_eq!(broken(|spec| spec.priority = Some(300)), format!("{at}.priority"));
    let negative = |spec: &mut v1::SourceSpec| {
        spec.backoff.as_mut().unwrap().delays[1].seconds = -1;
    };
    assert_eq!(broken(negative), format!("{at}.backoff.delays[1]"));
}

/// Messages of which a field may be left out have the documented default there.
#[test]
fn documented_defaults() {
    let mut wire = v1::SourceSpec::from(samples::source(Scheme::None).spec);
    (wire.unvalidated, wire.invalid) = (0, 0);
    wire.backoff.as_mut().unwrap().jitter = 0;
    let spec = SourceSpec::try_from(wire).unwrap();
    assert_eq!(spec.unvalidated, contract::event::Disposition::Reject);
    assert_eq!(spec.invalid, contract::event::Disposition::Reject);
    assert_eq!(spec.backoff.unwrap().jitter, contract::backoff::Jitter::Full);
}

macro_rules! never_panics {
    ($bytes:expr, $($wire:ty => $noun:ty),+ $(,)?) => {
        $(if let Ok(wire) = <$wire>::decode($bytes) {
            drop(<$noun>::try_from(wire));
        })+
    };
}

proptest! {
    #[test]
    fn moments(micros: i64) {
        prop_assert_eq!(moment_from(moment(Timestamp(micros))), Ok(Timestamp(micros)));
    }

    #[test]
    fn moments_of_others(seconds: i64, nanos: i32) {
        if let Ok(time) = moment_from(prost_types::Timestamp { seconds, nanos }) {
            prop_assert_eq!(time.unix_seconds(), seconds);
        }
    }

    #[test]
    fn durations(seconds in 0..=i64::MAX.unsigned_abs(), nanos in 0_u32..1_000_000_000) {
        let given = Duration::new(seconds, nanos);
        prop_assert_eq!(duration_from(duration(given)), Ok(given));
    }

    #[test]
    fn traces(
        traceparent: String,
        trail in prop::collection::vec(".{0,20}", 0..4),
        hops: u8,
    ) {
        there_and_back::<v1::Trace, _>(&Trace { traceparent, trail, hops });
    }

    #[test]
    fn stamps(key: [u8; 16], mac: [u8; 32]) {
        let key = contract::id::SecretId::from_bytes(key);
        there_and_back::<v1::Stamp, _>(&Stamp { key, mac });
    }

    #[test]
    fn bytes_of_anyone_never_panic(at in 0_usize..1000, to: u8, noise: Vec<u8>) {
        let mut sample = v1::Changeset::from(samples::changeset()).encode_to_vec();
        let length = sample.len();
        sample[at % length] = to;
        never_panics!(sample.as_slice(), v1::Changeset => Changeset, v1::Event => Event);
        let mut sample = v1::Event::from(samples::event()).encode_to_vec();
        let length = sample.len();
        sample[at % length] = to;
        never_panics!(
            sample.as_slice(),
            v1::Event => Event,
            v1::Delivery => Delivery,
            v1::Subscription => Subscription,
        );
        never_panics!(
            noise.as_slice(),
            internal::NewEvent => NewEvent,
            internal::LaneStatus => LaneStatus,
            internal::LaneDepth => LaneDepth,
            v1::BackoffPolicy => BackoffPolicy,
        );
    }
}

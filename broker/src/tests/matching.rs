//! Who receives an event, and at which priority.

use crate::matcher::Matcher;
use contract::{
    clock::Timestamp,
    event::{Audience, Direction, Disposition, Headers, NewEvent, Origin, Trace},
    id::{KeyId, LaneId, Sequence, SubscriptionId, SubscriptionNumber},
    rules::Rules,
    source::{Scheme, Source, SourceSpec},
    subscription::{EventType, Priority, Subscription, SubscriptionSpec, SubscriptionStatus},
    uri::EventUri,
};
use proptest::prelude::*;
use std::sync::Arc;

/// Number, owner, patterns.
pub type Row<'a> = (u32, Option<&'a str>, &'a [&'a str]);

/// Rules with these subscriptions, none of which sets a priority.
pub fn rules(rows: &[Row<'_>]) -> Rules {
    let subscription = |(number, owner, patterns): &Row<'_>| {
        let number = SubscriptionNumber(*number);
        let subscription = Subscription {
            id: SubscriptionId::from_bytes([0; 16]),
            number,
            spec: SubscriptionSpec {
                name: format!("number {}", number.0),
                subscriber: owner.map(str::to_owned),
                url: "https://example.com/hook".into(),
                events: patterns.iter().map(|pattern| pattern.parse().unwrap()).collect(),
                ..SubscriptionSpec::default()
            },
            status: SubscriptionStatus::Active,
            status_reason: None,
            breaker: None,
            secrets: Vec::new(),
            created_at: Timestamp(0),
        };
        (number, Arc::new(subscription))
    };
    let subscriptions = rows.iter().map(subscription).collect();
    Rules { sequence: Sequence(1), subscriptions, ..Rules::default() }
}

pub fn uri(text: &str) -> EventUri {
    text.parse().unwrap()
}

/// An event for an audience, from nowhere, with nothing in it.
pub fn event(uri: &str, audience: Audience) -> NewEvent {
    NewEvent {
        uri: self::uri(uri),
        direction: Direction::Incoming,
        audience,
        origin: Origin::Server,
        payload: b"{}".as_slice().into(),
        content_type: "application/json".into(),
        headers: Headers::default(),
        idempotency_key: None,
        received_at: Timestamp(0),
        trace: Trace::default(),
        unvalidated: Disposition::Accept,
        invalid: Disposition::Reject,
        rules: Sequence(0),
    }
}

fn to(subscriber: &str) -> Audience {
    Audience::Subscriber(subscriber.to_owned())
}

#[test]
fn who_may_receive() {
    let rules = rules(&[
        (1, None, &["shop/1/order"]),
        (2, None, &["shop/1/*", "shop/*/order", "shop/1/order"]),
        (3, None, &["*/1/order"]),
        (4, None, &["shop/2/order", "1/order"]),
        (11, Some("a"), &["shop/1/order"]),
        (12, Some("a"), &["*/*/*"]),
        (21, Some("b"), &["shop/1/*"]),
        (31, None, &["_certes/1/*"]),
        (32, None, &["_certes/1/delivery_dead"]),
    ]);
    let table: &[(&str, Audience, &[u32])] = &[
        // Incoming: our own subscriptions only.
        ("shop/1/order", Audience::Own, &[1, 2, 3]),
        // Incoming from a source that names a subscriber, or outgoing to one: its own only.
        ("shop/1/order", to("a"), &[11, 12]),
        ("shop/1/order", to("b"), &[21]),
        // Outgoing to all: every subscriber's, never our own.
        ("shop/1/order", Audience::All, &[11, 12, 21]),
        ("shop/1/order", to("nobody"), &[]),
        // A subscriber that is called `*` is no way to all.
        ("shop/1/order", to("*"), &[]),
        // A star is one whole segment.
        ("shop/2/order", Audience::Own, &[2, 4]),
        ("shop/eu/1/order", Audience::Own, &[]),
        ("a.b/shop/1/order", Audience::Own, &[]),
        // The default namespace is there although nobody wrote it.
        ("1/order", Audience::Own, &[3, 4]),
        ("1/other", to("a"), &[12]),
        // The server's own events go to those who name them.
        ("_certes/1/delivery_dead", Audience::Own, &[31, 32]),
        ("_certes/1/delivery_dead", to("a"), &[]),
    ];
    let matcher = Matcher::new(&rules, None);
    for (text, audience, wanted) in table {
        let found = matcher.receivers(&event(text, audience.clone()));
        let wanted: Vec<_> = wanted.iter().copied().map(SubscriptionNumber).collect();
        assert_eq!(found, wanted, "{text} for {audience:?}");
    }
}

#[test]
fn a_paused_subscription_still_gets_its_deliveries_stored() {
    let mut rules = rules(&[(1, None, &["shop/1/order"])]);
    let subscription = rules.subscriptions.get_mut(&SubscriptionNumber(1)).unwrap();
    Arc::make_mut(subscription).status = SubscriptionStatus::Paused;
    let found = Matcher::new(&rules, None).receivers(&event("shop/1/order", Audience::Own));
    assert_eq!(found, [SubscriptionNumber(1)]);
}

/// Rules in which subscription 1, the event type and the source may set a priority.
fn prioritised(of_subscription: Option<u8>, of_type: Option<u8>, of_source: Option<u8>) -> Rules {
    let priority = |level: Option<u8>| level.map(|level| Priority::try_from(level).unwrap());
    let mut rules = rules(&[(1, None, &["shop/1/order"])]);
    let subscription = rules.subscriptions.get_mut(&SubscriptionNumber(1)).unwrap();
    Arc::make_mut(subscription).spec.priority = priority(of_subscription);
    let event_type = EventType { uri: uri("shop/1/order"), priority: priority(of_type) };
    rules.event_types.insert(uri("shop/1/order"), Arc::new(event_type));
    let plain = SourceSpec::new("till", Scheme::None, "shop/1/order");
    let spec = SourceSpec { priority: priority(of_source), ..plain };
    rules.sources.insert("till".into(), Arc::new(Source { spec, secrets: Vec::new() }));
    rules
}

#[test]
fn the_priority_is_the_subscriptions_then_the_types_then_the_sources_then_five() {
    let till = Origin::Source("till".into());
    let producer = Origin::Producer(KeyId::from_bytes([1; 16]));
    let table = [
        (Some(9), Some(7), Some(3), &till, 9),
        (Some(0), Some(7), Some(3), &till, 0),
        (None, Some(7), Some(3), &till, 7),
        (None, None, Some(3), &till, 3),
        (None, None, None, &till, 5),
        (None, None, Some(3), &producer, 5),
        (None, Some(7), Some(3), &producer, 7),
    ];
    for (of_subscription, of_type, of_source, origin, wanted) in table {
        let rules = prioritised(of_subscription, of_type, of_source);
        let matcher = Matcher::new(&rules, None);
        let event = NewEvent { origin: origin.clone(), ..event("shop/1/order", Audience::Own) };
        let lanes = matcher.place(&rules, &event).lanes;
        let wanted = LaneId::new(SubscriptionNumber(1), Priority::try_from(wanted).unwrap());
        assert_eq!(lanes, [wanted], "{of_subscription:?} {of_type:?} {of_source:?} {origin:?}");
    }
}

proptest! {
    /// The index finds what looking at every subscription would find.
    #[test]
    fn the_index_agrees_with_the_definition(
        subscriptions in prop::collection::vec(
            (
                prop::option::of("[ab]"),
                prop::collection::vec("(_certes|[xy*])(/[xy*]){0,2}/[12*]/[xy*]", 1..4),
            ),
            0..12,
        ),
        text in "(_certes|[xy])(/[xy]){0,2}/[12]/[xy]",
        audience in prop_oneof![
            Just(Audience::Own),
            Just(Audience::All),
            "[abc]".prop_map(Audience::Subscriber),
        ],
    ) {
        let patterns: Vec<Vec<&str>> = subscriptions
            .iter()
            .map(|(_, patterns)| patterns.iter().map(String::as_str).collect())
            .collect();
        let rows: Vec<Row<'_>> = (1..)
            .zip(subscriptions.iter().zip(&patterns))
            .map(|(number, ((owner, _), patterns))| (number, owner.as_deref(), &patterns[..]))
            .collect();
        let rules = rules(&rows);
        let uri = uri(&text);
        let receives = |subscription: &&Arc<Subscription>| {
            audience.includes(subscription.spec.subscriber.as_deref())
                && subscription.spec.events.iter().any(|pattern| pattern.matches(&uri))
        };
        let wanted: Vec<_> =
            rules.subscriptions.values().filter(receives).map(|s| s.number).collect();
        prop_assert_eq!(Matcher::new(&rules, None).receivers(&event(&text, audience)), wanted);
    }
}

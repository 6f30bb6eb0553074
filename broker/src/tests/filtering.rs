//! Which events filters let through, and the keys of those that wait for each other.

use super::matching::{event, rules};
use crate::matcher::Matcher;
use contract::{
    event::{Audience, Headers, NewEvent},
    id::{LaneId, SubscriptionNumber},
    rules::Rules,
    subscription::{Ordering, Priority, SubscriptionSpec},
};
use expression::{Filter, Subject};
use proptest::prelude::*;
use std::sync::Arc;

const URI: &str = "shop/1/order";

type Setting<'s> = Box<dyn Fn(&mut SubscriptionSpec) + 's>;

/// Own subscriptions, numbered from 1, to all that the shop says.
fn with(changes: Vec<Setting<'_>>) -> Rules {
    let rows: Vec<_> = (1..=u32::try_from(changes.len()).unwrap())
        .map(|number| (number, None, ["shop/1/*", "shop/*/order"].as_slice()))
        .collect();
    let mut rules = rules(&rows);
    for (subscription, change) in rules.subscriptions.values_mut().zip(changes) {
        change(&mut Arc::make_mut(subscription).spec);
    }
    rules
}

fn filtered(filters: &[Option<&str>]) -> Rules {
    let set = |filter: &Option<&str>| {
        let filter = filter.map(str::to_owned);
        let set: Setting<'_> = Box::new(move |spec| spec.filter.clone_from(&filter));
        set
    };
    with(filters.iter().map(set).collect())
}

fn saying(payload: &str) -> NewEvent {
    let headers = Headers(vec![("x-kind".into(), "paid".into())]);
    let payload = payload.as_bytes().to_vec().into();
    NewEvent { payload, headers, ..event(URI, Audience::Own) }
}

fn numbers(found: &[SubscriptionNumber]) -> Vec<u32> {
    found.iter().map(|number| number.0).collect()
}

#[test]
fn only_those_whose_filters_want_an_event_receive_it() {
    let rules = filtered(&[
        None,
        Some("event.total > 10"),
        Some("event.total > 100"),
        Some(r#"event.state == "paid""#),
        Some(r#"event.state in ["open", "paid"] && event.total < 20"#),
        Some(r#"event.state == "open""#),
        Some(r#"headers["x-kind"] == "paid""#),
        Some(r#"headers["x-kind"] == "open" && event.state == "paid""#),
        Some("event.total > 10"),
        // What cannot be told is not wanted.
        Some("event.state > 3"),
        // Taken by an older program: nobody can say what it wants.
        Some("event.state ==="),
    ]);
    let matcher = Matcher::new(&rules, None);
    let placed = matcher.place(&rules, &saying(r#"{"state": "paid", "total": 15}"#));
    let found: Vec<_> = placed.lanes.iter().map(|lane| lane.subscription().0).collect();
    assert_eq!(found, [1, 2, 4, 5, 7, 9]);
    assert_eq!(placed.failed, 2);
    // A payload that is no JSON fits no filter that looks into it.
    let unreadable = NewEvent { content_type: "text/plain".into(), ..saying("paid") };
    let placed = matcher.place(&rules, &unreadable);
    let found: Vec<_> = placed.lanes.iter().map(|lane| lane.subscription().0).collect();
    assert_eq!(found, [1, 7]);
}

#[test]
fn what_was_compiled_before_is_kept_and_the_rest_forgotten() {
    let before = Matcher::new(&filtered(&[Some("event.a == 1"), Some("event.b == 1")]), None);
    let rules = filtered(&[Some("event.b == 1"), Some("event.c == 1"), Some("event.b == 1")]);
    let matcher = Matcher::new(&rules, Some(&before));
    assert_eq!(numbers(&matcher.receivers(&saying(r#"{"b": 1}"#))), [1, 3]);
    assert_eq!(numbers(&matcher.receivers(&saying(r#"{"c": 1}"#))), [2]);
    assert!(matcher.receivers(&saying(r#"{"a": 1}"#)).is_empty());
}

#[test]
fn deliveries_in_order_have_a_key_and_one_priority() {
    let order = |ordering: Ordering| {
        let set: Setting<'_> = Box::new(move |spec| spec.ordering.clone_from(&ordering));
        set
    };
    let rules = with(vec![
        order(Ordering::None),
        order(Ordering::Strict),
        order(Ordering::Key("event.customer".into())),
        order(Ordering::Key("event.nobody".into())),
        order(Ordering::Key("event.".into())),
    ]);
    let matcher = Matcher::new(&rules, None);
    let keys = |payload: &str| {
        let placed = matcher.place(&rules, &saying(payload));
        assert_eq!(placed.lanes.len(), 5);
        let lane = |number| LaneId::new(SubscriptionNumber(number), Priority::default());
        [1, 2, 3, 4, 5].map(|number| placed.keys.get(&lane(number)).copied())
    };
    let (ada, bob) = (keys(r#"{"customer": "ada"}"#), keys(r#"{"customer": "bob"}"#));
    assert_eq!((ada[0], ada[1]), (None, None), "only a key needs one");
    assert_eq!(ada[2], keys(r#"{"customer": "ada", "more": 1}"#)[2]);
    assert_ne!(ada[2], bob[2]);
    // Those whose key cannot be told keep an order among themselves.
    assert!(ada[3].is_some());
    assert_eq!([ada[3], ada[4]], [bob[3], bob[4]]);
}

proptest! {
    /// The index finds what asking every filter would find.
    #[test]
    fn the_index_agrees_with_asking_everybody(
        filters in prop::collection::vec(
            prop::option::of(prop_oneof![
                Just(r#"event.a == 1"#),
                Just(r#"event.a == "1""#),
                Just(r#"event.a == true"#),
                Just(r#"event.a in [1, 2, "x"]"#),
                Just(r#"event.a == 2 && event.b.c == "x""#),
                Just(r#"event.b["c"] == "x""#),
                Just(r#"event.b.c != "x""#),
                Just(r#"headers["x-kind"] == "paid" && event.a == 1"#),
                Just(r#"headers["x-kind"] == "open""#),
                Just(r#"event.a == 1 || event.b.c == "x""#),
                Just(r#"type == "shop/1/order""#),
                Just(r#"has(event.b)"#),
            ]),
            0..20,
        ),
        a in prop_oneof![
            Just(""), Just(r#""a": 1,"#), Just(r#""a": 2.0,"#), Just(r#""a": "1","#),
            Just(r#""a": true,"#), Just(r#""a": "x","#), Just(r#""a": [1],"#),
        ],
        b in prop_oneof![Just(r#"{"c": "x"}"#), Just(r#"{"c": 1}"#), Just("null"), Just(r#""x""#)],
    ) {
        let event = saying(&format!(r#"{{{a} "b": {b}}}"#));
        let wants = |filter: &Option<&str>| match filter {
            None => true,
            Some(source) => Filter::compile(source).unwrap().matches(&Subject::new(&event)) == Ok(true),
        };
        let wanted: Vec<u32> = (1..).zip(&filters).filter(|(_, it)| wants(it)).map(|(n, _)| n).collect();
        let found = Matcher::new(&filtered(&filters), None).receivers(&event);
        prop_assert_eq!(numbers(&found), wanted);
    }
}

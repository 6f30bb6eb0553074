//! What the broker takes, refuses and keeps aside, and what it does when the log is not as hoped.

use super::{
    matching::{rules, uri},
    model::{ModelLog, ModelQueue},
};
use crate::{Broker, Config, Feeder, Metrics};
use bytes::Bytes;
use contract::{
    Error, ErrorCode, Result,
    access::Actor,
    backoff::Span,
    broker::EventBroker,
    clock::Timestamp,
    event::{
        Accepted, Audience, Direction, Disposition, Event, EventState, Headers, NewEvent, Origin,
        Trace,
    },
    id::{EventId, LaneId, SecretId, Sequence, SubscriptionNumber},
    limits::HOPS_MAX,
    master_api::{ReleaseEvent, StoreEvent, Stored},
    rules::Rules,
    schema::{EventValidator, Example, Validated, Violation},
    secret::Secret,
    stamp::{StampKey, Stamped},
    subscription::Priority,
    testing::{ManualClock, seeded_ids},
    uri::EventUri,
};
use prometheus_client::registry::Registry;
use std::{sync::Arc, time::Duration};

/// Knows the type `shop/1/order` in version 1.4; its payloads are `good`, `bad` or unreadable.
pub(super) struct ShopValidator;

impl EventValidator for ShopValidator {
    fn example(&self, uri: &EventUri) -> Result<Option<Example>> {
        let example = Example { payload: Bytes::from_static(b"good"), published: false };
        Ok((uri.as_str() == "shop/1/order").then_some(example))
    }

    fn validate(&self, uri: &EventUri, content_type: &str, payload: &[u8]) -> Result<Validated> {
        let violation = |path: &str, rule: &str| Violation {
            path: path.into(),
            expected: "int64".into(),
            found: "hunter2".into(),
            rule: rule.into(),
        };
        match (uri.as_str(), content_type, payload) {
            ("shop/1/order", "text/plain", _) => {
                Err(Error::new(ErrorCode::UnsupportedMediaType, "only JSON and protobuf"))
            }
            ("shop/1/order", _, b"good") => Ok(Validated::Against(4)),
            ("shop/1/order", _, b"bad") => {
                let mut found = vec![violation("order.id", "type"), violation("", "required")];
                found.extend((0..4).map(|n| violation(&format!("items[{n}].price"), "range")));
                Err(Error::violations("breaks its contract", found))
            }
            ("shop/1/order", _, _) => Err(Error::new(ErrorCode::MalformedPayload, "no JSON")),
            _ => Ok(Validated::NoSchema),
        }
    }
}

pub(super) struct Shop {
    pub(super) log: Arc<ModelLog>,
    queue: Arc<ModelQueue>,
    feeder: Arc<Feeder>,
    pub(super) broker: Broker,
    registry: Registry,
}

pub(super) fn shop_rules(sequence: u64) -> Rules {
    let stamp_keys = vec![
        (SecretId::from_bytes([1; 16]), Secret::new("old")),
        (SecretId::from_bytes([2; 16]), Secret::new("current")),
    ];
    let subscriptions: &[super::matching::Row<'_>] = &[
        (1, None, &["shop/1/order", "shop/1/*"]),
        (2, None, &["*/1/*"]),
        (3, Some("a"), &["*/1/*"]),
    ];
    Rules { sequence: Sequence(sequence), stamp_keys, ..rules(subscriptions) }
}

pub(super) fn shop_with(rules: Rules) -> Shop {
    let clock = ManualClock::new(Timestamp(1_700_000_000_000_000));
    let mut registry = Registry::default();
    let metrics = Metrics::new(&mut registry);
    let log = ModelLog::new(rules);
    let queue = ModelQueue::new(16, Arc::clone(&log), true);
    let config = Config {
        store_timeout: Span(Duration::from_secs(3600)),
        rules_timeout: Span(Duration::from_millis(50)),
        ..Config::default()
    };
    let feeder = Feeder::new(
        config.feeder.clone(),
        log.clone(),
        queue.clone(),
        clock.clone(),
        metrics.clone(),
    );
    let feeder = Arc::new(feeder);
    let ids = seeded_ids(clock, 7);
    let broker = Broker::new(
        config,
        Arc::new(ShopValidator),
        log.clone(),
        Arc::clone(&feeder),
        ids,
        metrics,
    );
    Shop { log, queue, feeder, broker, registry }
}

pub(super) fn shop() -> Shop {
    shop_with(shop_rules(10))
}

fn order(payload: &'static str) -> NewEvent {
    NewEvent {
        uri: uri("shop/1/order"),
        direction: Direction::Incoming,
        audience: Audience::Own,
        origin: Origin::Source("till".into()),
        payload: Bytes::from_static(payload.as_bytes()),
        content_type: "application/json".into(),
        headers: Headers(vec![("x-till".into(), "3".into())]),
        idempotency_key: None,
        received_at: Timestamp(5),
        trace: Trace::default(),
        unvalidated: Disposition::Reject,
        invalid: Disposition::Reject,
        rules: Sequence(0),
    }
}

fn lane(number: u32) -> LaneId {
    LaneId::new(SubscriptionNumber(number), Priority::default())
}

#[tokio::test]
async fn a_valid_event_is_stored_with_its_lanes_and_offered() {
    let shop = shop();
    shop.feeder.run_once().await.unwrap();
    let accepted = shop.broker.accept(order("good")).await.unwrap();
    let asked = shop.log.asked().remove(0);
    assert_eq!(
        accepted,
        Accepted { id: asked.id, deliveries: 2, duplicate: false, quarantined: false }
    );
    assert_eq!(asked.lanes, [lane(1), lane(2)]);
    assert_eq!((asked.schema_minor, asked.quarantine), (Some(4), None));
    assert_eq!(asked.rules, Sequence(10));
    assert_eq!(asked.event.payload, order("good").payload);
    assert_eq!(asked.event.trace.trail.len(), 1);
    assert!(asked.event.trace.trail[0].starts_with("eb."));
    shop.feeder.pass_on().await;
    assert_eq!(shop.queue.served(), [lane(1), lane(2)]);
}

#[tokio::test]
async fn the_stamp_is_of_the_current_key_and_covers_the_event() {
    let shop = shop();
    shop.broker.accept(order("good")).await.unwrap();
    let asked = shop.log.asked().remove(0);
    let stamped = Stamped {
        id: asked.id,
        uri: &asked.event.uri,
        content_type: &asked.event.content_type,
        headers: &asked.event.headers,
        payload: &asked.event.payload,
    };
    let key = StampKey::new(SecretId::from_bytes([2; 16]), b"current");
    assert!(key.verify(&asked.stamp, stamped));
    assert!(!key.verify(&asked.stamp, Stamped { payload: b"gooD", ..stamped }));
}

/// What becomes of an event: a code, or whether it was checked and why it is kept aside.
#[derive(Debug, PartialEq)]
enum Fate {
    Refused(ErrorCode),
    Delivered(Option<u32>),
    Aside(&'static str),
}

#[tokio::test]
async fn what_becomes_of_events_without_a_schema_and_of_broken_ones() {
    use Disposition::{Accept, Quarantine, Reject};
    use Fate::{Aside, Delivered, Refused};
    const UNKNOWN: &str = "no schema is known for its type";
    const BROKEN: &str =
        "it breaks its contract: order.id (type), required, items[0].price (range) and 3 more";
    const UNREADABLE: &str = "its payload cannot be read as `application/json`";
    // Type, payload, `unvalidated`, `invalid`, fate.
    let table = [
        ("shop/1/order", "good", Reject, Reject, Delivered(Some(4))),
        ("shop/1/order", "good", Quarantine, Quarantine, Delivered(Some(4))),
        ("shop/1/order", "bad", Accept, Reject, Refused(ErrorCode::ContractViolation)),
        ("shop/1/order", "bad", Reject, Quarantine, Aside(BROKEN)),
        ("shop/1/order", "bad", Reject, Accept, Refused(ErrorCode::ContractViolation)),
        ("shop/1/order", "{", Reject, Reject, Refused(ErrorCode::MalformedPayload)),
        ("shop/1/order", "{", Reject, Quarantine, Aside(UNREADABLE)),
        ("shop/1/other", "?", Reject, Accept, Refused(ErrorCode::UnknownEventType)),
        ("shop/1/other", "?", Quarantine, Reject, Aside(UNKNOWN)),
        ("shop/1/other", "?", Accept, Reject, Delivered(None)),
    ];
    for (text, payload, unvalidated, invalid, wanted) in table {
        let shop = shop();
        let event = NewEvent { uri: uri(text), unvalidated, invalid, ..order(payload) };
        let answer = shop.broker.accept(event).await;
        let found = match answer {
            Err(error) => {
                assert!(shop.log.asked().is_empty(), "nothing is stored of what is refused");
                Refused(error.code)
            }
            Ok(accepted) => {
                let asked = shop.log.asked().remove(0);
                assert_eq!(accepted.quarantined, asked.quarantine.is_some());
                assert_eq!(asked.lanes.is_empty(), accepted.quarantined);
                match (asked.quarantine, &wanted) {
                    (None, _) => Delivered(asked.schema_minor),
                    (Some(reason), Aside(text)) if reason == *text => Aside(text),
                    (Some(reason), _) => panic!("kept aside: {reason}"),
                }
            }
        };
        assert_eq!(found, wanted, "{text} {payload} {unvalidated:?} {invalid:?}");
    }
}

#[tokio::test]
async fn violations_reach_the_sender_and_a_wrong_media_type_is_never_kept() {
    let shop = shop();
    let error = shop.broker.accept(order("bad")).await.unwrap_err();
    assert_eq!(error.violations.len(), 6);
    let plain = NewEvent {
        content_type: "text/plain".into(),
        invalid: Disposition::Quarantine,
        ..order("good")
    };
    let error = shop.broker.accept(plain).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::UnsupportedMediaType);
}

#[tokio::test]
async fn the_servers_own_events_come_from_the_server_alone() {
    let shop = shop();
    let own = |origin| NewEvent {
        uri: uri("_certes/1/delivery_dead"),
        unvalidated: Disposition::Accept,
        origin,
        ..order("{}")
    };
    let error = shop.broker.accept(own(Origin::Source("till".into()))).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::PermissionDenied);
    shop.broker.accept(own(Origin::Server)).await.unwrap();
}

#[tokio::test]
async fn an_event_that_goes_in_circles_is_refused() {
    let shop = shop();
    let after = |hops| {
        let trace = Trace { hops, ..Trace::default() };
        shop.broker.accept(NewEvent { trace, ..order("good") })
    };
    after(HOPS_MAX).await.unwrap();
    assert_eq!(after(HOPS_MAX + 1).await.unwrap_err().code, ErrorCode::TooManyHops);
}

#[tokio::test]
async fn an_event_matched_by_old_rules_is_matched_again_under_the_same_id() {
    let shop = shop();
    shop.log.script(|log, _| {
        let mut newer = shop_rules(11);
        newer.subscriptions.remove(&SubscriptionNumber(1));
        log.rules.send_replace(Arc::new(newer));
        Err(Error::new(ErrorCode::StaleRules, "match again"))
    });
    let accepted = shop.broker.accept(order("good")).await.unwrap();
    let asked = shop.log.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!((asked[0].id, asked[1].id), (accepted.id, accepted.id));
    assert_eq!((asked[0].rules, asked[1].rules), (Sequence(10), Sequence(11)));
    assert_eq!((asked[0].lanes.len(), &asked[1].lanes[..]), (2, &[lane(2)][..]));
    assert_eq!(asked[1].event.trace.trail.len(), 1);
}

#[tokio::test]
async fn rules_that_do_not_come_or_never_stop_coming_end_the_attempt() {
    let stale = || Err(Error::new(ErrorCode::StaleRules, "match again"));
    let shop = shop();
    shop.log.script(move |_, _| stale());
    let error = shop.broker.accept(order("good")).await.unwrap_err();
    assert_eq!((error.code, shop.log.asked().len()), (ErrorCode::Unavailable, 1));
    assert!(error.retry_after.is_some());

    let shop = self::shop();
    for sequence in 11..30 {
        shop.log.script(move |log, _| {
            log.rules.send_replace(Arc::new(shop_rules(sequence)));
            stale()
        });
    }
    let error = shop.broker.accept(order("good")).await.unwrap_err();
    assert_eq!((error.code, shop.log.asked().len()), (ErrorCode::Unavailable, 5));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_under_the_same_id() {
    let shop = shop();
    shop.feeder.run_once().await.unwrap();
    let lost = |log: &ModelLog, event: &contract::master_api::StoreEvent| {
        log.store(&event.lanes);
        Err(Error::new(ErrorCode::DeadlineExceeded, "no answer"))
    };
    shop.log.script(lost);
    shop.log.script(|_, event| {
        let (id, lanes) = (event.id, event.lanes.clone());
        Ok(Stored { id, sequence: Sequence(1), lanes, duplicate: true, quarantined: false })
    });
    let accepted = shop.broker.accept(order("good")).await.unwrap();
    // It was here before only because this very call had stored it.
    assert!(!accepted.duplicate);
    let ids: Vec<EventId> = shop.log.asked().iter().map(|asked| asked.id).collect();
    assert_eq!(ids, [accepted.id, accepted.id]);
    shop.feeder.pass_on().await;
    assert_eq!(shop.queue.served().len(), 2);

    (0..3).for_each(|_| shop.log.script(lost));
    let error = shop.broker.accept(order("good")).await.unwrap_err();
    assert_eq!((error.code, shop.log.asked().len()), (ErrorCode::DeadlineExceeded, 5));
}

#[tokio::test]
async fn other_failures_of_the_log_are_the_senders_answer_at_once() {
    for code in [ErrorCode::IdempotencyConflict, ErrorCode::Unavailable, ErrorCode::Internal] {
        let shop = shop();
        shop.log.script(move |_, _| Err(Error::new(code, "no")));
        let error = shop.broker.accept(order("good")).await.unwrap_err();
        assert_eq!((error.code, shop.log.asked().len()), (code, 1));
    }
}

#[tokio::test]
async fn a_duplicate_gets_the_first_answer_and_is_not_queued_again() {
    let shop = shop();
    shop.feeder.run_once().await.unwrap();
    let first = EventId::from_bytes([9; 16]);
    shop.log.script(move |_, event| {
        let lanes = event.lanes.clone();
        Ok(Stored { id: first, sequence: Sequence(3), lanes, duplicate: true, quarantined: false })
    });
    let accepted = shop.broker.accept(order("good")).await.unwrap();
    let wanted = Accepted { id: first, deliveries: 2, duplicate: true, quarantined: false };
    assert_eq!(accepted, wanted);
    shop.feeder.pass_on().await;
    assert!(shop.queue.all().is_empty());
}

#[tokio::test]
async fn without_a_stamp_key_nothing_is_taken() {
    let shop = shop_with(Rules { stamp_keys: Vec::new(), ..shop_rules(1) });
    let error = shop.broker.accept(order("good")).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable);
    shop.log.rules.send_replace(Arc::new(shop_rules(2)));
    shop.broker.accept(order("good")).await.unwrap();
}

#[tokio::test]
async fn the_counters_tell_what_happened() {
    let shop = shop();
    shop.broker.accept(order("good")).await.unwrap();
    shop.broker.accept(order("bad")).await.unwrap_err();
    let aside = NewEvent { invalid: Disposition::Quarantine, ..order("bad") };
    shop.broker.accept(aside).await.unwrap();
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &shop.registry).unwrap();
    for line in [
        "certes_events_accepted_total 1",
        "certes_events_quarantined_total 1",
        "certes_events_refused_total{code=\"contract_violation\"} 1",
        "certes_deliveries_matched_total 2",
        "certes_event_accept_seconds_count 3",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn nothing_is_judged_by_rules_that_are_older_than_those_of_the_door() {
    let shop = shop();
    // The door knew newer rules than the broker has.
    let ahead = |payload| NewEvent { rules: Sequence(11), ..order(payload) };
    let put_off = shop.broker.accept(ahead("bad")).await.unwrap_err();
    assert_eq!(put_off.code, ErrorCode::Unavailable);
    assert!(put_off.retry_after.is_some());
    let unknown = NewEvent { uri: uri("shop/1/new"), ..ahead("good") };
    let put_off = shop.broker.accept(unknown.clone()).await.unwrap_err();
    assert_eq!(put_off.code, ErrorCode::Unavailable);

    let arrive = async || _ = shop.log.rules.send_replace(Arc::new(shop_rules(11)));
    let (waited, ()) = tokio::join!(shop.broker.accept(ahead("good")), arrive());
    assert!(waited.is_ok(), "{waited:?}");
    let refused = shop.broker.accept(ahead("bad")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ContractViolation);
    let refused = shop.broker.accept(unknown).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::UnknownEventType);
}

/// The event of `payload` as the log has it after the broker kept it aside.
async fn kept_aside(shop: &Shop, payload: &'static str) -> Event {
    let aside = NewEvent { invalid: Disposition::Quarantine, ..order("bad") };
    shop.broker.accept(aside).await.unwrap();
    let StoreEvent { id, event, stamp, quarantine, rules, .. } = shop.log.asked().pop().unwrap();
    let key = StampKey::new(stamp.key, b"current");
    let (uri, content_type, headers) = (event.uri, event.content_type, event.headers);
    let stamped = Stamped {
        id,
        uri: &uri,
        content_type: &content_type,
        headers: &headers,
        payload: payload.as_bytes(),
    };
    let stamp = key.stamp(stamped);
    Event {
        id,
        sequence: Sequence(20),
        uri,
        state: EventState::Quarantined,
        reason: quarantine,
        direction: event.direction,
        audience: event.audience,
        origin: event.origin,
        content_type,
        headers,
        idempotency_key: None,
        received_at: event.received_at,
        trace: event.trace,
        stamp,
        size: 4,
        schema_minor: None,
        lanes: Vec::new(),
        rules,
    }
}

#[tokio::test]
async fn what_keeps_its_contract_by_now_is_released_and_nothing_else() {
    let shop = shop();
    let actor = Actor::Component("test".into());
    let good = kept_aside(&shop, "good").await;
    shop.log.hold(good.clone(), Bytes::from_static(b"good"));
    let released = shop.broker.resubmit(actor.clone(), good.id).await.unwrap();
    let expected = Accepted { id: good.id, deliveries: 2, duplicate: false, quarantined: false };
    assert_eq!(released, expected);
    let lanes = vec![lane(1), lane(2)];
    let keys = std::collections::BTreeMap::new();
    let expected =
        ReleaseEvent { id: good.id, schema_minor: Some(4), lanes, keys, rules: Sequence(10) };
    assert_eq!(shop.log.released(), [expected]);

    let bad = kept_aside(&shop, "bad").await;
    shop.log.hold(bad.clone(), Bytes::from_static(b"bad"));
    let refused = shop.broker.resubmit(actor.clone(), bad.id).await.unwrap_err();
    assert_eq!((refused.code, refused.violations.len()), (ErrorCode::ContractViolation, 6));

    let changed = kept_aside(&shop, "bad").await;
    shop.log.hold(changed.clone(), Bytes::from_static(b"good"));
    let refused = shop.broker.resubmit(actor.clone(), changed.id).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Internal, "its stamp does not fit");

    let unknown = shop.broker.resubmit(actor, EventId::from_bytes([9; 16])).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::NotFound);
    assert_eq!(shop.log.released().len(), 1);
}

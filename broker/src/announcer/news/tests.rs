use super::*;
use contract::{
    event::{Audience, Direction, EventState, Headers, Origin, Trace},
    id::{LaneId, SecretId, Sequence},
    log::Chain,
    stamp::Stamp,
    testing::{subscription, subscription_spec},
};
use proptest::prelude::*;

const NOON: Timestamp = Timestamp(1_795_262_400_000_000);

fn fact(kind: &str, actor: Actor, body: Value) -> LoggedFact {
    let (sequence, chain) = (Sequence(9), Chain::Configuration);
    let (kind, prev_hash) = (kind.to_owned(), "ab".repeat(32));
    LoggedFact { sequence, time: NOON, actor, chain, kind, body, prev_hash }
}

fn operator() -> Actor {
    Actor::Key(KeyId::from_bytes([4; 16]))
}

fn server() -> Actor {
    Actor::Component("consumer".to_owned())
}

fn told(fact: &LoggedFact, around: &Circumstances) -> Option<Announcement> {
    let news = read(fact).unwrap()?;
    tell(fact, &news, around)
}

fn status(status: &str, actor: Actor, patterns: &[&str]) -> Option<Announcement> {
    let events = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
    let spec = contract::subscription::SubscriptionSpec { events, ..subscription_spec("ci") };
    let around = Circumstances {
        subscription: Some(subscription(3, spec)),
        waiting: 7,
        ..Circumstances::default()
    };
    let body = json!({"number": 3, "status": status, "reason": "why"});
    told(&fact("subscription_status_changed", actor, body), &around)
}

/// A dead delivery of an event of this type, and what is known of it.
fn gone(uri: &str) -> (DeliveryId, Circumstances) {
    let id = DeliveryId { lane: LaneId(53), sequence: Sequence(4) };
    let attempt = Attempt {
        number: 3,
        started_at: NOON,
        duration_ms: 15,
        status: Some(502),
        cause: Some(Cause::Status),
        error: Some("the endpoint answered 502".to_owned()),
        address: None,
        response_excerpt: None,
        backoff_rule: None,
    };
    let event_id = EventId::from_bytes([7; 16]);
    let delivery = Delivery {
        id,
        event: event_id,
        state: contract::delivery::DeliveryState::Dead,
        cause: Some(Cause::Exhausted),
        created_at: NOON,
        due: None,
        attempts: vec![attempt],
        attempts_before_resend: 0,
        ordering_key: None,
        replay: None,
        new_id: false,
    };
    let event = Event {
        id: event_id,
        sequence: Sequence(4),
        uri: uri.parse().unwrap(),
        state: EventState::Accepted,
        reason: None,
        direction: Direction::Incoming,
        audience: Audience::Own,
        origin: Origin::Server,
        content_type: "application/json".to_owned(),
        headers: Headers::default(),
        idempotency_key: None,
        received_at: NOON,
        trace: Trace::default(),
        stamp: Stamp { key: SecretId::from_bytes([1; 16]), mac: [2; 32] },
        size: 2,
        schema_minor: Some(0),
        lanes: vec![id.lane],
        rules: Sequence(1),
    };
    let around = Circumstances {
        subscription: Some(subscription(3, subscription_spec("ci"))),
        delivery: Some((delivery, event)),
        ..Circumstances::default()
    };
    (id, around)
}

fn dead(uri: &str) -> Option<Announcement> {
    let (id, around) = gone(uri);
    let attempt = around.delivery.as_ref().and_then(|(delivery, _)| delivery.attempts.last());
    let next = Next::Dead(Cause::Exhausted);
    let body = json!({"delivery": id, "attempt": attempt, "next": next});
    told(&fact("attempt_recorded", server(), body), &around)
}

#[test]
fn a_dead_delivery_is_told_with_all_that_is_known() {
    let Announcement { name, payload } = dead("shop/1/paid").unwrap();
    assert_eq!(name, "delivery_dead");
    assert_eq!(payload["event_type"], "shop/1/paid");
    assert_eq!(payload["cause"], "exhausted");
    assert_eq!(payload["attempts"], 3);
    assert_eq!(payload["subscription_name"], "ci");
    assert_eq!(payload["last_attempt"]["status"], 502);
    assert_eq!(payload["last_attempt"]["cause"], "status");
    assert_eq!(payload["dead_at"], NOON.to_string());
}

#[test]
fn a_delivery_that_is_given_up_without_another_attempt_is_told() {
    let (id, around) = gone("shop/1/paid");
    let body = json!({"delivery": id, "cause": "erased"});
    let told_of =
        |around: &Circumstances| told(&fact("delivery_abandoned", server(), body.clone()), around);
    let Announcement { name, payload } = told_of(&around).unwrap();
    assert_eq!((name, &payload["cause"]), ("delivery_dead", &json!("erased")));
    assert_eq!(
        (&payload["attempts"], &payload["last_attempt"]["status"]),
        (&json!(3), &json!(502))
    );
    let mut never_tried = around;
    never_tried.delivery.as_mut().unwrap().0.attempts.clear();
    let payload = told_of(&never_tried).unwrap().payload;
    assert_eq!((&payload["attempts"], &payload["last_attempt"]), (&json!(0), &Value::Null));
    assert_eq!(told_of(&gone("_certes/1/delivery_dead").1), None);
}

#[test]
fn the_delivery_of_news_makes_no_news() {
    assert_eq!(dead("_certes/1/delivery_dead"), None);
    assert_eq!(dead("_certes/1/key_revoked"), None);
    // Another deployment's news are events like any other here.
    assert!(dead("other.example/_certes/1/delivery_dead").is_some());
    let only_news = ["_certes/1/*", "_certes/1/delivery_dead"];
    for state in ["paused", "disabled"] {
        assert_eq!(status(state, server(), &only_news), None, "{state}");
        assert!(status(state, operator(), &only_news).is_some(), "{state}");
        let mixed = ["_certes/1/*", "shop/1/paid"];
        assert!(status(state, server(), &mixed).is_some(), "{state}");
    }
}

#[test]
fn retries_and_deliveries_are_no_news() {
    let id = DeliveryId { lane: LaneId(53), sequence: Sequence(4) };
    let attempt = json!({"number": 1, "started_at": NOON, "duration_ms": 1, "status": 200,
        "cause": null, "error": null, "address": null, "response_excerpt": null,
        "backoff_rule": null});
    for next in [Next::Done, Next::Retry(NOON)] {
        let body = json!({"delivery": id, "attempt": attempt, "next": next});
        assert_eq!(read(&fact("attempt_recorded", server(), body)).unwrap(), None);
    }
    for kind in ["event_accepted", "bucket_closed", "what_comes_later"] {
        assert_eq!(read(&fact(kind, server(), json!({}))).unwrap(), None, "{kind}");
    }
}

#[test]
fn a_status_is_told_with_its_cause() {
    let paused = status("paused", server(), &["shop/1/paid"]).unwrap();
    assert_eq!(paused.name, "subscription_paused");
    assert_eq!(paused.payload["cause"], "gone");
    assert_eq!(paused.payload["actor"], "");
    assert_eq!(paused.payload["deliveries_waiting"], 7);
    let by_hand = status("paused", operator(), &["shop/1/paid"]).unwrap().payload;
    assert_eq!(
        (&by_hand["cause"], &by_hand["actor"]),
        (&json!(""), &json!(operator().to_string()))
    );
    let disabled = status("disabled", server(), &["shop/1/paid"]).unwrap();
    assert_eq!(disabled.name, "subscription_disabled");
    assert_eq!(disabled.payload["reason"], "why");
    let resumed = status("active", operator(), &["shop/1/paid"]).unwrap();
    assert_eq!(resumed.name, "subscription_resumed");
}

#[test]
fn own_contracts_and_the_first_key_are_no_news() {
    let version = |uri: &str| {
        let version = SchemaVersion {
            uri: uri.parse().unwrap(),
            minor: 2,
            message: "shop.Paid".to_owned(),
            digest: [0xab; 32],
            unknown_fields: contract::schema::UnknownFields::Ignore,
            rulebook: contract::schema::Rulebook::Certes,
            published_at: NOON,
        };
        fact("schema_published", operator(), serde_json::to_value(version).unwrap())
    };
    let around = Circumstances::default();
    assert_eq!(told(&version("_certes/1/key_issued"), &around), None);
    let Announcement { name, payload } = told(&version("shop/3/paid"), &around).unwrap();
    assert_eq!(name, "schema_published");
    assert_eq!((&payload["major"], &payload["minor"]), (&json!(3), &json!(2)));
    assert_eq!(payload["digest"], "ab".repeat(32));
    assert_eq!(payload["rulebook"], "certes", "said even where it is the usual one");
    let key = ApiKey {
        id: KeyId::from_bytes([5; 16]),
        name: "ci".to_owned(),
        prefix: "certes_12".to_owned(),
        token_sha256: "hunter2".to_owned(),
        roles: contract::access::Roles::parse(["producer"]).unwrap(),
        subscriber: None,
        created_at: NOON,
        expires_at: None,
    };
    let key = serde_json::to_value(key).unwrap();
    assert_eq!(told(&fact("key_issued", server(), key.clone()), &around), None);
    let Announcement { name, payload } =
        told(&fact("key_issued", operator(), key), &around).unwrap();
    assert_eq!((name, &payload["roles"]), ("key_issued", &json!(["events:write"])));
    assert!(!payload.to_string().contains("hunter2"));
}

#[test]
fn what_is_gone_is_named() {
    let around = Circumstances::default();
    let removed = told(&fact("source_removed", operator(), json!({"name": "till"})), &around);
    assert_eq!(removed.unwrap().payload["source"], "till");
    let uri = json!({"uri": "shop/3/paid"});
    let removed = told(&fact("schema_removed", operator(), uri), &around).unwrap();
    assert_eq!(removed.payload["major"], 3);
    let key = KeyId::from_bytes([5; 16]);
    let revoked = told(&fact("key_revoked", operator(), json!({"id": key})), &around).unwrap();
    assert_eq!((revoked.name, &revoked.payload["key_id"]), ("key_revoked", &json!(key)));
}

#[test]
fn a_fact_that_is_not_as_it_should_be_is_an_error() {
    assert!(read(&fact("key_revoked", operator(), json!({"id": 7}))).is_err());
    assert!(read(&fact("attempt_recorded", server(), json!({}))).is_err());
}

proptest! {
    /// Ids sort by the fact's time and differ by its place, and only by what is the fact's own.
    #[test]
    fn ids_follow_from_facts(a in 1_u64..1000, b in 1_u64..1000, later in 0_i64..10_000_000) {
        let at = |sequence, time| {
            LoggedFact { sequence: Sequence(sequence), time, ..fact("key_revoked", server(), json!({})) }
        };
        let (first, second) = (at(a, NOON), at(b, Timestamp(NOON.0 + later)));
        prop_assert_eq!(event_id(&first), event_id(&at(a, NOON)));
        prop_assert_eq!(event_id(&first) == event_id(&second), a == b && later == 0);
        if later >= 1000 {
            prop_assert!(event_id(&first) < event_id(&second));
        }
        let id = event_id(&first).to_bytes();
        prop_assert_eq!((id[6] >> 4, id[8] >> 6), (7, 2), "version and variant of RFC 9562");
    }
}

#[test]
fn an_endpoint_that_is_left_alone_and_one_that_is_back_are_told() {
    let around = |patterns: &[&str]| {
        let events = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
        let spec = contract::subscription::SubscriptionSpec { events, ..subscription_spec("ci") };
        let subscription = Some(subscription(3, spec));
        Circumstances { subscription, waiting: 7, ..Circumstances::default() }
    };
    let breaker = json!({"since": NOON, "attempts": 21, "failures": 20, "probe_every": "30s"});
    let opened = fact("breaker_opened", server(), json!({"number": 3, "breaker": &breaker}));
    let Announcement { name, payload } = told(&opened, &around(&["shop/1/*"])).unwrap();
    assert_eq!(name, "breaker_opened");
    assert_eq!((&payload["attempts"], &payload["failures"]), (&json!(21), &json!(20)));
    assert_eq!(
        (&payload["probe_every"], &payload["deliveries_waiting"]),
        (&json!("30s"), &json!(7))
    );
    assert_eq!(payload["opened_at"], NOON.to_string());

    let closed = fact("breaker_closed", server(), json!({"number": 3}));
    let Announcement { name, payload } = told(&closed, &around(&["shop/1/*"])).unwrap();
    assert_eq!((name, &payload["subscription_name"]), ("breaker_closed", &json!("ci")));
    assert_eq!(payload["closed_at"], NOON.to_string());
    let mut failing = around(&["shop/1/*"]);
    failing.subscription.as_mut().unwrap().breaker = serde_json::from_value(breaker).unwrap();
    let body = json!({"number": 3, "status": "disabled", "reason": "why"});
    let disabled = told(&fact("subscription_status_changed", server(), body), &failing).unwrap();
    assert_eq!(disabled.payload["failing_since"], NOON.to_string());
    // Of an endpoint that takes nothing but news there are none.
    assert_eq!(told(&opened, &around(&["_certes/1/breaker_opened"])), None);
}

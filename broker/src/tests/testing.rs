//! A test goes to one subscription, before all its others, and says what it is.

use super::accepting::{ShopValidator, shop, shop_rules, shop_with};
use bytes::Bytes;
use contract::{
    ErrorCode,
    broker::{EventBroker, PayloadOf, TestFire},
    event::{Audience, Direction, Origin, TEST_HEADER},
    id::{KeyId, LaneId, Sequence, SubscriptionNumber},
    rules::Rules,
    schema::{EventValidator, Rulebook, SchemaVersion, UnknownFields},
    subscription::Priority,
};
use std::{sync::Arc, time::Duration};

fn fire(number: u32, uri: Option<&str>, payload: Option<&'static str>) -> TestFire {
    TestFire {
        subscription: SubscriptionNumber(number),
        by: KeyId::from_bytes([4; 16]),
        uri: uri.map(|uri| uri.parse().unwrap()),
        payload: payload
            .map(|text| (Bytes::from_static(text.as_bytes()), "application/json".into())),
        wait: Duration::ZERO,
        rules: Sequence(10),
    }
}

#[tokio::test]
async fn it_goes_to_one_subscription_alone() {
    let shop = shop();
    let test = fire(1, Some("shop/1/order"), Some("good"));
    let fired = shop.broker.test_fire(test).await.unwrap();
    let asked = shop.log.asked().remove(0);
    let lane = LaneId::new(SubscriptionNumber(1), Priority::MAX);
    assert_eq!(asked.lanes, [lane], "the second one matches, too");
    assert_eq!((fired.delivery.id.lane, fired.delivery.event), (lane, asked.id));
    assert_eq!(fired.payload_of, PayloadOf::Given);
    assert_eq!(asked.event.headers.get(TEST_HEADER), Some("true"));
    assert_eq!(asked.event.origin, Origin::Producer(KeyId::from_bytes([4; 16])));
    assert_eq!((asked.event.audience, asked.event.direction), (Audience::Own, Direction::Incoming));
    assert_eq!(asked.schema_minor, Some(4));

    shop.broker.test_fire(fire(3, Some("shop/1/order"), Some("good"))).await.unwrap();
    let asked = shop.log.asked().remove(1);
    assert_eq!(asked.event.audience, Audience::Subscriber("a".into()));
    assert_eq!(asked.event.direction, Direction::Outgoing);
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let shop = shop();
    let code = async |test| shop.broker.test_fire(test).await.unwrap_err().code;
    let order = Some("shop/1/order");
    assert_eq!(code(fire(9, order, Some("good"))).await, ErrorCode::NotFound);
    assert_eq!(code(fire(1, order, Some("bad"))).await, ErrorCode::ContractViolation);
    let of_others = Some("bank/1/paid");
    assert_eq!(code(fire(1, of_others, Some("{}"))).await, ErrorCode::InvalidRequest);
    assert_eq!(code(fire(1, None, Some("{}"))).await, ErrorCode::InvalidRequest, "no schema");
    let unknown = Some("shop/1/other");
    assert_eq!(code(fire(1, unknown, None)).await, ErrorCode::InvalidRequest, "no example");
    assert_eq!(shop.log.asked(), []);
}

#[tokio::test]
async fn without_a_payload_it_is_the_example_of_the_first_type() {
    let order = SchemaVersion {
        uri: "shop/1/order".parse().unwrap(),
        minor: 4,
        message: "Order".into(),
        digest: [0; 32],
        unknown_fields: UnknownFields::Ignore,
        rulebook: Rulebook::Certes,
        published_at: contract::clock::Timestamp(0),
    };
    let schemas = [(order.uri.clone(), Arc::new(order.clone()))].into();
    let shop = shop_with(Rules { schemas, ..shop_rules(10) });
    let fired = shop.broker.test_fire(fire(2, None, None)).await.unwrap();
    assert_eq!((fired.uri, fired.payload_of), (order.uri.clone(), PayloadOf::Skeleton));
    let example = ShopValidator.example(&order.uri).unwrap().unwrap();
    assert_eq!(shop.log.asked()[0].event.payload, example.payload);
}

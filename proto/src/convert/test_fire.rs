//! Tests of subscriptions.

use super::{Malformed, duration, duration_from, message, one_of, parsed, parsed_optional, text};
use crate::v1::{self, internal};
use contract::{
    broker::{PayloadOf, TestFire, TestFired},
    delivery::Delivery,
    id::{Sequence, SubscriptionNumber},
};

same_variants!(PayloadOf, v1::PayloadOf, [Given, Example, Skeleton]);

impl From<TestFire> for internal::TestFireRequest {
    fn from(test: TestFire) -> Self {
        let TestFire { subscription, by, uri, payload, wait, rules } = test;
        let (payload, content_type) = payload.unzip();
        Self {
            subscription: subscription.0,
            by: by.to_string(),
            event_uri: uri.map(|uri| uri.to_string()),
            payload,
            content_type: content_type.unwrap_or_default(),
            wait: Some(duration(wait)),
            rules: rules.0,
        }
    }
}

impl TryFrom<internal::TestFireRequest> for TestFire {
    type Error = Malformed;
    fn try_from(wire: internal::TestFireRequest) -> Result<Self, Malformed> {
        let payload = match wire.payload {
            None => None,
            Some(payload) => Some((payload, text(wire.content_type, "content_type")?)),
        };
        Ok(Self {
            subscription: SubscriptionNumber(wire.subscription),
            by: parsed(&wire.by, "by")?,
            uri: parsed_optional(wire.event_uri, "event_uri")?,
            payload,
            wait: message(wire.wait, "wait", duration_from)?,
            rules: Sequence(wire.rules),
        })
    }
}

impl From<TestFired> for v1::TestFireResponse {
    fn from(fired: TestFired) -> Self {
        let TestFired { uri, payload_of, delivery } = fired;
        Self {
            event_uri: uri.to_string(),
            payload_of: v1::PayloadOf::from(payload_of).into(),
            delivery: Some(delivery.into()),
        }
    }
}

impl TryFrom<v1::TestFireResponse> for TestFired {
    type Error = Malformed;
    fn try_from(wire: v1::TestFireResponse) -> Result<Self, Malformed> {
        Ok(Self {
            uri: parsed(&wire.event_uri, "event_uri")?,
            payload_of: one_of::<v1::PayloadOf, _>(wire.payload_of, "payload_of")?,
            delivery: message(wire.delivery, "delivery", Delivery::try_from)?,
        })
    }
}

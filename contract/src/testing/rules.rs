//! Rules with subscriptions, for tests that do not care where rules come from.

use crate::{
    clock::Timestamp,
    id::{SubscriptionId, SubscriptionNumber},
    rules::Rules,
    subscription::{Subscription, SubscriptionSpec, SubscriptionStatus},
};
use std::sync::Arc;

/// What a subscription of our own declares when it wants everything of `github/1`.
pub fn subscription_spec(name: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        name: name.to_owned(),
        url: format!("http://127.0.0.1:9000/{name}"),
        events: "github/1/*".parse().into_iter().collect(),
        ..SubscriptionSpec::default()
    }
}

/// The active subscription with this number.
pub fn subscription(number: u32, spec: SubscriptionSpec) -> Subscription {
    let mut id = [0; 16];
    id[12..].copy_from_slice(&number.to_be_bytes());
    Subscription {
        id: SubscriptionId::from_bytes(id),
        number: SubscriptionNumber(number),
        spec,
        status: SubscriptionStatus::Active,
        status_reason: None,
        breaker: None,
        secrets: Vec::new(),
        created_at: Timestamp(0),
    }
}

/// Rules with active subscriptions, numbered from 1 in this order.
pub fn rules_with(specs: impl IntoIterator<Item = SubscriptionSpec>) -> Rules {
    let numbered = (1..)
        .zip(specs)
        .map(|(number, spec)| (SubscriptionNumber(number), Arc::new(subscription(number, spec))));
    Rules { subscriptions: numbered.collect(), ..Rules::default() }
}

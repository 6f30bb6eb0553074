//! Makes the subscriptions of a subscriber as its code declares them.

use super::{Desk, permit::taken, put_subscription::put_subscription, refused, remove::remove};
use contract::{
    Result,
    command::{DeclaredSubscription, Target},
    limits::ENSURED_MAX,
    subscription::SubscriptionSpec,
};
use std::collections::BTreeSet;

/// What one declaration does is seen by no other: names are taken or free as they are now.
pub(super) fn ensure_subscriptions(
    desk: &mut Desk<'_>,
    subscriber: Option<&str>,
    declared: &[DeclaredSubscription],
    prune: bool,
) -> Result<()> {
    let whose = subscriber.unwrap_or("our own");
    if prune && subscriber.is_none() {
        let why = "only a subscriber's are pruned; our own are a manifest's to prune";
        return Err(refused("subscriber", whose, why));
    }
    if declared.len() > ENSURED_MAX {
        let why = format!("{} subscriptions are declared; allowed: {ENSURED_MAX}", declared.len());
        return Err(refused("subscriber", whose, why));
    }
    let mut named = BTreeSet::new();
    for DeclaredSubscription { spec, secrets } in declared {
        let name = &spec.name;
        if !named.insert(name.as_str()) {
            return Err(refused("subscription", name, "it is named twice"));
        }
        if spec.subscriber.is_some() && spec.subscriber.as_deref() != subscriber {
            let why = format!("it is declared for another than {whose}");
            return Err(refused("subscription", name, why));
        }
        let held = desk.state.subscription_named(name);
        if held.is_some_and(|held| held.spec.subscriber.as_deref() != subscriber) {
            return Err(taken("subscription", name));
        }
        let subscriber = subscriber.map(str::to_owned);
        put_subscription(desk, &SubscriptionSpec { subscriber, ..spec.clone() }, secrets)?;
    }
    let held = desk.state.subscriptions.values().map(|held| &held.spec);
    let others = held.filter(|spec| prune && spec.subscriber.as_deref() == subscriber);
    let stale: Vec<_> = others
        .filter(|spec| !named.contains(spec.name.as_str()))
        .map(|spec| Target::Subscription(spec.name.clone()))
        .collect();
    stale.iter().try_for_each(|target| remove(desk, target))
}

//! What a subscriber does with its own subscriptions: declare them all at once, and try one.

use super::{
    access::{OrShow, Result, allowed, broker, error, missing, rules, sees},
    inputs::SubscriptionInput,
    mutation::carry_out,
    nodes::{DeliveryNode, SubscriptionNode, answerable},
};
use async_graphql::{Context, Object, SimpleObject};
use contract::{
    Error,
    access::{Access, Noun},
    broker::TestFire,
    command::{Changeset, Command, DeclaredSubscription},
};
use std::time::Duration;

/// What became of a subscription that was declared, or is no longer.
#[derive(Debug, SimpleObject)]
pub(super) struct EnsuredSubscription {
    /// `created`, `changed`, `unchanged` or `removed`.
    kind: String,
    /// Its name.
    name: String,
    /// The subscription; null: it was removed, or was not made.
    subscription: Option<SubscriptionNode>,
    /// The signing secret that was made for it. It is shown this once.
    secret: Option<String>,
}

/// What became of a test.
#[derive(Debug, SimpleObject)]
#[graphql(name = "TestPayload")]
pub(super) struct TestPayload {
    /// The type of its event.
    #[graphql(name = "type")]
    uri: String,
    /// Where its payload came from: `given`, `example` or `skeleton`.
    payload_of: String,
    /// Its delivery, with the first attempt if there was one in time; else look at it later.
    delivery: DeliveryNode,
}

/// Changes of all subscriptions of a subscriber.
#[derive(Debug, Default)]
pub(super) struct SubscriptionsMutation;

#[Object]
impl SubscriptionsMutation {
    /// Has the subscriptions of a subscriber as its code declares them, all or nothing: makes those
    /// that are not there, changes those that are different, and, with `prune`, removes its other
    /// ones. Once all is as wanted it does nothing. A key of one subscriber declares that
    /// subscriber's; without a subscriber they are our own, which are not pruned.
    #[expect(clippy::too_many_arguments, reason = "these are the arguments of the field")]
    async fn ensure_subscriptions(
        &self,
        context: &Context<'_>,
        subscriber: Option<String>,
        subscriptions: Vec<SubscriptionInput>,
        #[graphql(default = false)] prune: bool,
        #[graphql(default = false)] dry_run: bool,
    ) -> Result<Vec<EnsuredSubscription>> {
        let principal = allowed(context, Noun::Subscriptions, Access::Write)?;
        answerable(context, &context.look_ahead().field("subscription"))?;
        let subscriber = subscriber.or_else(|| principal.subscriber.clone());
        let subscriptions = subscriptions.into_iter().map(declared).collect::<Result<_>>()?;
        let command = Command::EnsureSubscriptions { subscriber, subscriptions, prune };
        let changes = Changeset { commands: vec![command], dry_run, ..Changeset::default() };
        let done = carry_out(context, principal, changes).await?;
        let rules = rules(context)?;
        let ensured = done.into_iter().map(|change| {
            let known = |found: &&std::sync::Arc<_>| same(found, change.id.as_deref());
            let found = rules.subscriptions.values().find(known).cloned();
            EnsuredSubscription {
                kind: change.kind.to_string(),
                name: change.name,
                subscription: found.map(SubscriptionNode),
                secret: change.revealed.map(|secret| secret.expose().to_owned()),
            }
        });
        Ok(ensured.collect())
    }

    /// Makes a signed delivery to one subscription as if an event had come, before all its others,
    /// and waits up to `waitSeconds` (20 at most) for the first attempt. The delivery carries the
    /// header `certes-test: true`, and the event goes to nobody else. Without `type`: the first
    /// type with a schema that its patterns select. Without `payload`: the example that was
    /// published with the schema, else one that is made from it.
    #[graphql(complexity = "100 + child_complexity")]
    #[expect(clippy::too_many_arguments, reason = "these are the arguments of the field")]
    async fn test_subscription(
        &self,
        context: &Context<'_>,
        name: String,
        #[graphql(name = "type")] uri: Option<String>,
        payload: Option<String>,
        content_type: Option<String>,
        #[graphql(default = 10)] wait_seconds: u32,
    ) -> Result<TestPayload> {
        let principal = allowed(context, Noun::Subscriptions, Access::Write)?;
        let rules = rules(context)?;
        let found = rules.subscription_named(&name).filter(|found| sees(principal, found));
        let subscription = found.ok_or_else(|| missing("subscription", &name))?.number;
        let content_type = content_type.unwrap_or_else(|| "application/json".to_owned());
        let test = TestFire {
            subscription,
            by: principal.producer(),
            uri: uri.map(|uri| uri.parse().or_show()).transpose()?,
            payload: payload.map(|payload| (payload.into(), content_type)),
            wait: Duration::from_secs(wait_seconds.into()),
            rules: rules.sequence,
        };
        let fired = broker(context)?.test_fire(test).await.or_show()?;
        Ok(TestPayload {
            uri: fired.uri.to_string(),
            payload_of: fired.payload_of.as_str().to_owned(),
            delivery: DeliveryNode::from(fired.delivery),
        })
    }
}

fn same(found: &contract::subscription::Subscription, id: Option<&str>) -> bool {
    id.is_some_and(|id| found.id.to_string() == id)
}

fn declared(input: SubscriptionInput) -> Result<DeclaredSubscription> {
    match Command::try_from(input)? {
        Command::PutSubscription { spec, secrets } => Ok(DeclaredSubscription { spec, secrets }),
        _ => Err(error(&Error::internal("a subscription is put by another command"))),
    }
}

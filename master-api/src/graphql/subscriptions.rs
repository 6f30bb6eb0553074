//! What a subscriber's code does with its own subscriptions: declare them all at once.

use super::{
    access::{Result, allowed, error, rules},
    inputs::SubscriptionInput,
    mutation::carry_out,
    nodes::SubscriptionNode,
};
use async_graphql::{Context, Object, SimpleObject};
use contract::{
    Error,
    access::{Access, Noun},
    command::{Changeset, Command, DeclaredSubscription},
};

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

/// Changes of all subscriptions of a subscriber.
#[derive(Debug, Default)]
pub(super) struct SubscriptionsMutation;

#[Object]
impl SubscriptionsMutation {
    /// Has the subscriptions of a subscriber as its code declares them, all or nothing: makes those
    /// that are not there, changes those that are different, and, with `prune`, removes its other
    /// ones. Once all is as wanted it does nothing. A key of one subscriber declares that
    /// subscriber's; without a subscriber they are our own, which are not pruned.
    async fn ensure_subscriptions(
        &self,
        context: &Context<'_>,
        subscriber: Option<String>,
        subscriptions: Vec<SubscriptionInput>,
        #[graphql(default = false)] prune: bool,
        #[graphql(default = false)] dry_run: bool,
    ) -> Result<Vec<EnsuredSubscription>> {
        let principal = allowed(context, Noun::Subscriptions, Access::Write)?;
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

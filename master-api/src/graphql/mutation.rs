//! Changes.

use super::{
    access::{
        OrShow, Result, actor, allowed, allowed_everywhere, broker, error, invalid, master_api,
        rules, sees,
    },
    inputs::{SourceInput, SubscriptionInput},
    nodes::{DeliveryNode, EventNode, KeyNode, SourceNode, SubscriptionNode},
};
use async_graphql::{Context, ID, Object, SimpleObject};
use contract::{
    Error, ErrorCode,
    access::{Access, Noun, Principal, Roles},
    command::{Change, Changeset, Command, Target},
    id::{DeliveryId, EventId, KeyId},
    subscription::{Subscriber, SubscriptionStatus},
};

/// A subscription, and its secret if one was made.
#[derive(Debug, SimpleObject)]
pub(super) struct SubscriptionPayload {
    /// The subscription.
    subscription: SubscriptionNode,
    /// The signing secret that was made for it. It is shown this once.
    secret: Option<String>,
}

/// A key and its token.
#[derive(Debug, SimpleObject)]
pub(super) struct KeyPayload {
    /// The key.
    key: KeyNode,
    /// The token. It is shown this once.
    token: Option<String>,
}

/// Changes.
#[derive(Debug)]
pub struct Mutation;

#[Object]
impl Mutation {
    /// Makes a source.
    async fn create_source(&self, context: &Context<'_>, input: SourceInput) -> Result<SourceNode> {
        if rules(context)?.sources.contains_key(&input.name) {
            return Err(conflict("source", &input.name));
        }
        put_source(context, input).await
    }

    /// Changes a source.
    async fn update_source(&self, context: &Context<'_>, input: SourceInput) -> Result<SourceNode> {
        if !rules(context)?.sources.contains_key(&input.name) {
            return Err(missing("source", &input.name));
        }
        put_source(context, input).await
    }

    /// Removes a source. True if it was there.
    async fn delete_source(&self, context: &Context<'_>, name: String) -> Result<bool> {
        let principal = allowed_everywhere(context, Noun::Sources, Access::Write)?;
        execute(context, principal, Command::Remove(Target::Source(name))).await.map(|_| true)
    }

    /// Makes a subscriber, or changes its name.
    async fn put_subscriber(
        &self,
        context: &Context<'_>,
        id: String,
        name: Option<String>,
    ) -> Result<String> {
        let principal = allowed_everywhere(context, Noun::Subscriptions, Access::Write)?;
        let subscriber = Subscriber { id: id.clone(), name: name.unwrap_or_default() };
        execute(context, principal, Command::PutSubscriber(subscriber)).await.map(|_| id)
    }

    /// Makes a subscription.
    async fn create_subscription(
        &self,
        context: &Context<'_>,
        input: SubscriptionInput,
    ) -> Result<SubscriptionPayload> {
        if rules(context)?.subscription_named(&input.name).is_some() {
            return Err(conflict("subscription", &input.name));
        }
        put_subscription(context, input).await
    }

    /// Changes a subscription.
    async fn update_subscription(
        &self,
        context: &Context<'_>,
        input: SubscriptionInput,
    ) -> Result<SubscriptionPayload> {
        find(context, &input.name)?;
        put_subscription(context, input).await
    }

    /// Stops delivering. Deliveries are kept.
    async fn pause_subscription(
        &self,
        context: &Context<'_>,
        name: String,
        reason: Option<String>,
    ) -> Result<SubscriptionNode> {
        set_status(context, name, SubscriptionStatus::Paused, reason).await
    }

    /// Delivers again, beginning with what was kept.
    async fn resume_subscription(
        &self,
        context: &Context<'_>,
        name: String,
    ) -> Result<SubscriptionNode> {
        set_status(context, name, SubscriptionStatus::Active, None).await
    }

    /// Removes a subscription; its waiting deliveries are cancelled.
    async fn delete_subscription(&self, context: &Context<'_>, name: String) -> Result<bool> {
        let principal = find(context, &name)?;
        execute(context, principal, Command::Remove(Target::Subscription(name))).await.map(|_| true)
    }

    /// Makes a finished delivery wait again, due at once.
    async fn resend_delivery(&self, context: &Context<'_>, id: ID) -> Result<DeliveryNode> {
        let principal = allowed_everywhere(context, Noun::Subscriptions, Access::Write)?;
        let id: DeliveryId = id.parse().map_err(|error| invalid(format!("{error}")))?;
        let delivery = master_api(context)?.resend(actor(principal), id).await.or_show()?;
        Ok(DeliveryNode(delivery))
    }

    /// Checks an event anew that was kept aside, and accepts it under its id if it keeps its
    /// contract now; else the error names the violations, and it stays where it is. One that is
    /// accepted already is returned as it is.
    async fn resubmit_event(&self, context: &Context<'_>, id: ID) -> Result<EventNode> {
        let principal = allowed_everywhere(context, Noun::Events, Access::Write)?;
        let id: EventId = id.parse().map_err(|error| invalid(format!("{error}")))?;
        broker(context)?.resubmit(actor(principal), id).await.or_show()?;
        let event = master_api(context)?.event(id).await.or_show()?;
        event.map(EventNode).ok_or_else(|| missing("event", &id.to_string()))
    }

    /// Makes an API key.
    async fn create_key(
        &self,
        context: &Context<'_>,
        name: String,
        roles: Vec<String>,
        subscriber: Option<String>,
    ) -> Result<KeyPayload> {
        let principal = allowed_everywhere(context, Noun::Keys, Access::Write)?;
        let roles = Roles::parse(roles.iter().map(String::as_str)).map_err(invalid)?;
        let command = Command::IssueKey { name, roles, subscriber, expires_at: None };
        let change = execute(context, principal, command).await?;
        let rules = super::access::rules(context)?;
        let made = |key: &&_| Some(key_id(key)) == change.id;
        let key = rules.keys.values().find(made).ok_or_else(|| missing("key", &change.name))?;
        let token = change.revealed.map(|token| token.expose().to_owned());
        Ok(KeyPayload { key: KeyNode(key.clone()), token })
    }

    /// Makes an API key stop working.
    async fn revoke_key(&self, context: &Context<'_>, id: ID) -> Result<bool> {
        let principal = allowed_everywhere(context, Noun::Keys, Access::Write)?;
        let id: KeyId = id.parse().map_err(|error| invalid(format!("{error}")))?;
        execute(context, principal, Command::RevokeKey(id)).await.map(|_| true)
    }
}

fn key_id(key: &std::sync::Arc<contract::access::ApiKey>) -> String {
    key.id.to_string()
}

async fn put_source(context: &Context<'_>, input: SourceInput) -> Result<SourceNode> {
    let principal = allowed_everywhere(context, Noun::Sources, Access::Write)?;
    let name = input.name.clone();
    execute(context, principal, input.try_into()?).await?;
    let source = rules(context)?.sources.get(&name).cloned();
    source.map(SourceNode).ok_or_else(|| missing("source", &name))
}

async fn put_subscription(
    context: &Context<'_>,
    mut input: SubscriptionInput,
) -> Result<SubscriptionPayload> {
    let principal = allowed(context, Noun::Subscriptions, Access::Write)?;
    if let Some(own) = &principal.subscriber {
        // A key of one subscriber makes that subscriber's subscriptions and no others.
        input.subscriber = Some(own.clone());
    }
    let name = input.name.clone();
    let change = execute(context, principal, input.try_into()?).await?;
    Ok(SubscriptionPayload {
        subscription: subscription(context, &name)?,
        secret: change.revealed.map(|secret| secret.expose().to_owned()),
    })
}

async fn set_status(
    context: &Context<'_>,
    name: String,
    status: SubscriptionStatus,
    reason: Option<String>,
) -> Result<SubscriptionNode> {
    let principal = find(context, &name)?;
    let command = Command::SetSubscriptionStatus { name: name.clone(), status, reason };
    execute(context, principal, command).await?;
    subscription(context, &name)
}

/// The caller, if it may change the subscription of that name.
fn find<'a>(context: &Context<'a>, name: &str) -> Result<&'a Principal> {
    let principal = allowed(context, Noun::Subscriptions, Access::Write)?;
    let rules = rules(context)?;
    let found = rules.subscription_named(name).filter(|found| sees(principal, found));
    found.map(|_| principal).ok_or_else(|| missing("subscription", name))
}

fn subscription(context: &Context<'_>, name: &str) -> Result<SubscriptionNode> {
    let found = rules(context)?.subscription_named(name).cloned();
    found.map(SubscriptionNode).ok_or_else(|| missing("subscription", name))
}

/// Carries out one command.
async fn execute(context: &Context<'_>, principal: &Principal, command: Command) -> Result<Change> {
    let changes = Changeset { commands: vec![command], ..Changeset::default() };
    let mut done = master_api(context)?.execute(actor(principal), changes).await.or_show()?;
    done.pop().ok_or_else(|| error(&Error::internal("a command gave no change")))
}

fn missing(noun: &str, name: &str) -> async_graphql::Error {
    error(&Error::new(ErrorCode::NotFound, format!("no {noun} `{name}`")))
}

fn conflict(noun: &str, name: &str) -> async_graphql::Error {
    error(&Error::new(ErrorCode::Conflict, format!("there is a {noun} `{name}` already")))
}

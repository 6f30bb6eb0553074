//! Changes.

use super::{
    access::{
        OrShow, Result, actor, allowed, allowed_everywhere, broker, error, invalid, master_api,
        missing, rules,
    },
    events::EventNode,
    filters::time,
    inputs::{SourceInput, SubscriptionInput},
    key_uses::KeyUses,
    nodes::{DeliveryNode, KeyNode, SourceNode, SubscriptionNode, answerable},
    once,
    replays::ReplayMutation,
    retention::RetentionMutation,
    rules::RulesMutation,
    schemas::SchemaMutation,
    settings::SettingMutation,
    subscriptions::SubscriptionsMutation,
    users::UserMutation,
};
use async_graphql::{Context, ID, MergedObject, Object, SimpleObject};
use contract::{
    Error,
    access::{Access, Noun, Principal, Roles},
    command::{Change, Changeset, Command, Mode, Target},
    id::{DeliveryId, EventId, KeyId},
    permit::permit,
    subscription::{Subscription, SubscriptionStatus},
};
use std::sync::Arc;

/// A subscription, and its secret if one was made.
#[derive(Debug, SimpleObject)]
pub(super) struct SubscriptionPayload {
    /// The subscription.
    pub(super) subscription: SubscriptionNode,
    /// The signing secret that was made for it. It is shown this once.
    pub(super) secret: Option<String>,
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
#[derive(Debug, Default, MergedObject)]
pub struct Mutation(
    ConfigurationMutation,
    RulesMutation,
    SchemaMutation,
    RetentionMutation,
    ReplayMutation,
    UserMutation,
    SettingMutation,
    SubscriptionsMutation,
);

/// Of sources, subscriptions, deliveries and keys.
#[derive(Debug, Default)]
pub(super) struct ConfigurationMutation;

#[Object]
impl ConfigurationMutation {
    /// Makes a source.
    async fn create_source(&self, context: &Context<'_>, input: SourceInput) -> Result<SourceNode> {
        put_source(context, input, Mode::Create).await
    }

    /// Changes a source.
    async fn update_source(&self, context: &Context<'_>, input: SourceInput) -> Result<SourceNode> {
        put_source(context, input, Mode::Update).await
    }

    /// Removes a source. True if it was there.
    async fn delete_source(&self, context: &Context<'_>, name: String) -> Result<bool> {
        let principal = allowed_everywhere(context, Noun::Sources, Access::Write)?;
        execute(context, principal, Command::Remove(Target::Source(name))).await.map(|_| true)
    }

    /// Makes a subscription.
    async fn create_subscription(
        &self,
        context: &Context<'_>,
        input: SubscriptionInput,
    ) -> Result<SubscriptionPayload> {
        put_subscription(context, input, Mode::Create).await
    }

    /// Changes a subscription.
    async fn update_subscription(
        &self,
        context: &Context<'_>,
        input: SubscriptionInput,
    ) -> Result<SubscriptionPayload> {
        put_subscription(context, input, Mode::Update).await
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

    /// Delivers again, beginning with what was kept; or without it, which is taken back first: then
    /// it is active a moment later.
    async fn resume_subscription(
        &self,
        context: &Context<'_>,
        name: String,
        #[graphql(default)] skip: bool,
    ) -> Result<SubscriptionNode> {
        if !skip {
            return set_status(context, name, SubscriptionStatus::Active, None).await;
        }
        let principal = allowed(context, Noun::Subscriptions, Access::Write)?;
        let change = execute(context, principal, Command::ResumeSkipping { name }).await?;
        subscription(context, &change)
    }

    /// Takes a subscription out of service until it is resumed. Deliveries are kept.
    async fn disable_subscription(
        &self,
        context: &Context<'_>,
        name: String,
        reason: Option<String>,
    ) -> Result<SubscriptionNode> {
        set_status(context, name, SubscriptionStatus::Disabled, reason).await
    }

    /// Removes a subscription; its waiting deliveries are cancelled.
    async fn delete_subscription(&self, context: &Context<'_>, name: String) -> Result<bool> {
        let principal = allowed(context, Noun::Subscriptions, Access::Write)?;
        execute(context, principal, Command::Remove(Target::Subscription(name))).await.map(|_| true)
    }

    /// Makes a finished delivery wait again, due at once.
    async fn resend_delivery(&self, context: &Context<'_>, id: ID) -> Result<DeliveryNode> {
        // It is answered with what was sent and what came back.
        allowed_everywhere(context, Noun::Subscriptions, Access::Read)?;
        let principal = allowed_everywhere(context, Noun::Subscriptions, Access::Write)?;
        let id: DeliveryId = id.parse().map_err(|error| invalid(format!("{error}")))?;
        let delivery = master_api(context)?.resend(actor(principal), id).await.or_show()?;
        Ok(DeliveryNode::from(delivery))
    }

    /// Checks an event anew that was kept aside, and accepts it under its id if it keeps its
    /// contract now; else the error names the violations, and it stays where it is. One that is
    /// accepted already is returned as it is.
    async fn resubmit_event(&self, context: &Context<'_>, id: ID) -> Result<EventNode> {
        // It is answered with the event and its payload.
        allowed_everywhere(context, Noun::Events, Access::Read)?;
        let principal = allowed_everywhere(context, Noun::Events, Access::Write)?;
        let id: EventId = id.parse().map_err(|error| invalid(format!("{error}")))?;
        broker(context)?.resubmit(actor(principal), id).await.or_show()?;
        let event = master_api(context)?.event(id).await.or_show()?;
        event.map(EventNode::from).ok_or_else(|| missing("event", &id.to_string()))
    }

    /// Makes an API key; with `expiresAt` (RFC 3339), it stops working then.
    #[expect(clippy::too_many_arguments, reason = "these are the arguments of the field")]
    async fn create_key(
        &self,
        context: &Context<'_>,
        name: String,
        roles: Vec<String>,
        subscriber: Option<String>,
        expires_at: Option<String>,
    ) -> Result<KeyPayload> {
        let principal = allowed_everywhere(context, Noun::Keys, Access::Write)?;
        let roles = Roles::parse(roles.iter().map(String::as_str)).map_err(invalid)?;
        let expires_at = time("expiresAt", expires_at)?;
        let command = Command::IssueKey { name, roles, subscriber, expires_at };
        let change = execute(context, principal, command).await?;
        let rules = super::access::rules(context)?;
        let made = |key: &&_| Some(key_id(key)) == change.id;
        let key = rules.keys.values().find(made).ok_or_else(|| missing("key", &change.name))?;
        let token = change.revealed.map(|token| token.expose().to_owned());
        Ok(KeyPayload { key: KeyNode(key.clone(), KeyUses::default()), token })
    }

    /// Makes an API key stop working.
    async fn revoke_key(&self, context: &Context<'_>, id: ID) -> Result<bool> {
        let principal = allowed_everywhere(context, Noun::Keys, Access::Write)?;
        let id: KeyId = id.parse().map_err(|error| invalid(format!("{error}")))?;
        execute(context, principal, Command::RevokeKey(id)).await.map(|_| true)
    }
}

fn key_id(key: &Arc<contract::access::ApiKey>) -> String {
    key.id.to_string()
}

async fn put_source(context: &Context<'_>, input: SourceInput, mode: Mode) -> Result<SourceNode> {
    let principal = allowed_everywhere(context, Noun::Sources, Access::Write)?;
    let name = input.name.clone();
    execute_as(context, principal, input.try_into()?, mode).await?;
    let source = rules(context)?.sources.get(&name).cloned();
    source.map(SourceNode).ok_or_else(|| missing("source", &name))
}

async fn put_subscription(
    context: &Context<'_>,
    mut input: SubscriptionInput,
    mode: Mode,
) -> Result<SubscriptionPayload> {
    let principal = allowed(context, Noun::Subscriptions, Access::Write)?;
    answerable(context, &context.look_ahead().field("subscription"))?;
    if let Some(own) = &principal.subscriber {
        // A key of one subscriber makes that subscriber's subscriptions and no others.
        input.subscriber = Some(own.clone());
    }
    let change = execute_as(context, principal, input.try_into()?, mode).await?;
    Ok(SubscriptionPayload {
        subscription: subscription(context, &change)?,
        secret: change.revealed.map(|secret| secret.expose().to_owned()),
    })
}

async fn set_status(
    context: &Context<'_>,
    name: String,
    status: SubscriptionStatus,
    reason: Option<String>,
) -> Result<SubscriptionNode> {
    let principal = allowed(context, Noun::Subscriptions, Access::Write)?;
    answerable(context, &context.look_ahead())?;
    let command = Command::SetSubscriptionStatus { name, status, reason };
    let change = execute(context, principal, command).await?;
    subscription(context, &change)
}

/// The very subscription that was changed: its name may be another's by now.
pub(super) fn subscription(context: &Context<'_>, change: &Change) -> Result<SubscriptionNode> {
    let rules = rules(context)?;
    let changed = |found: &&Arc<Subscription>| Some(found.id.to_string()) == change.id;
    let found = rules.subscriptions.values().find(changed).cloned();
    found.map(SubscriptionNode).ok_or_else(|| missing("subscription", &change.name))
}

/// Carries out one command.
pub(super) async fn execute(
    context: &Context<'_>,
    principal: &Principal,
    command: Command,
) -> Result<Change> {
    execute_as(context, principal, command, Mode::Put).await
}

/// Carries out one command, within what is the caller's.
async fn execute_as(
    context: &Context<'_>,
    principal: &Principal,
    command: Command,
    mode: Mode,
) -> Result<Change> {
    let changes = Changeset { commands: vec![command], mode, ..Changeset::default() };
    let mut done = carry_out(context, principal, changes).await?;
    done.pop().ok_or_else(|| error(&Error::internal("a command gave no change")))
}

/// Carries out a changeset, within what is the caller's.
pub(super) async fn carry_out(
    context: &Context<'_>,
    principal: &Principal,
    changes: Changeset,
) -> Result<Vec<Change>> {
    let changes = Changeset { idempotency_key: once::key(context)?, ..changes };
    let changes = permit(principal, changes, &*rules(context)?).or_show()?;
    master_api(context)?.execute(actor(principal), changes).await.or_show()
}

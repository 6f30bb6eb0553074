//! What rules deliveries, and has no file of its own: subscribers, event types, back-offs. How it
//! is looked at, and how it is changed.

use super::{
    access::{Result, allowed_everywhere, missing, rules},
    inputs::{backoff_key, priority},
    mutation::execute,
};
use async_graphql::{Context, ID, Json, Object};
use contract::{
    access::{Access, Noun},
    backoff::{BackoffPolicy, BackoffRule},
    command::{Command, Target},
    subscription::{EventType, Subscriber},
};
use std::sync::Arc;

/// The owner of subscriptions.
#[derive(Debug)]
pub(super) struct SubscriberNode(pub(super) Arc<Subscriber>);

#[Object(name = "Subscriber")]
impl SubscriberNode {
    /// Its id in the operator's own words.
    async fn id(&self) -> ID {
        self.0.id.clone().into()
    }
    /// A name for people.
    async fn name(&self) -> &str {
        &self.0.name
    }
}

/// Defaults of an event type.
#[derive(Debug)]
pub(super) struct EventTypeNode(pub(super) Arc<EventType>);

#[Object(name = "EventType")]
impl EventTypeNode {
    /// The event URI.
    async fn uri(&self) -> &str {
        self.0.uri.as_str()
    }
    /// For subscriptions that set no priority, 0 to 9.
    async fn priority(&self) -> Option<u8> {
        self.0.priority.map(Into::into)
    }
}

/// When to try again, for a target and a direction.
#[derive(Debug)]
pub(super) struct BackoffNode(pub(super) Arc<BackoffRule>);

#[Object(name = "Backoff")]
impl BackoffNode {
    /// `global`, `source:NAME` or `type:URI`.
    async fn target(&self) -> String {
        self.0.target.to_string()
    }
    /// `incoming` or `outgoing`.
    async fn direction(&self) -> String {
        self.0.direction.to_string()
    }
    /// The policy.
    async fn policy(&self) -> Json<BackoffPolicy> {
        Json(self.0.policy.clone())
    }
}

/// Changes of subscribers, event types and back-offs.
#[derive(Debug, Default)]
pub(super) struct RulesMutation;

#[Object]
impl RulesMutation {
    /// Makes a subscriber, or changes its name.
    async fn put_subscriber(
        &self,
        context: &Context<'_>,
        id: String,
        name: Option<String>,
    ) -> Result<SubscriberNode> {
        let principal = allowed_everywhere(context, Noun::Subscriptions, Access::Write)?;
        let subscriber = Subscriber { id: id.clone(), name: name.unwrap_or_default() };
        execute(context, principal, Command::PutSubscriber(subscriber)).await?;
        let found = rules(context)?.subscribers.get(&id).cloned();
        found.map(SubscriberNode).ok_or_else(|| missing("subscriber", &id))
    }

    /// Removes a subscriber. Refused while it has subscriptions.
    async fn delete_subscriber(&self, context: &Context<'_>, id: String) -> Result<bool> {
        let principal = allowed_everywhere(context, Noun::Subscriptions, Access::Write)?;
        execute(context, principal, Command::Remove(Target::Subscriber(id))).await.map(|_| true)
    }

    /// Sets the defaults of an event type.
    async fn put_event_type(
        &self,
        context: &Context<'_>,
        uri: String,
        #[graphql(name = "priority")] level: Option<u8>,
    ) -> Result<EventTypeNode> {
        let principal = allowed_everywhere(context, Noun::Schemas, Access::Write)?;
        let uri: contract::uri::EventUri = super::access::OrShow::or_show(uri.parse())?;
        let event_type = EventType { uri: uri.clone(), priority: priority(level)? };
        execute(context, principal, Command::PutEventType(event_type)).await?;
        let found = rules(context)?.event_types.get(&uri).cloned();
        found.map(EventTypeNode).ok_or_else(|| missing("event_type", uri.as_str()))
    }

    /// Removes the defaults of an event type.
    async fn delete_event_type(&self, context: &Context<'_>, uri: String) -> Result<bool> {
        let principal = allowed_everywhere(context, Noun::Schemas, Access::Write)?;
        let uri = super::access::OrShow::or_show(uri.parse())?;
        execute(context, principal, Command::Remove(Target::EventType(uri))).await.map(|_| true)
    }

    /// Sets the back-off of a level: `global`, `source:NAME` or `type:URI`, for `incoming` or
    /// `outgoing` events, as in `{"kind": "linear", "base": "10s", "max_retries": 20}`.
    async fn put_backoff(
        &self,
        context: &Context<'_>,
        target: String,
        direction: String,
        policy: Json<BackoffPolicy>,
    ) -> Result<BackoffNode> {
        let principal = allowed_everywhere(context, Noun::Backoffs, Access::Write)?;
        let key = backoff_key(&target, &direction)?;
        let Target::Backoff(of, direction) = key else { return Err(missing("backoff", &target)) };
        let rule = BackoffRule { target: of.clone(), direction, policy: policy.0 };
        execute(context, principal, Command::PutBackoff(rule)).await?;
        let all = rules(context)?;
        let mut all = all.backoffs.iter();
        let found = all.find(|rule| rule.target == of && rule.direction == direction).cloned();
        found.map(BackoffNode).ok_or_else(|| missing("backoff", &target))
    }

    /// Removes the back-off of a level.
    async fn delete_backoff(
        &self,
        context: &Context<'_>,
        target: String,
        direction: String,
    ) -> Result<bool> {
        let principal = allowed_everywhere(context, Noun::Backoffs, Access::Write)?;
        let target = backoff_key(&target, &direction)?;
        execute(context, principal, Command::Remove(target)).await.map(|_| true)
    }
}

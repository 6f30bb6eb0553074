//! Questions about the past, over GraphQL: why, the configuration as it stood, and what became of
//! an object since.

use super::{
    access::{OrShow, Result, allowed_everywhere, invalid, master_api},
    budget::{LIST, listed},
    filters::time,
    nodes::{SourceNode, SubscriptionNode},
    rules::{BackoffNode, EventTypeNode, SubscriberNode},
};
use async_graphql::{Context, ID, Json, Object, SimpleObject};
use contract::{
    access::{Access, Noun},
    backoff::BackoffPolicy,
    id::EventId,
    past::{ConfigurationAt, FieldChange, HistoryEntry, RuleInForce, Subject, Why},
};
use std::sync::Arc;

/// A rule that had a say.
#[derive(Debug, SimpleObject)]
struct RuleNode {
    /// `subscription`, `pattern`, `audience`, `priority`, `backoff`, `schema`, `test`.
    rule: String,
    /// Position of the fact that put it in force; null: what the server does by itself.
    fact: Option<String>,
    /// Did it let the event pass? Null: it decides how, not whether.
    passed: Option<bool>,
    /// What it says, in a sentence.
    text: String,
}

impl From<RuleInForce> for RuleNode {
    fn from(rule: RuleInForce) -> Self {
        let RuleInForce { rule, fact, passed, text } = rule;
        Self { rule, fact: fact.map(|fact| fact.to_string()), passed, text }
    }
}

/// Why an event went to a subscription, or why not.
#[derive(Debug, SimpleObject)]
#[graphql(name = "Why")]
pub(super) struct WhyNode {
    /// `delivered`, `waiting`, `dead` or `cancelled`, as the delivery stands; or why there is
    /// none: `quarantined`, `no_subscription`, `other_audience`, `no_pattern`, `filtered_out`,
    /// `gone`.
    verdict: String,
    /// The rules as of this fact decided.
    rules_fact: String,
    /// What had a say.
    rules: Vec<RuleNode>,
    /// The back-off policy that was in force; null: there is no such subscription.
    backoff: Option<Json<BackoffPolicy>>,
    /// The payload's retention has passed.
    payload_expired: bool,
    /// Id of the delivery, if there is one.
    delivery_id: Option<ID>,
}

impl From<Why> for WhyNode {
    fn from(why: Why) -> Self {
        let Why { verdict, rules_fact, rules, backoff, payload_expired, delivery } = why;
        Self {
            verdict,
            rules_fact: rules_fact.to_string(),
            rules: rules.into_iter().map(RuleNode::from).collect(),
            backoff: backoff.map(Json),
            payload_expired,
            delivery_id: delivery.map(|id| id.to_string().into()),
        }
    }
}

/// One field that changed.
#[derive(Debug, SimpleObject)]
pub(super) struct Difference {
    /// Where, as in `spec.url`; empty: the whole object.
    path: String,
    /// What was there; null: nothing.
    before: Option<Json<serde_json::Value>>,
    /// What is there now; null: nothing.
    after: Option<Json<serde_json::Value>>,
}

impl From<FieldChange> for Difference {
    fn from(change: FieldChange) -> Self {
        let FieldChange { path, before, after } = change;
        Self { path, before: before.map(Json), after: after.map(Json) }
    }
}

/// A fact that touched an object.
#[derive(Debug, SimpleObject)]
#[graphql(name = "HistoryEntry")]
pub(super) struct EntryNode {
    /// Its position in the log.
    sequence: String,
    /// When, RFC 3339.
    time: String,
    /// Who: a key's id, or a part of the server.
    actor: String,
    /// What kind of fact, as in `subscription_changed`.
    kind: String,
    /// What it changed.
    differences: Vec<Difference>,
}

impl From<HistoryEntry> for EntryNode {
    fn from(entry: HistoryEntry) -> Self {
        let HistoryEntry { sequence, time, actor, kind, changes } = entry;
        Self {
            sequence: sequence.to_string(),
            time: time.to_string(),
            actor: actor.to_string(),
            kind,
            differences: changes.into_iter().map(Difference::from).collect(),
        }
    }
}

/// The configuration as it stood.
#[derive(Debug)]
pub(super) struct StateNode(ConfigurationAt);

/// A list of objects, within the budget of the query.
fn all<T: Clone, N>(
    context: &Context<'_>,
    objects: &[T],
    node: impl Fn(Arc<T>) -> N,
) -> Result<Vec<N>> {
    listed(context, objects, |object| node(Arc::new(object.clone())))
}

#[Object(name = "ConfigurationState")]
impl StateNode {
    /// The last fact that is in it.
    async fn sequence(&self) -> String {
        self.0.sequence.to_string()
    }
    /// Its time, RFC 3339; null: nothing had happened yet.
    async fn time(&self) -> Option<String> {
        self.0.time.map(|time| time.to_string())
    }
    /// The subscription of that name.
    async fn subscription(&self, name: String) -> Option<SubscriptionNode> {
        let found = self.0.subscriptions.iter().find(|found| found.spec.name == name);
        found.cloned().map(Arc::new).map(SubscriptionNode)
    }
    /// The source of that name.
    async fn source(&self, name: String) -> Option<SourceNode> {
        let found = self.0.sources.iter().find(|found| found.spec.name == name);
        found.cloned().map(Arc::new).map(SourceNode)
    }
    /// Subscriptions, oldest first.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn subscriptions(&self, context: &Context<'_>) -> Result<Vec<SubscriptionNode>> {
        all(context, &self.0.subscriptions, SubscriptionNode)
    }
    /// Sources, by name.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn sources(&self, context: &Context<'_>) -> Result<Vec<SourceNode>> {
        all(context, &self.0.sources, SourceNode)
    }
    /// Subscribers, by id.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn subscribers(&self, context: &Context<'_>) -> Result<Vec<SubscriberNode>> {
        all(context, &self.0.subscribers, SubscriberNode)
    }
    /// Event types with defaults.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn event_types(&self, context: &Context<'_>) -> Result<Vec<EventTypeNode>> {
        all(context, &self.0.event_types, EventTypeNode)
    }
    /// Back-off rules.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn backoffs(&self, context: &Context<'_>) -> Result<Vec<BackoffNode>> {
        all(context, &self.0.backoffs, BackoffNode)
    }
}

/// Questions about the past.
#[derive(Debug, Default)]
pub(super) struct PastQuery;

#[Object]
impl PastQuery {
    /// The configuration as it stood at a moment (RFC 3339): all facts up to then, and no later
    /// ones. Null: as it stands now.
    #[graphql(complexity = "100 + child_complexity")]
    async fn state_at(&self, context: &Context<'_>, time: Option<String>) -> Result<StateNode> {
        allowed_everywhere(context, Noun::Config, Access::Read)?;
        let until = self::time("time", time)?;
        master_api(context)?.state_at(until).await.or_show().map(StateNode)
    }

    /// The facts that touched an object, oldest first, the newest 500 of them. `kind` is
    /// `subscription`, `source`, `subscriber`, `event_type`, `schema`, `setting`, `key` or `user`,
    /// and `name` its name, id or URI; or `backoff`, and `name` as in `global incoming` or
    /// `source:github outgoing`.
    #[graphql(complexity = "100 + child_complexity")]
    async fn history(
        &self,
        context: &Context<'_>,
        kind: String,
        name: String,
    ) -> Result<Vec<EntryNode>> {
        allowed_everywhere(context, Noun::Config, Access::Read)?;
        let wanted = Subject::named(&kind, &name).or_show()?;
        let found = master_api(context)?.history(&wanted).await.or_show()?;
        Ok(found.into_iter().map(EntryNode::from).collect())
    }

    /// Why an event went to the subscription of that name or id, or why not.
    #[graphql(complexity = "100 + child_complexity")]
    async fn why(&self, context: &Context<'_>, event: ID, subscription: String) -> Result<WhyNode> {
        allowed_everywhere(context, Noun::Events, Access::Read)?;
        allowed_everywhere(context, Noun::Subscriptions, Access::Read)?;
        let id: EventId = event.parse().map_err(|error| invalid(format!("{error}")))?;
        master_api(context)?.why(id, &subscription).await.or_show().map(WhyNode::from)
    }
}

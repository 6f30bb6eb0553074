//! The past: the configuration as it stood at a moment, and what became of an object since.
//!
//! Both are folds of the configuration's facts, read through the port of the log from its
//! beginning; that chain is kept for ever and is small.

use super::{
    access::{OrShow, Result, allowed_everywhere, error, invalid, master_api},
    budget::{LIST, NODE_BYTES, spend},
    filters::time,
    nodes::{SourceNode, SubscriptionNode},
    rules::{BackoffNode, EventTypeNode, SubscriberNode},
};
use crate::{fact::FactBody, state::State};
use async_graphql::{Context, Json, Object, SimpleObject};
use contract::{
    Error, ErrorCode,
    access::{Access, Noun},
    clock::Timestamp,
    command::Target,
    id::Sequence,
    limits,
    log::{Chain, LogFilter, LogQuery, LoggedFact},
};
use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};

/// Facts of the configuration that one question goes through at most.
const FACTS_MAX: usize = 100_000;
/// Changes that a history lists at most; the newest are kept.
const CHANGES_MAX: usize = 500;

/// Goes through the facts of the configuration, oldest first, with the state before each.
pub(super) async fn fold(
    context: &Context<'_>,
    mut visit: impl FnMut(&State, &LoggedFact, &FactBody) -> ControlFlow<()>,
) -> Result<State> {
    let (mut state, mut seen) = (State::default(), 0);
    let filter = LogFilter { chain: Some(Chain::Configuration), ..LogFilter::default() };
    let mut query =
        LogQuery { after: Sequence(0), first: limits::PAGE_MAX, filter, wait: Duration::ZERO };
    loop {
        let page = master_api(context)?.facts(query.clone()).await.or_show()?;
        for fact in &page.facts {
            let named = serde_json::json!({ &fact.kind: &fact.body });
            let body: FactBody = serde_json::from_value(named).map_err(|unread| {
                error(&Error::internal(format!("{}: {unread}", fact.sequence)))
            })?;
            if visit(&state, fact, &body).is_break() {
                return Ok(state);
            }
            state.apply(fact.sequence, &body);
        }
        seen += page.facts.len();
        if !page.more {
            return Ok(state);
        }
        if seen >= FACTS_MAX {
            let message = format!("the configuration has more than {FACTS_MAX} facts");
            return Err(error(&Error::new(ErrorCode::Unavailable, message)));
        }
        query.after = page.read_to;
    }
}

/// The object that a fact is about, given the state before it.
pub(super) fn target(state: &State, body: &FactBody) -> Option<Target> {
    let named = |number| {
        let found = state.subscriptions.get(number)?;
        Some(Target::Subscription(found.spec.name.clone()))
    };
    match body {
        FactBody::SubscriberPut(subscriber) => Some(Target::Subscriber(subscriber.id.clone())),
        FactBody::SubscriberRemoved { id } => Some(Target::Subscriber(id.clone())),
        FactBody::EventTypePut(event_type) => Some(Target::EventType(event_type.uri.clone())),
        FactBody::EventTypeRemoved { uri } => Some(Target::EventType(uri.clone())),
        FactBody::SourcePut(source) => Some(Target::Source(source.spec.name.clone())),
        FactBody::SourceRemoved { name } => Some(Target::Source(name.clone())),
        FactBody::BackoffPut(rule) => Some(Target::Backoff(rule.target.clone(), rule.direction)),
        FactBody::BackoffRemoved { target, direction } => {
            Some(Target::Backoff(target.clone(), *direction))
        }
        FactBody::SchemaPublished(version) => Some(Target::Schema(version.uri.clone())),
        FactBody::SchemaRemoved { uri } => Some(Target::Schema(uri.clone())),
        FactBody::SubscriptionCreated(created) => {
            Some(Target::Subscription(created.spec.name.clone()))
        }
        FactBody::SubscriptionChanged { number, .. }
        | FactBody::SubscriptionStatusChanged { number, .. }
        | FactBody::SubscriptionRemoved { number } => named(number),
        // About no object that has a name; a new kind that is adds its arm here.
        _ => None,
    }
}

/// The object as it stands, in the words of the configuration.
fn object(state: &State, target: &Target) -> Option<serde_json::Value> {
    let shown = match target {
        Target::Subscriber(id) => serde_json::to_value(state.subscribers.get(id)?.as_ref()),
        Target::EventType(uri) => serde_json::to_value(state.event_types.get(uri)?.as_ref()),
        Target::Source(name) => serde_json::to_value(state.sources.get(name)?.as_ref()),
        Target::Backoff(of, direction) => {
            serde_json::to_value(state.backoffs.get(&(of.clone(), *direction))?.as_ref())
        }
        Target::Subscription(name) => {
            serde_json::to_value(state.subscription_named(name)?.as_ref())
        }
        Target::Schema(uri) => serde_json::to_value(state.schemas.get(uri)?.as_ref()),
    };
    shown.ok()
}

/// One field that changed.
#[derive(Debug, Clone, PartialEq, SimpleObject)]
pub(super) struct Difference {
    /// Where, as in `spec.url`; empty: the whole object.
    path: String,
    /// What was there; null: nothing.
    before: Option<Json<serde_json::Value>>,
    /// What is there now; null: nothing.
    after: Option<Json<serde_json::Value>>,
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

/// The leaves in which two values differ.
fn differences(
    path: &str,
    before: Option<&serde_json::Value>,
    after: Option<&serde_json::Value>,
    found: &mut Vec<Difference>,
) {
    use serde_json::Value::Object;
    if before == after {
        return;
    }
    if let (Some(Object(old)), Some(Object(new))) = (before, after) {
        let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            differences(&path, old.get(name), new.get(name), found);
        }
        return;
    }
    let shown = |value: Option<&serde_json::Value>| value.cloned().map(Json);
    found.push(Difference { path: path.to_owned(), before: shown(before), after: shown(after) });
}

/// The configuration as it stood.
#[derive(Debug)]
pub(super) struct StateNode {
    state: State,
    time: Option<Timestamp>,
}

#[Object(name = "ConfigurationState")]
impl StateNode {
    /// The last fact that is in it.
    async fn sequence(&self) -> String {
        self.state.sequence.to_string()
    }
    /// Its time, RFC 3339; null: nothing had happened yet.
    async fn time(&self) -> Option<String> {
        self.time.map(|time| time.to_string())
    }
    /// The subscription of that name.
    async fn subscription(&self, name: String) -> Option<SubscriptionNode> {
        self.state.subscription_named(&name).cloned().map(SubscriptionNode)
    }
    /// The source of that name.
    async fn source(&self, name: String) -> Option<SourceNode> {
        self.state.sources.get(&name).cloned().map(SourceNode)
    }
    /// Subscriptions, oldest first.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn subscriptions(&self, context: &Context<'_>) -> Result<Vec<SubscriptionNode>> {
        spend(context, self.state.subscriptions.len().saturating_mul(NODE_BYTES))?;
        Ok(self.state.subscriptions.values().cloned().map(SubscriptionNode).collect())
    }
    /// Sources, by name.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn sources(&self, context: &Context<'_>) -> Result<Vec<SourceNode>> {
        spend(context, self.state.sources.len().saturating_mul(NODE_BYTES))?;
        Ok(self.state.sources.values().cloned().map(SourceNode).collect())
    }
    /// Subscribers, by id.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn subscribers(&self, context: &Context<'_>) -> Result<Vec<SubscriberNode>> {
        spend(context, self.state.subscribers.len().saturating_mul(NODE_BYTES))?;
        Ok(self.state.subscribers.values().cloned().map(SubscriberNode).collect())
    }
    /// Event types with defaults.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn event_types(&self, context: &Context<'_>) -> Result<Vec<EventTypeNode>> {
        spend(context, self.state.event_types.len().saturating_mul(NODE_BYTES))?;
        Ok(self.state.event_types.values().cloned().map(EventTypeNode).collect())
    }
    /// Back-off rules.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn backoffs(&self, context: &Context<'_>) -> Result<Vec<BackoffNode>> {
        spend(context, self.state.backoffs.len().saturating_mul(NODE_BYTES))?;
        Ok(self.state.backoffs.values().cloned().map(BackoffNode).collect())
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
        let mut last = None;
        let state = fold(context, |_, fact, _| {
            if until.is_some_and(|until| fact.time > until) {
                return ControlFlow::Break(());
            }
            last = Some(fact.time);
            ControlFlow::Continue(())
        });
        let state = state.await?;
        Ok(StateNode { state, time: last })
    }

    /// The facts that touched an object, oldest first, the newest 500 of them. `kind` is
    /// `subscription`, `source`, `subscriber`, `event_type` or `schema`, and `name` its name, id
    /// or URI; or `backoff`, and `name` as in `global incoming` or `source:github outgoing`.
    #[graphql(complexity = "100 + child_complexity")]
    async fn history(
        &self,
        context: &Context<'_>,
        kind: String,
        name: String,
    ) -> Result<Vec<EntryNode>> {
        allowed_everywhere(context, Noun::Config, Access::Read)?;
        let wanted = entity(&kind, &name)?;
        let (mut found, mut next) = (Vec::new(), State::default());
        fold(context, |state, fact, body| {
            next.apply(fact.sequence, body);
            if target(state, body).as_ref() == Some(&wanted) {
                let (before, after) = (object(state, &wanted), object(&next, &wanted));
                let mut list = Vec::new();
                differences("", before.as_ref(), after.as_ref(), &mut list);
                found.push(EntryNode {
                    sequence: fact.sequence.to_string(),
                    time: fact.time.to_string(),
                    actor: fact.actor.to_string(),
                    kind: fact.kind.clone(),
                    differences: list,
                });
                if found.len() > CHANGES_MAX {
                    found.remove(0);
                }
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(found)
    }
}

fn entity(kind: &str, name: &str) -> Result<Target> {
    let uri = || name.parse().or_show();
    Ok(match kind {
        "subscription" => Target::Subscription(name.to_owned()),
        "source" => Target::Source(name.to_owned()),
        "subscriber" => Target::Subscriber(name.to_owned()),
        "event_type" => Target::EventType(uri()?),
        "schema" => Target::Schema(uri()?),
        "backoff" => {
            let (of, direction) = name
                .split_once(' ')
                .ok_or_else(|| invalid("a back-off is named as in `global incoming`"))?;
            super::inputs::backoff_key(of, direction)?
        }
        other => {
            let all = "subscription, source, subscriber, event_type, schema, backoff";
            return Err(invalid(format!("`{other}` has no history; allowed: {all}")));
        }
    })
}

/// Which fact gave each object its present form.
pub(super) type Versions = BTreeMap<Target, Sequence>;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn differences_name_each_leaf() {
        let (before, after) =
            (json!({"a": {"b": 1, "c": 2}}), json!({"a": {"b": 1, "c": 3}, "d": 4}));
        let mut found = Vec::new();
        differences("", Some(&before), Some(&after), &mut found);
        let leaf = |path: &str, before: Option<i32>, after: Option<i32>| Difference {
            path: path.to_owned(),
            before: before.map(|value| Json(json!(value))),
            after: after.map(|value| Json(json!(value))),
        };
        assert_eq!(found, [leaf("a.c", Some(2), Some(3)), leaf("d", None, Some(4))]);
    }
}

//! The past: the configuration as it stood at a moment, and what became of an object since.
//!
//! Both are folds of the configuration's facts, read through the port of the log from its
//! beginning; that chain is kept for ever and is small.

pub mod why;

use crate::{fact::FactBody, state::State};
use contract::{
    Error, ErrorCode, Result,
    clock::Timestamp,
    command::Target,
    id::Sequence,
    limits,
    log::{Chain, LogFilter, LogQuery, LoggedFact},
    master_api::Log,
    past::{ConfigurationAt, FieldChange, HistoryEntry},
};
use std::{collections::BTreeMap, collections::BTreeSet, ops::ControlFlow, time::Duration};

/// Facts of the configuration that one question goes through at most.
const FACTS_MAX: usize = 100_000;
/// Changes that a history lists at most; the newest are kept.
const CHANGES_MAX: usize = 500;

/// Which fact gave each object its present form.
pub type Versions = BTreeMap<Target, Sequence>;

/// Goes through the facts of the configuration, oldest first, with the state before each.
/// Errors: `unavailable` when there are too many.
pub async fn fold(
    log: &impl Log,
    mut visit: impl FnMut(&State, &LoggedFact, &FactBody) -> ControlFlow<()>,
) -> Result<State> {
    let (mut state, mut seen) = (State::default(), 0);
    let filter = LogFilter { chain: Some(Chain::Configuration), ..LogFilter::default() };
    let mut query =
        LogQuery { after: Sequence(0), first: limits::PAGE_MAX, filter, wait: Duration::ZERO };
    loop {
        let page = log.facts(query.clone()).await?;
        for fact in &page.facts {
            let named = serde_json::json!({ &fact.kind: &fact.body });
            let body: FactBody = serde_json::from_value(named)
                .map_err(|unread| Error::internal(format!("{}: {unread}", fact.sequence)))?;
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
            return Err(Error::new(ErrorCode::Unavailable, message));
        }
        query.after = page.read_to;
    }
}

/// The configuration by all facts up to `until`.
pub async fn state_at(log: &impl Log, until: Option<Timestamp>) -> Result<ConfigurationAt> {
    let mut time = None;
    let state = fold(log, |_, fact, _| {
        if until.is_some_and(|until| fact.time > until) {
            return ControlFlow::Break(());
        }
        time = Some(fact.time);
        ControlFlow::Continue(())
    });
    let state = state.await?;
    fn all<T: Clone>(objects: impl Iterator<Item = std::sync::Arc<T>>) -> Vec<T> {
        objects.map(std::sync::Arc::unwrap_or_clone).collect()
    }
    Ok(ConfigurationAt {
        sequence: state.sequence,
        time,
        subscribers: all(state.subscribers.into_values()),
        event_types: all(state.event_types.into_values()),
        sources: all(state.sources.into_values()),
        subscriptions: all(state.subscriptions.into_values()),
        backoffs: all(state.backoffs.into_values()),
        schemas: all(state.schemas.into_values()),
    })
}

/// The facts that touched an object, oldest first, the newest [`CHANGES_MAX`] of them.
pub async fn history(log: &impl Log, wanted: &Target) -> Result<Vec<HistoryEntry>> {
    let (mut found, mut next) = (Vec::new(), State::default());
    fold(log, |state, fact, body| {
        next.apply(fact.sequence, body);
        if target(state, body).as_ref() == Some(wanted) {
            let (before, after) = (object(state, wanted), object(&next, wanted));
            let mut changes = Vec::new();
            differences("", before.as_ref(), after.as_ref(), &mut changes);
            found.push(HistoryEntry {
                sequence: fact.sequence,
                time: fact.time,
                actor: fact.actor.clone(),
                kind: fact.kind.clone(),
                changes,
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

/// The object that a fact is about, given the state before it.
fn target(state: &State, body: &FactBody) -> Option<Target> {
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

/// The leaves in which two values differ.
fn differences(
    path: &str,
    before: Option<&serde_json::Value>,
    after: Option<&serde_json::Value>,
    found: &mut Vec<FieldChange>,
) {
    use serde_json::Value::Object;
    if before == after {
        return;
    }
    if let (Some(Object(old)), Some(Object(new))) = (before, after) {
        let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            differences(&path, old.get(name), new.get(name), found);
        }
        return;
    }
    let (before, after) = (before.cloned(), after.cloned());
    found.push(FieldChange { path: path.to_owned(), before, after });
}

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
        let leaf = |path: &str, before: Option<i32>, after: Option<i32>| FieldChange {
            path: path.to_owned(),
            before: before.map(|value| json!(value)),
            after: after.map(|value| json!(value)),
        };
        assert_eq!(found, [leaf("a.c", Some(2), Some(3)), leaf("d", None, Some(4))]);
    }
}

//! The past: the configuration as it stood at a moment, and in [`history`] what became of an object
//! since.
//!
//! Both are folds of the configuration's facts, read through the port of the log from its
//! beginning; that chain is kept for ever and is small.

pub mod history;
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
    past::ConfigurationAt,
};
use std::{collections::BTreeMap, ops::ControlFlow, time::Duration};

/// Facts of the configuration that one question goes through at most.
const FACTS_MAX: usize = 100_000;

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

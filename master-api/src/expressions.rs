//! The expressions of a subscription, compiled before the writer decides: a parser takes its time,
//! and the writer has none.

use crate::decide::refused;
use contract::{
    Error, Result,
    command::{Changeset, Command},
    subscription::{Ordering, SubscriptionSpec},
};
use expression::{Filter, Program, Purpose, Refused};

/// Refuses a changeset with an expression that cannot be compiled.
pub async fn check(changes: Changeset) -> Result<Changeset> {
    if !specs(&changes).any(has_expressions) {
        return Ok(changes);
    }
    let checking = move || {
        let checked = specs(&changes).try_for_each(check_spec);
        checked.map(|()| changes)
    };
    tokio::task::spawn_blocking(checking).await.map_err(Error::internal)?
}

fn specs(changes: &Changeset) -> impl Iterator<Item = &SubscriptionSpec> {
    changes.commands.iter().flat_map(|command| match command {
        Command::PutSubscription { spec, .. } => vec![spec],
        Command::EnsureSubscriptions { subscriptions, .. } => {
            subscriptions.iter().map(|declared| &declared.spec).collect()
        }
        _ => Vec::new(),
    })
}

const fn has_expressions(spec: &SubscriptionSpec) -> bool {
    spec.filter.is_some() || spec.transform.is_some() || matches!(spec.ordering, Ordering::Key(_))
}

fn check_spec(spec: &SubscriptionSpec) -> Result<()> {
    let refuse =
        |field: &str, why: Refused| refused("subscription", &spec.name, format!("{field}: {why}"));
    if let Some(source) = &spec.filter {
        Filter::compile(source).map_err(|why| refuse("filter", why))?;
    }
    if let Some(source) = &spec.transform {
        Program::compile(source, Purpose::Body).map_err(|why| refuse("transform", why))?;
    }
    if let Ordering::Key(source) = &spec.ordering {
        Program::compile(source, Purpose::Key).map_err(|why| refuse("ordering.key", why))?;
    }
    Ok(())
}

//! `certes why`, `certes history` and `certes state`: questions about the past.

use crate::{cli::ServerArgs, misuse::Misuse, output, remote::Remote};
use anyhow::Result;
use clap::Args;
use contract::{
    clock::Timestamp,
    id::EventId,
    past::{ConfigurationAt, FieldChange, HistoryEntry, Subject, Why},
};

/// Subscriptions that `certes why EVENT` explains at most: each is a question of its own.
const EXPLAINED_MAX: usize = 50;

/// `certes why`
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// evt_...
    event: String,
    /// Name or id of a subscription [default: each one, in a line]
    subscription: Option<String>,
    /// Server.
    #[command(flatten)]
    server: ServerArgs,
}

/// `certes history`
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// KIND/NAME, as in subscription/ci, source/github, subscriber/org_1, schema/github/1/push,
    /// event_type/github/1/push, backoff/global/incoming, setting/retention.age, key/admin, user/ada
    #[arg(value_name = "KIND/NAME")]
    object: String,
    /// Server.
    #[command(flatten)]
    server: ServerArgs,
}

/// `certes state`
#[derive(Debug, Args)]
pub struct StateArgs {
    /// As it stood at this moment, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Server.
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs `certes why`.
pub async fn why(args: WhyArgs) -> Result<()> {
    let id: EventId = args.event.parse()?;
    let remote = Remote::find(&args.server).await?;
    let Some(name) = args.subscription else {
        return why_each(&remote, id, args.server.json).await;
    };
    let why = remote.why(id, &name).await?;
    if args.server.json { output::json(&why) } else { explain(&why) }
}

/// One line for each subscription that there is now.
async fn why_each(remote: &Remote, id: EventId, as_json: bool) -> Result<()> {
    let all = remote.subscriptions().await?;
    let mut found = Vec::new();
    for subscription in all.iter().take(EXPLAINED_MAX) {
        // By id: a name may have been another's then.
        let why = remote.why(id, &subscription.id.to_string()).await?;
        found.push((subscription.spec.name.clone(), why));
    }
    if as_json {
        let named = |(name, why): &(_, Why)| serde_json::json!({"subscription": name, "why": why});
        return output::json(&found.iter().map(named).collect::<Vec<_>>());
    }
    let rows = found.iter().map(|(name, why)| vec![name.clone(), why.verdict.clone(), reason(why)]);
    output::table(&["subscription", "verdict", "because"], rows)?;
    match all.len().checked_sub(EXPLAINED_MAX) {
        None | Some(0) => Ok(()),
        Some(left) => output::line(&format!("and {left} more; name one to have it explained")),
    }
}

/// The rule that decided, in its sentence.
fn reason(why: &Why) -> String {
    let refused = why.rules.iter().find(|rule| rule.passed == Some(false));
    let matched = || why.rules.iter().find(|rule| rule.rule == "pattern");
    let decided = refused.or_else(matched);
    match (decided, why.verdict.as_str()) {
        (_, "no_subscription") => "it was not there when the event was matched".to_owned(),
        (Some(rule), _) => rule.text.clone(),
        (None, _) => String::new(),
    }
}

fn explain(why: &Why) -> Result<()> {
    let said = match why.verdict.as_str() {
        "delivered" => "it was delivered",
        "waiting" => "it has a delivery that waits for an attempt",
        "dead" => "its delivery is a dead letter",
        "cancelled" => "its delivery was taken back",
        "quarantined" => "no delivery: the event is kept aside",
        "no_subscription" => "no delivery: there was no such subscription",
        "other_audience" => "no delivery: the event is for others",
        "no_pattern" => "no delivery: no pattern selects its type",
        "filtered_out" => "no delivery: its filter does not want it",
        "gone" => "it matched; its delivery is no longer kept",
        other => other,
    };
    output::line(&format!("{said} ({}), by the rules as of fact {}", why.verdict, why.rules_fact))?;
    if let Some(delivery) = why.delivery {
        output::line(&format!("delivery {delivery}"))?;
    }
    if why.payload_expired {
        output::line("the payload is no longer kept")?;
    }
    let rows = why.rules.iter().map(|rule| {
        let passed = rule.passed.map(|passed| if passed { "yes" } else { "NO" });
        let fact = rule.fact.map_or_else(|| "built in".to_owned(), |fact| fact.to_string());
        vec![rule.rule.clone(), passed.unwrap_or_default().to_owned(), fact, rule.text.clone()]
    });
    output::table(&["rule", "passed", "fact", "says"], rows)
}

/// Runs `certes history`.
pub async fn history(args: HistoryArgs) -> Result<()> {
    let wrong = || Misuse::new(format!("`{}` names no object; write KIND/NAME", args.object));
    let (kind, name) = args.object.split_once('/').ok_or_else(wrong)?;
    let object = Subject::named(kind, name).map_err(|error| Misuse::new(error.message))?;
    let found = Remote::find(&args.server).await?.history(&object).await?;
    if args.server.json {
        return output::json(&found);
    }
    if found.is_empty() {
        return output::line(&format!("no fact was ever about {kind} `{name}`"));
    }
    found.iter().try_for_each(show)
}

fn show(entry: &HistoryEntry) -> Result<()> {
    let HistoryEntry { sequence, time, actor, kind, changes } = entry;
    output::line(&format!("{time}  {kind} by {actor} (fact {sequence})"))?;
    changes.iter().try_for_each(|change| output::line(&format!("  {}", sentence(change))))
}

fn sentence(change: &FieldChange) -> String {
    let path = if change.path.is_empty() { "all" } else { &change.path };
    match (&change.before, &change.after) {
        (None, Some(after)) => format!("{path}: {after}"),
        (Some(_), None) => format!("{path}: gone"),
        (Some(before), Some(after)) => format!("{path}: {before} -> {after}"),
        (None, None) => path.to_owned(),
    }
}

/// Runs `certes state`.
pub async fn state(args: StateArgs) -> Result<()> {
    let state = Remote::find(&args.server).await?.state_at(args.at).await?;
    if args.server.json {
        return output::json(&state);
    }
    output::line(&match state.time {
        None => "nothing had happened yet".to_owned(),
        Some(time) => format!("as of fact {}, {time}", state.sequence),
    })?;
    let rows = rows(&state);
    if rows.is_empty() { Ok(()) } else { output::table(&["object", "name", "says"], rows) }
}

fn rows(state: &ConfigurationAt) -> Vec<Vec<String>> {
    let row = |kind: &str, name: String, says: String| vec![kind.to_owned(), name, says];
    let subscriptions = state.subscriptions.iter().map(|found| {
        let patterns: Vec<_> = found.spec.events.iter().map(ToString::to_string).collect();
        let to = if found.spec.pull { "receivers" } else { &found.spec.url };
        let says = format!("{}, {} to {to}", found.status, patterns.join(" "));
        row("subscription", found.spec.name.clone(), says)
    });
    let sources = state.sources.iter().map(|found| {
        let says = format!("{}, {}", found.spec.verify, found.spec.event_type.0);
        row("source", found.spec.name.clone(), says)
    });
    let subscribers = state
        .subscribers
        .iter()
        .map(|found| row("subscriber", found.id.clone(), found.name.clone()));
    let event_types = state.event_types.iter().map(|found| {
        let priority = found.priority.map(|level| format!("priority {level}"));
        row("event_type", found.uri.to_string(), priority.unwrap_or_default())
    });
    let backoffs = state.backoffs.iter().map(|found| {
        let policy = serde_json::to_string(&found.policy).unwrap_or_default();
        row("backoff", format!("{} {}", found.target, found.direction), policy)
    });
    let schemas = state.schemas.iter().map(|found| {
        let says = format!("{}.{}", found.uri.major(), found.minor);
        row("schema", found.uri.to_string(), says)
    });
    subscriptions
        .chain(sources)
        .chain(subscribers)
        .chain(event_types)
        .chain(backoffs)
        .chain(schemas)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_are_sentences() {
        let change = |before, after| FieldChange { path: "spec.url".to_owned(), before, after };
        let (old, new) = (Some(json!("a")), Some(json!("b")));
        assert_eq!(sentence(&change(old.clone(), new.clone())), "spec.url: \"a\" -> \"b\"");
        assert_eq!(sentence(&change(None, new)), "spec.url: \"b\"");
        assert_eq!(sentence(&change(old, None)), "spec.url: gone");
    }
}

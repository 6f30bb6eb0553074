//! `certes subscription test`: would a subscription get an event, and why? Nothing is sent.

use crate::{cli::ServerArgs, misuse::Misuse, output, remote::Remote};
use anyhow::{Context, Result, bail};
use clap::Args;
use contract::{
    clock::{Clock, SystemClock, Timestamp},
    event::{Audience, Direction, Disposition, Headers, NewEvent, Origin, Trace},
    id::{EventId, Sequence},
    subscription::{Ordering, SubscriptionSpec},
    uri::EventUri,
};
use expression::{Conjunct, Filter, Program, Purpose, Subject};
use serde::Serialize;
use std::{collections::BTreeMap, path::PathBuf};

/// Values are shown up to this many characters.
const SHOWN_MAX: usize = 80;

/// An event that might come.
#[derive(Debug, Args)]
pub struct Test {
    /// Its name
    name: String,
    /// The payload; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    event: PathBuf,
    /// The headers, one `name: value` in each line, or a JSON object
    #[arg(long, value_name = "FILE")]
    headers: Option<PathBuf>,
    /// The type, as in github/1/push [default: the first that its patterns name]
    #[arg(long = "type", value_name = "TYPE")]
    uri: Option<EventUri>,
    /// The source that it would come from
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Media type of the payload
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    content_type: String,
    /// Server.
    #[command(flatten)]
    server: ServerArgs,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Found {
    matches: bool,
    uri: EventUri,
    pattern: Option<String>,
    conditions: Vec<Condition>,
    /// What it shares its turn by.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<serde_json::Value>,
    /// What its transformation makes of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<serde_json::Value>,
}

#[derive(Debug, Serialize)]
struct Condition {
    condition: String,
    /// None: it cannot be told.
    holds: Option<bool>,
    error: Option<String>,
    values: BTreeMap<String, Option<serde_json::Value>>,
}

impl From<Conjunct> for Condition {
    fn from(found: Conjunct) -> Self {
        let (holds, error) = match found.holds {
            Ok(holds) => (Some(holds), None),
            Err(why) => (None, Some(why.to_string())),
        };
        let values = found.values.into_iter().collect();
        Self { condition: found.source, holds, error, values }
    }
}

/// Says whether and why the subscription would get the event. Fails if it would not.
pub async fn run(test: Test) -> Result<()> {
    let found = Remote::find(&test.server).await?.subscriptions().await?;
    let subscription = found.into_iter().find(|found| found.spec.name == test.name);
    let subscription =
        subscription.with_context(|| format!("there is no subscription `{}`", test.name))?;
    let event = test.event(&subscription.spec)?;
    let found = judge(&subscription.spec, &event)?;
    if test.server.json {
        output::json(&found)?;
    } else {
        show(&found)?;
    }
    match found.matches {
        true if test.server.json => Ok(()),
        true => output::line(&format!("{} would get it", test.name)),
        false => bail!("{} would not get it", test.name),
    }
}

impl Test {
    /// The event as it would come in.
    fn event(&self, spec: &SubscriptionSpec) -> Result<NewEvent> {
        let named = || spec.events.iter().find_map(|pattern| pattern.literal());
        let uri = self.uri.clone().or_else(named);
        let uri =
            uri.ok_or_else(|| Misuse::new("its patterns name no one type: say which by --type"))?;
        let headers = match &self.headers {
            None => Headers::default(),
            Some(file) => headers(&String::from_utf8(super::read(file)?)?)?,
        };
        Ok(NewEvent {
            uri,
            direction: Direction::Incoming,
            audience: match &spec.subscriber {
                None => Audience::Own,
                Some(id) => Audience::Subscriber(id.clone()),
            },
            origin: self.source.clone().map_or(Origin::Server, Origin::Source),
            payload: super::read(&self.event)?.into(),
            content_type: self.content_type.clone(),
            headers,
            idempotency_key: None,
            received_at: Timestamp(0),
            trace: Trace::default(),
            unvalidated: Disposition::Accept,
            invalid: Disposition::Reject,
            rules: Sequence(0),
        })
    }
}

/// `name: value` in each line, or a JSON object.
fn headers(text: &str) -> Result<Headers> {
    if text.trim_start().starts_with('{') {
        let object: BTreeMap<String, String> =
            serde_json::from_str(text).context("the headers are no JSON object of texts")?;
        return Ok(Headers(object.into_iter().collect()));
    }
    let pair = |line: &str| {
        let (name, value) = line
            .split_once(':')
            .with_context(|| format!("`{line}` is no header: write `name: value`"))?;
        Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(Headers(lines.map(pair).collect::<Result<_>>()?))
}

fn judge(spec: &SubscriptionSpec, event: &NewEvent) -> Result<Found> {
    let pattern = spec.events.iter().find(|pattern| pattern.matches(&event.uri));
    let conditions: Vec<Condition> = match &spec.filter {
        None => Vec::new(),
        Some(source) => {
            let filter = Filter::compile(source).context("its filter cannot be compiled")?;
            filter.explain(&Subject::new(event)).into_iter().map(Condition::from).collect()
        }
    };
    let key = match &spec.ordering {
        Ordering::Key(source) => Some(key(source, event)?),
        Ordering::None | Ordering::Strict => None,
    };
    let body = spec.transform.as_deref().map(|source| body(source, event)).transpose()?;
    let all_hold = conditions.iter().all(|condition| condition.holds == Some(true));
    Ok(Found {
        matches: pattern.is_some() && all_hold,
        uri: event.uri.clone(),
        pattern: pattern.map(ToString::to_string),
        conditions,
        key,
        body,
    })
}

/// The key by which it waits; null where it has none, as all such events wait for each other.
fn key(source: &str, event: &NewEvent) -> Result<serde_json::Value> {
    let program = Program::compile(source, Purpose::Key);
    let program = program.context("its ordering key cannot be compiled")?;
    Ok(program.evaluate(&Subject::new(event)).unwrap_or_default())
}

/// What a transformation makes of an event that came now.
fn body(source: &str, event: &NewEvent) -> Result<serde_json::Value> {
    let program = Program::compile(source, Purpose::Body);
    let program = program.context("its transformation cannot be compiled")?;
    let subject = Subject::new(event).as_stored(EventId::from_bytes([0; 16]), SystemClock.now());
    program.evaluate(&subject).context("its transformation makes no body of it")
}

fn show(found: &Found) -> Result<()> {
    let selects = match &found.pattern {
        Some(pattern) => format!("yes: `{pattern}` selects {}", found.uri),
        None => format!("no: none of its patterns selects {}", found.uri),
    };
    output::line(&selects)?;
    for Condition { condition, holds, error, values } in &found.conditions {
        let answer = match holds {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        };
        let why = error.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        output::line(&format!("{answer}: {condition}{why}"))?;
        for (path, value) in values {
            let value =
                value.as_ref().map_or("nothing".to_owned(), |value| shown(&value.to_string()));
            output::line(&format!("     {path} is {value}"))?;
        }
    }
    if let Some(key) = &found.key {
        output::line(&format!("key: {key}"))?;
    }
    match &found.body {
        Some(body) => output::line(&format!("body: {body}")),
        None => Ok(()),
    }
}

fn shown(value: &str) -> String {
    match value.chars().nth(SHOWN_MAX) {
        None => value.to_owned(),
        Some(_) => value.chars().take(SHOWN_MAX).chain("...".chars()).collect(),
    }
}

//! Answers about the past.

use super::{
    Malformed, each, into_each, message, moment, moment_from, optional, parsed_optional, text,
};
use crate::v1::{self, list_history_request::Other};
use contract::{
    access::Actor,
    backoff::{BackoffPolicy, BackoffRule},
    command::Target,
    id::Sequence,
    past::{ConfigurationAt, FieldChange, HistoryEntry, RuleInForce, Subject, Why},
    schema::SchemaVersion,
    source::Source,
    subscription::{EventType, Subscriber, Subscription},
};

impl From<RuleInForce> for v1::RuleInForce {
    fn from(noun: RuleInForce) -> Self {
        let RuleInForce { rule, fact, passed, text } = noun;
        Self { rule, fact: fact.map(|fact| fact.0), passed, text }
    }
}

impl TryFrom<v1::RuleInForce> for RuleInForce {
    type Error = Malformed;
    fn try_from(wire: v1::RuleInForce) -> Result<Self, Malformed> {
        let rule = text(wire.rule, "rule")?;
        Ok(Self { rule, fact: wire.fact.map(Sequence), passed: wire.passed, text: wire.text })
    }
}

impl From<Why> for v1::WhyResponse {
    fn from(why: Why) -> Self {
        let Why { verdict, rules_fact, rules, backoff, payload_expired, delivery } = why;
        Self {
            verdict,
            rules_fact: rules_fact.0,
            rules: into_each(rules),
            backoff: backoff.map(Into::into),
            payload_expired,
            delivery: delivery.map(|id| id.to_string()),
        }
    }
}

impl TryFrom<v1::WhyResponse> for Why {
    type Error = Malformed;
    fn try_from(wire: v1::WhyResponse) -> Result<Self, Malformed> {
        Ok(Self {
            verdict: text(wire.verdict, "verdict")?,
            rules_fact: Sequence(wire.rules_fact),
            rules: each(wire.rules, "rules", RuleInForce::try_from)?,
            backoff: optional(wire.backoff, "backoff", BackoffPolicy::try_from)?,
            payload_expired: wire.payload_expired,
            delivery: parsed_optional(wire.delivery, "delivery")?,
        })
    }
}

impl From<ConfigurationAt> for v1::ConfigurationAt {
    fn from(state: ConfigurationAt) -> Self {
        let ConfigurationAt {
            sequence,
            time,
            subscribers,
            event_types,
            sources,
            subscriptions,
            backoffs,
            schemas,
        } = state;
        Self {
            sequence: sequence.0,
            time: time.map(moment),
            subscribers: into_each(subscribers),
            event_types: into_each(event_types),
            sources: into_each(sources),
            subscriptions: into_each(subscriptions),
            backoffs: into_each(backoffs),
            schemas: into_each(schemas),
        }
    }
}

impl TryFrom<v1::ConfigurationAt> for ConfigurationAt {
    type Error = Malformed;
    fn try_from(wire: v1::ConfigurationAt) -> Result<Self, Malformed> {
        Ok(Self {
            sequence: Sequence(wire.sequence),
            time: optional(wire.time, "time", moment_from)?,
            subscribers: each(wire.subscribers, "subscribers", Subscriber::try_from)?,
            event_types: each(wire.event_types, "event_types", EventType::try_from)?,
            sources: each(wire.sources, "sources", Source::try_from)?,
            subscriptions: each(wire.subscriptions, "subscriptions", Subscription::try_from)?,
            backoffs: each(wire.backoffs, "backoffs", BackoffRule::try_from)?,
            schemas: each(wire.schemas, "schemas", SchemaVersion::try_from)?,
        })
    }
}

impl From<Subject> for v1::ListHistoryRequest {
    fn from(subject: Subject) -> Self {
        let other = |other| Self { object: None, other: Some(other) };
        match subject {
            Subject::Object(object) => Self { object: Some(object.into()), other: None },
            Subject::Setting(name) => other(Other::Setting(name)),
            Subject::Key(key) => other(Other::Key(key)),
            Subject::User(user) => other(Other::User(user)),
        }
    }
}

impl TryFrom<v1::ListHistoryRequest> for Subject {
    type Error = Malformed;
    fn try_from(wire: v1::ListHistoryRequest) -> Result<Self, Malformed> {
        Ok(match wire.other {
            None => Self::Object(message(wire.object, "object", Target::try_from)?),
            Some(_) if wire.object.is_some() => {
                return Err(Malformed::invalid("object", "something else is named, too"));
            }
            Some(Other::Setting(name)) => Self::Setting(text(name, "setting")?),
            Some(Other::Key(key)) => Self::Key(text(key, "key")?),
            Some(Other::User(user)) => Self::User(text(user, "user")?),
        })
    }
}

impl From<FieldChange> for v1::FieldChange {
    fn from(change: FieldChange) -> Self {
        let FieldChange { path, before, after } = change;
        let json = |value: serde_json::Value| value.to_string();
        Self { path, before: before.map(json), after: after.map(json) }
    }
}

impl TryFrom<v1::FieldChange> for FieldChange {
    type Error = Malformed;
    fn try_from(wire: v1::FieldChange) -> Result<Self, Malformed> {
        let before = parsed_optional(wire.before, "before")?;
        Ok(Self { path: wire.path, before, after: parsed_optional(wire.after, "after")? })
    }
}

impl From<HistoryEntry> for v1::HistoryEntry {
    fn from(entry: HistoryEntry) -> Self {
        let HistoryEntry { sequence, time, actor, kind, changes } = entry;
        Self {
            sequence: sequence.0,
            time: Some(moment(time)),
            actor: actor.to_ascii(),
            kind,
            changes: into_each(changes),
        }
    }
}

impl TryFrom<v1::HistoryEntry> for HistoryEntry {
    type Error = Malformed;
    fn try_from(wire: v1::HistoryEntry) -> Result<Self, Malformed> {
        Ok(Self {
            sequence: Sequence(wire.sequence),
            time: message(wire.time, "time", moment_from)?,
            actor: Actor::from_ascii(&text(wire.actor, "actor")?),
            kind: text(wire.kind, "kind")?,
            changes: each(wire.changes, "changes", FieldChange::try_from)?,
        })
    }
}

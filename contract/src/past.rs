//! Questions about the past: why an event went where it went, the configuration as it stood, and
//! what became of an object since.

use crate::{
    Error, ErrorCode, Result,
    access::Actor,
    backoff::{BackoffPolicy, BackoffRule},
    clock::Timestamp,
    command::Target,
    event::Direction,
    id::{DeliveryId, EventId, Sequence},
    schema::SchemaVersion,
    source::Source,
    subscription::{EventType, Subscriber, Subscription},
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// A rule that had a say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleInForce {
    /// `subscription`, `pattern`, `audience`, `priority`, `backoff`, `schema`, `test`, `replay`.
    pub rule: String,
    /// The fact that put it in force; None: what the server does by itself.
    pub fact: Option<Sequence>,
    /// Did it let the event pass? None: it decides how, not whether.
    pub passed: Option<bool>,
    /// What it says, in a sentence.
    pub text: String,
}

/// Why an event went to a subscription, or why not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// `delivered`, `waiting`, `dead` or `cancelled`, as the delivery stands; or why there is
    /// none: `quarantined`, `no_subscription`, `other_audience`, `no_pattern`, `filtered_out`,
    /// `gone`.
    pub verdict: String,
    /// The rules as of this fact decided.
    pub rules_fact: Sequence,
    /// What had a say.
    pub rules: Vec<RuleInForce>,
    /// The back-off policy that was in force; None: there is no such subscription.
    pub backoff: Option<BackoffPolicy>,
    /// The payload's retention has passed.
    pub payload_expired: bool,
    /// The delivery, if there is one.
    pub delivery: Option<DeliveryId>,
}

/// The configuration as it stood: without secrets, keys and users.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ConfigurationAt {
    /// The last fact that is in it.
    pub sequence: Sequence,
    /// Its time; None: nothing had happened yet.
    pub time: Option<Timestamp>,
    /// Subscribers, by id.
    pub subscribers: Vec<Subscriber>,
    /// Event types with defaults.
    pub event_types: Vec<EventType>,
    /// Sources, by name.
    pub sources: Vec<Source>,
    /// Subscriptions, oldest first.
    pub subscriptions: Vec<Subscription>,
    /// Back-off rules.
    pub backoffs: Vec<BackoffRule>,
    /// Versions of schemas that were in force.
    pub schemas: Vec<SchemaVersion>,
}

/// One field that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Where, as in `spec.url`; empty: the whole object.
    pub path: String,
    /// What was there; None: nothing.
    pub before: Option<serde_json::Value>,
    /// What is there now; None: nothing.
    pub after: Option<serde_json::Value>,
}

/// A fact that touched an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Its position in the log.
    pub sequence: Sequence,
    /// When.
    pub time: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What kind of fact, as in `subscription_changed`.
    pub kind: String,
    /// What it changed.
    pub changes: Vec<FieldChange>,
}

/// The past, as the facts of the configuration tell it. Where no log is kept: `unavailable`.
#[async_trait]
pub trait Past: Send + Sync {
    /// Why an event went to the subscription of that name or id, or why not: each rule as it was
    /// in force when the event was matched. Errors: `not_found` when there is no such event (any
    /// more).
    async fn why(&self, _event: EventId, _subscription: &str) -> Result<Why> {
        Err(untold())
    }
    /// The configuration by all facts up to a moment; None: as it stands now.
    async fn state_at(&self, _time: Option<Timestamp>) -> Result<ConfigurationAt> {
        Err(untold())
    }
    /// The facts that touched an object, oldest first; of too many, the newest.
    async fn history(&self, _subject: &Subject) -> Result<Vec<HistoryEntry>> {
        Err(untold())
    }
}

fn untold() -> Error {
    Error::new(ErrorCode::Unavailable, "no log is kept here")
}

/// What has a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Something that a manifest can declare.
    Object(Target),
    /// A setting, by name.
    Setting(String),
    /// An API key, by id or name; of several that had the name one after the other, all.
    Key(String),
    /// A user, by name or id; of several that had the name one after the other, all.
    User(String),
}

impl Subject {
    /// Something by its kind (`subscription`, `source`, `subscriber`, `event_type`, `schema`,
    /// `backoff`, `setting`, `key`, `user`) and its name, id or URI; a back-off as in `global
    /// incoming` or `source:github/outgoing`. Errors: `invalid_request`.
    pub fn named(kind: &str, name: &str) -> Result<Self> {
        let own = || name.to_owned();
        Ok(Self::Object(match kind {
            "setting" => return Ok(Self::Setting(own())),
            "key" => return Ok(Self::Key(own())),
            "user" => return Ok(Self::User(own())),
            "subscription" => Target::Subscription(own()),
            "source" => Target::Source(own()),
            "subscriber" => Target::Subscriber(own()),
            "event_type" => Target::EventType(name.parse()?),
            "schema" => Target::Schema(name.parse()?),
            "backoff" => backoff(name)?,
            other => {
                let all = "subscription, source, subscriber, event_type, schema, backoff, \
                           setting, key, user";
                return Err(invalid(format!("`{other}` has no history; allowed: {all}")));
            }
        }))
    }
}

fn backoff(name: &str) -> Result<Target> {
    let (of, direction) = name
        .rsplit_once([' ', '/'])
        .ok_or_else(|| invalid("a back-off is named as in `global incoming`".to_owned()))?;
    let direction = match direction {
        "incoming" => Direction::Incoming,
        "outgoing" => Direction::Outgoing,
        other => {
            let text = format!("`{other}` is no direction; allowed: incoming, outgoing");
            return Err(invalid(text));
        }
    };
    Ok(Target::Backoff(of.parse().map_err(invalid)?, direction))
}

fn invalid(text: String) -> Error {
    Error::new(ErrorCode::InvalidRequest, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backoff::BackoffTarget;

    #[test]
    fn objects_go_by_kind_and_name() {
        let target = |kind, name| match Subject::named(kind, name).unwrap() {
            Subject::Object(target) => target,
            other => panic!("{other:?}"),
        };
        let of = target("backoff", "type:shop/1/paid/outgoing");
        let uri = "shop/1/paid".parse().unwrap();
        assert_eq!(of, Target::Backoff(BackoffTarget::EventType(uri), Direction::Outgoing));
        let global = target("backoff", "global incoming");
        assert_eq!(global, Target::Backoff(BackoffTarget::Global, Direction::Incoming));
        assert_eq!(target("source", "gh"), Target::Source("gh".into()));
        assert_eq!(Subject::named("key", "job").unwrap(), Subject::Key("job".into()));
        assert_eq!(Subject::named("user", "ada").unwrap(), Subject::User("ada".into()));
        let setting = Subject::named("setting", "retention.age").unwrap();
        assert_eq!(setting, Subject::Setting("retention.age".into()));
        for (kind, name) in [("x", "y"), ("backoff", "global"), ("backoff", "global up")] {
            let refusal = Subject::named(kind, name).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::InvalidRequest, "{kind} {name}");
        }
    }
}

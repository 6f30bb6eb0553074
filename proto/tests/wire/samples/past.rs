//! Samples of answers about the past.

use super::{NOW, actors, delivery_id, policies, schema_version, source, subscriptions, uri};
use contract::{
    backoff::{BackoffRule, BackoffTarget},
    command::Target,
    event::Direction,
    id::Sequence,
    past::{ConfigurationAt, FieldChange, HistoryEntry, RuleInForce, Subject, Why},
    source::Scheme,
    subscription::{EventType, Subscriber},
};
use serde_json::json;

pub fn why() -> Why {
    let rule = |rule: &str, fact, passed| {
        let (rule, text) = (rule.to_owned(), format!("what {rule} says"));
        RuleInForce { rule, fact, passed, text }
    };
    Why {
        verdict: "delivered".into(),
        rules_fact: Sequence(9),
        rules: vec![rule("pattern", Some(Sequence(7)), Some(true)), rule("backoff", None, None)],
        backoff: policies().pop(),
        payload_expired: true,
        delivery: Some(delivery_id()),
    }
}

pub fn configuration_at() -> ConfigurationAt {
    let (target, direction) = (BackoffTarget::Global, Direction::Outgoing);
    let policy = policies().remove(0);
    ConfigurationAt {
        sequence: Sequence(12),
        time: Some(NOW),
        subscribers: vec![Subscriber { id: "org_1".into(), name: "One".into() }],
        event_types: vec![EventType { uri: uri(), priority: None }],
        sources: vec![source(Scheme::None)],
        subscriptions: subscriptions(),
        backoffs: vec![BackoffRule { target, direction, policy }],
        schemas: vec![schema_version()],
    }
}

pub fn subjects() -> [Subject; 4] {
    let source = BackoffTarget::Source("github".into());
    [
        Subject::Object(Target::Backoff(source, Direction::Incoming)),
        Subject::Setting("retention.age".into()),
        Subject::Key("job".into()),
        Subject::User("ada".into()),
    ]
}

pub fn history() -> Vec<HistoryEntry> {
    let entry = |actor| HistoryEntry {
        sequence: Sequence(3),
        time: NOW,
        actor,
        kind: "backoff_put".into(),
        changes: vec![
            FieldChange { path: String::new(), before: None, after: Some(json!({"a": [1, null]})) },
            FieldChange { path: "a".into(), before: Some(json!("x")), after: None },
        ],
    };
    actors().map(entry).to_vec()
}

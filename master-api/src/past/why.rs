//! Why an event went to a subscription, or why not: every rule that was in force when it was
//! matched, with the fact that put it there.

use super::{Versions, fold, history::target};
use crate::state::State;
use contract::{
    Result,
    backoff::BackoffTarget,
    command::Target,
    delivery::{Delivery, DeliveryState},
    event::{Event, EventState, Origin},
    id::{Sequence, SubscriptionNumber},
    master_api::Log,
    past::{RuleInForce, Why},
    subscription::Subscription,
};
use expression::{Conjunct, Filter, Subject};
use std::{collections::BTreeMap, ops::ControlFlow};

/// There was none of that name when the event was matched.
const NO_SUBSCRIPTION: &str = "no_subscription";

/// What is asked about.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The event.
    pub event: &'a Event,
    /// Its payload; None: it is gone.
    pub payload: Option<&'a [u8]>,
    /// Its deliveries.
    pub deliveries: &'a [Delivery],
}

/// Why an event went to the subscription of that name or id, or why not; the number is that of the
/// one that has the name now.
pub async fn why(
    log: &impl Log,
    asked: Asked<'_>,
    (subscription, number): (&str, Option<SubscriptionNumber>),
) -> Result<Why> {
    let mut versions = BTreeMap::new();
    let state = fold(log, |state, fact, body| {
        if fact.sequence > asked.event.rules {
            return ControlFlow::Break(());
        }
        versions.extend(target(state, body).map(|target| (target, fact.sequence)));
        ControlFlow::Continue(())
    });
    let state = state.await?;
    let Asked { event, payload, deliveries } = asked;
    let facts = Facts { event, payload, state: &state, versions: &versions };
    let why = facts.explain(subscription, deliveries);
    // A subscription that came later may have got it since.
    let later = number.filter(|_| why.verdict == NO_SUBSCRIPTION);
    Ok(match later.and_then(|number| newest(deliveries, number)) {
        Some(delivery) => Why {
            verdict: delivery.state.as_str().to_owned(),
            rules: why.rules.into_iter().chain(replayed(delivery)).collect(),
            delivery: Some(delivery.id),
            ..why
        },
        None => why,
    })
}

/// What an explanation is made from. Pure.
struct Facts<'a> {
    event: &'a Event,
    payload: Option<&'a [u8]>,
    state: &'a State,
    versions: &'a Versions,
}

impl Facts<'_> {
    fn explain(&self, name: &str, deliveries: &[Delivery]) -> Why {
        let mut all = self.state.subscriptions.values();
        let subscription =
            all.find(|found| found.spec.name == name || found.id.to_string() == name);
        let mut rules = Vec::from_iter(self.schema());
        rules.extend(self.test());
        let mut node = Why {
            verdict: NO_SUBSCRIPTION.to_owned(),
            rules_fact: self.event.rules,
            rules: Vec::new(),
            backoff: None,
            payload_expired: self.payload.is_none(),
            delivery: None,
        };
        if let Some(subscription) = subscription {
            let number = subscription.number;
            let delivery = newest(deliveries, number);
            let own = self.of_subscription(subscription);
            node.verdict = verdict(self.event, &own, delivery);
            rules.extend(own);
            let current = self.state.rules(&BTreeMap::new());
            let (policy, level) = current.backoff(subscription, self.event);
            rules.push(self.backoff(subscription, &level));
            node.backoff = Some(policy);
            rules.extend(delivery.and_then(replayed));
            node.delivery = delivery.map(|found| found.id);
        } else if self.event.state == EventState::Quarantined {
            node.verdict = "quarantined".to_owned();
        }
        node.rules = rules;
        node
    }

    /// The rules that decide whether it gets the event, and how early.
    fn of_subscription(&self, subscription: &Subscription) -> Vec<RuleInForce> {
        let spec = &subscription.spec;
        let fact = self.version(&Target::Subscription(spec.name.clone()));
        let pattern = spec.events.iter().find(|pattern| pattern.matches(&self.event.uri));
        let includes = self.event.audience.includes(spec.subscriber.as_deref());
        let whose = spec.subscriber.as_deref().unwrap_or("ourselves");
        let rule = |rule: &str, fact: Option<Sequence>, passed, text: String| RuleInForce {
            rule: rule.to_owned(),
            fact,
            passed,
            text,
        };
        let current = self.state.rules(&BTreeMap::new());
        let priority = current.priority(subscription, &self.event.uri, &self.event.origin);
        let source = match &self.event.origin {
            Origin::Source(name) => Some(Target::Source(name.clone())),
            Origin::Producer(_) | Origin::Server => None,
        };
        let of_type = current.event_types.get(&self.event.uri).and_then(|found| found.priority);
        let (level, set_by) = match (spec.priority, of_type) {
            (None, _) if !spec.ordering.is_none() => ("the order that it keeps", fact),
            (Some(_), _) => ("the subscription", fact),
            (None, Some(_)) => {
                ("the event type", self.version(&Target::EventType(self.event.uri.clone())))
            }
            (None, None) => {
                let of_source = match &self.event.origin {
                    Origin::Source(name) => current.sources.get(name),
                    Origin::Producer(_) | Origin::Server => None,
                };
                match of_source.and_then(|found| found.spec.priority) {
                    Some(_) => ("the source", source.and_then(|source| self.version(&source))),
                    None => ("the server's default", None),
                }
            }
        };
        let matched = match pattern {
            Some(pattern) => format!("the pattern `{pattern}` selects `{}`", self.event.uri),
            None => format!("none of its patterns selects `{}`", self.event.uri),
        };
        let for_whom = match includes {
            true => format!("the event is for {whose}, too"),
            false => format!("the event is not for {whose}"),
        };
        let status = format!("`{}` was {}", spec.name, subscription.status);
        vec![
            rule("subscription", fact, None, status),
            rule("audience", fact, Some(includes), for_whom),
            rule("pattern", fact, Some(pattern.is_some()), matched),
            rule("priority", set_by, None, format!("priority {priority}, set by {level}")),
        ]
        .into_iter()
        .chain(self.filter(subscription))
        .collect()
    }

    /// What its filter says, as far as the payload is still there. Values of the event are not
    /// told: they are in the event.
    fn filter(&self, subscription: &Subscription) -> Option<RuleInForce> {
        let spec = &subscription.spec;
        let source = spec.filter.as_deref()?;
        let (passed, text) = match Filter::compile(source) {
            Err(why) => (Some(false), format!("the filter cannot be compiled: {why}")),
            Ok(filter) if filter.reads_payload() && self.payload.is_none() => {
                (None, format!("the payload is gone that the filter `{source}` looks into"))
            }
            Ok(filter) => {
                let subject = Subject::stored(self.event, self.payload.unwrap_or_default());
                let conditions = filter.explain(&subject);
                match conditions.iter().find(|condition| condition.holds != Ok(true)) {
                    None => (Some(true), format!("the filter `{source}` wants it")),
                    Some(Conjunct { source, holds: Ok(_), .. }) => {
                        (Some(false), format!("the filter wants `{source}`, which does not hold"))
                    }
                    Some(Conjunct { source, holds: Err(why), .. }) => {
                        (Some(false), format!("the filter wants `{source}`: {why}"))
                    }
                }
            }
        };
        let fact = self.version(&Target::Subscription(spec.name.clone()));
        Some(RuleInForce { rule: "filter".to_owned(), fact, passed, text })
    }

    /// The level that the back-off policy comes from.
    fn backoff(&self, subscription: &Subscription, level: &str) -> RuleInForce {
        let direction = self.event.direction;
        let source = || match &self.event.origin {
            Origin::Source(name) => Some(name.clone()),
            Origin::Producer(_) | Origin::Server => None,
        };
        let rule = |of: BackoffTarget| self.version(&Target::Backoff(of, direction));
        let fact = match level {
            "subscription" => self.version(&Target::Subscription(subscription.spec.name.clone())),
            "global" => rule(BackoffTarget::Global),
            "default" => None,
            _ if level.starts_with("source:") => source().and_then(|name| {
                rule(BackoffTarget::Source(name.clone()))
                    .or_else(|| self.version(&Target::Source(name)))
            }),
            _ => rule(BackoffTarget::EventType(self.event.uri.clone())),
        };
        RuleInForce {
            rule: "backoff".to_owned(),
            fact,
            passed: None,
            text: format!("the back-off comes from `{level}`"),
        }
    }

    /// A test goes to the subscription that it was made for, and to no other.
    fn test(&self) -> Option<RuleInForce> {
        self.event.is_test().then(|| RuleInForce {
            rule: "test".to_owned(),
            fact: None,
            passed: None,
            text: "it was made to test one subscription, and goes to no other".to_owned(),
        })
    }

    /// The contract it was checked against.
    fn schema(&self) -> Option<RuleInForce> {
        let minor = self.event.schema_minor?;
        let fact = self.version(&Target::Schema(self.event.uri.clone()));
        let major = self.event.uri.major();
        Some(RuleInForce {
            rule: "schema".to_owned(),
            fact,
            passed: Some(self.event.state == EventState::Accepted),
            text: format!("checked against version {major}.{minor} of `{}`", self.event.uri),
        })
    }

    fn version(&self, target: &Target) -> Option<Sequence> {
        self.versions.get(target).copied()
    }
}

/// The newest delivery of an event for a subscription: it may have been replayed.
fn newest(deliveries: &[Delivery], number: SubscriptionNumber) -> Option<&Delivery> {
    let its = deliveries.iter().filter(|found| found.id.lane.subscription() == number);
    its.max_by_key(|found| found.id.sequence)
}

/// Somebody wanted it once more.
fn replayed(delivery: &Delivery) -> Option<RuleInForce> {
    let replay = delivery.replay?;
    Some(RuleInForce {
        rule: "replay".to_owned(),
        fact: Some(delivery.id.sequence),
        passed: Some(true),
        text: format!("the replay `{replay}` made the delivery, after the event was taken"),
    })
}

fn verdict(event: &Event, rules: &[RuleInForce], delivery: Option<&Delivery>) -> String {
    let refused =
        |name: &str| rules.iter().any(|rule| rule.rule == name && rule.passed == Some(false));
    let text = match delivery.map(|delivery| delivery.state) {
        Some(state) => DeliveryState::as_str(state),
        None if event.state == EventState::Quarantined => "quarantined",
        None if event.is_test() => "other_audience",
        None if refused("audience") => "other_audience",
        None if refused("pattern") => "no_pattern",
        None if refused("filter") => "filtered_out",
        None => "gone",
    };
    text.to_owned()
}

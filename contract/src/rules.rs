//! The rules in force: one immutable snapshot of all configuration that the hot path needs.

use crate::{
    access::{Actor, ApiKey, Principal, TokenKey, User, token_digest},
    backoff::{BackoffPolicy, BackoffRule, BackoffTarget},
    clock::Timestamp,
    event::{Direction, Event, Origin},
    id::{SecretId, Sequence, SubscriptionNumber, UserId},
    schema::SchemaVersion,
    secret::Secret,
    setting::Settings,
    source::Source,
    stamp::StampKey,
    subscription::{EventType, Priority, SecretRef, Subscriber, Subscription},
    uri::EventUri,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::watch;

/// Everything that the parts must know to handle an event, as of one position of the log. Master
/// API makes a new one with every change; the others hold the newest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Rules {
    /// Last configuration fact that is in it.
    pub sequence: Sequence,
    /// Subscribers by id.
    pub subscribers: BTreeMap<String, Arc<Subscriber>>,
    /// Event types that carry defaults.
    pub event_types: BTreeMap<EventUri, Arc<EventType>>,
    /// Sources by name.
    pub sources: BTreeMap<String, Arc<Source>>,
    /// Subscriptions by number.
    pub subscriptions: BTreeMap<SubscriptionNumber, Arc<Subscription>>,
    /// Back-off rules; at most one for a target and a direction.
    pub backoffs: Vec<Arc<BackoffRule>>,
    /// Latest version of each schema.
    pub schemas: BTreeMap<EventUri, Arc<SchemaVersion>>,
    /// API keys by SHA-256 of their token, in hex.
    pub keys: BTreeMap<String, Arc<ApiKey>>,
    /// Users by id. Hashes of passwords are not in it.
    #[serde(default)]
    pub users: BTreeMap<UserId, Arc<User>>,
    /// Keys that verify the tokens of users, the current one last.
    #[serde(default)]
    pub token_keys: Vec<Arc<TokenKey>>,
    /// What operators have set.
    #[serde(default)]
    pub settings: Settings,
    /// Bytes of the secrets that sources and subscriptions name.
    pub secrets: BTreeMap<SecretId, Secret>,
    /// Stamp keys, the current one last; older ones still verify.
    pub stamp_keys: Vec<(SecretId, Secret)>,
}

/// The newest rules, and a signal when there are newer ones.
pub type RulesReceiver = watch::Receiver<Arc<Rules>>;

impl Rules {
    /// Whoever holds `token`, if its key is known and has not expired.
    pub fn authenticate(&self, token: &Secret, now: Timestamp) -> Option<Principal> {
        let key = self.keys.get(&token_digest(token))?;
        if key.expires_at.is_some_and(|expiry| expiry <= now) {
            return None;
        }
        Some(Principal {
            actor: Actor::Key(key.id),
            name: key.name.clone(),
            roles: key.roles.clone(),
            subscriber: key.subscriber.clone(),
        })
    }

    /// The user `id` with a token of `epoch`, unless it was disabled, removed, or given another
    /// password since.
    pub fn user(&self, id: UserId, epoch: u32) -> Option<Principal> {
        let user = self.users.get(&id).filter(|user| !user.disabled && user.epoch == epoch)?;
        Some(Principal {
            actor: Actor::User(id),
            name: user.name.clone(),
            roles: user.roles.clone(),
            subscriber: user.subscriber.clone(),
        })
    }

    /// The user of that name.
    pub fn user_named(&self, name: &str) -> Option<&Arc<User>> {
        self.users.values().find(|user| user.name == name)
    }

    /// The subscription of that name.
    pub fn subscription_named(&self, name: &str) -> Option<&Arc<Subscription>> {
        self.subscriptions.values().find(|subscription| subscription.spec.name == name)
    }

    /// Bytes of the secrets of a source or subscription.
    pub fn secrets_of<'a>(&'a self, refs: &'a [SecretRef]) -> impl Iterator<Item = &'a Secret> {
        refs.iter().filter_map(|secret| self.secrets.get(&secret.id))
    }

    /// The same, each with the time until which it signs.
    pub fn secrets_with_time<'a>(
        &'a self,
        refs: &'a [SecretRef],
    ) -> impl Iterator<Item = (&'a Secret, Option<Timestamp>)> {
        refs.iter().filter_map(|wanted| Some((self.secrets.get(&wanted.id)?, wanted.until)))
    }

    /// The stamp keys, the current one last.
    pub fn stamp_keys(&self) -> Vec<StampKey> {
        let key =
            |(id, secret): &(SecretId, Secret)| StampKey::new(*id, secret.expose().as_bytes());
        self.stamp_keys.iter().map(key).collect()
    }

    /// Priority of an event for a subscription: the subscription's own, else the event type's,
    /// else the source's, else 5. Where an order is kept it is the same for all events: the
    /// subscription's own, else 5.
    pub fn priority(
        &self,
        subscription: &Subscription,
        uri: &EventUri,
        origin: &Origin,
    ) -> Priority {
        let of_source = || match origin {
            Origin::Source(name) => self.sources.get(name)?.spec.priority,
            Origin::Producer(_) | Origin::Server => None,
        };
        let of_type = || self.event_types.get(uri)?.priority;
        if !subscription.spec.ordering.is_none() {
            return subscription.spec.priority.unwrap_or_default();
        }
        subscription.spec.priority.or_else(of_type).or_else(of_source).unwrap_or_default()
    }

    /// The back-off policy for an event and a subscription, and the name of the rule it comes
    /// from: the subscription's, else the event type's, else the source's, else the global one.
    pub fn backoff(&self, subscription: &Subscription, event: &Event) -> (BackoffPolicy, String) {
        if let Some(policy) = &subscription.spec.backoff {
            return (policy.clone(), "subscription".to_owned());
        }
        let rule = |target: BackoffTarget| self.backoff_rule(&target, event.direction);
        let source = match &event.origin {
            Origin::Source(name) => Some(name.clone()),
            Origin::Producer(_) | Origin::Server => None,
        };
        let of_source = || {
            let name = source.clone()?;
            let inline = self.sources.get(&name).and_then(|source| source.spec.backoff.clone());
            inline
                .map(|policy| (policy, format!("source:{name}")))
                .or_else(|| rule(BackoffTarget::Source(name)))
        };
        rule(BackoffTarget::EventType(event.uri.clone()))
            .or_else(of_source)
            .or_else(|| rule(BackoffTarget::Global))
            .unwrap_or_else(|| (BackoffPolicy::default(), "default".to_owned()))
    }

    fn backoff_rule(
        &self,
        target: &BackoffTarget,
        direction: Direction,
    ) -> Option<(BackoffPolicy, String)> {
        let mut rules = self.backoffs.iter();
        let rule = rules.find(|rule| rule.target == *target && rule.direction == direction)?;
        Some((rule.policy.clone(), target.to_string()))
    }
}

//! Subscriptions and their owners.

use super::{
    Malformed, each, into_each, message, moment, moment_from, narrow, one_of, optional, parsed,
    parsed_each, required, text,
};
use crate::v1;
use contract::{
    backoff::BackoffPolicy,
    id::SubscriptionNumber,
    subscription::{
        EventType, Ordering, Priority, SecretRef, Subscriber, Subscription, SubscriptionSpec,
        SubscriptionStatus,
    },
};

same_variants!(SubscriptionStatus, v1::SubscriptionStatus, [Active, Paused, Disabled]);

/// A priority out of the field `priority`.
pub(super) fn priority_from(wire: Option<u32>) -> Result<Option<Priority>, Malformed> {
    let Some(level) = wire else { return Ok(None) };
    let level: u8 = narrow(level, "priority")?;
    Priority::try_from(level).map(Some).map_err(|why| Malformed::invalid("priority", why))
}

impl From<Subscriber> for v1::Subscriber {
    fn from(subscriber: Subscriber) -> Self {
        let Subscriber { id, name } = subscriber;
        Self { id, name }
    }
}

impl TryFrom<v1::Subscriber> for Subscriber {
    type Error = Malformed;
    fn try_from(wire: v1::Subscriber) -> Result<Self, Malformed> {
        Ok(Self { id: text(wire.id, "id")?, name: wire.name })
    }
}

impl From<EventType> for v1::EventType {
    fn from(event_type: EventType) -> Self {
        let EventType { uri, priority } = event_type;
        Self { uri: uri.to_string(), priority: priority.map(|level| u8::from(level).into()) }
    }
}

impl TryFrom<v1::EventType> for EventType {
    type Error = Malformed;
    fn try_from(wire: v1::EventType) -> Result<Self, Malformed> {
        Ok(Self { uri: parsed(&wire.uri, "uri")?, priority: priority_from(wire.priority)? })
    }
}

impl From<SecretRef> for v1::SecretRef {
    fn from(secret: SecretRef) -> Self {
        let SecretRef { id, fingerprint, until } = secret;
        Self { id: id.to_string(), fingerprint, until: until.map(moment) }
    }
}

impl TryFrom<v1::SecretRef> for SecretRef {
    type Error = Malformed;
    fn try_from(wire: v1::SecretRef) -> Result<Self, Malformed> {
        let until = optional(wire.until, "until", moment_from)?;
        Ok(Self { id: parsed(&wire.id, "id")?, fingerprint: wire.fingerprint, until })
    }
}

impl From<SubscriptionSpec> for v1::SubscriptionSpec {
    fn from(spec: SubscriptionSpec) -> Self {
        let SubscriptionSpec {
            name,
            subscriber,
            url,
            events,
            priority,
            backoff,
            max_in_flight,
            timeout_ms,
            ordering,
            filter,
            transform,
        } = spec;
        Self {
            name,
            subscriber,
            url,
            events: events.iter().map(ToString::to_string).collect(),
            priority: priority.map(|level| u8::from(level).into()),
            backoff: backoff.map(Into::into),
            max_in_flight,
            timeout_ms,
            ordering: ordering_to(ordering),
            filter,
            transform,
        }
    }
}

impl TryFrom<v1::SubscriptionSpec> for SubscriptionSpec {
    type Error = Malformed;
    fn try_from(wire: v1::SubscriptionSpec) -> Result<Self, Malformed> {
        Ok(Self {
            name: text(wire.name, "name")?,
            subscriber: wire.subscriber,
            url: text(wire.url, "url")?,
            events: parsed_each(&wire.events, "events")?,
            priority: priority_from(wire.priority)?,
            backoff: optional(wire.backoff, "backoff", BackoffPolicy::try_from)?,
            max_in_flight: wire.max_in_flight,
            timeout_ms: wire.timeout_ms,
            ordering: ordering_from(wire.ordering)?,
            filter: wire.filter,
            transform: wire.transform,
        })
    }
}

fn ordering_to(ordering: Ordering) -> Option<v1::Ordering> {
    let ordering = match ordering {
        Ordering::None => return None,
        Ordering::Strict => v1::ordering::Ordering::Strict(v1::ordering::Strict {}),
        Ordering::Key(source) => v1::ordering::Ordering::Key(source),
    };
    Some(v1::Ordering { ordering: Some(ordering) })
}

fn ordering_from(wire: Option<v1::Ordering>) -> Result<Ordering, Malformed> {
    let Some(v1::Ordering { ordering }) = wire else { return Ok(Ordering::None) };
    Ok(match required(ordering, "ordering")? {
        v1::ordering::Ordering::Strict(v1::ordering::Strict {}) => Ordering::Strict,
        v1::ordering::Ordering::Key(source) => Ordering::Key(text(source, "ordering.key")?),
    })
}

impl From<Subscription> for v1::Subscription {
    fn from(subscription: Subscription) -> Self {
        let Subscription { id, number, spec, status, status_reason, secrets, created_at } =
            subscription;
        Self {
            id: id.to_string(),
            number: number.0,
            spec: Some(spec.into()),
            status: v1::SubscriptionStatus::from(status).into(),
            status_reason,
            secrets: into_each(secrets),
            created_at: Some(moment(created_at)),
        }
    }
}

impl TryFrom<v1::Subscription> for Subscription {
    type Error = Malformed;
    fn try_from(wire: v1::Subscription) -> Result<Self, Malformed> {
        Ok(Self {
            id: parsed(&wire.id, "id")?,
            number: SubscriptionNumber(wire.number),
            spec: message(wire.spec, "spec", SubscriptionSpec::try_from)?,
            status: one_of::<v1::SubscriptionStatus, _>(wire.status, "status")?,
            status_reason: wire.status_reason,
            secrets: each(wire.secrets, "secrets", SecretRef::try_from)?,
            created_at: message(wire.created_at, "created_at", moment_from)?,
        })
    }
}

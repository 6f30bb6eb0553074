//! Subscriptions and their owners.

use super::{
    Malformed, backoff::span, duration, each, event, into_each, message, moment, moment_from,
    narrow, one_of, one_of_or, optional, parsed, parsed_each, required, sending, text,
};
use crate::v1;
use contract::{
    backoff::BackoffPolicy,
    breaker::Breaker,
    id::SubscriptionNumber,
    rate_limit::RateLimit,
    sending::{Auth, PayloadFormat},
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
        let SecretRef { id, fingerprint, until, public_key } = secret;
        Self { id: id.to_string(), fingerprint, until: until.map(moment), public_key }
    }
}

impl TryFrom<v1::SecretRef> for SecretRef {
    type Error = Malformed;
    fn try_from(wire: v1::SecretRef) -> Result<Self, Malformed> {
        let until = optional(wire.until, "until", moment_from)?;
        Ok(Self {
            id: parsed(&wire.id, "id")?,
            fingerprint: wire.fingerprint,
            until,
            public_key: wire.public_key,
        })
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
            rate_limit,
            timeout_ms,
            ordering,
            headers,
            auth,
            filter,
            transform,
            format,
            pull,
        } = spec;
        Self {
            name,
            subscriber,
            url,
            events: events.iter().map(ToString::to_string).collect(),
            priority: priority.map(|level| u8::from(level).into()),
            backoff: backoff.map(Into::into),
            max_in_flight,
            rate_limit: rate_limit.map(Into::into),
            timeout_ms,
            ordering: ordering_to(ordering),
            headers: event::headers(headers),
            auth: auth.map(Into::into),
            filter,
            transform,
            format: v1::PayloadFormat::from(format).into(),
            pull,
        }
    }
}

impl TryFrom<v1::SubscriptionSpec> for SubscriptionSpec {
    type Error = Malformed;
    fn try_from(wire: v1::SubscriptionSpec) -> Result<Self, Malformed> {
        Ok(Self {
            name: text(wire.name, "name")?,
            subscriber: wire.subscriber,
            url: if wire.pull { wire.url } else { text(wire.url, "url")? },
            events: parsed_each(&wire.events, "events")?,
            priority: priority_from(wire.priority)?,
            backoff: optional(wire.backoff, "backoff", BackoffPolicy::try_from)?,
            max_in_flight: wire.max_in_flight,
            rate_limit: wire.rate_limit.map(Into::into),
            timeout_ms: wire.timeout_ms,
            ordering: ordering_from(wire.ordering)?,
            headers: sending::headers_from(wire.headers)?,
            auth: optional(wire.auth, "auth", Auth::try_from)?,
            filter: wire.filter,
            transform: wire.transform,
            format: one_of_or::<v1::PayloadFormat, _>(
                wire.format,
                PayloadFormat::AsReceived,
                "format",
            )?,
            pull: wire.pull,
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

impl From<RateLimit> for v1::RateLimit {
    fn from(RateLimit { per_second, burst }: RateLimit) -> Self {
        Self { per_second, burst: Some(burst) }
    }
}

impl From<v1::RateLimit> for RateLimit {
    fn from(wire: v1::RateLimit) -> Self {
        let burst = wire.burst.unwrap_or_else(Self::default_burst);
        Self { per_second: wire.per_second, burst }
    }
}

impl From<Breaker> for v1::Breaker {
    fn from(breaker: Breaker) -> Self {
        let Breaker { since, attempts, failures, probe_every } = breaker;
        let probe_every = Some(duration(probe_every.0));
        Self { since: Some(moment(since)), attempts, failures, probe_every }
    }
}

impl TryFrom<v1::Breaker> for Breaker {
    type Error = Malformed;
    fn try_from(wire: v1::Breaker) -> Result<Self, Malformed> {
        Ok(Self {
            since: message(wire.since, "since", moment_from)?,
            attempts: wire.attempts,
            failures: wire.failures,
            probe_every: message(wire.probe_every, "probe_every", span)?,
        })
    }
}

impl From<Subscription> for v1::Subscription {
    fn from(subscription: Subscription) -> Self {
        let Subscription { id, number, spec, status, status_reason, breaker, secrets, created_at } =
            subscription;
        Self {
            id: id.to_string(),
            number: number.0,
            spec: Some(spec.into()),
            status: v1::SubscriptionStatus::from(status).into(),
            status_reason,
            breaker: breaker.map(Into::into),
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
            breaker: optional(wire.breaker, "breaker", Breaker::try_from)?,
            secrets: each(wire.secrets, "secrets", SecretRef::try_from)?,
            created_at: message(wire.created_at, "created_at", moment_from)?,
        })
    }
}

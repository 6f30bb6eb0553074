//! Which events and deliveries a listing is about, as callers say it.

use super::access::{OrShow, Result, error, invalid, sees};
use async_graphql::InputObject;
use contract::{
    Error, ErrorCode,
    access::Principal,
    clock::Timestamp,
    delivery::DeliveryState,
    event::{Direction, EventState},
    master_api::{DeliveryFilter, EventFilter},
    rules::Rules,
};

/// Which events. All given conditions hold together.
#[derive(Debug, Default, InputObject)]
#[graphql(name = "EventFilter")]
pub(super) struct EventFilterInput {
    /// Of this type: an event URI, or a pattern in which `*` is one whole segment.
    r#type: Option<String>,
    /// Of a type that starts with this text, as in `github/`.
    type_prefix: Option<String>,
    /// From this source.
    source: Option<String>,
    /// From the producer with this key: its id.
    producer: Option<String>,
    /// Addressed to this subscriber; `*`: addressed to all of them.
    subscriber: Option<String>,
    /// `incoming` or `outgoing`.
    direction: Option<String>,
    /// `accepted` or `quarantined`.
    state: Option<String>,
    /// Received at or after, RFC 3339.
    since: Option<String>,
    /// Received before, RFC 3339.
    until: Option<String>,
    /// With this idempotency key.
    idempotency_key: Option<String>,
}

impl TryFrom<EventFilterInput> for EventFilter {
    type Error = async_graphql::Error;

    fn try_from(input: EventFilterInput) -> Result<Self> {
        let state = one_of(
            "state",
            input.state,
            [("accepted", EventState::Accepted), ("quarantined", EventState::Quarantined)],
        );
        let direction = one_of(
            "direction",
            input.direction,
            [("incoming", Direction::Incoming), ("outgoing", Direction::Outgoing)],
        );
        let producer = input.producer.map(|id| id.parse().map_err(|e| invalid(format!("{e}"))));
        Ok(Self {
            uri: input.r#type.map(|uri| uri.parse().or_show()).transpose()?,
            prefix: input.type_prefix,
            source: input.source,
            producer: producer.transpose()?,
            subscriber: input.subscriber,
            direction: direction?,
            state: state?,
            since: time("since", input.since)?,
            until: time("until", input.until)?,
            idempotency_key: input.idempotency_key,
        })
    }
}

/// Which deliveries. All given conditions hold together.
#[derive(Debug, Default, InputObject)]
#[graphql(name = "DeliveryFilter")]
pub(super) struct DeliveryFilterInput {
    /// `waiting`, `delivered`, `dead` or `cancelled`.
    state: Option<String>,
    /// Of the subscription of this name.
    subscription: Option<String>,
    /// Of any subscription that this subscriber has now.
    subscriber: Option<String>,
    /// Of events of this type: an event URI, or a pattern in which `*` is one whole segment.
    r#type: Option<String>,
    /// Made at or after, RFC 3339.
    since: Option<String>,
    /// Made before, RFC 3339.
    until: Option<String>,
}

impl DeliveryFilterInput {
    /// The same, of dead letters alone.
    pub(super) fn dead(self) -> Self {
        Self { state: Some(DeliveryState::Dead.to_string()), ..self }
    }

    /// The filter, within what the caller may see.
    pub(super) fn resolve(self, rules: &Rules, principal: &Principal) -> Result<DeliveryFilter> {
        let state = self.state.map(|state| state.parse().map_err(invalid)).transpose()?;
        let find = |name: &str| {
            let found = rules.subscription_named(name).filter(|found| sees(principal, found));
            let missing = || Error::new(ErrorCode::NotFound, format!("no subscription `{name}`"));
            found.map(|found| found.id).ok_or_else(|| error(&missing()))
        };
        let subscriber = match (&principal.subscriber, self.subscriber) {
            (Some(own), Some(other)) if *own != other => {
                let message = format!("{} sees only `{own}`", principal.title());
                return Err(error(&Error::new(ErrorCode::PermissionDenied, message)));
            }
            (own, wanted) => own.clone().or(wanted),
        };
        Ok(DeliveryFilter {
            state,
            subscription: self.subscription.as_deref().map(find).transpose()?,
            subscriber,
            uri: self.r#type.map(|uri| uri.parse().or_show()).transpose()?,
            since: time("since", self.since)?,
            until: time("until", self.until)?,
        })
    }
}

/// An RFC 3339 time.
pub(super) fn time(name: &str, text: Option<String>) -> Result<Option<Timestamp>> {
    let parse = |text: String| {
        text.parse().map_err(|_e| {
            invalid(format!("`{name}`: `{text}` is no RFC 3339 time before 9999-12-30T22:00:00Z"))
        })
    };
    text.map(parse).transpose()
}

fn one_of<T: Copy, const N: usize>(
    name: &str,
    text: Option<String>,
    allowed: [(&str, T); N],
) -> Result<Option<T>> {
    let find = |text: String| {
        let found = allowed.iter().find(|(known, _)| *known == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let names = allowed.map(|(known, _)| known).join(", ");
            invalid(format!("`{text}` is no {name}; allowed: {names}"))
        })
    };
    text.map(find).transpose()
}

//! Deliveries, attempts and what follows them.

use super::{
    Malformed, each,
    event::{headers, headers_from},
    into_each, message, moment, moment_from, narrow, one_of, optional, optional_one_of, parsed,
    parsed_optional, required,
};
use crate::v1::{self, internal, internal::next};
use contract::{
    delivery::{Attempt, AttemptReport, Cause, Delivery, DeliveryState, Next},
    exchange::{Exchange, ExchangeRecord},
    subscription::OrderingKey,
};

same_variants!(DeliveryState, v1::DeliveryState, [Waiting, Delivered, Dead, Cancelled]);
same_variants!(
    Cause,
    v1::Cause,
    [
        Status,
        Redirect,
        Gone,
        Throttled,
        Dns,
        AddressRefused,
        Connect,
        Tls,
        Timeout,
        Reset,
        BadResponse,
        Integrity,
        Expired,
        Misconfigured,
        Exhausted,
        Lost,
        Erased,
        Auth,
        Transform,
        Format,
    ]
);

impl From<Attempt> for v1::Attempt {
    fn from(attempt: Attempt) -> Self {
        let Attempt {
            number,
            started_at,
            duration_ms,
            status,
            cause,
            error,
            address,
            response_excerpt,
            backoff_rule,
        } = attempt;
        Self {
            number,
            started_at: Some(moment(started_at)),
            duration_ms,
            status: status.map(u32::from),
            cause: cause.map(|cause| v1::Cause::from(cause).into()),
            error,
            address,
            response_excerpt,
            backoff_rule,
        }
    }
}

impl TryFrom<v1::Attempt> for Attempt {
    type Error = Malformed;
    fn try_from(wire: v1::Attempt) -> Result<Self, Malformed> {
        Ok(Self {
            number: wire.number,
            started_at: message(wire.started_at, "started_at", moment_from)?,
            duration_ms: wire.duration_ms,
            status: wire.status.map(|status| narrow(status, "status")).transpose()?,
            cause: optional_one_of::<v1::Cause, _>(wire.cause, "cause")?,
            error: wire.error,
            address: wire.address,
            response_excerpt: wire.response_excerpt,
            backoff_rule: wire.backoff_rule,
        })
    }
}

impl From<Delivery> for v1::Delivery {
    fn from(delivery: Delivery) -> Self {
        let Delivery {
            id,
            event,
            state,
            cause,
            created_at,
            due,
            attempts,
            attempts_before_resend,
            ordering_key,
            replay,
            new_id,
        } = delivery;
        Self {
            id: id.to_string(),
            event: event.to_string(),
            state: v1::DeliveryState::from(state).into(),
            cause: cause.map(|cause| v1::Cause::from(cause).into()),
            created_at: Some(moment(created_at)),
            due: due.map(moment),
            attempts: into_each(attempts),
            attempts_before_resend,
            ordering_key: ordering_key.map(|key| key.0),
            replay: replay.map(|replay| replay.to_string()),
            new_id,
        }
    }
}

impl TryFrom<v1::Delivery> for Delivery {
    type Error = Malformed;
    fn try_from(wire: v1::Delivery) -> Result<Self, Malformed> {
        Ok(Self {
            id: parsed(&wire.id, "id")?,
            event: parsed(&wire.event, "event")?,
            state: one_of::<v1::DeliveryState, _>(wire.state, "state")?,
            cause: optional_one_of::<v1::Cause, _>(wire.cause, "cause")?,
            created_at: message(wire.created_at, "created_at", moment_from)?,
            due: optional(wire.due, "due", moment_from)?,
            attempts: each(wire.attempts, "attempts", Attempt::try_from)?,
            attempts_before_resend: wire.attempts_before_resend,
            ordering_key: wire.ordering_key.map(OrderingKey),
            replay: parsed_optional(wire.replay, "replay")?,
            new_id: wire.new_id,
        })
    }
}

impl From<Next> for internal::Next {
    fn from(next: Next) -> Self {
        let next = match next {
            Next::Done => next::Next::Done(next::Done {}),
            Next::Retry(time) => next::Next::Retry(moment(time)),
            Next::Dead(cause) => next::Next::Dead(v1::Cause::from(cause).into()),
        };
        Self { next: Some(next) }
    }
}

impl TryFrom<internal::Next> for Next {
    type Error = Malformed;
    fn try_from(wire: internal::Next) -> Result<Self, Malformed> {
        Ok(match required(wire.next, "")? {
            next::Next::Done(next::Done {}) => Self::Done,
            next::Next::Retry(time) => Self::Retry(message(Some(time), "retry", moment_from)?),
            next::Next::Dead(cause) => Self::Dead(one_of::<v1::Cause, _>(cause, "dead")?),
        })
    }
}

impl From<AttemptReport> for internal::AttemptReport {
    fn from(report: AttemptReport) -> Self {
        let AttemptReport { delivery, attempt, exchange, next, pause_subscription } = report;
        Self {
            delivery: delivery.to_string(),
            attempt: Some(attempt.into()),
            next: Some(next.into()),
            pause_subscription,
            exchange: exchange.map(|exchange| (*exchange).into()),
        }
    }
}

impl TryFrom<internal::AttemptReport> for AttemptReport {
    type Error = Malformed;
    fn try_from(wire: internal::AttemptReport) -> Result<Self, Malformed> {
        Ok(Self {
            delivery: parsed(&wire.delivery, "delivery")?,
            attempt: message(wire.attempt, "attempt", Attempt::try_from)?,
            next: message(wire.next, "next", Next::try_from)?,
            pause_subscription: wire.pause_subscription,
            exchange: optional(wire.exchange, "exchange", ExchangeRecord::try_from)?.map(Box::new),
        })
    }
}

impl From<ExchangeRecord> for internal::ExchangeRecord {
    fn from(record: ExchangeRecord) -> Self {
        let ExchangeRecord { left_out, added, response_headers, response_body, response_cut } =
            record;
        Self {
            left_out,
            added: headers(added),
            response_headers: headers(response_headers),
            response_body,
            response_cut,
        }
    }
}

impl TryFrom<internal::ExchangeRecord> for ExchangeRecord {
    type Error = Malformed;
    fn try_from(wire: internal::ExchangeRecord) -> Result<Self, Malformed> {
        Ok(Self {
            left_out: wire.left_out,
            added: headers_from(wire.added)?,
            response_headers: headers_from(wire.response_headers)?,
            response_body: wire.response_body,
            response_cut: wire.response_cut,
        })
    }
}

impl From<Exchange> for v1::Exchange {
    fn from(exchange: Exchange) -> Self {
        let Exchange { number, request_headers, response_headers, response_body, response_cut } =
            exchange;
        Self {
            number,
            request_headers: headers(request_headers),
            response_headers: headers(response_headers),
            response_body,
            response_cut,
        }
    }
}

impl TryFrom<v1::Exchange> for Exchange {
    type Error = Malformed;
    fn try_from(wire: v1::Exchange) -> Result<Self, Malformed> {
        Ok(Self {
            number: wire.number,
            request_headers: headers_from(wire.request_headers)?,
            response_headers: headers_from(wire.response_headers)?,
            response_body: wire.response_body,
            response_cut: wire.response_cut,
        })
    }
}

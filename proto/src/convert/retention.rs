//! What is kept, what goes when, and what was erased.

use super::{
    Malformed, duration, duration_from, each, into_each, message, moment, moment_from, optional,
    parsed, text,
};
use crate::v1;
use contract::retention::{
    DayPlan, Erased, ErasureTarget, PayloadState, Retained, RetentionPlan, StoreBytes,
};

same_variants!(PayloadState, v1::PayloadState, [Present, Expired, Erased]);

impl From<RetentionPlan> for v1::RetentionPlan {
    fn from(plan: RetentionPlan) -> Self {
        Self {
            age: Some(duration(plan.age)),
            unfinished: Some(duration(plan.unfinished)),
            size_bytes_max: plan.size_bytes_max,
            bytes: Some(plan.bytes.into()),
            days: into_each(plan.days),
            last_run: plan.last_run.map(moment),
            days_dropped: plan.days_dropped,
            erasures_waiting: plan.erasures_waiting,
        }
    }
}

impl TryFrom<v1::RetentionPlan> for RetentionPlan {
    type Error = Malformed;
    fn try_from(wire: v1::RetentionPlan) -> Result<Self, Malformed> {
        Ok(Self {
            age: message(wire.age, "age", duration_from)?,
            unfinished: message(wire.unfinished, "unfinished", duration_from)?,
            size_bytes_max: wire.size_bytes_max,
            bytes: message(wire.bytes, "bytes", |bytes| Ok(bytes.into()))?,
            days: each(wire.days, "days", DayPlan::try_from)?,
            last_run: optional(wire.last_run, "last_run", moment_from)?,
            days_dropped: wire.days_dropped,
            erasures_waiting: wire.erasures_waiting,
        })
    }
}

impl From<StoreBytes> for v1::StoreBytes {
    fn from(bytes: StoreBytes) -> Self {
        let StoreBytes { configuration, facts, payloads, idempotency, indices } = bytes;
        Self { configuration, facts, payloads, idempotency, indices }
    }
}

impl From<v1::StoreBytes> for StoreBytes {
    fn from(wire: v1::StoreBytes) -> Self {
        let v1::StoreBytes { configuration, facts, payloads, idempotency, indices } = wire;
        Self { configuration, facts, payloads, idempotency, indices }
    }
}

impl From<DayPlan> for v1::RetentionDay {
    fn from(day: DayPlan) -> Self {
        let DayPlan { starts_at, facts, bytes, goes_at, due } = day;
        let (starts_at, goes_at) = (Some(moment(starts_at)), Some(moment(goes_at)));
        Self { starts_at, facts, bytes, goes_at, due }
    }
}

impl TryFrom<v1::RetentionDay> for DayPlan {
    type Error = Malformed;
    fn try_from(wire: v1::RetentionDay) -> Result<Self, Malformed> {
        let v1::RetentionDay { starts_at, facts, bytes, goes_at, due } = wire;
        let starts_at = message(starts_at, "starts_at", moment_from)?;
        let goes_at = message(goes_at, "goes_at", moment_from)?;
        Ok(Self { starts_at, facts, bytes, goes_at, due })
    }
}

impl From<Retained> for v1::Retained {
    fn from(done: Retained) -> Self {
        let Retained {
            days_dropped,
            deliveries_carried,
            deliveries_expired,
            bytes_before,
            bytes_after,
        } = done;
        Self { days_dropped, deliveries_carried, deliveries_expired, bytes_before, bytes_after }
    }
}

impl From<v1::Retained> for Retained {
    fn from(wire: v1::Retained) -> Self {
        let v1::Retained {
            days_dropped,
            deliveries_carried,
            deliveries_expired,
            bytes_before,
            bytes_after,
        } = wire;
        Self { days_dropped, deliveries_carried, deliveries_expired, bytes_before, bytes_after }
    }
}

impl From<Erased> for v1::Erased {
    fn from(erased: Erased) -> Self {
        let Erased { events, deliveries, done } = erased;
        Self { events, deliveries, done }
    }
}

impl From<v1::Erased> for Erased {
    fn from(wire: v1::Erased) -> Self {
        let v1::Erased { events, deliveries, done } = wire;
        Self { events, deliveries, done }
    }
}

impl TryFrom<v1::EraseEventRequest> for ErasureTarget {
    type Error = Malformed;
    fn try_from(wire: v1::EraseEventRequest) -> Result<Self, Malformed> {
        Ok(Self::Event(parsed(&wire.id, "id")?))
    }
}

impl TryFrom<v1::EraseSubscriberRequest> for ErasureTarget {
    type Error = Malformed;
    fn try_from(wire: v1::EraseSubscriberRequest) -> Result<Self, Malformed> {
        Ok(Self::Subscriber(text(wire.id, "id")?))
    }
}

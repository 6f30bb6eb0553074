//! Leases and lanes of the message queue.

use super::{Malformed, message, moment, moment_from, narrow, optional, parsed, required};
use crate::v1::internal::{self, settlement};
use contract::{
    id::LaneId,
    queue::{Enqueued, LaneDepth, Lease, Settlement, Vacancy},
};

same_variants!(Enqueued, internal::Enqueued, [Queued, Held, Full]);

impl From<Lease> for internal::Lease {
    fn from(lease: Lease) -> Self {
        let Lease { delivery, token, deadline } = lease;
        Self { delivery: delivery.to_string(), token, deadline: Some(moment(deadline)) }
    }
}

impl TryFrom<internal::Lease> for Lease {
    type Error = Malformed;
    fn try_from(wire: internal::Lease) -> Result<Self, Malformed> {
        Ok(Self {
            delivery: parsed(&wire.delivery, "delivery")?,
            token: wire.token,
            deadline: message(wire.deadline, "deadline", moment_from)?,
        })
    }
}

impl From<(Lease, Settlement)> for internal::Settlement {
    fn from((lease, settlement): (Lease, Settlement)) -> Self {
        let outcome = match settlement {
            Settlement::Ack => settlement::Outcome::Ack(settlement::Ack {}),
            Settlement::Nack(time) => settlement::Outcome::Nack(moment(time)),
        };
        Self { lease: Some(lease.into()), outcome: Some(outcome) }
    }
}

impl TryFrom<internal::Settlement> for (Lease, Settlement) {
    type Error = Malformed;
    fn try_from(wire: internal::Settlement) -> Result<Self, Malformed> {
        let lease = message(wire.lease, "lease", Lease::try_from)?;
        let settlement = match required(wire.outcome, "outcome")? {
            settlement::Outcome::Ack(settlement::Ack {}) => Settlement::Ack,
            settlement::Outcome::Nack(time) => {
                Settlement::Nack(message(Some(time), "nack", moment_from)?)
            }
        };
        Ok((lease, settlement))
    }
}

impl From<Vacancy> for internal::Vacancy {
    fn from(vacancy: Vacancy) -> Self {
        let Vacancy { lane, room } = vacancy;
        Self { lane: lane.0, room }
    }
}

impl From<internal::Vacancy> for Vacancy {
    fn from(wire: internal::Vacancy) -> Self {
        let internal::Vacancy { lane, room } = wire;
        Self { lane: LaneId(lane), room }
    }
}

impl From<LaneDepth> for internal::LaneDepth {
    fn from(depth: LaneDepth) -> Self {
        let LaneDepth { lane, priority, ready, delayed, in_flight, oldest } = depth;
        Self {
            lane: lane.0,
            priority: priority.into(),
            ready,
            delayed,
            in_flight,
            oldest: oldest.map(moment),
        }
    }
}

impl TryFrom<internal::LaneDepth> for LaneDepth {
    type Error = Malformed;
    fn try_from(wire: internal::LaneDepth) -> Result<Self, Malformed> {
        Ok(Self {
            lane: LaneId(wire.lane),
            priority: narrow(wire.priority, "priority")?,
            ready: wire.ready,
            delayed: wire.delayed,
            in_flight: wire.in_flight,
            oldest: optional(wire.oldest, "oldest", moment_from)?,
        })
    }
}

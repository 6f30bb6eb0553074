//! Back-off policies and rules.

use super::{
    Malformed, duration, duration_from, each, message, one_of, one_of_or, optional, parsed,
};
use crate::v1;
use contract::{
    backoff::{BackoffPolicy, BackoffRule, Jitter, Kind, Span},
    event::Direction,
};

same_variants!(Kind, v1::BackoffKind, [Constant, Linear, Logarithmic, Exponential, Schedule]);
same_variants!(Jitter, v1::Jitter, [None, Full, Equal]);

/// A span of time.
pub(super) fn span(wire: prost_types::Duration) -> Result<Span, Malformed> {
    duration_from(wire).map(Span)
}

impl From<BackoffPolicy> for v1::BackoffPolicy {
    fn from(policy: BackoffPolicy) -> Self {
        let BackoffPolicy { kind, base, factor, delays, cap, jitter, max_retries, max_elapsed } =
            policy;
        let wire = |span: Span| duration(span.0);
        Self {
            kind: v1::BackoffKind::from(kind).into(),
            base: base.map(wire),
            factor,
            delays: delays.into_iter().map(wire).collect(),
            cap: cap.map(wire),
            jitter: v1::Jitter::from(jitter).into(),
            max_retries,
            max_elapsed: max_elapsed.map(wire),
        }
    }
}

impl TryFrom<v1::BackoffPolicy> for BackoffPolicy {
    type Error = Malformed;
    fn try_from(wire: v1::BackoffPolicy) -> Result<Self, Malformed> {
        Ok(Self {
            kind: one_of::<v1::BackoffKind, _>(wire.kind, "kind")?,
            base: optional(wire.base, "base", span)?,
            factor: wire.factor,
            delays: each(wire.delays, "delays", span)?,
            cap: optional(wire.cap, "cap", span)?,
            jitter: one_of_or::<v1::Jitter, _>(wire.jitter, Jitter::Full, "jitter")?,
            max_retries: wire.max_retries,
            max_elapsed: optional(wire.max_elapsed, "max_elapsed", span)?,
        })
    }
}

impl From<BackoffRule> for v1::BackoffRule {
    fn from(rule: BackoffRule) -> Self {
        let BackoffRule { target, direction, policy } = rule;
        Self {
            target: target.to_string(),
            direction: v1::Direction::from(direction).into(),
            policy: Some(policy.into()),
        }
    }
}

impl TryFrom<v1::BackoffRule> for BackoffRule {
    type Error = Malformed;
    fn try_from(wire: v1::BackoffRule) -> Result<Self, Malformed> {
        Ok(Self {
            target: parsed(&wire.target, "target")?,
            direction: one_of::<v1::Direction, Direction>(wire.direction, "direction")?,
            policy: message(wire.policy, "policy", BackoffPolicy::try_from)?,
        })
    }
}

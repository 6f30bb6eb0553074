//! Replays: what was ordered, and how far it is.

use super::{
    Malformed, message, moment, moment_from, one_of, optional, parsed, parsed_each, parsed_optional,
};
use crate::v1;
use contract::replay::{Replay, ReplayProgress, ReplaySpec, ReplayState};

same_variants!(ReplayState, v1::ReplayState, [Running, Cancelling, Finished, Cancelled]);

impl From<ReplaySpec> for v1::ReplaySpec {
    fn from(spec: ReplaySpec) -> Self {
        let ReplaySpec { events, subscription, uri, since, until, dead, to, rate, new_ids } = spec;
        Self {
            events: events.iter().map(ToString::to_string).collect(),
            subscription,
            uri: uri.map(|uri| uri.to_string()),
            since: since.map(moment),
            until: until.map(moment),
            dead,
            to,
            rate,
            new_ids,
        }
    }
}

impl TryFrom<v1::ReplaySpec> for ReplaySpec {
    type Error = Malformed;
    fn try_from(wire: v1::ReplaySpec) -> Result<Self, Malformed> {
        Ok(Self {
            events: parsed_each(&wire.events, "events")?,
            subscription: wire.subscription,
            uri: parsed_optional(wire.uri, "uri")?,
            since: optional(wire.since, "since", moment_from)?,
            until: optional(wire.until, "until", moment_from)?,
            dead: wire.dead,
            to: wire.to,
            rate: wire.rate,
            new_ids: wire.new_ids,
        })
    }
}

impl From<ReplayProgress> for v1::ReplayProgress {
    fn from(progress: ReplayProgress) -> Self {
        let ReplayProgress {
            looked_at,
            made,
            skipped_expired,
            skipped_unwanted,
            skipped_waiting,
            waiting,
            delivered,
            dead,
            cancelled,
            through,
        } = progress;
        Self {
            looked_at,
            made,
            skipped_expired,
            skipped_unwanted,
            skipped_waiting,
            waiting,
            delivered,
            dead,
            cancelled,
            through,
        }
    }
}

impl From<v1::ReplayProgress> for ReplayProgress {
    fn from(wire: v1::ReplayProgress) -> Self {
        let v1::ReplayProgress {
            looked_at,
            made,
            skipped_expired,
            skipped_unwanted,
            skipped_waiting,
            waiting,
            delivered,
            dead,
            cancelled,
            through,
        } = wire;
        Self {
            looked_at,
            made,
            skipped_expired,
            skipped_unwanted,
            skipped_waiting,
            waiting,
            delivered,
            dead,
            cancelled,
            through,
        }
    }
}

impl From<Replay> for v1::Replay {
    fn from(replay: Replay) -> Self {
        let Replay { id, spec, state, started_at, ended_at, progress } = replay;
        Self {
            id: id.to_string(),
            spec: Some(spec.into()),
            state: v1::ReplayState::from(state).into(),
            started_at: Some(moment(started_at)),
            ended_at: ended_at.map(moment),
            progress: Some(progress.into()),
        }
    }
}

impl TryFrom<v1::Replay> for Replay {
    type Error = Malformed;
    fn try_from(wire: v1::Replay) -> Result<Self, Malformed> {
        Ok(Self {
            id: parsed(&wire.id, "id")?,
            spec: message(wire.spec, "spec", ReplaySpec::try_from)?,
            state: one_of::<v1::ReplayState, _>(wire.state, "state")?,
            started_at: message(wire.started_at, "started_at", moment_from)?,
            ended_at: optional(wire.ended_at, "ended_at", moment_from)?,
            progress: message(wire.progress, "progress", |progress| Ok(progress.into()))?,
        })
    }
}

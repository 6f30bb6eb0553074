//! The log, and what is asked of it.

use super::{
    Malformed, duration, duration_from, each, into_each, message, moment, moment_from, one_of,
    optional, optional_one_of, parsed, text,
};
use crate::v1;
use contract::{
    access::Actor,
    id::Sequence,
    log::{Chain, LogFilter, LogHead, LogPage, LogQuery, LoggedFact},
};

same_variants!(Chain, v1::Chain, [Configuration, Traffic]);

impl From<LoggedFact> for v1::Fact {
    fn from(fact: LoggedFact) -> Self {
        let LoggedFact { sequence, time, actor, chain, kind, body, prev_hash } = fact;
        Self {
            sequence: sequence.0,
            time: Some(moment(time)),
            actor: actor.to_ascii(),
            chain: v1::Chain::from(chain).into(),
            kind,
            body: body.to_string(),
            prev_hash,
        }
    }
}

impl TryFrom<v1::Fact> for LoggedFact {
    type Error = Malformed;
    fn try_from(wire: v1::Fact) -> Result<Self, Malformed> {
        Ok(Self {
            sequence: Sequence(wire.sequence),
            time: message(wire.time, "time", moment_from)?,
            actor: Actor::from_ascii(&text(wire.actor, "actor")?),
            chain: one_of::<v1::Chain, _>(wire.chain, "chain")?,
            kind: text(wire.kind, "kind")?,
            body: parsed(&wire.body, "body")?,
            prev_hash: text(wire.prev_hash, "prev_hash")?,
        })
    }
}

impl From<LogQuery> for v1::ListFactsRequest {
    fn from(query: LogQuery) -> Self {
        let LogQuery { after, first, filter, wait } = query;
        let LogFilter { chain, kinds, since, notable } = filter;
        Self {
            after: after.0,
            first,
            chain: chain.map(|chain| v1::Chain::from(chain).into()),
            kinds,
            since: since.map(moment),
            notable,
            wait: Some(duration(wait)),
        }
    }
}

impl TryFrom<v1::ListFactsRequest> for LogQuery {
    type Error = Malformed;
    fn try_from(wire: v1::ListFactsRequest) -> Result<Self, Malformed> {
        let filter = LogFilter {
            chain: optional_one_of::<v1::Chain, _>(wire.chain, "chain")?,
            kinds: wire.kinds,
            since: optional(wire.since, "since", moment_from)?,
            notable: wire.notable,
        };
        let wait = optional(wire.wait, "wait", duration_from)?.unwrap_or_default();
        Ok(Self { after: Sequence(wire.after), first: wire.first, filter, wait })
    }
}

impl From<LogPage> for v1::ListFactsResponse {
    fn from(page: LogPage) -> Self {
        let LogPage { facts, read_to, more, head } = page;
        Self { facts: into_each(facts), read_to: read_to.0, more, head: head.0 }
    }
}

impl TryFrom<v1::ListFactsResponse> for LogPage {
    type Error = Malformed;
    fn try_from(wire: v1::ListFactsResponse) -> Result<Self, Malformed> {
        let v1::ListFactsResponse { facts, read_to, more, head } = wire;
        let facts = each(facts, "facts", LoggedFact::try_from)?;
        Ok(Self { facts, read_to: Sequence(read_to), more, head: Sequence(head) })
    }
}

impl From<LogHead> for v1::LogHead {
    fn from(head: LogHead) -> Self {
        let LogHead { sequence, time, configuration_hash, traffic_hash } = head;
        let (sequence, time) = (sequence.0, Some(moment(time)));
        Self { sequence, time, configuration_hash, traffic_hash }
    }
}

impl TryFrom<v1::LogHead> for LogHead {
    type Error = Malformed;
    fn try_from(wire: v1::LogHead) -> Result<Self, Malformed> {
        let v1::LogHead { sequence, time, configuration_hash, traffic_hash } = wire;
        let time = message(time, "time", moment_from)?;
        Ok(Self { sequence: Sequence(sequence), time, configuration_hash, traffic_hash })
    }
}

//! Creates or changes a source.

use super::{Desk, check, conflict};
use crate::fact::FactBody;
use contract::{
    Result,
    command::ChangeKind,
    secret::Secret,
    source::{Replay, Scheme, Source, SourceLimits, SourceSpec},
};
use std::collections::BTreeMap;

/// Since then, a source may verify as others than GitHub and Standard Webhooks do, and say how.
const SCHEMES_SINCE_FORMAT: u32 = 5;

/// Does the source say nothing that came later?
fn known_before(spec: &SourceSpec) -> bool {
    let before = SourceSpec {
        public_url: None,
        replay: Replay::default(),
        signature: None,
        event_types: BTreeMap::new(),
        otherwise: None,
        response: None,
        limits: SourceLimits::default(),
        origins: Vec::new(),
        ..spec.clone()
    };
    let schemes = [Scheme::Github, Scheme::StandardWebhooks, Scheme::None];
    schemes.contains(&spec.verify) && before == *spec
}

/// No secrets given: it keeps those it has.
pub(super) fn put_source(desk: &mut Desk<'_>, spec: &SourceSpec, secrets: &[Secret]) -> Result<()> {
    let held = desk.state.sources.get(&spec.name).cloned();
    let held_secrets = held.as_ref().map(|held| held.secrets.clone()).unwrap_or_default();
    check::source(spec, secrets, held_secrets.len())?;
    if desk.state.format < SCHEMES_SINCE_FORMAT && !known_before(spec) {
        let why = "some replica is too old to know of its scheme, or of what else it says";
        return Err(conflict("source", &spec.name, why));
    }
    check::subscriber(desk, "source", &spec.name, spec.subscriber.as_deref())?;

    let secrets = desk.exchange_secrets(&held_secrets, secrets);
    let wanted = Source { spec: spec.clone(), secrets };
    let kind = match held {
        Some(held) if *held == wanted => ChangeKind::Unchanged,
        Some(_) => ChangeKind::Changed,
        None => ChangeKind::Created,
    };
    if kind != ChangeKind::Unchanged {
        let kept = wanted.secrets.clone();
        desk.record(FactBody::SourcePut(Box::new(wanted)));
        desk.erase_secrets(&held_secrets, &kept);
    }
    desk.changed(kind, "source", &spec.name);
    Ok(())
}

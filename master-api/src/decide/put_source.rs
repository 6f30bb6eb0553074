//! Creates or changes a source.

use super::{Desk, check};
use crate::fact::FactBody;
use contract::{
    Result,
    command::ChangeKind,
    secret::Secret,
    source::{Source, SourceSpec},
};

/// No secrets given: it keeps those it has.
pub(super) fn put_source(desk: &mut Desk<'_>, spec: &SourceSpec, secrets: &[Secret]) -> Result<()> {
    let held = desk.state.sources.get(&spec.name).cloned();
    let held_secrets = held.as_ref().map(|held| held.secrets.clone()).unwrap_or_default();
    check::source(spec, secrets, held_secrets.len())?;
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

//! Makes a version of a schema the latest one. Whether it may follow the one before is the schema
//! registry's to decide; here it only has to follow it.

use super::{Desk, conflict};
use crate::fact::FactBody;
use contract::{Result, command::ChangeKind, schema::SchemaVersion};

pub(super) fn publish_schema(desk: &mut Desk<'_>, version: &SchemaVersion) -> Result<()> {
    let name = version.uri.as_str();
    let latest = desk.state.schemas.get(&version.uri).cloned();
    let same = latest.as_ref().is_some_and(|latest| {
        (&latest.message, latest.digest, latest.unknown_fields)
            == (&version.message, version.digest, version.unknown_fields)
    });
    let next_minor = latest.as_ref().map_or(0, |latest| latest.minor + 1);
    let kind = match &latest {
        _ if same => ChangeKind::Unchanged,
        _ if version.minor != next_minor => {
            let why =
                format!("minor version {} does not follow: {next_minor} is next", version.minor);
            return Err(conflict("schema", name, why));
        }
        Some(_) => ChangeKind::Changed,
        None => ChangeKind::Created,
    };
    if kind != ChangeKind::Unchanged {
        desk.record(FactBody::SchemaPublished(Box::new(version.clone())));
    }
    desk.changed(kind, "schema", name);
    Ok(())
}

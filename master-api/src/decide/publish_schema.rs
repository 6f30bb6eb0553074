//! Makes a version of a schema the latest one. Whether it may follow the one before is the schema
//! registry's to decide; here it only has to follow it.

use super::{Desk, conflict};
use crate::fact::FactBody;
use contract::{Result, command::ChangeKind, schema::SchemaVersion};

pub(super) fn publish_schema(desk: &mut Desk<'_>, version: &SchemaVersion) -> Result<()> {
    let name = version.uri.as_str();
    let latest = desk.state.schemas.get(&version.uri).cloned();
    let same = latest.as_ref().is_some_and(|latest| {
        let numbered = SchemaVersion {
            minor: version.minor,
            published_at: version.published_at,
            ..SchemaVersion::clone(latest)
        };
        numbered == *version
    });
    // Numbers of a schema that was removed are not given again.
    let newest = desk.state.schema_versions.get(&version.uri).and_then(|versions| versions.last());
    let next_minor = newest.map_or(0, |newest| newest.minor.saturating_add(1));
    let kind = match &latest {
        _ if same => ChangeKind::Unchanged,
        _ if version.minor != next_minor => {
            let current = match &latest {
                Some(latest) => format!("the current version is {}", latest.number()),
                None => "no version is in force".to_owned(),
            };
            let (number, next) = (version.number(), next_minor);
            let why = format!("version {number} does not follow: {current}, minor {next} is next");
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

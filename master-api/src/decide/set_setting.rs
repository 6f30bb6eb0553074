//! Changes a setting.

use super::{Desk, conflict, not_found, refused};
use crate::fact::FactBody;
use contract::{
    Result,
    command::ChangeKind,
    setting::{Definition, FEATURE, FEATURES_MAX, Setting},
};

/// Since then, a log may say that a setting was changed.
const SETTINGS_SINCE_FORMAT: u32 = 4;

pub(super) fn set_setting(
    desk: &mut Desk<'_>,
    key: &str,
    value: Option<&str>,
    expect: Option<u64>,
) -> Result<()> {
    let definition = Definition::of(key).ok_or_else(|| not_found("setting", key))?;
    let value = value.map(|value| definition.parse(value)).transpose();
    let value = value.map_err(|why| refused("setting", key, why))?;
    let held = desk.state.settings.0.get(key).copied();
    let version = held.map_or(0, |held| held.version);
    if let Some(expected) = expect.filter(|expected| *expected != version) {
        let why = format!("its version is {version}, and not {expected}");
        return Err(conflict("setting", key, why));
    }
    if desk.state.format < SETTINGS_SINCE_FORMAT {
        return Err(conflict("setting", key, "some replica is too old to know of settings"));
    }
    let is_feature = |key: &str| key.starts_with(FEATURE);
    let features = desk.state.settings.0.keys().filter(|key| is_feature(key)).count();
    if is_feature(key) && held.is_none() && features >= FEATURES_MAX {
        let why = format!("there are {FEATURES_MAX} feature flags: no more are allowed");
        return Err(refused("setting", key, why));
    }
    if held.and_then(|held| held.value) == value {
        desk.changed(ChangeKind::Unchanged, "setting", key);
        desk.changed_with(Some(version.to_string()), None);
        return Ok(());
    }
    let setting = Setting { value, version: version + 1, changed_at: desk.given.now };
    desk.record(FactBody::ConfigSet { key: key.to_owned(), setting });
    let kind = if held.is_none() { ChangeKind::Created } else { ChangeKind::Changed };
    desk.changed(kind, "setting", key);
    desk.changed_with(Some(setting.version.to_string()), None);
    Ok(())
}

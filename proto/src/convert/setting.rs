//! Settings, as they are listed.

use super::moment;
use crate::v1;
use contract::setting::{Definition, Setting, SettingValue, Settings};

impl From<&Settings> for v1::ListSettingsResponse {
    fn from(settings: &Settings) -> Self {
        let all = settings.all().into_iter();
        Self { settings: all.map(|(key, (definition, set))| one(key, &definition, set)).collect() }
    }
}

fn one(key: String, definition: &Definition, set: Option<Setting>) -> v1::Setting {
    let Definition { key: _, kind, default, default_value, least, most, about } = *definition;
    let text = |value: SettingValue| value.to_string();
    v1::Setting {
        key,
        r#type: kind.as_str().to_owned(),
        value: set.and_then(|set| set.value).map(text),
        default: default.to_owned(),
        default_value: text(default_value),
        least: least.map(text),
        most: most.map(text),
        about: about.to_owned(),
        version: set.map_or(0, |set| set.version),
        changed_at: set.map(|set| moment(set.changed_at)),
    }
}

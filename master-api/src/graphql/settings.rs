//! Settings that operators change while everything runs.

use super::{
    access::{Result, allowed_everywhere, missing, rules},
    budget::LIST,
    mutation::execute,
};
use async_graphql::{Context, Object, SimpleObject};
use contract::{
    access::{Access, Noun},
    command::Command,
    setting::{Definition, Setting, SettingValue},
};

/// What operators set while everything runs. Who set it, and what it was before, stands in the log
/// (`kind: "config_set"`).
#[derive(Debug, SimpleObject)]
#[graphql(name = "Setting")]
pub(super) struct SettingNode {
    /// Its name.
    key: String,
    /// `bool`, `integer` or `duration`.
    r#type: &'static str,
    /// As a text; null: it is not set.
    value: Option<String>,
    /// What holds while it is not set, in words.
    default: &'static str,
    /// As a text: what holds while neither it is set nor the configuration says anything.
    default_value: String,
    /// The least value.
    least: Option<String>,
    /// The greatest value.
    most: Option<String>,
    /// What it is about.
    about: &'static str,
    /// How many times it was changed.
    version: u64,
    /// When it was changed last, RFC 3339; null: never.
    changed_at: Option<String>,
}

impl SettingNode {
    fn new(key: String, definition: &Definition, set: Option<Setting>) -> Self {
        let Definition { key: _, kind, default, default_value, least, most, about } = *definition;
        let text = |value: SettingValue| value.to_string();
        Self {
            key,
            r#type: kind.as_str(),
            value: set.and_then(|set| set.value).map(text),
            default,
            default_value: text(default_value),
            least: least.map(text),
            most: most.map(text),
            about,
            version: set.map_or(0, |set| set.version),
            changed_at: set.map(|set| set.changed_at.to_string()),
        }
    }
}

/// Settings to be read.
#[derive(Debug, Default)]
pub(super) struct SettingQueries;

#[Object]
impl SettingQueries {
    /// All settings, and all feature flags that were ever set, by name.
    #[graphql(complexity = "1 + LIST * child_complexity")]
    async fn settings(&self, context: &Context<'_>) -> Result<Vec<SettingNode>> {
        allowed_everywhere(context, Noun::Config, Access::Read)?;
        let all = rules(context)?.settings.all().into_iter();
        Ok(all.map(|(key, (definition, set))| SettingNode::new(key, &definition, set)).collect())
    }

    /// One setting; null: there is none of this name. A feature flag that was never set is there.
    async fn setting(&self, context: &Context<'_>, key: String) -> Result<Option<SettingNode>> {
        allowed_everywhere(context, Noun::Config, Access::Read)?;
        let set = rules(context)?.settings.0.get(&key).copied();
        Ok(Definition::of(&key).map(|definition| SettingNode::new(key, &definition, set)))
    }
}

/// Settings to be changed.
#[derive(Debug, Default)]
pub(super) struct SettingMutation;

#[Object]
impl SettingMutation {
    /// Changes a setting, in every process within a second. `expectVersion`: the version that it
    /// has, 0 if it was never set; `conflict` if it is another one.
    async fn set_setting(
        &self,
        context: &Context<'_>,
        key: String,
        value: String,
        expect_version: Option<u64>,
    ) -> Result<SettingNode> {
        change(context, key, Some(value), expect_version).await
    }

    /// Has the configuration count again.
    async fn reset_setting(
        &self,
        context: &Context<'_>,
        key: String,
        expect_version: Option<u64>,
    ) -> Result<SettingNode> {
        change(context, key, None, expect_version).await
    }
}

async fn change(
    context: &Context<'_>,
    key: String,
    value: Option<String>,
    expect: Option<u64>,
) -> Result<SettingNode> {
    let principal = allowed_everywhere(context, Noun::Config, Access::Write)?;
    let command = Command::SetSetting { key: key.clone(), value, expect };
    execute(context, principal, command).await?;
    let set = rules(context)?.settings.0.get(&key).copied();
    let definition = Definition::of(&key).ok_or_else(|| missing("setting", &key))?;
    Ok(SettingNode::new(key, &definition, set))
}

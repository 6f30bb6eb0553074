//! What the server lists of itself, as `--json` shows it.

use contract::clock::Timestamp;
use proto::v1;
use serde::Serialize;

/// A user as everybody may see it.
#[derive(Debug, Clone, Serialize)]
pub struct ListedUser {
    /// `user_...`
    pub id: String,
    /// The name to log in with.
    pub name: String,
    /// What it may do.
    pub roles: Vec<String>,
    /// Sees this subscriber only.
    pub subscriber: Option<String>,
    /// It cannot log in.
    pub disabled: bool,
}

impl From<v1::User> for ListedUser {
    fn from(user: v1::User) -> Self {
        let v1::User { id, name, roles, subscriber, disabled, created_at: _ } = user;
        Self { id, name, roles, subscriber, disabled }
    }
}

/// A setting with what it may be.
#[derive(Debug, Clone, Serialize)]
pub struct ListedSetting {
    /// Its name.
    pub key: String,
    /// `bool`, `integer` or `duration`.
    pub r#type: String,
    /// As a text; None: it is not set.
    pub value: Option<String>,
    /// What holds while it is not set, in words.
    pub default: String,
    /// What holds while neither it is set nor the configuration says anything; None: an older
    /// server does not tell.
    pub default_value: Option<String>,
    /// The least value.
    pub least: Option<String>,
    /// The greatest value.
    pub most: Option<String>,
    /// What it is about.
    pub about: String,
    /// How many times it was changed.
    pub version: u64,
    /// When it was changed last.
    pub changed_at: Option<Timestamp>,
}

impl From<v1::Setting> for ListedSetting {
    fn from(setting: v1::Setting) -> Self {
        let v1::Setting { key, r#type, value, default, least, most, about, .. } = setting;
        let v1::Setting { version, changed_at, default_value, .. } = setting;
        let default_value = Some(default_value).filter(|value| !value.is_empty());
        let changed_at = changed_at.and_then(|time| proto::convert::moment_from(time).ok());
        Self { key, r#type, value, default, default_value, least, most, about, version, changed_at }
    }
}

/// An API key as everybody may see it: without anything of its token but the beginning.
#[derive(Debug, Clone, Serialize)]
pub struct ListedKey {
    /// `key_...`
    pub id: String,
    /// A name for people.
    pub name: String,
    /// How its token begins.
    pub prefix: String,
    /// What it may do.
    pub roles: Vec<String>,
    /// Sees this subscriber only.
    pub subscriber: Option<String>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to a minute or two; None: never.
    pub last_used_at: Option<Timestamp>,
}

impl From<v1::ApiKey> for ListedKey {
    fn from(key: v1::ApiKey) -> Self {
        let moment = |time| proto::convert::moment_from(time).ok();
        Self {
            id: key.id,
            name: key.name,
            prefix: key.prefix,
            roles: key.roles,
            subscriber: key.subscriber,
            expires_at: key.expires_at.and_then(moment),
            last_used_at: key.last_used_at.and_then(moment),
        }
    }
}

//! Who may do what: keys, roles, and the actor of every change.

use crate::{Error, ErrorCode, Result, clock::Timestamp, id::KeyId, secret::Secret};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// What a role is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Noun {
    /// Subscriptions, subscribers, deliveries.
    Subscriptions,
    /// Events.
    Events,
    /// Back-off policies.
    Backoffs,
    /// Configuration.
    Config,
    /// Schemas and event types.
    Schemas,
    /// Sources.
    Sources,
    /// Users.
    Users,
    /// Keys.
    Keys,
}

/// Reading or changing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Look.
    Read,
    /// Change. Who may change may not therefore look: a producer sends, and reads nothing.
    Write,
}

/// One right, as in `events:write`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role(pub Noun, pub Access);

const NOUNS: [(Noun, &str); 8] = [
    (Noun::Subscriptions, "subscriptions"),
    (Noun::Events, "events"),
    (Noun::Backoffs, "backoffs"),
    (Noun::Config, "config"),
    (Noun::Schemas, "schemas"),
    (Noun::Sources, "sources"),
    (Noun::Users, "users"),
    (Noun::Keys, "keys"),
];

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = NOUNS.iter().find(|(noun, _)| *noun == self.0).map_or("", |(_, name)| *name);
        let access = match self.1 {
            Access::Read => "read",
            Access::Write => "write",
        };
        write!(f, "{noun}:{access}")
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(noun, access)| {
            let (noun, _) = NOUNS.iter().find(|(_, name)| *name == noun)?;
            let access = match access {
                "read" => Access::Read,
                "write" => Access::Write,
                _ => return None,
            };
            Some(Self(*noun, access))
        });
        parsed.ok_or_else(|| {
            let nouns: Vec<_> = NOUNS.iter().map(|(_, name)| *name).collect();
            format!(
                "`{text}` is no role; write {}:read or :write, `producer` or `admin`",
                nouns.join("|")
            )
        })
    }
}

/// A set of roles. Parses from names; `admin` is all of them and `producer` is `events:write`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// Every role.
    pub fn admin() -> Self {
        let both = |noun| [Role(noun, Access::Read), Role(noun, Access::Write)];
        Self(NOUNS.iter().flat_map(|(noun, _)| both(*noun)).collect())
    }

    /// The roles of these names.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut roles = Self::default();
        for name in names {
            match name {
                "admin" => roles.0.extend(Self::admin().0),
                "producer" => _ = roles.0.insert(Role(Noun::Events, Access::Write)),
                other => _ = roles.0.insert(other.parse()?),
            }
        }
        Ok(roles)
    }

    /// Do they allow `access` to `noun`?
    pub fn allow(&self, noun: Noun, access: Access) -> bool {
        self.0.contains(&Role(noun, access))
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl Serialize for Roles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.names().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Roles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        Self::parse(names.iter().map(String::as_str)).map_err(de::Error::custom)
    }
}

/// An API key. The token itself is known to its owner alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id.
    pub id: KeyId,
    /// A name for people.
    pub name: String,
    /// The first characters of the token, to recognise it by.
    pub prefix: String,
    /// SHA-256 of the token in hex. The token has 256 random bits, so no slow hash is needed.
    pub token_sha256: String,
    /// What it may do.
    pub roles: Roles,
    /// Sees this subscriber only.
    #[serde(default)]
    pub subscriber: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// What a token starts with.
pub const TOKEN_PREFIX: &str = "certes_";

/// A new token of 256 random bits.
pub fn new_token(bytes: &[u8; 32]) -> Secret {
    Secret::new(format!("{TOKEN_PREFIX}{}", hex::encode(bytes)))
}

/// How a token is stored: SHA-256 in hex.
pub fn token_digest(token: &Secret) -> String {
    hex::encode(Sha256::digest(token.expose().as_bytes()))
}

/// Whoever a request comes from, after its key was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The key.
    pub key: KeyId,
    /// The key's name.
    pub name: String,
    /// What it may do.
    pub roles: Roles,
    /// Sees this subscriber only.
    pub subscriber: Option<String>,
}

impl Principal {
    /// `permission_denied` unless its roles allow it.
    pub fn require(&self, noun: Noun, access: Access) -> Result<()> {
        if self.roles.allow(noun, access) {
            return Ok(());
        }
        let role = Role(noun, access);
        let message = format!("the key `{}` lacks the role {role}", self.name);
        Err(Error::new(ErrorCode::PermissionDenied, message))
    }
}

/// Who caused a fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// A key of the API.
    Key(KeyId),
    /// A part of the server, as in `broker`, `consumer`.
    Component(String),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "{id}"),
            Self::Component(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_parse_and_allow() {
        let roles = Roles::parse(["producer", "schemas:read"]).unwrap();
        assert!(!roles.allow(Noun::Events, Access::Read), "a producer reads nothing");
        assert!(roles.allow(Noun::Events, Access::Write));
        assert!(roles.allow(Noun::Schemas, Access::Read));
        assert!(!roles.allow(Noun::Schemas, Access::Write));
        assert!(Roles::parse(["boss"]).is_err());
        assert_eq!(roles.names(), ["events:write", "schemas:read"]);
    }
}

//! Who may do what: keys, users, roles, and the actor of every change.

use crate::{
    Error, ErrorCode, Result,
    clock::Timestamp,
    id::{KeyId, SecretId, UserId},
    secret::Secret,
    subscription::SecretRef,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
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

/// Somebody who logs in with a name and a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its id.
    pub id: UserId,
    /// The name to log in with, unique.
    pub name: String,
    /// The stored hash of the password.
    pub password: SecretRef,
    /// What it may do.
    pub roles: Roles,
    /// Sees this subscriber only.
    pub subscriber: Option<String>,
    /// It cannot log in, and its tokens are refused.
    pub disabled: bool,
    /// Rises when tokens that were given out before are to be refused.
    pub epoch: u32,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A key that signs the tokens of users: the public half of an RSA key of 2048 bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenKey {
    /// Id of the stored private half, and the `kid` of what it signs.
    pub id: SecretId,
    /// The modulus, base64url without padding (RFC 7518, 6.3.1.1).
    pub n: String,
    /// The public exponent, likewise.
    pub e: String,
    /// When it was made: from then on the one before it signs no more.
    pub created_at: Timestamp,
}

/// What a user gets for a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// A token for `Authorization: Bearer`.
    pub token: Secret,
    /// When it stops working.
    pub expires_at: Timestamp,
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

/// Whoever a request comes from, after its key or token was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// As whom its changes are recorded: a key, a user, or somebody whom another issuer knows.
    pub actor: Actor,
    /// The name of the key or user.
    pub name: String,
    /// What it may do.
    pub roles: Roles,
    /// Sees this subscriber only.
    pub subscriber: Option<String>,
}

impl Principal {
    /// Who it is, for a sentence.
    pub fn title(&self) -> String {
        let kind = if matches!(self.actor, Actor::Key(_)) { "key" } else { "user" };
        format!("the {kind} `{}`", self.name)
    }

    /// As whom it sends events: a key's id. A user and somebody of another issuer have one of
    /// their own, too, which no key has.
    pub fn producer(&self) -> KeyId {
        match &self.actor {
            Actor::Key(id) => *id,
            Actor::User(id) => KeyId::from_bytes(id.to_bytes()),
            Actor::External { .. } | Actor::Component(_) => {
                let digest = Sha256::digest(self.actor.to_ascii());
                let mut bytes = [0; 16];
                bytes.copy_from_slice(&digest[..16]);
                KeyId::from_bytes(bytes)
            }
        }
    }

    /// `permission_denied` unless its roles allow it.
    pub fn require(&self, noun: Noun, access: Access) -> Result<()> {
        if self.roles.allow(noun, access) {
            return Ok(());
        }
        let role = Role(noun, access);
        let message = format!("{} lacks the role {role}", self.title());
        Err(Error::new(ErrorCode::PermissionDenied, message))
    }

    /// `permission_denied` unless it may make, change or remove a key or user with `roles` for
    /// `subscriber`: nobody gives or takes away more than they have.
    pub fn may_give(&self, roles: &Roles, subscriber: Option<&str>) -> Result<()> {
        let title = self.title();
        if let Some(Role(noun, access)) = roles.0.difference(&self.roles.0).next() {
            let role = Role(*noun, *access);
            let message =
                format!("{title} lacks the role {role}, and can neither give nor take it");
            return Err(Error::new(ErrorCode::PermissionDenied, message));
        }
        match &self.subscriber {
            Some(own) if subscriber != Some(own) => {
                let message = format!("{title} is for the subscriber `{own}` only");
                Err(Error::new(ErrorCode::PermissionDenied, message))
            }
            _ => Ok(()),
        }
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
    /// A user of our own. Since format 3.
    User(UserId),
    /// Somebody whom another issuer of tokens knows. Since format 3.
    External {
        /// The issuer, as its tokens name it.
        issuer: String,
        /// Whom it means.
        subject: String,
    },
}

impl Actor {
    /// A text of printable ASCII that [`Self::from_ascii`] reads again.
    pub fn to_ascii(&self) -> String {
        match self {
            Self::External { issuer, subject } => {
                let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
                format!("{EXTERNAL}{}.{}", part(issuer), part(subject))
            }
            Self::Key(_) | Self::User(_) | Self::Component(_) => self.to_string(),
        }
    }

    /// The actor of such a text.
    pub fn from_ascii(text: &str) -> Self {
        let external = || {
            let (issuer, subject) = text.strip_prefix(EXTERNAL)?.split_once('.')?;
            let part = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok();
            Some(Self::External { issuer: part(issuer)?, subject: part(subject)? })
        };
        let key = || text.parse().map(Self::Key).ok();
        let user = || text.parse().map(Self::User).ok();
        let known = key().or_else(user).or_else(external);
        known.unwrap_or_else(|| Self::Component(text.to_owned()))
    }
}

/// What the text of an actor from outside starts with.
const EXTERNAL: &str = "external:";

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(id) => write!(f, "{id}"),
            Self::Component(name) => f.write_str(name),
            Self::User(id) => write!(f, "{id}"),
            Self::External { issuer, subject } => write!(f, "{subject} of {issuer}"),
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

    #[test]
    fn an_actor_survives_its_text() {
        let external = Actor::External {
            issuer: "https://login.example/été".into(),
            subject: "a.b external: \n".into(),
        };
        let user = Actor::User(UserId::from_bytes([2; 16]));
        let key = Actor::Key(KeyId::from_bytes([1; 16]));
        for actor in [external, user, key, Actor::Component("broker".into())] {
            let text = actor.to_ascii();
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
            assert_eq!(Actor::from_ascii(&text), actor);
        }
    }

    #[test]
    fn nobody_gives_away_more_than_they_have() {
        let roles = |names: &[&str]| Roles::parse(names.iter().copied()).unwrap();
        let mut keeper = Principal {
            actor: Actor::Key(KeyId::from_bytes([1; 16])),
            name: "keeper".into(),
            roles: roles(&["keys:write", "events:read"]),
            subscriber: None,
        };
        assert!(keeper.may_give(&roles(&["events:read"]), None).is_ok());
        for more in ["admin", "producer", "keys:read"] {
            let refusal = keeper.may_give(&roles(&["events:read", more]), None).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::PermissionDenied, "{more}");
        }
        keeper.subscriber = Some("org_1".into());
        assert!(keeper.may_give(&roles(&["events:read"]), Some("org_1")).is_ok());
        assert!(keeper.may_give(&roles(&["events:read"]), Some("org_2")).is_err());
        assert!(keeper.may_give(&roles(&["events:read"]), None).is_err());
    }
}

//! What an operator can set about who calls.

use contract::{Error, ErrorCode, Result, access::Roles, backoff::Span};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};
use url::Url;

/// Issuers of tokens that are trusted, and how they are asked for their keys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// OpenID Connect issuers whose tokens are taken.
    pub issuers: Vec<IssuerConfig>,
    /// How far the clocks of issuers may be apart from ours. Default: 30 s.
    pub leeway: Span,
    /// How long keys of an issuer are used before they are asked for again. Default: 1 h.
    pub keys_ttl: Span,
    /// How often an issuer is asked at most, also when tokens name keys that nobody knows.
    /// Default: 10 s.
    pub refresh_after: Span,
    /// Longest wait for an answer. Default: 5 s.
    pub timeout: Span,
    /// Largest answer in bytes. Default: 256 KiB.
    pub answer_bytes_max: usize,
    /// How often Master API is told when API keys were last used. Default: 1 min.
    pub key_uses_every: Span,
    /// Networks that may be reached although they are private, loopback or otherwise special,
    /// and to which plain `http` is allowed.
    pub allowed_networks: Vec<IpNet>,
    /// Name servers to ask; the system's when empty.
    pub nameservers: Vec<SocketAddr>,
    /// PEM file of certificate authorities to trust beside the public ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_ca_file: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        let seconds = |seconds| Span(Duration::from_secs(seconds));
        Self {
            issuers: Vec::new(),
            leeway: seconds(30),
            keys_ttl: seconds(3600),
            refresh_after: seconds(10),
            timeout: seconds(5),
            answer_bytes_max: 256 * 1024,
            key_uses_every: seconds(60),
            allowed_networks: Vec::new(),
            nameservers: Vec::new(),
            extra_ca_file: None,
        }
    }
}

/// An issuer of tokens that is trusted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// Its URL, exactly as its tokens name it. `/.well-known/openid-configuration` below it says
    /// where its keys are (OpenID Connect Discovery 1.0, 4).
    pub issuer: String,
    /// What its tokens for us name as their audience.
    pub audience: String,
    /// The claim that says what somebody may do: a text, a list of texts, or texts with spaces
    /// between. A dot leads into an object, as in `realm_access.roles`. Default: `groups`.
    #[serde(default = "groups")]
    pub claim: String,
    /// What each value of the claim means: roles, `producer` or `admin`. Others mean nothing.
    pub roles: BTreeMap<String, Vec<String>>,
    /// The claim that names the subscriber to whom somebody is bound. A token without it is then
    /// refused. None: they are bound to nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriber_claim: Option<String>,
    /// The claim that names somebody for people. Default: `email`.
    #[serde(default = "email")]
    pub name_claim: String,
}

fn groups() -> String {
    "groups".to_owned()
}

fn email() -> String {
    "email".to_owned()
}

impl Config {
    /// Errors: `invalid_definition`.
    pub fn check(&self) -> Result<()> {
        let refuse = |why: String| Err(Error::new(ErrorCode::InvalidDefinition, why));
        for (at, issuer) in self.issuers.iter().enumerate() {
            let name = &issuer.issuer;
            let url = Url::parse(name).ok().filter(|url| url.host_str().is_some());
            if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https")) {
                return refuse(format!("issuer `{name}`: expected a URL"));
            }
            if self.issuers[..at].iter().any(|other| other.issuer == *name) {
                return refuse(format!("issuer `{name}` is named twice"));
            }
            if issuer.audience.is_empty() {
                return refuse(format!("issuer `{name}`: the audience is empty"));
            }
            for roles in issuer.roles.values() {
                if let Err(why) = Roles::parse(roles.iter().map(String::as_str)) {
                    return refuse(format!("issuer `{name}`: {why}"));
                }
            }
        }
        Ok(())
    }
}

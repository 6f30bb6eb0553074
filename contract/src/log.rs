//! The log as everybody may read it: facts in order, whatever happened, without payloads and
//! secrets.

use crate::{
    Error,
    access::Actor,
    clock::Timestamp,
    id::Sequence,
    limits::{LOG_KINDS_MAX, LOG_WAIT_MAX, PAGE_DEFAULT, PAGE_MAX},
};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, time::Duration};

/// Two chains share one sequence, so that traffic can be dropped and the configuration still
/// verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chain {
    /// Kept for ever.
    Configuration,
    /// Kept in buckets of a day, which retention drops whole.
    Traffic,
}

impl Chain {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Traffic => "traffic",
        }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Chain {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = [Self::Configuration, Self::Traffic].into_iter();
        let found = all.find(|chain| chain.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is no chain; allowed: configuration, traffic"))
    }
}

/// A fact as it stands in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoggedFact {
    /// Its position; one sequence for both chains.
    pub sequence: Sequence,
    /// When: never before the fact in front of it.
    pub time: Timestamp,
    /// Who caused it.
    pub actor: Actor,
    /// Which chain it belongs to.
    pub chain: Chain,
    /// What kind of fact, as in `event_accepted`.
    pub kind: String,
    /// What happened, as JSON.
    pub body: serde_json::Value,
    /// Hash of the fact before it in its chain, in hex; zeros for the first.
    pub prev_hash: String,
}

/// Where the log ends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogHead {
    /// The last fact; 0: there is none.
    pub sequence: Sequence,
    /// Its time.
    pub time: Timestamp,
    /// Hash of the last fact of the configuration, in hex.
    pub configuration_hash: String,
    /// Hash of the last fact of the traffic, in hex.
    pub traffic_hash: String,
}

/// Which facts are wanted. All given conditions hold together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogFilter {
    /// Of this chain.
    pub chain: Option<Chain>,
    /// Of one of these kinds; empty: of any.
    pub kinds: Vec<String>,
    /// At or after this moment.
    pub since: Option<Timestamp>,
    /// Only what an operator may want to be told of: the configuration, and of the traffic what
    /// ended badly. Found by an index, however much traffic lies between.
    pub notable: bool,
}

impl LogFilter {
    /// Does it want facts of this chain and kind?
    pub fn wants(&self, chain: Chain, kind: &str) -> bool {
        self.chain.is_none_or(|wanted| wanted == chain)
            && (self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted == kind))
    }

    /// `invalid_request` when it names more kinds than anybody has.
    pub fn check(&self) -> Result<(), Error> {
        if self.kinds.len() <= LOG_KINDS_MAX {
            return Ok(());
        }
        let text = format!("{} kinds are too many; allowed: {LOG_KINDS_MAX}", self.kinds.len());
        Err(Error::new(crate::ErrorCode::InvalidRequest, text))
    }
}

/// A stretch of the log that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogQuery {
    /// Only facts after this position.
    pub after: Sequence,
    /// Facts at most; 0 means [`PAGE_DEFAULT`], and [`PAGE_MAX`] is the most.
    pub first: u32,
    /// Which ones.
    pub filter: LogFilter,
    /// If there is none yet: how long to wait for one, at most [`LOG_WAIT_MAX`].
    pub wait: Duration,
}

impl LogQuery {
    /// Facts that are wanted, within the bounds.
    pub fn rows(&self) -> u32 {
        if self.first == 0 { PAGE_DEFAULT } else { self.first.min(PAGE_MAX) }
    }

    /// How long to wait, within the bounds.
    pub fn patience(&self) -> Duration {
        self.wait.min(LOG_WAIT_MAX)
    }
}

/// A stretch of the log, oldest first.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct LogPage {
    /// The facts that were wanted; may be fewer than asked for although there are more.
    pub facts: Vec<LoggedFact>,
    /// Everything up to here was looked at: the next stretch starts after it.
    pub read_to: Sequence,
    /// There is more after `read_to` to look at.
    pub more: bool,
    /// Where the log ended when this was read.
    pub head: Sequence,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_want_what_they_name() {
        let all = LogFilter::default();
        assert!(all.wants(Chain::Traffic, "event_accepted"));
        let kinds = vec!["key_issued".to_owned(), "key_revoked".to_owned()];
        let keys = LogFilter { kinds, chain: Some(Chain::Configuration), ..LogFilter::default() };
        assert!(keys.wants(Chain::Configuration, "key_revoked"));
        assert!(!keys.wants(Chain::Configuration, "source_put"));
        assert!(!keys.wants(Chain::Traffic, "key_revoked"));
        assert!(keys.check().is_ok());
        let many = LogFilter { kinds: vec![String::new(); LOG_KINDS_MAX + 1], ..all };
        assert!(many.check().is_err());
    }

    #[test]
    fn chains_go_by_their_names() {
        for chain in [Chain::Configuration, Chain::Traffic] {
            assert_eq!(chain.to_string().parse(), Ok(chain));
        }
        assert!("chain".parse::<Chain>().is_err());
    }
}

//! What a source may bring, how much of it, from where, and what it hears.

use crate::uri::{EventPattern, EventUri};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most entries of a table of event types.
pub const EVENT_TYPES_MAX: usize = 1000;
/// Most networks or patterns of one source.
const ENTRIES_MAX: usize = 64;
/// The highest rate and the largest burst, in requests.
const REQUESTS_MAX: u32 = 1_000_000;
/// The largest answer of a source, in bytes.
const RESPONSE_BYTES_MAX: usize = 16 * 1024;

/// Bounds of a source. What is left out is not bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SourceLimits {
    /// Requests per second, at each door.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u32>,
    /// Requests at once, after a pause; None: as many as in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Who may call; empty: everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_networks: Vec<IpNet>,
    /// What it may bring; empty: everything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_types: Vec<EventPattern>,
}

/// What a source hears of a webhook that was taken, in the place of 202 and its JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticResponse {
    /// 200 to 299.
    #[serde(default = "ok")]
    pub status: u16,
    /// Media type of the body.
    #[serde(default = "plain")]
    pub content_type: String,
    /// The body.
    #[serde(default)]
    pub body: String,
}

fn ok() -> u16 {
    200
}

fn plain() -> String {
    "text/plain; charset=utf-8".to_owned()
}

impl SourceLimits {
    /// A sentence on what is wrong with the bounds, if anything is.
    pub fn check(&self) -> Result<(), String> {
        let rates = [("requests_per_second", self.requests_per_second), ("burst", self.burst)];
        for (field, value) in rates {
            if value.is_some_and(|value| !(1..=REQUESTS_MAX).contains(&value)) {
                return Err(format!("{field}: allowed are 1 to {REQUESTS_MAX}"));
            }
        }
        if self.burst.is_some() && self.requests_per_second.is_none() {
            return Err("burst: it says nothing without `requests_per_second`".to_owned());
        }
        let counts = [
            ("allowed_networks", self.allowed_networks.len()),
            ("event_types", self.event_types.len()),
        ];
        match counts.iter().find(|(_, count)| *count > ENTRIES_MAX) {
            Some((field, _)) => Err(format!("{field}: at most {ENTRIES_MAX}")),
            None => Ok(()),
        }
    }

    /// Does it bound nothing?
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl StaticResponse {
    /// A sentence on what is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), String> {
        if !(200..=299).contains(&self.status) {
            return Err("status: allowed are 200 to 299".to_owned());
        }
        if matches!(self.status, 204 | 205) && !self.body.is_empty() {
            return Err(format!("body: an answer with status {} has none", self.status));
        }
        if self.body.len() > RESPONSE_BYTES_MAX {
            return Err(format!("body: at most {RESPONSE_BYTES_MAX} bytes"));
        }
        let visible = |b: u8| (0x20..0x7f).contains(&b);
        match self.content_type.contains('/') && self.content_type.bytes().all(visible) {
            true => Ok(()),
            false => Err("content_type: expected a media type, as in `text/plain`".to_owned()),
        }
    }
}

/// A sentence on what is wrong with a table of event types, if anything is.
pub fn check_event_types(table: &BTreeMap<String, EventUri>) -> Result<(), String> {
    if table.len() > EVENT_TYPES_MAX {
        return Err(format!("at most {EVENT_TYPES_MAX}"));
    }
    match table.iter().find(|(from, to)| from.is_empty() || to.is_own()) {
        Some((from, _)) if from.is_empty() => Err("a name is empty".to_owned()),
        Some((_, to)) => Err(format!("`{to}` is made by the server alone")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_mean_nothing_are_named() {
        let limits = |text: &str| serde_json::from_str::<SourceLimits>(text).unwrap().check();
        assert_eq!(limits(r#"{"requests_per_second": 5, "burst": 10}"#), Ok(()));
        assert_eq!(limits(r#"{"allowed_networks": ["10.0.0.0/8", "::1/128"]}"#), Ok(()));
        assert!(limits(r#"{"requests_per_second": 0}"#).unwrap_err().contains("1 to"));
        assert!(limits(r#"{"burst": 5}"#).unwrap_err().contains("requests_per_second"));
        assert_eq!(serde_json::to_string(&SourceLimits::default()).unwrap(), "{}");
        let many = SourceLimits {
            event_types: vec!["a/1/b".parse().unwrap(); ENTRIES_MAX + 1],
            ..SourceLimits::default()
        };
        assert!(many.check().unwrap_err().contains("event_types"));
    }

    #[test]
    fn an_answer_is_a_success() {
        let response = |text: &str| serde_json::from_str::<StaticResponse>(text).unwrap().check();
        assert_eq!(response(r#"{"body": "ok"}"#), Ok(()));
        for (text, why) in [
            (r#"{"status": 302}"#, "status"),
            (r#"{"status": 204, "body": "x"}"#, "has none"),
            (r#"{"content_type": "a\nb/c"}"#, "content_type"),
            (r#"{"content_type": "text"}"#, "content_type"),
        ] {
            assert!(response(text).unwrap_err().contains(why), "{text}");
        }
    }
}

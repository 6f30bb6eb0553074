//! Event URIs, which name event types, and the patterns that select them.

use crate::{Error, ErrorCode, limits};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr, sync::Arc};

/// Namespace of an event URI that names none.
pub const DEFAULT_NAMESPACE: &str = "_";
/// Namespace of the events that the server itself makes.
pub const OWN_NAMESPACE: &str = "_certes";

/// The name of an event type: `[domain/]namespace/major/name`, as in
/// `community.certes.dev/github/1/push`.
///
/// It is parsed from the right: name, major version, and the rest is the namespace, which may
/// contain `/` and is `_` when left out. The first segment is the domain when it contains a dot.
/// Cheap to clone; compares and sorts as its text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventUri(Arc<str>);

impl EventUri {
    /// The whole text, with the namespace spelled out.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The deployment that owns the type; None means this one.
    pub fn domain(&self) -> Option<&str> {
        self.0.split_once('/').map(|(first, _)| first).filter(|first| first.contains('.'))
    }

    /// Where the type belongs, `_` by default.
    pub fn namespace(&self) -> &str {
        let without_name = self.0.rsplit_once('/').map_or("", |(rest, _)| rest);
        let rest = without_name.rsplit_once('/').map_or("", |(rest, _)| rest);
        match self.domain() {
            Some(domain) => rest.get(domain.len() + 1..).unwrap_or(""),
            None => rest,
        }
    }

    /// Major version of its contract.
    pub fn major(&self) -> u32 {
        self.0.rsplit('/').nth(1).and_then(|major| major.parse().ok()).unwrap_or(0)
    }

    /// The last segment.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }

    /// The same type with another major version of its contract.
    /// Errors: `invalid_event_uri` when it becomes too long, or `major` is 0.
    pub fn with_major(&self, major: u32) -> Result<Self, Error> {
        let mut segments: Vec<&str> = self.0.split('/').collect();
        let (text, at) = (major.to_string(), segments.len().saturating_sub(2));
        if let Some(segment) = segments.get_mut(at) {
            *segment = &text;
        }
        segments.join("/").parse()
    }

    /// Is it an event of the server's own?
    pub fn is_own(&self) -> bool {
        self.domain().is_none() && self.0.starts_with("_certes/")
    }
}

/// Letters, digits and `_ - .`: what every segment is made of.
fn is_segment(segment: &str) -> bool {
    !segment.is_empty()
        && segment != "."
        && segment != ".."
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn invalid(text: &str, why: &str) -> Error {
    let shown: String = text.chars().take(80).collect();
    Error::new(
        ErrorCode::InvalidEventUri,
        format!("`{shown}` is not an event URI `[domain/]namespace/major/name`: {why}"),
    )
}

impl FromStr for EventUri {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > limits::EVENT_URI_LENGTH_MAX {
            return Err(invalid(text, "it is too long"));
        }
        let segments: Vec<&str> = text.split('/').collect();
        if segments.len() > limits::EVENT_URI_SEGMENTS_MAX {
            return Err(invalid(text, "it has too many segments"));
        }
        let [rest @ .., major, _name] = segments.as_slice() else {
            return Err(invalid(text, "it needs at least a major version and a name"));
        };
        if let Some(bad) = segments.iter().find(|segment| !is_segment(segment)) {
            return Err(invalid(text, &format!("`{bad}` is no segment of A-Z a-z 0-9 _ - .")));
        }
        let canonical = major.bytes().all(|b| b.is_ascii_digit()) && !major.starts_with('0');
        if !canonical || major.parse::<u32>().is_err() {
            return Err(invalid(text, &format!("`{major}` is not a major version from 1")));
        }
        let (domain, namespace) = match rest {
            [first, namespace @ ..] if first.contains('.') => (Some(*first), namespace),
            namespace => (None, namespace),
        };
        if namespace.iter().any(|segment| segment.contains('.')) {
            return Err(invalid(text, "only the domain may contain a dot before the version"));
        }
        if !namespace.is_empty() {
            return Ok(Self(Arc::from(text)));
        }
        let tail = &text[domain.map_or(0, |d| d.len() + 1)..];
        let domain = domain.map(|d| format!("{d}/")).unwrap_or_default();
        Ok(Self(format!("{domain}{DEFAULT_NAMESPACE}/{tail}").into()))
    }
}

/// Selects event URIs: the same shape, where a segment may be `*`, which stands for one whole
/// segment. Events of the server's own (`_certes/...`) match only a pattern that names `_certes`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventPattern(Arc<str>);

impl EventPattern {
    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Does it select `uri`?
    pub fn matches(&self, uri: &EventUri) -> bool {
        let (mut pattern, mut segments) = (self.0.split('/'), uri.as_str().split('/'));
        let mut first = true;
        loop {
            match (pattern.next(), segments.next()) {
                (None, None) => return true,
                (Some("*"), Some(segment)) if !(first && segment == OWN_NAMESPACE) => {}
                (Some(wanted), Some(segment)) if wanted == segment => {}
                _ => return false,
            }
            first = false;
        }
    }

    /// The one event URI it selects, if it has no `*`.
    pub fn literal(&self) -> Option<EventUri> {
        self.0.parse().ok()
    }
}

impl FromStr for EventPattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // A pattern is an event URI in which `*` is allowed: put a harmless segment in its place.
        let segments: Vec<&str> = text.split('/').collect();
        let version_at = segments.len().saturating_sub(2);
        let probe: Vec<&str> = segments
            .iter()
            .enumerate()
            .map(|(at, segment)| match *segment {
                "*" if at == version_at => "1",
                "*" => "x",
                other => other,
            })
            .collect();
        let probe = probe.join("/");
        let uri = probe.parse::<EventUri>().map_err(|error| {
            Error::new(
                error.code,
                error.message.replace(&probe, text).replace("an event URI", "an event pattern"),
            )
        })?;
        match uri.as_str().len() == probe.len() {
            true => Ok(Self(Arc::from(text))),
            // The default namespace was left out: spell it out, as in the URI.
            false => {
                let domain_len = uri.domain().map_or(0, |domain| domain.len() + 1);
                let (domain, tail) = text.split_at(domain_len);
                Ok(Self(format!("{domain}{DEFAULT_NAMESPACE}/{tail}").into()))
            }
        }
    }
}

macro_rules! text_forms {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
    };
}
text_forms!(EventUri);
text_forms!(EventPattern);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uri(text: &str) -> EventUri {
        text.parse().unwrap()
    }

    #[test]
    fn parts_are_read_from_the_right() {
        let full = uri("community.certes.dev/github/1/push");
        assert_eq!(full.domain(), Some("community.certes.dev"));
        assert_eq!((full.namespace(), full.major(), full.name()), ("github", 1, "push"));
        let nested = uri("shop/eu/12/charge.succeeded");
        assert_eq!(nested.domain(), None);
        assert_eq!((nested.namespace(), nested.major()), ("shop/eu", 12));
        assert_eq!(nested.name(), "charge.succeeded");
        assert_eq!(uri("1/push").as_str(), "_/1/push");
        assert_eq!(uri("a.b/2/x").as_str(), "a.b/_/2/x");
        assert_eq!(uri("a.b/2/x").namespace(), "_");
    }

    #[test]
    fn another_major_is_the_same_type() {
        let next = uri("a.b/shop/eu/1/1").with_major(2).unwrap();
        assert_eq!(next.as_str(), "a.b/shop/eu/2/1");
        assert_eq!(uri("1/push").with_major(12).unwrap().as_str(), "_/12/push");
        assert!(uri("1/push").with_major(0).is_err());
    }

    #[test]
    fn malformed_ones_are_refused() {
        for text in ["", "push", "github/push", "github/0/push", "github/01/push", "a//1/x"] {
            assert!(text.parse::<EventUri>().is_err(), "{text}");
        }
        for text in ["github/1/", "github/1/a b", "x/a.b/1/y", "github/-1/x", "../1/x"] {
            assert!(text.parse::<EventUri>().is_err(), "{text}");
        }
        assert!("a/".repeat(20).parse::<EventUri>().is_err());
    }

    #[test]
    fn a_star_is_one_whole_segment() {
        let pattern = |text: &str| text.parse::<EventPattern>().unwrap();
        assert!(pattern("github/1/*").matches(&uri("github/1/push")));
        assert!(!pattern("github/1/*").matches(&uri("github/2/push")));
        assert!(!pattern("*/1/*").matches(&uri("a/b/1/push")));
        assert!(pattern("*/*/*").matches(&uri("github/2/push")));
        assert!(pattern("1/*").matches(&uri("1/push")));
        assert!(!pattern("*/*/*").matches(&uri("_certes/1/delivery_dead")));
        assert!(pattern("_certes/1/*").matches(&uri("_certes/1/delivery_dead")));
        assert!("git*/1/push".parse::<EventPattern>().is_err());
        assert!("github/1/p*".parse::<EventPattern>().is_err());
    }

    proptest! {
        #[test]
        fn round_trip(
            domain in proptest::option::of("[a-z]{1,8}\\.[a-z]{2,3}"),
            namespace in "[a-z_-]{1,8}(/[a-z0-9]{1,8}){0,3}",
            major in 1_u32..,
            name in "[A-Za-z0-9_.-]{0,15}[a-z]",
        ) {
            let text = match &domain {
                Some(domain) => format!("{domain}/{namespace}/{major}/{name}"),
                None => format!("{namespace}/{major}/{name}"),
            };
            let parsed = uri(&text);
            prop_assert_eq!(parsed.to_string(), text);
            prop_assert_eq!(parsed.domain(), domain.as_deref());
            prop_assert_eq!(parsed.namespace(), namespace);
            prop_assert_eq!(parsed.major(), major);
            prop_assert_eq!(parsed.name(), name);
        }

        #[test]
        fn never_panics(text in ".{0,300}") {
            drop(text.parse::<EventUri>());
            drop(text.parse::<EventPattern>());
        }
    }
}

//! Settings that operators change while everything runs: typed, with a version for each change, and
//! in force in every process within a second. What is not set is as the configuration of the
//! process says.

use crate::{backoff::Span, clock::Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, time::Duration};

/// How long payloads and finished deliveries are kept.
pub const RETENTION_AGE: &str = "retention.age";
/// How long an unfinished delivery keeps its payload.
pub const RETENTION_UNFINISHED: &str = "retention.unfinished";
/// Bytes of all tables above which the oldest days go.
pub const RETENTION_SIZE: &str = "retention.size";
/// No event is taken.
pub const EVENTS_PAUSED: &str = "events.paused";
/// No attempt is started.
pub const DELIVERY_PAUSED: &str = "delivery.paused";
/// Time limit of an attempt.
pub const DELIVERY_TIMEOUT: &str = "delivery.timeout";
/// What the names of feature flags start with.
pub const FEATURE: &str = "feature.";

/// Most feature flags that were ever set.
pub const FEATURES_MAX: usize = 256;
/// Longest name of a feature flag in bytes, without what all begin with.
const FEATURE_LENGTH_MAX: usize = 64;

/// What kind of value a setting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingKind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer,
    /// As in `30d`.
    Duration,
}

impl SettingKind {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Integer => "integer",
            Self::Duration => "duration",
        }
    }
}

/// The value of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingValue {
    /// Of a [`SettingKind::Bool`].
    Bool(bool),
    /// Of a [`SettingKind::Integer`].
    Integer(u64),
    /// Of a [`SettingKind::Duration`].
    Duration(Span),
}

impl fmt::Display for SettingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Duration(value) => write!(f, "{value}"),
        }
    }
}

/// What a setting may be.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Its name; of feature flags: [`FEATURE`].
    pub key: &'static str,
    /// What kind of value it has.
    pub kind: SettingKind,
    /// What holds while it is not set, in words.
    pub default: &'static str,
    /// What holds while neither it is set nor the configuration says anything.
    pub default_value: SettingValue,
    /// The least value.
    pub least: Option<SettingValue>,
    /// The greatest value.
    pub most: Option<SettingValue>,
    /// What it is about, for people.
    pub about: &'static str,
}

const fn days(days: u64) -> SettingValue {
    seconds(days * 86_400)
}

const fn seconds(seconds: u64) -> SettingValue {
    SettingValue::Duration(Span(Duration::from_secs(seconds)))
}

const fn flag(key: &'static str, about: &'static str) -> Definition {
    let (kind, default_value) = (SettingKind::Bool, SettingValue::Bool(false));
    Definition { key, kind, default: "false", default_value, least: None, most: None, about }
}

/// All settings but the feature flags, by name.
pub const DEFINITIONS: [Definition; 6] = [
    flag(DELIVERY_PAUSED, "no attempt is started; deliveries wait"),
    Definition {
        key: DELIVERY_TIMEOUT,
        kind: SettingKind::Duration,
        default: "the configuration's `consumer.timeout`",
        default_value: seconds(15),
        least: Some(seconds(1)),
        most: Some(seconds(60)),
        about: "time limit of an attempt, for subscriptions that set none",
    },
    flag(EVENTS_PAUSED, "no event is taken: senders get 503 and come again; deliveries go on"),
    Definition {
        key: RETENTION_AGE,
        kind: SettingKind::Duration,
        default: "the configuration's `retention.age`",
        default_value: days(30),
        least: Some(days(1)),
        most: Some(days(36_500)),
        about: "how long payloads and finished deliveries are kept",
    },
    Definition {
        key: RETENTION_SIZE,
        kind: SettingKind::Integer,
        default: "the configuration's `retention.size`",
        default_value: SettingValue::Integer(0),
        least: None,
        most: None,
        about: "bytes of all tables above which the oldest days go; 0: no such bound",
    },
    Definition {
        key: RETENTION_UNFINISHED,
        kind: SettingKind::Duration,
        default: "the configuration's `retention.unfinished`",
        default_value: days(90),
        least: Some(days(1)),
        most: Some(days(36_500)),
        about: "how long an unfinished delivery keeps its payload",
    },
];

const FEATURE_FLAG: Definition =
    flag(FEATURE, "a flag of the operators' own, for front ends to ask for");

impl Definition {
    /// Of the setting of this name; None: there is none.
    pub fn of(key: &str) -> Option<Self> {
        if let Some(name) = key.strip_prefix(FEATURE) {
            let allowed = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte)
            };
            let good = (1..=FEATURE_LENGTH_MAX).contains(&name.len()) && name.bytes().all(allowed);
            return good.then_some(FEATURE_FLAG);
        }
        DEFINITIONS.into_iter().find(|definition| definition.key == key)
    }

    /// The value of this text. A sentence if it is none, or not allowed.
    pub fn parse(&self, text: &str) -> Result<SettingValue, String> {
        let value = match self.kind {
            SettingKind::Bool => text.parse().ok().map(SettingValue::Bool),
            SettingKind::Integer => text.parse().ok().map(SettingValue::Integer),
            SettingKind::Duration => Some(SettingValue::Duration(text.parse::<Span>()?)),
        };
        let shown: String = text.chars().take(80).collect();
        let value = value.ok_or_else(|| format!("`{shown}` is no {}", self.kind.as_str()))?;
        for (bound, wrong) in [(self.least, "less"), (self.most, "more")] {
            let Some(bound) = bound else { continue };
            let below = rank(value) < rank(bound);
            if rank(value) != rank(bound) && below == (wrong == "less") {
                return Err(format!("{value} is {wrong} than {bound}"));
            }
        }
        Ok(value)
    }
}

fn rank(value: SettingValue) -> u128 {
    match value {
        SettingValue::Bool(value) => value.into(),
        SettingValue::Integer(value) => value.into(),
        SettingValue::Duration(value) => value.0.as_millis(),
    }
}

/// A setting that somebody has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its value; None: it was reset, and the configuration counts.
    pub value: Option<SettingValue>,
    /// How many times it was changed.
    pub version: u64,
    /// When it was changed last.
    pub changed_at: Timestamp,
}

/// All settings that were ever set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(pub BTreeMap<String, Setting>);

impl Settings {
    fn value(&self, key: &str) -> Option<SettingValue> {
        self.0.get(key)?.value
    }

    /// Is a flag set? What was never set is not.
    pub fn is_on(&self, key: &str) -> bool {
        self.value(key) == Some(SettingValue::Bool(true))
    }

    /// A duration, if it is set.
    pub fn duration(&self, key: &str) -> Option<Span> {
        match self.value(key)? {
            SettingValue::Duration(value) => Some(value),
            SettingValue::Bool(_) | SettingValue::Integer(_) => None,
        }
    }

    /// A number, if it is set.
    pub fn integer(&self, key: &str) -> Option<u64> {
        match self.value(key)? {
            SettingValue::Integer(value) => Some(value),
            SettingValue::Bool(_) | SettingValue::Duration(_) => None,
        }
    }

    /// Every setting there is, and every feature flag that was ever set, by name.
    pub fn all(&self) -> BTreeMap<String, (Definition, Option<Setting>)> {
        let known = DEFINITIONS.into_iter().map(|definition| {
            let key = definition.key.to_owned();
            let set = self.0.get(&key).copied();
            (key, (definition, set))
        });
        let set = self.0.iter().filter_map(|(key, setting)| {
            Some((key.clone(), (Definition::of(key)?, Some(*setting))))
        });
        known.chain(set).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_a_type_and_bounds() {
        let parse = |key: &str, text: &str| Definition::of(key).unwrap().parse(text);
        assert_eq!(parse(DELIVERY_PAUSED, "true"), Ok(SettingValue::Bool(true)));
        assert_eq!(parse(RETENTION_SIZE, "0"), Ok(SettingValue::Integer(0)));
        let day = SettingValue::Duration(Span(Duration::from_secs(86_400)));
        assert_eq!(parse(RETENTION_AGE, "24h"), Ok(day));
        assert_eq!(day.to_string(), "1d");
        assert_eq!(parse(RETENTION_AGE, "23h").unwrap_err(), "23h is less than 1d");
        assert_eq!(parse(DELIVERY_TIMEOUT, "2m").unwrap_err(), "2m is more than 1m");
        assert_eq!(parse(DELIVERY_PAUSED, "yes").unwrap_err(), "`yes` is no bool");
        assert!(parse(RETENTION_SIZE, "-1").is_err());
        assert!(parse(RETENTION_AGE, "long").is_err());
    }

    #[test]
    fn names_are_known_or_of_a_feature() {
        for key in DEFINITIONS {
            assert_eq!(Definition::of(key.key).unwrap().key, key.key);
        }
        assert!(DEFINITIONS.is_sorted_by_key(|definition| definition.key));
        assert!(Definition::of("feature.new_checkout").is_some());
        let long = format!("feature.{}", "x".repeat(65));
        for unknown in ["retention", "feature.", "feature.A", "feature.a b", &long, ""] {
            assert!(Definition::of(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn what_is_reset_is_not_set_and_stays_listed() {
        let at = |value, version| Setting { value, version, changed_at: Timestamp(1) };
        let mut settings = Settings::default();
        assert!(!settings.is_on("feature.a"));
        settings.0.insert("feature.a".into(), at(Some(SettingValue::Bool(true)), 1));
        settings.0.insert("feature.b".into(), at(None, 2));
        assert!(settings.is_on("feature.a") && !settings.is_on("feature.b"));
        assert_eq!(settings.all().len(), DEFINITIONS.len() + 2);
        assert_eq!(settings.all()["feature.b"].1, Some(at(None, 2)));
        assert_eq!(settings.duration("feature.a"), None, "of another kind");
    }
}

//! Back-off: when to try again, and when to stop. Pure arithmetic.

use crate::{event::Direction, uri::EventUri};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, str::FromStr, time::Duration};

/// A duration in the text form of manifests: `500ms`, `5s`, `1m`, `2h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no duration; write 500ms, 5s, 1m, 2h or 7d");
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_digits| refuse())?;
        let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(refuse)?;
        let millis = number.checked_mul(*millis).ok_or_else(refuse)?;
        Ok(Self(Duration::from_millis(millis)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let mut whole = UNITS.iter().filter(|(_, unit)| millis.is_multiple_of(u128::from(*unit)));
        match whole.by_ref().max_by_key(|(_, unit)| *unit) {
            Some((_, _)) if millis == 0 => f.write_str("0s"),
            Some((name, unit)) => write!(f, "{}{name}", millis / u128::from(*unit)),
            None => write!(f, "{millis}ms"),
        }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// How the delay grows with the number `n` of the retry, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// base
    Constant,
    /// base × n
    Linear,
    /// base × log2(1 + n)
    Logarithmic,
    /// base × factor^(n-1)
    Exponential,
    /// the n-th of a list
    Schedule,
}

/// How dice change a delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// Not at all.
    None,
    /// Anything from 0 to the delay.
    #[default]
    Full,
    /// Half of the delay, and anything up to the other half.
    Equal,
}

/// When to try again, and when to stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackoffPolicy {
    /// How delays grow.
    pub kind: Kind,
    /// First delay; not for `schedule`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Span>,
    /// Growth of `exponential`, 1 to 100; 2 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// The delays of `schedule`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delays: Vec<Span>,
    /// Longest delay, before jitter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<Span>,
    /// What dice do.
    #[serde(default)]
    pub jitter: Jitter,
    /// Retries after the first attempt; None: no such bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// Time since the event was accepted after which no retry starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_elapsed: Option<Span>,
}

/// No delay is longer than this, whatever a policy says.
const DELAY_MAX: Duration = Duration::from_secs(30 * 86_400);

impl Default for BackoffPolicy {
    /// The example schedule of Standard Webhooks 1.0.0 ("Deliverability and reliability"), with
    /// full jitter: nine retries over about three days.
    fn default() -> Self {
        let seconds = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
        Self {
            kind: Kind::Schedule,
            base: None,
            factor: None,
            delays: seconds.map(|s| Span(Duration::from_secs(s))).to_vec(),
            cap: None,
            jitter: Jitter::Equal,
            max_retries: None,
            max_elapsed: None,
        }
    }
}

impl BackoffPolicy {
    /// A sentence on what is wrong with the policy, if anything is.
    pub fn check(&self) -> Result<(), String> {
        match (self.kind, self.base, self.delays.is_empty()) {
            (Kind::Schedule, None, false) => {}
            (Kind::Schedule, _, _) => return Err("a schedule has `delays` and no `base`".into()),
            (_, None, _) => return Err("`base` is missing".into()),
            (_, Some(base), _) if base.0.is_zero() => return Err("`base` must not be 0".into()),
            (_, Some(_), false) => return Err("`delays` are only for kind `schedule`".into()),
            (_, Some(_), true) => {}
        }
        if self.factor.is_some_and(|factor| !(1.0..=100.0).contains(&factor)) {
            return Err("`factor` must be from 1 to 100".into());
        }
        let endless = self.max_retries.is_none() && self.max_elapsed.is_none();
        if endless && self.kind != Kind::Schedule {
            return Err("it needs `max_retries` or `max_elapsed`, else it never ends".into());
        }
        Ok(())
    }

    /// Delay before retry `n` (from 1), before jitter; None when a schedule has run out.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above")]
    pub fn delay(&self, n: u32) -> Option<Duration> {
        let base_ms = self.base.map_or(0.0, |base| base.0.as_millis() as f64);
        let n_real = f64::from(n.max(1));
        let millis = match self.kind {
            Kind::Constant => base_ms,
            Kind::Linear => base_ms * n_real,
            Kind::Logarithmic => base_ms * (1.0 + n_real).log2(),
            Kind::Exponential => base_ms * self.factor.unwrap_or(2.0).powf(n_real - 1.0),
            Kind::Schedule => {
                let at = usize::try_from(n.max(1)).unwrap_or(usize::MAX) - 1;
                self.delays.get(at)?.0.as_millis() as f64
            }
        };
        let cap = self.cap.map_or(DELAY_MAX, |cap| cap.0.min(DELAY_MAX));
        let bounded = millis.min(cap.as_millis() as f64).max(0.0);
        Some(Duration::from_millis(bounded.round() as u64))
    }

    /// Delay before retry `n`, with jitter from `dice` in `[0, 1)`, or None: stop.
    /// `elapsed` is the time since the event was accepted.
    pub fn next(&self, n: u32, elapsed: Duration, dice: f64) -> Option<Duration> {
        if self.max_retries.is_some_and(|max| n > max) {
            return None;
        }
        let delay = self.delay(n)?;
        let jittered = match self.jitter {
            Jitter::None => delay,
            Jitter::Full => delay.mul_f64(dice),
            Jitter::Equal => delay / 2 + (delay / 2).mul_f64(dice),
        };
        match self.max_elapsed {
            Some(max) if elapsed + jittered > max.0 => None,
            _ => Some(jittered),
        }
    }
}

/// What a back-off rule is for. Text form: `global`, `source:NAME`, `type:URI`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BackoffTarget {
    /// Everything.
    Global,
    /// What a source brings.
    Source(String),
    /// One event type.
    EventType(EventUri),
}

impl fmt::Display for BackoffTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Source(name) => write!(f, "source:{name}"),
            Self::EventType(uri) => write!(f, "type:{uri}"),
        }
    }
}

impl FromStr for BackoffTarget {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "global" => Ok(Self::Global),
            Some(("source", name)) if !name.is_empty() => Ok(Self::Source(name.to_owned())),
            Some(("type", uri)) => uri.parse().map(Self::EventType).map_err(|e| e.to_string()),
            _ => Err(format!("`{text}` is no target; write global, source:NAME or type:URI")),
        }
    }
}

impl Serialize for BackoffTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BackoffTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A policy for a target and a direction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackoffRule {
    /// What it is for.
    pub target: BackoffTarget,
    /// Which way.
    pub direction: Direction,
    /// What to do.
    pub policy: BackoffPolicy,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(kind: Kind, base: &str) -> BackoffPolicy {
        BackoffPolicy {
            kind,
            base: Some(base.parse().unwrap()),
            factor: Some(3.0),
            delays: Vec::new(),
            cap: None,
            jitter: Jitter::None,
            max_retries: Some(4),
            max_elapsed: None,
        }
    }

    fn delays(policy: &BackoffPolicy) -> Vec<u64> {
        (1..).map_while(|n| policy.next(n, Duration::ZERO, 0.5)).map(|d| d.as_secs()).collect()
    }

    #[test]
    fn the_five_kinds() {
        assert_eq!(delays(&policy(Kind::Constant, "10s")), [10, 10, 10, 10]);
        assert_eq!(delays(&policy(Kind::Linear, "10s")), [10, 20, 30, 40]);
        assert_eq!(delays(&policy(Kind::Logarithmic, "60s")), [60, 95, 120, 139]);
        assert_eq!(delays(&policy(Kind::Exponential, "5s")), [5, 15, 45, 135]);
        let schedule = BackoffPolicy { jitter: Jitter::None, ..BackoffPolicy::default() };
        assert_eq!(delays(&schedule)[..3], [5, 300, 1800]);
        assert_eq!(delays(&schedule).len(), 9);
    }

    #[test]
    fn text_forms() {
        for text in ["500ms", "5s", "1m", "2h", "7d", "0s", "90s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert!("5".parse::<Span>().is_err());
        assert!("-5s".parse::<Span>().is_err());
        assert!("99999999999999999d".parse::<Span>().is_err());
        for text in ["global", "source:github", "type:github/1/push"] {
            assert_eq!(text.parse::<BackoffTarget>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_never_ends_is_refused() {
        let endless = BackoffPolicy { max_retries: None, ..policy(Kind::Linear, "1s") };
        assert!(endless.check().is_err());
        assert!(policy(Kind::Linear, "1s").check().is_ok());
        assert!(BackoffPolicy::default().check().is_ok());
    }

    proptest! {
        #[test]
        fn delays_keep_their_bounds(
            kind in prop_oneof![
                Just(Kind::Constant), Just(Kind::Linear), Just(Kind::Logarithmic), Just(Kind::Exponential)
            ],
            base_ms in 1_u64..10_000_000, factor in 1.0_f64..100.0, cap_ms in 1_u64..100_000_000,
            n in 1_u32.., dice in 0.0_f64..1.0, elapsed_ms in 0_u64..1_000_000_000,
            jitter in prop_oneof![Just(Jitter::None), Just(Jitter::Full), Just(Jitter::Equal)],
        ) {
            let policy = BackoffPolicy {
                kind, base: Some(Span(Duration::from_millis(base_ms))), factor: Some(factor),
                delays: Vec::new(), cap: Some(Span(Duration::from_millis(cap_ms))), jitter,
                max_retries: None, max_elapsed: Some(Span(Duration::from_secs(604_800))),
            };
            let elapsed = Duration::from_millis(elapsed_ms);
            if let Some(delay) = policy.next(n, elapsed, dice) {
                prop_assert!(delay <= Duration::from_millis(cap_ms));
                prop_assert!(elapsed + delay <= Duration::from_secs(604_800));
            }
            prop_assert!(policy.delay(n).unwrap() <= policy.delay(n.saturating_add(1)).unwrap());
        }
    }
}

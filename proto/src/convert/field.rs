//! Reading one field of a message, and naming it when it cannot be read.

use contract::{Error, ErrorCode, clock::Timestamp};
use std::{fmt, str::FromStr, time::Duration};

/// A field of a message that is missing or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Path of the field, as in `spec.backoff.base`.
    pub field: String,
    /// What is wrong, to be read after the field's name.
    pub why: String,
}

/// Result of reading a message.
pub type Result<T> = std::result::Result<T, Malformed>;

impl Malformed {
    /// The field is not there.
    pub fn missing(field: &str) -> Self {
        Self { field: field.to_owned(), why: "is missing".to_owned() }
    }

    /// The field is there and makes no sense.
    pub fn invalid(field: &str, why: impl fmt::Display) -> Self {
        Self { field: field.to_owned(), why: format!("cannot be read: {why}") }
    }

    /// The same, seen from the message that holds it in `field`.
    #[must_use]
    pub fn within(mut self, field: &str) -> Self {
        self.field = match self.field.is_empty() {
            true => field.to_owned(),
            false => format!("{field}.{}", self.field),
        };
        self
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the field `{}` {}", self.field, self.why)
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        Self::new(ErrorCode::InvalidRequest, malformed.to_string())
    }
}

/// A moment as a message.
pub fn moment(time: Timestamp) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.0.rem_euclid(1_000_000) * 1000).unwrap_or(0);
    prost_types::Timestamp { seconds: time.unix_seconds(), nanos }
}

/// A moment out of a message; what is finer than a microsecond is cut off.
pub fn moment_from(time: prost_types::Timestamp) -> Result<Timestamp> {
    let refuse = || Malformed::invalid("", "it is not a moment");
    let nanos = i64::from(time.nanos);
    if !(0..1_000_000_000).contains(&nanos) {
        return Err(refuse());
    }
    let micros = i128::from(time.seconds) * 1_000_000 + i128::from(nanos / 1000);
    i64::try_from(micros).map(Timestamp).map_err(|_range| refuse())
}

/// A duration as a message; one of more than 292 billion years becomes that.
pub fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

/// A duration out of a message; negative ones are refused.
pub fn duration_from(duration: prost_types::Duration) -> Result<Duration> {
    let seconds = u64::try_from(duration.seconds).ok();
    let nanos = u32::try_from(duration.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    match (seconds, nanos) {
        (Some(seconds), Some(nanos)) => Ok(Duration::new(seconds, nanos)),
        _ => Err(Malformed::invalid("", "it is negative or not a duration")),
    }
}

/// A field that must be there.
pub(crate) fn required<T>(value: Option<T>, field: &str) -> Result<T> {
    value.ok_or_else(|| Malformed::missing(field))
}

/// A text that must not be empty.
pub(crate) fn text(value: String, field: &str) -> Result<String> {
    if value.is_empty() { Err(Malformed::missing(field)) } else { Ok(value) }
}

/// A noun in its text form.
pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(value: &str, field: &str) -> Result<T> {
    if value.is_empty() {
        return Err(Malformed::missing(field));
    }
    value.parse().map_err(|why| Malformed::invalid(field, why))
}

/// A noun in its text form that may be absent.
pub(crate) fn parsed_optional<T: FromStr<Err: fmt::Display>>(
    value: Option<String>,
    field: &str,
) -> Result<Option<T>> {
    value.map(|value| parsed(&value, field)).transpose()
}

/// Nouns in their text form.
pub(crate) fn parsed_each<T: FromStr<Err: fmt::Display>>(
    values: &[String],
    field: &str,
) -> Result<Vec<T>> {
    let one = |(at, value): (usize, &String)| parsed(value, &format!("{field}[{at}]"));
    values.iter().enumerate().map(one).collect()
}

/// A message in a message, which must be there; `read` makes a noun of it.
pub(crate) fn message<W, N>(
    value: Option<W>,
    field: &str,
    read: impl FnOnce(W) -> Result<N>,
) -> Result<N> {
    read(required(value, field)?).map_err(|malformed| malformed.within(field))
}

/// A message in a message that may be absent.
pub(crate) fn optional<W, N>(
    value: Option<W>,
    field: &str,
    read: impl FnOnce(W) -> Result<N>,
) -> Result<Option<N>> {
    value.map(read).transpose().map_err(|malformed| malformed.within(field))
}

/// A list of messages.
pub(crate) fn each<W, N>(
    values: Vec<W>,
    field: &str,
    read: impl Fn(W) -> Result<N>,
) -> Result<Vec<N>> {
    let one = |(at, value)| {
        read(value).map_err(|malformed: Malformed| malformed.within(&format!("{field}[{at}]")))
    };
    values.into_iter().enumerate().map(one).collect()
}

/// A list of nouns as messages.
pub(crate) fn into_each<W: From<N>, N>(nouns: impl IntoIterator<Item = N>) -> Vec<W> {
    nouns.into_iter().map(W::from).collect()
}

/// A value of an enum, which must be given.
pub(crate) fn one_of<W, N>(value: i32, field: &str) -> Result<N>
where
    W: TryFrom<i32>,
    N: TryFrom<W, Error = Malformed>,
{
    let wire = W::try_from(value).map_err(|_number| {
        Malformed::invalid(field, format_args!("{value} is not one of its values"))
    })?;
    N::try_from(wire).map_err(|malformed| malformed.within(field))
}

/// A value of an enum for which 0 stands for `default`.
pub(crate) fn one_of_or<W, N>(value: i32, default: N, field: &str) -> Result<N>
where
    W: TryFrom<i32>,
    N: TryFrom<W, Error = Malformed>,
{
    if value == 0 { Ok(default) } else { one_of::<W, N>(value, field) }
}

/// A value of an enum that may be absent.
pub(crate) fn optional_one_of<W, N>(value: Option<i32>, field: &str) -> Result<Option<N>>
where
    W: TryFrom<i32>,
    N: TryFrom<W, Error = Malformed>,
{
    value.map(|value| one_of::<W, N>(value, field)).transpose()
}

/// A number that must fit a smaller type.
pub(crate) fn narrow<T: TryFrom<u32>>(value: u32, field: &str) -> Result<T> {
    let refuse = |_range| Malformed::invalid(field, format_args!("{value} is out of range"));
    T::try_from(value).map_err(refuse)
}

/// Both ways between an enum of the contract and one of the wire with the same variants.
macro_rules! same_variants {
    ($noun:ty, $wire:ty, [$($variant:ident),+ $(,)?]) => {
        impl From<$noun> for $wire {
            fn from(noun: $noun) -> Self {
                match noun { $(<$noun>::$variant => Self::$variant,)+ }
            }
        }
        impl TryFrom<$wire> for $noun {
            type Error = $crate::convert::Malformed;
            fn try_from(wire: $wire) -> Result<Self, Self::Error> {
                match wire {
                    $(<$wire>::$variant => Ok(Self::$variant),)+
                    <$wire>::Unspecified => Err($crate::convert::Malformed::missing("")),
                }
            }
        }
    };
}

//! Single values: numbers, texts, enums, and messages that JSON writes as one text.

use super::{
    report::{Fault, quoted, shortened},
    rules::Operand,
    shape::{Kind, Shapes},
    text,
    whole::{self, NotWhole},
};
use std::fmt;

/// A single value of JSON.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    /// A number as it is written, where a whole one is wanted that may be beyond 64 bits.
    Written(&'a str),
    Text(&'a str),
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Unsigned(value) => write!(f, "{value}"),
            Self::Signed(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Written(text) => f.write_str(&shortened(text)),
            Self::Text(text) => f.write_str(&quoted(text)),
        }
    }
}

/// What is wrong with `value` where a `kind` is expected.
pub(super) fn fault(kind: Kind, value: Scalar<'_>, shapes: &Shapes) -> Option<Fault<'static>> {
    let rule = broken_rule(kind, value, shapes)?;
    Some(Fault { rule, expected: expected(kind, shapes), found: value.to_string() })
}

/// What a contract wants where it says `kind`.
pub(super) fn expected(kind: Kind, shapes: &Shapes) -> String {
    let text = match kind {
        Kind::Double => "a number",
        Kind::Float => "a number that fits 32 bits",
        Kind::Int32 => "a whole number of 32 bits",
        Kind::Int64 => "a whole number of 64 bits",
        Kind::Uint32 => "a whole number from 0 of 32 bits",
        Kind::Uint64 => "a whole number from 0 of 64 bits",
        Kind::Bool => "true or false",
        Kind::String => "a string",
        Kind::Bytes => "bytes in base64",
        Kind::Enum(index) => {
            let examples = shapes.enumeration(index).map_or("", |shape| &shape.examples);
            return format!("one of {examples}");
        }
        Kind::Null => "null",
        Kind::Timestamp => "a time as in \"2026-01-31T12:00:00Z\"",
        Kind::Duration => "a duration as in \"1.5s\"",
        Kind::FieldMask => "field paths as in \"id,owner.fullName\"",
        Kind::Any => "an object with `@type`",
        Kind::Message(_) | Kind::Struct => "an object",
        Kind::List => "a list",
        Kind::Value => "any value",
    };
    text.to_owned()
}

/// Shows a value that has its type to `see`, in terms of rules.
pub(super) fn with_operand(
    kind: Kind,
    value: Scalar<'_>,
    shapes: &Shapes,
    see: impl FnOnce(Operand<'_>),
) {
    let operand = match (kind, value) {
        (Kind::String, Scalar::Text(text)) => Operand::Text(text),
        (Kind::Bool, Scalar::Bool(value)) => Operand::Truth(value),
        (Kind::Bytes, Scalar::Text(text)) => return see(Operand::Bytes(&text::bytes(text))),
        (Kind::Double, _) => Operand::Real(real(value)),
        #[expect(clippy::cast_possible_truncation, reason = "a float has 32 bits")]
        (Kind::Float, _) => Operand::Real(f64::from(real(value) as f32)),
        (Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64, _) => match integer(value) {
            Some(value) => Operand::Whole(value),
            None => return,
        },
        (Kind::Enum(index), Scalar::Text(name)) => {
            match shapes.enumeration(index).and_then(|shape| shape.number_of(name)) {
                Some(number) => Operand::Whole(number.into()),
                None => return,
            }
        }
        (Kind::Enum(_), _) => match integer(value) {
            Some(value) => Operand::Whole(value),
            None => return,
        },
        (Kind::Timestamp, Scalar::Text(text)) => Operand::Whole(text::timestamp_nanos(text)),
        (Kind::Duration, Scalar::Text(text)) => Operand::Whole(text::duration_nanos(text)),
        _ => return,
    };
    see(operand);
}

/// What a field of that kind holds that is not set.
pub(super) const fn zero(kind: Kind) -> Option<Operand<'static>> {
    Some(match kind {
        Kind::Double | Kind::Float => Operand::Real(0.0),
        Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Enum(_) => {
            Operand::Whole(0)
        }
        Kind::Bool => Operand::Truth(false),
        Kind::String => Operand::Text(""),
        Kind::Bytes => Operand::Bytes(b""),
        _ => return None,
    })
}

fn real(value: Scalar<'_>) -> f64 {
    match value {
        #[expect(clippy::cast_precision_loss, reason = "as every reader of JSON does")]
        Scalar::Unsigned(value) => value as f64,
        #[expect(clippy::cast_precision_loss, reason = "as every reader of JSON does")]
        Scalar::Signed(value) => value as f64,
        Scalar::Float(value) => value,
        // Rust reads the names that JSON gives to what is not finite.
        Scalar::Written(text) | Scalar::Text(text) => text.parse().unwrap_or(f64::NAN),
        Scalar::Null | Scalar::Bool(_) => f64::NAN,
    }
}

fn integer(value: Scalar<'_>) -> Option<i128> {
    Some(match value {
        Scalar::Unsigned(value) => value.into(),
        Scalar::Signed(value) => value.into(),
        Scalar::Written(text) | Scalar::Text(text) => whole::parse(text).ok()?,
        Scalar::Null | Scalar::Bool(_) | Scalar::Float(_) => return None,
    })
}

fn broken_rule(kind: Kind, value: Scalar<'_>, shapes: &Shapes) -> Option<&'static str> {
    match (kind, value) {
        (Kind::Value, _)
        | (Kind::Null, Scalar::Null | Scalar::Text("NULL_VALUE"))
        | (Kind::String, Scalar::Text(_))
        | (Kind::Bool, Scalar::Bool(_)) => None,
        (Kind::Null, Scalar::Text(_)) => Some("enum"),
        (_, Scalar::Null) => Some("type"),
        (Kind::Double, _) => number(value, f64::MAX),
        (Kind::Float, _) => number(value, f64::from(f32::MAX)),
        (Kind::Int32, _) => whole(value, i32::MIN.into(), i32::MAX.into()),
        (Kind::Int64, _) => whole(value, i64::MIN.into(), i64::MAX.into()),
        (Kind::Uint32, _) => whole(value, 0, u32::MAX.into()),
        (Kind::Uint64, _) => whole(value, 0, u64::MAX.into()),
        (Kind::Enum(index), _) => enumeration(index, value, shapes),
        (Kind::Bytes, Scalar::Text(text)) => format(text::is_base64(text)),
        (Kind::Timestamp, Scalar::Text(text)) => format(text::is_timestamp(text)),
        (Kind::Duration, Scalar::Text(text)) => format(text::is_duration(text)),
        (Kind::FieldMask, Scalar::Text(text)) => format(text::is_field_mask(text)),
        _ => Some("type"),
    }
}

fn format(kept: bool) -> Option<&'static str> {
    (!kept).then_some("format")
}

fn number(value: Scalar<'_>, max: f64) -> Option<&'static str> {
    let value = match value {
        Scalar::Unsigned(_) | Scalar::Signed(_) => return None,
        Scalar::Float(value) => value,
        Scalar::Text("NaN" | "Infinity" | "-Infinity") => return None,
        Scalar::Text(text) => {
            // `parse` would also take `inf` and `nan`.
            let plain = |b: u8| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E');
            match text.parse::<f64>() {
                Ok(value) if text.bytes().all(plain) => value,
                _ => return Some("format"),
            }
        }
        Scalar::Null | Scalar::Bool(_) | Scalar::Written(_) => return Some("type"),
    };
    (value.abs() > max).then_some("range")
}

fn whole(value: Scalar<'_>, min: i128, max: i128) -> Option<&'static str> {
    let value = match value {
        Scalar::Unsigned(value) => i128::from(value),
        Scalar::Signed(value) => i128::from(value),
        Scalar::Written(text) | Scalar::Text(text) => match whole::parse(text) {
            Ok(value) => value,
            Err(NotWhole::Range) => return Some("range"),
            Err(_) if matches!(value, Scalar::Text(_)) => return Some("format"),
            Err(_) => return Some("type"),
        },
        Scalar::Null | Scalar::Bool(_) | Scalar::Float(_) => return Some("type"),
    };
    (!(min..=max).contains(&value)).then_some("range")
}

fn enumeration(index: usize, value: Scalar<'_>, shapes: &Shapes) -> Option<&'static str> {
    let shape = shapes.enumeration(index)?;
    let number = match value {
        Scalar::Text(name) => return (!shape.has_name(name)).then_some("enum"),
        Scalar::Unsigned(number) => i32::try_from(number).ok(),
        Scalar::Signed(number) => i32::try_from(number).ok(),
        Scalar::Null | Scalar::Bool(_) | Scalar::Float(_) | Scalar::Written(_) => {
            return Some("type");
        }
    };
    match number {
        None => Some("range"),
        Some(number) => (!shape.takes_number(number)).then_some("enum"),
    }
}

//! What a type looks like in an example, before any rule is looked at, and in JSON.

use crate::validate::Literal;
use base64::Engine as _;
use chrono::DateTime;
use prost_reflect::{DynamicMessage, Kind, Value as Built};
use serde_json::{Value, json};

const SECOND: i128 = 1_000_000_000;
/// 2026-01-01T00:00:00Z.
const NEW_YEAR: i128 = 1_767_225_600 * SECOND;

/// Plain values of a kind, the best first; empty: it has no single values.
pub(super) fn guesses(kind: &Kind, name: &str) -> Vec<Literal> {
    let text = |text: &str| Literal::Text(text.into());
    match unwrapped(kind) {
        Kind::String => vec![text(if name == "value" { "value" } else { name })],
        Kind::Bytes => vec![Literal::Bytes([].into()), Literal::Bytes(name.as_bytes().into())],
        Kind::Bool => vec![Literal::Truth(true), Literal::Truth(false)],
        Kind::Double | Kind::Float => vec![Literal::Real(1.5), Literal::Real(0.0)],
        Kind::Enum(of) if of.full_name() == "google.protobuf.NullValue" => Vec::new(),
        Kind::Enum(of) => {
            let (zero, others): (Vec<_>, Vec<_>) =
                of.values().map(|value| i128::from(value.number())).partition(|it| *it == 0);
            others.into_iter().chain(zero).map(Literal::Whole).collect()
        }
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => vec![Literal::Whole(NEW_YEAR)],
            "google.protobuf.Duration" => vec![Literal::Whole(SECOND)],
            "google.protobuf.FieldMask" => vec![text("field")],
            _ => Vec::new(),
        },
        _ => vec![Literal::Whole(1), Literal::Whole(0)],
    }
}

/// The value of a kind in JSON; None: it is not of that kind, or out of its range.
pub(super) fn json(kind: &Kind, literal: &Literal) -> Option<Value> {
    Some(match (unwrapped(kind), literal) {
        (Kind::Message(message), Literal::Whole(nanoseconds)) => {
            let (seconds, nanos) = split(*nanoseconds)?;
            match message.full_name() {
                "google.protobuf.Timestamp" => {
                    let time = DateTime::from_timestamp(seconds, nanos)?;
                    json!(time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
                }
                _ => {
                    let sign = if *nanoseconds < 0 { "-" } else { "" };
                    let size = nanoseconds.unsigned_abs();
                    let (seconds, nanos) = (size / 1_000_000_000, size % 1_000_000_000);
                    let rest = if nanos == 0 { String::new() } else { format!(".{nanos:09}") };
                    json!(format!("{sign}{seconds}{rest}s"))
                }
            }
        }
        (Kind::Message(_), Literal::Text(paths)) => json!(camel_case(paths)),
        (Kind::Enum(of), Literal::Whole(number)) => {
            let number = i32::try_from(*number).ok()?;
            let value = of.get_value(number);
            value.map_or_else(|| json!(number), |value| json!(value.name()))
        }
        (
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64,
            Literal::Whole(number),
        ) => json!(number.to_string()),
        (_, Literal::Whole(number)) => json!(i64::try_from(*number).ok()?),
        (_, Literal::Real(number)) if number.is_finite() => json!(number),
        (_, Literal::Real(number)) if number.is_nan() => json!("NaN"),
        (_, Literal::Real(number)) => json!(if *number > 0.0 { "Infinity" } else { "-Infinity" }),
        (_, Literal::Truth(value)) => json!(value),
        (_, Literal::Text(text)) => json!(text),
        (_, Literal::Bytes(bytes)) => {
            json!(base64::engine::general_purpose::STANDARD.encode(bytes))
        }
    })
}

/// The value of a kind as CEL takes it; None: not for this kind, or out of its range.
pub(super) fn value(kind: &Kind, literal: &Literal) -> Option<Built> {
    Some(match (kind, literal) {
        (Kind::Message(message), literal) => {
            let mut built = DynamicMessage::new(message.clone());
            match (message.full_name(), literal) {
                ("google.protobuf.Timestamp" | "google.protobuf.Duration", Literal::Whole(at)) => {
                    let (seconds, nanos) = split(*at)?;
                    built.try_set_field_by_name("seconds", Built::I64(seconds)).ok()?;
                    let nanos = i32::try_from(nanos).ok()?;
                    built.try_set_field_by_name("nanos", Built::I32(nanos)).ok()?;
                }
                _ => {
                    // Only wrappers are made of one value.
                    let inner = unwrapped(kind);
                    let inner = inner.as_message().is_none().then(|| value(&inner, literal))??;
                    built.try_set_field_by_name("value", inner).ok()?;
                }
            }
            Built::Message(built)
        }
        (Kind::Enum(_), Literal::Whole(number)) => Built::EnumNumber((*number).try_into().ok()?),
        (Kind::Int32 | Kind::Sint32 | Kind::Sfixed32, Literal::Whole(number)) => {
            Built::I32((*number).try_into().ok()?)
        }
        (Kind::Int64 | Kind::Sint64 | Kind::Sfixed64, Literal::Whole(number)) => {
            Built::I64((*number).try_into().ok()?)
        }
        (Kind::Uint32 | Kind::Fixed32, Literal::Whole(number)) => {
            Built::U32((*number).try_into().ok()?)
        }
        (Kind::Uint64 | Kind::Fixed64, Literal::Whole(number)) => {
            Built::U64((*number).try_into().ok()?)
        }
        (Kind::Double, Literal::Real(number)) => Built::F64(*number),
        #[expect(clippy::cast_possible_truncation, reason = "a float has 32 bits")]
        (Kind::Float, Literal::Real(number)) => Built::F32(*number as f32),
        (Kind::Bool, Literal::Truth(value)) => Built::Bool(*value),
        (Kind::String, Literal::Text(text)) => Built::String(text.to_string()),
        (Kind::Bytes, Literal::Bytes(bytes)) => Built::Bytes(bytes.to_vec().into()),
        _ => return None,
    })
}

/// The key of a map.
pub(super) fn key_text(literal: &Literal) -> String {
    match literal {
        Literal::Whole(number) => number.to_string(),
        Literal::Truth(value) => value.to_string(),
        Literal::Text(text) => text.to_string(),
        Literal::Real(_) | Literal::Bytes(_) => String::new(),
    }
}

/// Types with a form of their own in JSON that is not a single value. Source: protobuf.dev,
/// "ProtoJSON Format". None outside: not one of them; None inside: nothing sensible can be shown.
pub(super) fn well_known(name: &str) -> Option<Option<Value>> {
    Some(match name.strip_prefix("google.protobuf.")? {
        "Struct" | "Empty" => Some(json!({})),
        "Value" => Some(json!("value")),
        "ListValue" => Some(json!([])),
        "Any" => None,
        _ => return None,
    })
}

/// What a wrapper wraps; any other kind itself.
fn unwrapped(kind: &Kind) -> Kind {
    let wrapped = kind.as_message().filter(|message| {
        let name = message.full_name();
        name.starts_with("google.protobuf.")
            && name.ends_with("Value")
            && message.fields().len() == 1
    });
    let wrapped = wrapped.and_then(|message| message.get_field_by_name("value"));
    wrapped.map_or_else(|| kind.clone(), |field| field.kind())
}

fn split(nanoseconds: i128) -> Option<(i64, u32)> {
    let seconds = i64::try_from(nanoseconds.div_euclid(SECOND)).ok()?;
    Some((seconds, u32::try_from(nanoseconds.rem_euclid(SECOND)).ok()?))
}

/// The name of a field, or the paths of a mask, as JSON writes them.
pub(super) fn camel_case(paths: &str) -> String {
    let mut camel = String::with_capacity(paths.len());
    let mut upper = false;
    for char in paths.chars() {
        match char {
            '_' => upper = true,
            _ if upper => {
                camel.extend(char.to_uppercase());
                upper = false;
            }
            _ => camel.push(char),
        }
    }
    camel
}

//! The standard rules, family by family: from an options message such as `StringRules` to tests.

mod named;

use self::named::{format_of, header, length_of};
use super::{
    operand::Literal,
    rule::{Bound, Range, Rule, Test},
};
use expression::patterns::Patterns;
use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, ReflectMessage as _, Value};
use std::ops::RangeInclusive;

/// Most values that `in` or `not_in` may list.
const LISTED_MAX: usize = 1_000;

/// What went wrong, after the name of the rule.
pub(super) type Refusal = String;

/// The rules of one family, as `string` or `int32`, for values of that kind.
pub(super) fn rules(
    family: &str,
    options: &DynamicMessage,
    kind: &Kind,
    patterns: &Patterns,
) -> Result<Vec<Rule>, Refusal> {
    refuse_strangers(family, options)?;
    let mut reading = Reading { family, options, rules: Vec::new() };
    reading.range()?;
    reading.lengths()?;
    for (field, value) in options.fields() {
        let name = field.name().to_owned();
        let rule = match name.as_str() {
            "const" | "in" | "not_in" => reading.listed(&name, value)?,
            "lt_now" | "gt_now" | "within" => reading.clock(&name, value),
            "finite" => flag(value, || ("finite", "a finite number", Test::Finite)),
            "defined_only" => defined(value, kind.as_enum()),
            "pattern" => {
                let pattern = value.as_str().unwrap_or("");
                let regex = patterns.compile(pattern);
                let regex = regex.map_err(|error| format!("{family}.{error}"))?;
                Some((name, format!("a text that matches `{pattern}`"), Test::Pattern(regex)))
            }
            "prefix" | "suffix" | "contains" | "not_contains" => part(&name, value),
            "well_known_regex" => header(value, options),
            "example" | "strict" => None,
            other => match family {
                "string" => flag(value, || format_of(other)).filter(|(name, ..)| !name.is_empty()),
                "bytes" => flag(value, || length_of(other)).filter(|(name, ..)| !name.is_empty()),
                _ => None,
            },
        };
        if let Some((name, expected, test)) = rule {
            reading.rules.push(Rule::new(format!("{family}.{name}"), expected, test));
        }
    }
    Ok(reading.rules)
}

/// How many elements or pairs there may be, from `RepeatedRules` or `MapRules`.
pub(super) fn counts(family: &str, options: &DynamicMessage) -> Result<Vec<Rule>, Refusal> {
    refuse_strangers(family, options)?;
    let what = if family == "map" { "pairs" } else { "items" };
    let number = |name: String| set(options, &name).and_then(|value| value.as_u64());
    let (min, max) = (number(format!("min_{what}")), number(format!("max_{what}")));
    if matches!((min, max), (Some(min), Some(max)) if min > max) {
        return Err(format!("{family}.min_{what} is greater than max_{what}: nothing can keep it"));
    }
    let bound = |at: u64| Some(Bound { at: i128::from(at), inclusive: true });
    let low = min.map(|min| {
        let test = Test::Whole(Range { low: bound(min), high: None });
        Rule::new(format!("{family}.min_{what}"), format!("at least {min} {what}"), test)
    });
    let high = max.map(|max| {
        let test = Test::Whole(Range { low: None, high: bound(max) });
        Rule::new(format!("{family}.max_{what}"), format!("at most {max} {what}"), test)
    });
    Ok(low.into_iter().chain(high).collect())
}

/// The values that the options give as examples.
pub(super) fn examples(options: &DynamicMessage) -> Vec<Literal> {
    match set(options, "example") {
        Some(Value::List(values)) => values.iter().filter_map(literal).collect(),
        _ => Vec::new(),
    }
}

/// Rules that are newer than this file.
pub(super) fn refuse_strangers(family: &str, options: &DynamicMessage) -> Result<(), Refusal> {
    if let Some(unknown) = options.unknown_fields().next() {
        return Err(format!("{family} has an unknown rule, number {}", unknown.number()));
    }
    Ok(())
}

/// A time or a duration in nanoseconds; any other value as it is.
pub(super) fn literal(value: &Value) -> Option<Literal> {
    Some(match value {
        Value::I32(value) | Value::EnumNumber(value) => Literal::Whole((*value).into()),
        Value::I64(value) => Literal::Whole((*value).into()),
        Value::U32(value) => Literal::Whole((*value).into()),
        Value::U64(value) => Literal::Whole((*value).into()),
        Value::F32(value) => Literal::Real((*value).into()),
        Value::F64(value) => Literal::Real(*value),
        Value::Bool(value) => Literal::Truth(*value),
        Value::String(text) => Literal::Text(text.as_str().into()),
        Value::Bytes(bytes) => Literal::Bytes(bytes.as_ref().into()),
        Value::Message(message) => match message.descriptor().full_name() {
            "google.protobuf.FieldMask" => Literal::Text(mask_paths(message).into()),
            _ => Literal::Whole(nanoseconds(message)),
        },
        Value::List(_) | Value::Map(_) => return None,
    })
}

/// The paths of a `google.protobuf.FieldMask`, separated by commas.
pub(in super::super) fn mask_paths(mask: &DynamicMessage) -> String {
    let paths = mask.get_field_by_name("paths");
    let paths = paths.as_ref().and_then(|paths| paths.as_list()).unwrap_or_default();
    paths.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
}

/// Of a `google.protobuf.Timestamp` or `Duration`.
pub(in super::super) fn nanoseconds(message: &DynamicMessage) -> i128 {
    let number = |name: &str| message.get_field_by_name(name);
    let seconds = number("seconds").and_then(|value| value.as_i64()).unwrap_or(0);
    let nanos = number("nanos").and_then(|value| value.as_i32()).unwrap_or(0);
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}

/// A field that was written in the options.
pub(super) fn set(options: &DynamicMessage, name: &str) -> Option<Value> {
    options
        .has_field_by_name(name)
        .then(|| options.get_field_by_name(name).map(std::borrow::Cow::into_owned))
        .flatten()
}

struct Reading<'a> {
    family: &'a str,
    options: &'a DynamicMessage,
    rules: Vec<Rule>,
}

/// The last part of the id, what is expected, and the test.
type Read = (String, String, Test);

/// A bound, and the rule that sets it.
type Named<T> = (String, Bound<T>);

impl Reading<'_> {
    fn bound<T>(&self, names: [&str; 2], of: fn(&Value) -> Option<T>) -> Option<Named<T>> {
        names.into_iter().find_map(|name| {
            let at = of(&set(self.options, name)?)?;
            Some((name.to_owned(), Bound { at, inclusive: name.ends_with('e') }))
        })
    }

    fn range(&mut self) -> Result<(), Refusal> {
        match self.family {
            "float" | "double" => {
                let number =
                    |value: &Value| value.as_f64().or_else(|| value.as_f32().map(f64::from));
                let (low, high) =
                    (self.bound(["gt", "gte"], number), self.bound(["lt", "lte"], number));
                self.push_range((low, high), Test::Real)
            }
            "string" | "bytes" | "bool" | "enum" | "any" | "field_mask" => Ok(()),
            _ => {
                let number = |value: &Value| match literal(value)? {
                    Literal::Whole(number) => Some(number),
                    _ => None,
                };
                let (low, high) =
                    (self.bound(["gt", "gte"], number), self.bound(["lt", "lte"], number));
                self.push_range((low, high), Test::Whole)
            }
        }
    }

    fn push_range<T: PartialOrd + Copy + std::fmt::Display>(
        &mut self,
        (low, high): (Option<Named<T>>, Option<Named<T>>),
        test: fn(Range<T>) -> Test,
    ) -> Result<(), Refusal> {
        let family = self.family;
        let range = Range {
            low: low.as_ref().map(|(_, bound)| *bound),
            high: high.as_ref().map(|(_, bound)| *bound),
        };
        if range.is_empty() {
            return Err(format!("{family}: no value lies between its bounds"));
        }
        let names: Vec<&str> =
            [&low, &high].into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let words = |sign: &str, bound: Bound<T>| {
            let (equal, unit) = (if bound.inclusive { "=" } else { "" }, self.unit());
            format!("{sign}{equal} {}{unit}", bound.at)
        };
        let parts: Vec<_> = range
            .low
            .map(|low| words(">", low))
            .into_iter()
            .chain(range.high.map(|high| words("<", high)))
            .collect();
        let (join, suffix) =
            if range.is_outside() { (" or ", "_exclusive") } else { (" and ", "") };
        let id = format!("{family}.{}{suffix}", names.join("_"));
        self.rules.push(Rule::new(id, format!("a value {}", parts.join(join)), test(range)));
        Ok(())
    }

    fn unit(&self) -> &'static str {
        if matches!(self.family, "timestamp" | "duration") { " ns" } else { "" }
    }

    /// `len`, `min_len`, `max_len`, and the same in bytes.
    fn lengths(&mut self) -> Result<(), Refusal> {
        let chars = |range: RangeInclusive<u64>| {
            if self.family == "string" { Test::Chars(range) } else { Test::Length(range) }
        };
        let unit = if self.family == "string" { "characters" } else { "bytes" };
        let number = |name: &str| set(self.options, name).and_then(|value| value.as_u64());
        let mut rules = Vec::new();
        let mut add = |names: [&str; 3], unit: &str, test: &dyn Fn(RangeInclusive<u64>) -> Test| {
            let [exact, min, max] = names.map(|name| number(name).map(|count| (name, count)));
            if let (Some((_, low)), Some((_, high))) = (min, max)
                && low > high
            {
                return Err(format!(
                    "{}.{} is greater than {}: nothing can keep it",
                    self.family, names[1], names[2]
                ));
            }
            let bounds = [
                exact.map(|(name, n)| (name, format!("{n} {unit}"), n..=n)),
                min.map(|(name, n)| (name, format!("at least {n} {unit}"), n..=u64::MAX)),
                max.map(|(name, n)| (name, format!("at most {n} {unit}"), 0..=n)),
            ];
            for (name, expected, range) in bounds.into_iter().flatten() {
                rules.push(Rule::new(format!("{}.{name}", self.family), expected, test(range)));
            }
            Ok(())
        };
        add(["len", "min_len", "max_len"], unit, &chars)?;
        add(["len_bytes", "min_bytes", "max_bytes"], "bytes", &Test::Length)?;
        self.rules.append(&mut rules);
        Ok(())
    }

    fn listed(&self, name: &str, value: &Value) -> Result<Option<Read>, Refusal> {
        let literals: Vec<_> = match value {
            Value::List(values) => values.iter().filter_map(literal).collect(),
            single => literal(single).into_iter().collect(),
        };
        if literals.len() > LISTED_MAX {
            return Err(format!("{}.{name} lists more than {LISTED_MAX} values", self.family));
        }
        let shown: Vec<_> =
            literals.iter().take(8).map(|literal| literal.as_operand().to_string()).collect();
        let more = if literals.len() > shown.len() { ", ..." } else { "" };
        let (list, unit) = (shown.join(", "), self.unit());
        let roots = || {
            literals
                .iter()
                .filter_map(|literal| match literal {
                    Literal::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect()
        };
        let (expected, test) = match (name, self.family) {
            ("const", _) => (format!("{list}{unit}"), Test::OneOf(literals)),
            ("in", "field_mask") => (format!("only paths of {list}{more}"), Test::Below(roots())),
            (_, "field_mask") => (format!("no path of {list}{more}"), Test::NotBelow(roots())),
            ("in", _) => (format!("one of {list}{more}{unit}"), Test::OneOf(literals)),
            _ => (format!("none of {list}{more}{unit}"), Test::NoneOf(literals)),
        };
        Ok(Some((name.to_owned(), expected, test)))
    }

    fn clock(&self, name: &str, value: &Value) -> Option<Read> {
        match name {
            "lt_now" => flag(value, || ("lt_now", "a time in the past", Test::BeforeNow)),
            "gt_now" => flag(value, || ("gt_now", "a time in the future", Test::AfterNow)),
            _ => match literal(value)? {
                Literal::Whole(span) => {
                    let expected = format!("a time within {span} ns of now");
                    Some((name.to_owned(), expected, Test::NearNow(span)))
                }
                _ => None,
            },
        }
    }
}

/// A rule that is on or off.
fn flag(value: &Value, rule: impl FnOnce() -> (&'static str, &'static str, Test)) -> Option<Read> {
    if value.as_bool() != Some(true) {
        return None;
    }
    let (name, expected, test) = rule();
    Some((name.to_owned(), expected.to_owned(), test))
}

fn defined(value: &Value, descriptor: Option<&EnumDescriptor>) -> Option<Read> {
    let numbers = descriptor?.values().map(|value| value.number().into()).collect();
    flag(value, || ("defined_only", "a value that the enum names", Test::Defined(numbers)))
}

fn part(name: &str, value: &Value) -> Option<Read> {
    let literal = literal(value)?;
    let shown = literal.as_operand().to_string();
    let (expected, test) = match name {
        "prefix" => (format!("a value that starts with {shown}"), Test::Prefix(literal)),
        "suffix" => (format!("a value that ends with {shown}"), Test::Suffix(literal)),
        "contains" => (format!("a value that contains {shown}"), Test::Contains(literal)),
        _ => (format!("a value without {shown}"), Test::NotContains(literal)),
    };
    Some((name.to_owned(), expected, test))
}

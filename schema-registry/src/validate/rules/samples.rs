//! Values that keep rules, for example payloads: guesses from what the rules say, and of these the
//! ones that the rules themselves let pass.

use super::{
    FieldRules, Literal, Reader, ValueRules,
    families::Refusal,
    pattern,
    rule::{Rule, Test},
};
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, Value};
use std::mem::discriminant;

const SECOND: i128 = 1_000_000_000;
const YEAR: i128 = 365 * 24 * 3_600 * SECOND;

/// Knows the rules of a contract, and the time for those that look at the clock.
#[derive(Debug)]
pub(crate) struct Sampler {
    reader: Option<Reader>,
    /// Nanoseconds since the epoch.
    now: i128,
}

impl Sampler {
    /// `now` is in nanoseconds since the epoch.
    pub(crate) fn new(pool: &DescriptorPool, now: i128) -> Self {
        Self { reader: Reader::new(pool), now }
    }

    /// The rules of a field. Errors: they cannot be read.
    pub(crate) fn rules(&self, field: &FieldDescriptor) -> Result<FieldRules, Refusal> {
        let rules = self.reader.as_ref().map(|reader| reader.field(field)).transpose()?;
        Ok(rules.flatten().unwrap_or_default())
    }

    /// Numbers of fields of which at most one may be set, in groups.
    pub(crate) fn groups(&self, message: &MessageDescriptor) -> Result<Vec<Vec<u32>>, Refusal> {
        let rules = self.reader.as_ref().map(|reader| reader.message(message, true)).transpose()?;
        let groups = rules.flatten().map(|rules| rules.groups).unwrap_or_default();
        Ok(groups.into_iter().map(|group| group.fields).collect())
    }

    /// Different values that keep the rules, at most `count`, the plainest first. `to_value` makes
    /// of a value what CEL sees; None: it cannot be shown to CEL. `field` has the rules of a field
    /// that holds a single value.
    pub(crate) fn samples(
        &self,
        field: Option<&FieldRules>,
        of: &ValueRules,
        (kind, plain, count): (&Kind, Vec<Literal>, usize),
        to_value: impl Fn(&Literal) -> Option<Value>,
    ) -> Vec<Literal> {
        let (now, mut kept) = (self.now, Vec::new());
        let of_field = field.into_iter().flat_map(|field| &field.expressions);
        let expressions: Vec<_> = of.expressions.iter().chain(of_field).collect();
        let required = field.is_some_and(|field| field.required && !field.presence);
        for guess in guesses(of, &plain, count, now) {
            let breaks_expressions = || {
                to_value(&guess).is_some_and(|value| {
                    expressions.iter().any(|it| it.check(&value, kind, now).is_err())
                })
            };
            let kept_by_all = of.ignored
                || of.broken(guess.as_operand(), now).next().is_none()
                    && !(required && guess.as_operand().is_zero())
                    && !breaks_expressions();
            if kept_by_all && !kept.contains(&guess) {
                kept.push(guess);
                if kept.len() >= count {
                    break;
                }
            }
        }
        kept
    }
}

fn guesses(of: &ValueRules, plain: &[Literal], count: usize, now: i128) -> Vec<Literal> {
    let mut guesses = of.examples.clone();
    guesses.extend(plain.iter().cloned());
    for rule in &of.rules {
        guesses.extend(from_rule(rule, count, now));
    }
    // Those that differ in little, for lists whose elements must.
    let steps = i128::try_from(count).unwrap_or(0) + 8;
    let near: Vec<_> = guesses
        .iter()
        .flat_map(|guess| match guess {
            Literal::Whole(value) => (1..=steps)
                .flat_map(|step| [value + step, value - step])
                .map(Literal::Whole)
                .collect(),
            Literal::Real(value) => (1..=8)
                .flat_map(|step| [value + f64::from(step) / 8.0, value - f64::from(step) / 8.0])
                .map(Literal::Real)
                .collect(),
            _ => Vec::new(),
        })
        .collect();
    guesses.extend(near);
    let texts: Vec<_> = guesses.iter().filter_map(text_of).map(str::to_owned).collect();
    for text in texts.iter().map(String::as_str).chain(["", "x"]) {
        for step in 0..=steps {
            let text = if step == 0 { text.to_owned() } else { format!("{text}{step}") };
            guesses.push(Literal::Text(fitted(of, &text).into()));
        }
    }
    if plain.iter().any(|it| matches!(it, Literal::Bytes(_))) {
        let bytes = guesses.iter().filter_map(text_of).map(|text| text.as_bytes().into());
        let bytes: Vec<_> = bytes.map(Literal::Bytes).collect();
        guesses.extend(bytes);
    }
    if let Some(kind) = plain.first().map(discriminant) {
        guesses.retain(|guess| discriminant(guess) == kind);
    }
    guesses
}

fn text_of(literal: &Literal) -> Option<&str> {
    match literal {
        Literal::Text(text) => Some(text),
        Literal::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn from_rule(rule: &Rule, count: usize, now: i128) -> Vec<Literal> {
    match &rule.test {
        Test::OneOf(values) => values.clone(),
        Test::Whole(range) => {
            let bounds = [range.low, range.high].into_iter().flatten();
            bounds
                .flat_map(|bound| [bound.at, bound.at + 1, bound.at - 1])
                .map(Literal::Whole)
                .collect()
        }
        Test::Real(range) => {
            let bounds: Vec<_> = [range.low, range.high].into_iter().flatten().collect();
            let sum: f64 = bounds.iter().map(|bound| bound.at).sum();
            let middle = bounds.len().try_into().map_or(sum, |count: u32| sum / f64::from(count));
            let near = bounds.iter().flat_map(|bound| [bound.at, bound.at + 1.0, bound.at - 1.0]);
            near.chain([middle]).map(Literal::Real).collect()
        }
        Test::BeforeNow => vec![Literal::Whole(now - YEAR)],
        Test::AfterNow => vec![Literal::Whole(now + YEAR)],
        // The edges last: a moment later they lie outside.
        Test::NearNow(span) => [0, -span / 2, span / 2, -span, *span]
            .into_iter()
            .map(|away| Literal::Whole(now + away))
            .collect(),
        Test::Pattern(regex) => pattern::example(regex.as_str())
            .map(|text| Literal::Text(text.into()))
            .into_iter()
            .collect(),
        Test::LengthOneOf(lengths) => {
            lengths.iter().map(|length| Literal::Bytes(vec![1; *length].into())).collect()
        }
        Test::Below(roots) => roots.iter().cloned().map(Literal::Text).collect(),
        Test::Format(_) => {
            let sample = SAMPLES.iter().find(|(id, _)| *id == &*rule.id).map(|(_, sample)| *sample);
            let numbered = |n: usize| {
                sample.map(|sample| Literal::Text(sample.replace("{n}", &n.to_string()).into()))
            };
            (1..=count.clamp(1, 9)).filter_map(numbered).collect()
        }
        _ => Vec::new(),
    }
}

/// The text with what the rules want at its ends and inside, and of a length that they take.
fn fitted(of: &ValueRules, text: &str) -> String {
    let (mut prefix, mut suffix, mut inside) = ("", "", "");
    let (mut min, mut max) = (0, u64::MAX);
    for rule in &of.rules {
        match &rule.test {
            Test::Prefix(part) => prefix = text_of(part).unwrap_or(""),
            Test::Suffix(part) => suffix = text_of(part).unwrap_or(""),
            Test::Contains(part) => inside = text_of(part).unwrap_or(""),
            Test::Chars(range) | Test::Length(range) => {
                (min, max) = (min.max(*range.start()), max.min(*range.end()));
            }
            _ => {}
        }
    }
    let fixed = [prefix, inside, suffix].iter().map(|part| part.chars().count()).sum::<usize>();
    let room = usize::try_from(max).unwrap_or(usize::MAX).saturating_sub(fixed);
    let middle: String =
        text.chars().rev().take(room).collect::<Vec<_>>().into_iter().rev().collect();
    let length = fixed + middle.chars().count();
    let missing = usize::try_from(min).unwrap_or(0).min(TEXT_MAX).saturating_sub(length);
    format!("{prefix}{middle}{}{inside}{suffix}", "x".repeat(missing))
}

/// Longest text that is made to please a rule.
const TEXT_MAX: usize = 4_096;

/// What keeps the rules about formats; `{n}` is a digit.
const SAMPLES: &[(&str, &str)] = &[
    ("string.email", "someone{n}@example.com"),
    ("string.hostname", "host{n}.example.com"),
    ("string.ip", "192.0.2.{n}"),
    ("string.ipv4", "192.0.2.{n}"),
    ("string.ipv6", "2001:db8::{n}"),
    ("string.uri", "https://example.com/{n}"),
    ("string.uri_ref", "/path/{n}"),
    ("string.address", "host{n}.example.com"),
    ("string.uuid", "0190163d-8694-739b-aea5-966c26f8ad9{n}"),
    ("string.tuuid", "0190163d8694739baea5966c26f8ad9{n}"),
    ("string.ip_with_prefixlen", "192.0.2.{n}/24"),
    ("string.ipv4_with_prefixlen", "192.0.2.{n}/24"),
    ("string.ipv6_with_prefixlen", "2001:db8::{n}/64"),
    ("string.ip_prefix", "10.{n}.0.0/16"),
    ("string.ipv4_prefix", "10.{n}.0.0/16"),
    ("string.ipv6_prefix", "2001:db{n}::/32"),
    ("string.host_and_port", "example.com:808{n}"),
    ("string.ulid", "01ARZ3NDEKTSV4RRFFQ69G5FA{n}"),
    ("string.protobuf_fqn", "example.Name{n}"),
    ("string.protobuf_dot_fqn", ".example.Name{n}"),
    ("string.well_known_regex.header_name", "X-Name-{n}"),
    ("string.well_known_regex.header_value", "value {n}"),
];

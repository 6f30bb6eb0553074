//! One standard rule: its id, what it wants in words, and its test.

use super::operand::{Literal, Operand};
use regex::Regex;
use std::{collections::HashSet, ops::RangeInclusive, sync::Arc};

/// A rule that a single value keeps or breaks.
#[derive(Debug)]
pub(crate) struct Rule {
    /// As protovalidate names it: `string.min_len`, `int32.gt_lt`.
    pub id: Box<str>,
    /// What it wants, for people.
    pub expected: String,
    pub(super) test: Test,
}

/// What a value must be.
#[derive(Debug)]
pub(super) enum Test {
    OneOf(Vec<Literal>),
    NoneOf(Vec<Literal>),
    Whole(Range<i128>),
    Real(Range<f64>),
    Finite,
    /// Before (or after) now.
    BeforeNow,
    AfterNow,
    /// At most so many nanoseconds from now.
    NearNow(i128),
    /// Unicode code points of a text.
    Chars(RangeInclusive<u64>),
    /// Bytes of a text or of bytes.
    Length(RangeInclusive<u64>),
    LengthOneOf(&'static [usize]),
    Pattern(Arc<Regex>),
    Prefix(Literal),
    Suffix(Literal),
    Contains(Literal),
    NotContains(Literal),
    Format(fn(&str) -> bool),
    /// Numbers of an enum.
    Defined(HashSet<i128>),
    /// Each path of a mask is one of these or below one.
    Below(Vec<Box<str>>),
    /// No path of a mask is one of these or below one.
    NotBelow(Vec<Box<str>>),
}

/// Bounds of a number. A lower bound above the upper one means everything but what lies between.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range<T> {
    pub low: Option<Bound<T>>,
    pub high: Option<Bound<T>>,
}

/// A bound, and whether it belongs to the range itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound<T> {
    pub at: T,
    pub inclusive: bool,
}

impl<T: PartialOrd + Copy> Range<T> {
    /// Is the range turned inside out?
    pub(super) fn is_outside(&self) -> bool {
        matches!((self.low, self.high), (Some(low), Some(high)) if high.at < low.at)
    }

    /// Can nothing be in it?
    pub(super) fn is_empty(&self) -> bool {
        let (Some(low), Some(high)) = (self.low, self.high) else { return false };
        low.at == high.at && !(low.inclusive && high.inclusive)
    }

    fn holds(&self, value: T) -> bool {
        let above = |low: Bound<T>| if low.inclusive { value >= low.at } else { value > low.at };
        let below = |high: Bound<T>| {
            if high.inclusive { value <= high.at } else { value < high.at }
        };
        match (self.low, self.high) {
            (Some(low), Some(high)) if self.is_outside() => above(low) || below(high),
            (low, high) => low.is_none_or(above) && high.is_none_or(below),
        }
    }
}

impl Rule {
    pub(super) fn new(id: impl Into<String>, expected: impl Into<String>, test: Test) -> Self {
        Self { id: id.into().into(), expected: expected.into(), test }
    }

    /// Does the value keep the rule, at `now` in nanoseconds since the epoch?
    pub(in super::super) fn holds(&self, operand: Operand<'_>, now: i128) -> bool {
        match operand {
            Operand::Whole(value) => self.test.whole(value, now),
            Operand::Real(value) => match &self.test {
                Test::Real(range) => range.holds(value),
                Test::Finite => value.is_finite(),
                test => test.listed(operand),
            },
            Operand::Truth(_) => self.test.listed(operand),
            Operand::Text(text) => self.test.text(text),
            Operand::Bytes(bytes) => self.test.bytes(bytes),
        }
    }

    /// Does the rule look at the clock?
    pub(super) const fn uses_now(&self) -> bool {
        matches!(self.test, Test::BeforeNow | Test::AfterNow | Test::NearNow(_))
    }
}

impl Test {
    /// Rules are read with the type of their field in view: a test of another type does not occur,
    /// and would be broken by any value.
    fn listed(&self, operand: Operand<'_>) -> bool {
        match self {
            Self::OneOf(literals) => literals.iter().any(|literal| literal.is(operand)),
            Self::NoneOf(literals) => !literals.iter().any(|literal| literal.is(operand)),
            _ => false,
        }
    }

    fn whole(&self, value: i128, now: i128) -> bool {
        match self {
            Self::Whole(range) => range.holds(value),
            Self::BeforeNow => value < now,
            Self::AfterNow => value > now,
            Self::NearNow(span) => (value - now).abs() <= *span,
            Self::Defined(numbers) => numbers.contains(&value),
            _ => self.listed(Operand::Whole(value)),
        }
    }

    fn text(&self, text: &str) -> bool {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let part = |literal: &Literal, fits: fn(&str, &str) -> bool| match literal {
            Literal::Text(part) => fits(text, part),
            _ => false,
        };
        match self {
            Self::Chars(allowed) => allowed.contains(&count(text.chars().count())),
            Self::Length(allowed) => allowed.contains(&count(text.len())),
            Self::Pattern(pattern) => pattern.is_match(text),
            Self::Prefix(literal) => part(literal, |text, part| text.starts_with(part)),
            Self::Suffix(literal) => part(literal, |text, part| text.ends_with(part)),
            Self::Contains(literal) => part(literal, |text, part| text.contains(part)),
            Self::NotContains(literal) => part(literal, |text, part| !text.contains(part)),
            Self::Format(is) => is(text),
            Self::Below(roots) => paths(text).all(|path| is_below(path, roots)),
            Self::NotBelow(roots) => !paths(text).any(|path| is_below(path, roots)),
            _ => self.listed(Operand::Text(text)),
        }
    }

    fn bytes(&self, bytes: &[u8]) -> bool {
        let part = |literal: &Literal, fits: fn(&[u8], &[u8]) -> bool| match literal {
            Literal::Bytes(part) => fits(bytes, part),
            _ => false,
        };
        match self {
            Self::Length(allowed) => u64::try_from(bytes.len()).is_ok_and(|n| allowed.contains(&n)),
            Self::LengthOneOf(lengths) => lengths.contains(&bytes.len()),
            Self::Pattern(pattern) => {
                std::str::from_utf8(bytes).is_ok_and(|text| pattern.is_match(text))
            }
            Self::Prefix(literal) => part(literal, |bytes, part| bytes.starts_with(part)),
            Self::Suffix(literal) => part(literal, |bytes, part| bytes.ends_with(part)),
            Self::Contains(literal) => part(literal, |bytes, part| {
                part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
            }),
            _ => self.listed(Operand::Bytes(bytes)),
        }
    }
}

fn paths(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|path| !path.is_empty())
}

pub(super) fn is_below(path: &str, roots: &[Box<str>]) -> bool {
    roots.iter().any(|root| {
        path.strip_prefix(&**root).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

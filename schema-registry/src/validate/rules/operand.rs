//! A value as rules see it, whatever it was written in.

use super::super::report::quoted;
use std::fmt;

/// A single value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) enum Operand<'a> {
    /// A whole number, an enum, or a time or duration in nanoseconds.
    Whole(i128),
    Real(f64),
    Truth(bool),
    /// A text, the type URL of an `Any`, or the paths of a `FieldMask`.
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// A value that a rule names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Whole(i128),
    Real(f64),
    Truth(bool),
    Text(Box<str>),
    Bytes(Box<[u8]>),
}

impl Operand<'_> {
    /// Is it what an unset field without presence holds?
    pub(in super::super) fn is_zero(&self) -> bool {
        match self {
            Self::Whole(value) => *value == 0,
            Self::Real(value) => *value == 0.0,
            Self::Truth(value) => !value,
            Self::Text(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }
}

impl Literal {
    pub(super) fn is(&self, operand: Operand<'_>) -> bool {
        self.as_operand() == operand
    }

    pub(super) fn as_operand(&self) -> Operand<'_> {
        match self {
            Self::Whole(value) => Operand::Whole(*value),
            Self::Real(value) => Operand::Real(*value),
            Self::Truth(value) => Operand::Truth(*value),
            Self::Text(text) => Operand::Text(text),
            Self::Bytes(bytes) => Operand::Bytes(bytes),
        }
    }
}

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => write!(f, "{value}"),
            Self::Real(value) => write!(f, "{value}"),
            Self::Truth(value) => write!(f, "{value}"),
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

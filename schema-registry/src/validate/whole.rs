//! Whole numbers as JSON writes them, decided from their digits: no double comes in between.

use super::{json::Node, scalar::Scalar};
use serde::{
    Deserialize,
    de::{Deserializer, Error},
};
use serde_json::value::RawValue;

/// Why a text is no whole number that could be in range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotWhole {
    /// It is no number.
    Format,
    /// It has a fraction.
    Fraction,
    /// It has more digits than any type of number here.
    Range,
}

/// More digits than 64 bits have, and few enough for 128.
const DIGITS_MAX: i64 = 38;

/// The whole number that a number of JSON is: `1.50e1` is 15. Takes as long as the text is long,
/// whatever its exponent. A plus and zeros in front pass, for those who write numbers in quotes.
pub(super) fn parse(text: &str) -> Result<i128, NotWhole> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
        None => (text, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return Err(NotWhole::Format),
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let digits = || whole.bytes().chain(fraction.bytes());
    if whole.is_empty() || !digits().all(|digit| digit.is_ascii_digit()) {
        return Err(NotWhole::Format);
    }
    let Some(first) = digits().position(|digit| digit != b'0') else { return Ok(0) };
    let zeros = digits().rev().take_while(|digit| *digit == b'0').count();
    let count = whole.len() + fraction.len() - first - zeros;
    let scale = exponent.saturating_add(length(zeros)).saturating_sub(length(fraction.len()));
    let Ok(power) = u32::try_from(scale.min(DIGITS_MAX)) else { return Err(NotWhole::Fraction) };
    if scale.saturating_add(length(count)) > DIGITS_MAX {
        return Err(NotWhole::Range);
    }
    let significant = digits().skip(first).take(count);
    let value = significant.fold(0, |value, digit| value * 10 + i128::from(digit - b'0'));
    let value = value * 10_i128.pow(power);
    Ok(if negative { -value } else { value })
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// One too large for a number is as good as the largest one.
fn parse_exponent(text: &str) -> Result<i64, NotWhole> {
    let (sign, digits) = match text.as_bytes() {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(NotWhole::Format);
    }
    let value = digits.iter().fold(0_i64, |value, digit| {
        value.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
    });
    Ok(sign * value)
}

/// Is this how a whole number is written as the key of a map: no sign that is not due, no zeros in
/// front, so that no two keys are the same number?
pub(super) fn is_canonical(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty()
        && digits.bytes().all(|digit| digit.is_ascii_digit())
        && (!digits.starts_with('0') || text == "0")
}

/// Reads a value where a whole number is wanted; answers whether it sets the field.
pub(super) fn read<'de, D: Deserializer<'de>>(
    node: Node<'_, '_, '_>,
    deserializer: D,
) -> Result<bool, D::Error> {
    let text = <&RawValue>::deserialize(deserializer)?.get();
    let value = match text.as_bytes() {
        [b'-' | b'0'..=b'9', ..] => match (text.parse(), text.parse()) {
            (Ok(value), _) => Scalar::Unsigned(value),
            (_, Ok(value)) => Scalar::Signed(value),
            _ => Scalar::Written(text),
        },
        _ => {
            let mut json = serde_json::Deserializer::from_str(text);
            return json.deserialize_any(node).map_err(D::Error::custom);
        }
    };
    Ok(node.scalar(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_exponents_decide() {
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("+1", 1),
            ("007", 7),
            ("0.000e-999999999999999999999", 0),
            ("1.0", 1),
            ("1.5e1", 15),
            ("100e-2", 1),
            ("-1.20E+2", -120),
            ("9007199254740993e0", 9_007_199_254_740_993),
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("18446744073709551615", u64::MAX.into()),
            ("0.0000001e7", 1),
        ] {
            assert_eq!(parse(text), Ok(value), "{text}");
        }
        let tiny = format!("1{}e-1000000", "0".repeat(1_000_000));
        assert_eq!(parse(&tiny), Ok(1));
    }

    #[test]
    fn what_is_not_whole_is_told_apart() {
        use NotWhole::{Format, Fraction, Range};
        for (text, why) in [
            ("1e-400", Fraction),
            ("1e-999999999999999999999999", Fraction),
            ("0.5", Fraction),
            ("15e-1", Fraction),
            ("1e999999999999999999999999", Range),
            ("1e38", Range),
            ("", Format),
            ("-", Format),
            ("+-1", Format),
            ("1.", Format),
            (".5", Format),
            ("1e", Format),
            ("1e+", Format),
            ("1e1.0", Format),
            (" 1", Format),
            ("--1", Format),
            ("0x1", Format),
            ("NaN", Format),
            ("\u{661}", Format),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn a_key_has_one_way_to_be_written() {
        for text in ["0", "1", "-1", "10"] {
            assert!(is_canonical(text), "{text}");
        }
        for text in ["", "-", "-0", "01", "-01", "+1", "1.0", "1e0", "x"] {
            assert!(!is_canonical(text), "{text}");
        }
    }
}

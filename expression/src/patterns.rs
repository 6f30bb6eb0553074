//! Patterns: equal texts are compiled once, and those of one owner share a budget.

use cel::common::{
    types::Type,
    value::{StaticVal, Val},
};
use regex::{Regex, RegexBuilder};
use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1_000;
/// What a compiled pattern may take, in bytes, the smallest first. It counts as the first of these
/// that it fits into.
const SIZES: [usize; 3] = [16 << 10, 128 << 10, 1 << 20];

/// The type of a compiled pattern.
pub const PATTERN: Type = Type::new_unspecified_type("@pattern");
static PATTERN_TYPE: Type = PATTERN;

/// A pattern that was compiled with its expression.
#[derive(Debug, Clone)]
pub struct Pattern(pub Arc<Regex>);

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN_TYPE
    }

    fn cel_type() -> &'static Type {
        &PATTERN_TYPE
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

/// Compiles the patterns of an expression, or of a contract.
#[derive(Debug)]
pub struct Patterns {
    whose: &'static str,
    bytes_max: usize,
    compiled: Mutex<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    /// Bytes of the budget.
    left: usize,
    by_text: HashMap<Box<str>, Result<Arc<Regex>, String>>,
}

impl Patterns {
    /// Those of `whose` may take so many bytes, all of them together.
    pub fn within(bytes_max: usize, whose: &'static str) -> Self {
        let compiled = Compiled { left: bytes_max, by_text: HashMap::new() };
        Self { whose, bytes_max, compiled: Mutex::new(compiled) }
    }

    /// A pattern in the syntax of RE2, where `\d`, `\w` and `\s` mean ASCII.
    pub fn compile(&self, text: &str) -> Result<Arc<Regex>, String> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(format!("pattern is longer than {PATTERN_BYTES_MAX} bytes"));
        }
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = compiled.by_text.get(text) {
            return known.clone();
        }
        let regex = self.build(text, &mut compiled.left).map(Arc::new);
        compiled.by_text.insert(text.into(), regex.clone());
        regex
    }

    fn build(&self, text: &str, left: &mut usize) -> Result<Regex, String> {
        let plain = ascii_classes(text);
        let mut too_big = String::new();
        for size in SIZES {
            if size > *left {
                return Err(format!(
                    "pattern `{text}`: the patterns of {} take more than {} bytes when they are \
                     compiled",
                    self.whose, self.bytes_max
                ));
            }
            match RegexBuilder::new(&plain).size_limit(size).build() {
                Ok(regex) => {
                    *left -= size;
                    return Ok(regex);
                }
                Err(error @ regex::Error::CompiledTooBig(_)) => too_big = not_one(text, &error),
                Err(error) => return Err(not_one(text, &error)),
            }
        }
        Err(too_big)
    }
}

fn not_one(pattern: &str, error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or("").trim_start_matches("error: ");
    format!("pattern `{pattern}` is not one: {last}")
}

fn ascii_classes(pattern: &str) -> String {
    let mut plain = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(first) = chars.next() {
        if first != '\\' {
            plain.push(first);
            continue;
        }
        match chars.next() {
            Some('d') => plain.push_str("[0-9]"),
            Some('D') => plain.push_str("[^0-9]"),
            Some('w') => plain.push_str("[0-9A-Za-z_]"),
            Some('W') => plain.push_str("[^0-9A-Za-z_]"),
            Some('s') => plain.push_str(r"[\t\n\f\r ]"),
            Some('S') => plain.push_str(r"[^\t\n\f\r ]"),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_the_first_size_that_it_fits_into_and_equal_ones_take_it_once() {
        let patterns = Patterns::within(SIZES[0] + SIZES[2], "a test");
        let small = patterns.compile("^a$").unwrap();
        assert!(Arc::ptr_eq(&small, &patterns.compile("^a$").unwrap()));
        patterns.compile(r"\pL{20}A").unwrap();
        assert_eq!(patterns.compiled.lock().unwrap().left, 0);
        patterns.compile(r"\pL{20}A").unwrap();
        let spent = patterns.compile("^b$").unwrap_err();
        assert!(spent.contains("`^b$`") && spent.contains("of a test take more"), "{spent}");
    }

    #[test]
    fn what_is_refused_takes_nothing() {
        let patterns = Patterns::within(SIZES[2], "a test");
        let wrong = patterns.compile("(").unwrap_err();
        assert!(wrong.contains("is not one"), "{wrong}");
        let large = patterns.compile(r"\pL{900}").unwrap_err();
        assert!(large.contains("size limit"), "{large}");
        patterns.compile(r"\pL{20}A").unwrap();
    }
}

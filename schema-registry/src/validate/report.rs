//! What a check found, and where.

use contract::{Error, Result, limits::VIOLATIONS_MAX, schema::Violation, uri::EventUri};
use std::fmt::Write as _;

/// Longest text of the payload that a violation shows, in characters.
const SHOWN_MAX: usize = 60;

/// The violations of one payload.
#[derive(Debug, Default)]
pub(super) struct Report {
    violations: Vec<Violation>,
    total: usize,
    /// How many of them say that something is not of its type.
    of_types: usize,
}

/// One way to break a contract, without the place.
#[derive(Debug)]
pub(super) struct Fault<'r> {
    /// `type`, `range`, `required`, ...
    pub rule: &'r str,
    /// What the contract wants.
    pub expected: String,
    /// What was there.
    pub found: String,
}

/// A place in a payload: a list of steps that grows towards the leaves and lives on the stack, so
/// that a valid payload pays nothing for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    above: Option<&'p Self>,
    step: Step<'p>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'p> {
    Root,
    Field(&'p str),
    Index(usize),
    Key(&'p str),
}

impl Report {
    /// Notes a fault; beyond the limit it is only counted.
    pub(super) fn add(&mut self, place: &Place<'_>, fault: Fault<'_>) {
        self.of_types += 1;
        self.add_broken(place, fault);
    }

    /// Notes a value of the right type that breaks a rule.
    pub(super) fn add_broken(&mut self, place: &Place<'_>, fault: Fault<'_>) {
        self.total += 1;
        if self.violations.len() < VIOLATIONS_MAX {
            let Fault { rule, expected, found } = fault;
            let (path, rule) = (place.to_text(), rule.to_owned());
            self.violations.push(Violation { path, expected, found, rule });
        }
    }

    /// How often something was not of its type: what such a payload means is not known.
    pub(super) const fn of_types(&self) -> usize {
        self.of_types
    }

    /// All that was found, as an error; `Ok` if nothing was.
    pub(super) fn into_result(self, uri: &EventUri) -> Result<()> {
        let text = match (self.total, self.violations.first()) {
            (0, _) | (_, None) => return Ok(()),
            (1, Some(only)) => {
                let path = if only.path.is_empty() { "the payload" } else { &only.path };
                format!("the payload breaks the contract of {uri} at {path}")
            }
            (total, _) if total == self.violations.len() => {
                format!("the payload breaks the contract of {uri} in {total} places")
            }
            (total, _) => format!(
                "the payload breaks the contract of {uri} in {total} places; the first \
                 {VIOLATIONS_MAX} are listed"
            ),
        };
        Err(Error::violations(text, self.violations))
    }
}

impl<'p> Place<'p> {
    /// The whole payload.
    pub(super) const ROOT: Place<'static> = Place { above: None, step: Step::Root };

    pub(super) const fn field(&'p self, name: &'p str) -> Self {
        Self { above: Some(self), step: Step::Field(name) }
    }

    pub(super) const fn index(&'p self, index: usize) -> Self {
        Self { above: Some(self), step: Step::Index(index) }
    }

    pub(super) const fn key(&'p self, key: &'p str) -> Self {
        Self { above: Some(self), step: Step::Key(key) }
    }

    /// As in `commits[2].author`, `labels["a b"]`.
    fn to_text(self) -> String {
        let mut steps = vec![self.step];
        let mut at = self.above;
        while let Some(place) = at {
            steps.push(place.step);
            at = place.above;
        }
        let mut text = String::new();
        for step in steps.into_iter().rev() {
            let dot = if text.is_empty() { "" } else { "." };
            // Writing to a String cannot fail.
            _ = match step {
                Step::Root => Ok(()),
                Step::Index(index) => write!(text, "[{index}]"),
                Step::Key(key) if !is_plain(key) => write!(text, "[{}]", quoted(key)),
                Step::Field(name) | Step::Key(name) => write!(text, "{dot}{}", shortened(name)),
            };
        }
        text
    }
}

fn is_plain(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// The beginning of a text of the payload.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// The beginning of a text of the payload, with quotes and escapes.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_like_code() {
        let root = Place::ROOT;
        assert_eq!(root.to_text(), "");
        let commits = root.field("commits");
        let second = commits.index(2);
        assert_eq!(second.field("author").to_text(), "commits[2].author");
        assert_eq!(second.key("a-b").to_text(), "commits[2].a-b");
        assert_eq!(second.key("a \"b\"").to_text(), r#"commits[2]["a \"b\""]"#);
        assert_eq!(root.index(0).to_text(), "[0]");
    }

    #[test]
    fn a_report_is_bounded() {
        let mut report = Report::default();
        for _ in 0..VIOLATIONS_MAX + 5 {
            let fault = Fault { rule: "type", expected: "a".into(), found: "b".into() };
            report.add(&Place::ROOT, fault);
        }
        let error = report.into_result(&"a/1/x".parse().unwrap()).unwrap_err();
        assert_eq!(error.violations.len(), VIOLATIONS_MAX);
        assert!(error.message.contains("in 105 places; the first 100"), "{error}");
    }
}

//! Rules in CEL (cel.dev): the only module that knows the interpreter.
//!
//! Its cost is bounded before it runs, because the interpreter itself has no limit: by the length
//! of the source, by how many loops lie inside each other, and by what a loop may meet: the deeper
//! the loops, the shorter the lists and texts. What exceeds that breaks the rule and says so.

mod functions;
mod values;

use super::families::Refusal;
use crate::{compile::invalid, stack::on_a_large_stack};
use cel::{
    Context, Env, ExecutionError, Value as CelValue, common::types::CelTimestamp,
    parser::Expression as Ast,
};
use expression::{
    patterns::{Pattern, Patterns},
    survey::{self, Fault, Surveyed, Vocabulary},
};
use prost_reflect::{Kind, Value};
use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicUsize, Ordering},
};

/// Longest source of a rule, in bytes.
const SOURCE_BYTES_MAX: usize = 4_096;
/// What a rule may name, a predefined one all of it.
const PREDEFINED: &[&str] = &["this", "now", "rule", "rules"];
/// A rule in CEL, compiled.
pub(crate) struct Expression {
    /// The rule's id; the source if it has none.
    pub id: Box<str>,
    /// What it wants, for people.
    pub expected: String,
    /// Does it look at the clock?
    pub uses_now: bool,
    source: Box<str>,
    /// What a predefined rule was given.
    given: Option<Given>,
    ast: Ast,
    patterns: Vec<Pattern>,
    limits: Limits,
    has_message: bool,
}

/// What `rule` and `rules` are to a predefined rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Given {
    /// The value that the rule was set to.
    pub rule: Value,
    /// Of what kind that is, or its elements.
    pub kind: Kind,
    /// The message of rules in which it was set.
    pub rules: Value,
}

/// What an expression may meet.
#[derive(Debug, Clone, Copy)]
struct Limits {
    list_max: usize,
    text_bytes_max: usize,
}

/// Fields that one run may compare where it compares messages.
const COMPARISONS_MAX: usize = 100_000;

/// The limits of one run, and what is left of its comparisons.
#[derive(Debug, Clone, Copy)]
struct Bounds<'r> {
    limits: Limits,
    comparisons: &'r AtomicUsize,
}

impl Bounds<'_> {
    /// May one more field be compared?
    fn compare(self) -> bool {
        self.comparisons.fetch_add(1, Ordering::Relaxed) < COMPARISONS_MAX
    }

    /// Nothing more may be compared, and the rule is broken. False, as the comparison itself.
    fn exceed(self) -> bool {
        self.comparisons.store(COMPARISONS_MAX + 1, Ordering::Relaxed);
        false
    }
}

/// By how many loops lie inside each other.
const LIMITS: [Limits; 3] = [
    Limits { list_max: usize::MAX, text_bytes_max: usize::MAX },
    Limits { list_max: 5_000, text_bytes_max: 16 * 1024 },
    Limits { list_max: 500, text_bytes_max: 1_024 },
];

static ENV: LazyLock<Option<Arc<Env>>> =
    LazyLock::new(|| functions::environment().ok().map(Arc::new));

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expression").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Expression {
    /// Compiles a rule, and refuses one that could cost too much.
    pub(super) fn compile(
        (id, message): (String, String),
        source: &str,
        given: Option<Given>,
        patterns: &Patterns,
    ) -> Result<Self, Refusal> {
        let shown: String = id.chars().take(80).collect();
        let refuse = |text: String| format!("cel `{shown}`: {text}");
        if source.is_empty() {
            return Err(refuse("it has no expression".to_owned()));
        }
        if source.len() > SOURCE_BYTES_MAX {
            return Err(refuse(format!("longer than {SOURCE_BYTES_MAX} bytes")));
        }
        let (ast, Surveyed { patterns, loops, uses }) =
            parse(source, given.is_some(), patterns).map_err(refuse)?;
        let limits = LIMITS.get(loops).copied();
        let limits = limits.ok_or_else(|| {
            refuse(format!("more than {} loops inside each other", LIMITS.len() - 1))
        })?;
        let has_message = !message.is_empty();
        let expected = if has_message { message } else { format!("what `{source}` asks for") };
        let (id, source, uses_now) = (id.into(), source.into(), uses.contains("now"));
        Ok(Self { id, expected, uses_now, source, given, ast, patterns, limits, has_message })
    }

    /// Do they ask for the same?
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.source == other.source && self.given == other.given
    }

    /// Runs the rule on a value that is not set, to find what could never work.
    pub(super) fn rehearse(&self, zero: &Value, kind: &Kind) -> Result<(), Refusal> {
        let refuse = |text: String| Err(format!("cel `{}`: {text}", self.id));
        match self.run(zero, kind, 0) {
            Ok(CelValue::Bool(_) | CelValue::String(_)) => Ok(()),
            Ok(other) => refuse(format!("gives {:?}, not a bool or a string", other.type_of())),
            Err(
                error @ (ExecutionError::UndeclaredReference(_)
                | ExecutionError::NoSuchOverload(_)
                | ExecutionError::UnsupportedBinaryOperator(..)
                | ExecutionError::UnexpectedType { .. }
                | ExecutionError::InvalidArgumentCount { .. }),
            ) => refuse(error.to_string()),
            // An empty list has no first element; a real one may.
            Err(_) => Ok(()),
        }
    }

    /// Does the value keep the rule? If not: what was found.
    pub(in super::super) fn check(
        &self,
        this: &Value,
        kind: &Kind,
        now: i128,
    ) -> Result<(), String> {
        match self.run(this, kind, now) {
            Ok(CelValue::Bool(true)) => Ok(()),
            Ok(CelValue::Bool(false)) => Err("false".to_owned()),
            Ok(CelValue::String(text)) if text.is_empty() => Ok(()),
            Ok(CelValue::String(_)) if self.has_message => Err("false".to_owned()),
            Ok(CelValue::String(text)) => Err(super::super::report::shortened(&text)),
            Ok(other) => Err(format!("{:?} instead of a bool or a string", other.type_of())),
            Err(ExecutionError::FunctionError { message, .. }) => Err(message),
            Err(error) => Err(super::super::report::shortened(&error.to_string())),
        }
    }

    fn run(&self, this: &Value, kind: &Kind, now: i128) -> Result<CelValue, ExecutionError> {
        let env = env().map_err(|text| ExecutionError::function_error("cel", text))?;
        let comparisons = AtomicUsize::new(0);
        let bounds = Bounds { limits: self.limits, comparisons: &comparisons };
        let mut context = Context::with_env(env);
        context.add_variable_as_val("this", values::value(this, kind, bounds)?);
        if let Some(Given { rule, kind, rules }) = &self.given {
            context.add_variable_as_val("rule", values::value(rule, kind, bounds)?);
            context.add_variable_as_val("rules", values::value(rules, kind, bounds)?);
        }
        if self.uses_now {
            context.add_variable_as_val("now", Box::new(CelTimestamp::from(values::time(now)?)));
        }
        for (index, pattern) in self.patterns.iter().enumerate() {
            context.add_variable_as_val(survey::pattern_name(index), Box::new(pattern.clone()));
        }
        let result = CelValue::resolve(&self.ast, &context);
        values::within(comparisons.load(Ordering::Relaxed), COMPARISONS_MAX, "compared fields")?;
        result
    }
}

/// Parses and surveys a source on a thread of its own, with a stack that no source can exhaust.
fn parse(
    source: &str,
    is_predefined: bool,
    patterns: &Patterns,
) -> Result<(Ast, Surveyed), String> {
    let parsing = || {
        let parsed = env()?.parser().parse(source);
        let mut ast = parsed
            .map_err(|error| error.to_string().split_whitespace().collect::<Vec<_>>().join(" "))?;
        let variables = if is_predefined { PREDEFINED } else { &PREDEFINED[..2] };
        let functions = functions::OF_RULES;
        let vocabulary = Vocabulary { variables, functions, is_metered: false };
        let surveyed =
            survey::survey(&mut ast, vocabulary, patterns).map_err(|Fault { text, .. }| text)?;
        Ok::<_, String>((ast, surveyed))
    };
    let parsed = on_a_large_stack(|| parsing().map_err(invalid));
    parsed.map_err(|error| error.message)
}

fn env() -> Result<Arc<Env>, String> {
    ENV.as_ref().map(Arc::clone).ok_or_else(|| "the functions of CEL clash".to_owned())
}

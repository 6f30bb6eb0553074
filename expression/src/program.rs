//! An expression that is ready to run, and one run of it.

use crate::{
    json::{Limits, given},
    meter::Meter,
    path::Path,
    patterns::Pattern,
    source::{Read, Refused, context},
    subject::{Subject, Variables},
    survey::Fault,
};
use cel::{
    ExecutionError, Value as CelValue,
    common::{
        ast::{CallExpr, Expr, IdedExpr},
        value::Val,
    },
    context::VariableResolver,
};
use serde_json::Value;
use std::fmt;

/// What an expression is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Does a subscription want an event? True or false.
    Filter,
    /// Which deliveries wait for each other? Anything.
    Key,
    /// What is sent? An object or a list.
    Body,
}

/// What an event offers before it is stored.
const OF_EVENT: [&str; 5] = ["event", "headers", "type", "source", "subscriber"];
/// What it offers afterwards.
const OF_STORED: [&str; 7] = ["event", "headers", "type", "source", "subscriber", "id", "time"];
/// What a run may cost while an event is matched, in units of a [`Meter`]: some milliseconds.
const COST_MAX: i64 = 50_000;
/// What a run may cost that makes a body.
const BODY_COST_MAX: i64 = 500_000;
/// Largest body that an expression may make, in bytes.
const BODY_BYTES_MAX: usize = 5 * 1024 * 1024;
/// Largest key, in bytes.
const KEY_BYTES_MAX: usize = 64 * 1024;

impl Purpose {
    /// What it may name.
    pub(crate) const fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Filter | Self::Key => &OF_EVENT,
            Self::Body => &OF_STORED,
        }
    }

    const fn cost_max(self) -> i64 {
        match self {
            Self::Filter | Self::Key => COST_MAX,
            Self::Body => BODY_COST_MAX,
        }
    }
}

/// Why a run gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A field is not there.
    Missing(String),
    /// The payload cannot be looked into.
    Unreadable(String),
    /// It would have cost too much.
    TooCostly,
    /// It would have made too much.
    TooLarge,
    /// Something else, as a sum of a text and a number.
    Error(String),
}

impl Failure {
    pub(crate) fn of(error: &ExecutionError) -> Self {
        match error {
            ExecutionError::NoSuchKey(name) => Self::Missing(name.to_string()),
            ExecutionError::FunctionError { message, .. } => Self::Error(message.clone()),
            error => Self::Error(error.to_string().chars().take(200).collect()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "there is no `{name}`"),
            Self::Unreadable(why) | Self::Error(why) => f.write_str(why),
            Self::TooCostly => f.write_str("it costs too much"),
            Self::TooLarge => f.write_str("it gives too much"),
        }
    }
}

impl std::error::Error for Failure {}

/// What runs of an expression have in common, also those of its parts.
#[derive(Debug)]
pub(crate) struct Terms {
    pub patterns: Vec<Pattern>,
    pub text_bytes_max: usize,
    pub cost_max: i64,
}

impl Terms {
    pub fn new(purpose: Purpose, read: &mut Read) -> Self {
        Self {
            patterns: std::mem::take(&mut read.surveyed.patterns),
            text_bytes_max: read.text_bytes_max,
            cost_max: purpose.cost_max(),
        }
    }

    /// A run's own limits.
    pub fn limits(&self) -> Limits {
        Limits { text_bytes_max: self.text_bytes_max, meter: Meter::new(self.cost_max) }
    }

    /// Runs `ast` on `subject` and hands what it gives to `take`.
    pub fn run<T>(
        &self,
        ast: &IdedExpr,
        subject: &Subject<'_>,
        limits: &Limits,
        take: impl FnOnce(&dyn Val) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let variables = Variables { subject, limits, patterns: &self.patterns };
        let variables: &dyn VariableResolver = &variables;
        let mut context =
            context().ok_or_else(|| Failure::Error("the functions clash".to_owned()))?;
        context.set_variable_resolver(variables);
        let result = match CelValue::resolve_val(ast, &context) {
            Ok(value) => take(value.as_ref()),
            Err(error) => Err(Failure::of(&error)),
        };
        // Whatever an error was absorbed by: nothing holds because it was too much to look at.
        match limits.meter.is_used_up() {
            true => Err(Failure::TooCostly),
            false => result,
        }
    }
}

/// An expression that gives a value.
pub struct Program {
    ast: IdedExpr,
    terms: Terms,
    purpose: Purpose,
    reads_payload: bool,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

impl Program {
    /// Compiles a source. Errors: what is wrong with it, and where.
    pub fn compile(source: &str, purpose: Purpose) -> Result<Self, Refused> {
        let variables = purpose.variables();
        let mut read = Read::new(source, variables)?;
        each_path(&read.ast, variables, &mut |path, at| check_path(&read, path, at))?;
        if purpose == Purpose::Body
            && let Some(what) =
                kind(&read.ast).filter(|kind| !matches!(kind, Kind::Object | Kind::List))
        {
            let text = format!("a body is an object or a list, and this gives {what}");
            return Err(read.refuse(Fault { at: read.ast.id, text }));
        }
        let terms = Terms::new(purpose, &mut read);
        let reads_payload = read.surveyed.uses.contains("event");
        Ok(Self { ast: read.ast, terms, purpose, reads_payload })
    }

    /// What it gives for an event.
    pub fn evaluate(&self, subject: &Subject<'_>) -> Result<Value, Failure> {
        if self.reads_payload {
            subject.document().map_err(|why| Failure::Unreadable(why.to_owned()))?;
        }
        let bytes_max = match self.purpose {
            Purpose::Filter | Purpose::Key => KEY_BYTES_MAX,
            Purpose::Body => BODY_BYTES_MAX,
        };
        let limits = self.terms.limits();
        let value = self.terms.run(&self.ast, subject, &limits, |value| given(value, bytes_max))?;
        match (self.purpose, &value) {
            (Purpose::Body, Value::Object(_) | Value::Array(_)) => Ok(value),
            (Purpose::Body, _) => Err(Failure::Error("a body is an object or a list".to_owned())),
            (Purpose::Filter | Purpose::Key, _) => Ok(value),
        }
    }
}

/// Refuses the name of a header that no header has.
pub(crate) fn check_path(read: &Read, path: &Path, at: u64) -> Result<(), Refused> {
    match path.misspelt_header() {
        Some(name) => {
            let lower = name.to_ascii_lowercase();
            let text = format!("names of headers are in lower case: `{lower}`, not `{name}`");
            Err(read.refuse(Fault { at, text }))
        }
        None => Ok(()),
    }
}

/// Goes through the longest paths of an expression.
pub(crate) fn each_path<E>(
    expr: &IdedExpr,
    variables: &[&str],
    look: &mut impl FnMut(&Path, u64) -> Result<(), E>,
) -> Result<(), E> {
    if let Some(path) = Path::of(expr, variables) {
        return look(&path, expr.id);
    }
    parts(expr).into_iter().try_for_each(|part| each_path(part, variables, look))
}

fn parts(expr: &IdedExpr) -> Vec<&IdedExpr> {
    use cel::common::ast::EntryExpr;
    match &expr.expr {
        Expr::Call(CallExpr { target, args, .. }) => {
            target.as_deref().into_iter().chain(args).collect()
        }
        Expr::Comprehension(it) => vec![&it.iter_range, &it.loop_cond, &it.loop_step, &it.result],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => {
            let entry = |entry: &EntryExpr| match entry {
                EntryExpr::MapEntry(_) => true,
                EntryExpr::StructField(_) => false,
            };
            let pairs = map.entries.iter().filter(|it| entry(&it.expr));
            pairs
                .flat_map(|it| match &it.expr {
                    EntryExpr::MapEntry(pair) => vec![&pair.key, &pair.value],
                    EntryExpr::StructField(_) => Vec::new(),
                })
                .collect()
        }
        Expr::Select(select) => vec![&*select.operand],
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) | Expr::Struct(_) => Vec::new(),
    }
}

/// What an expression gives for certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Number,
    Text,
    Bytes,
    Null,
    List,
    Object,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Bytes => "bytes",
            Self::Null => "null",
            Self::List => "a list",
            Self::Object => "an object",
        })
    }
}

/// What an expression gives, if that can be told without an event.
pub(crate) fn kind(expr: &IdedExpr) -> Option<Kind> {
    use cel::common::ast::LiteralValue::{Boolean, Bytes, Double, Int, Null, String, UInt};
    match &expr.expr {
        Expr::Literal(literal) => Some(match literal {
            Boolean(_) => Kind::Bool,
            Bytes(_) => Kind::Bytes,
            Double(_) | Int(_) | UInt(_) => Kind::Number,
            Null => Kind::Null,
            String(_) => Kind::Text,
        }),
        Expr::Ident(name) => match name.as_str() {
            "headers" => Some(Kind::Object),
            "type" | "source" | "subscriber" | "id" | "time" => Some(Kind::Text),
            _ => None,
        },
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(name) if name == "headers" => Some(Kind::Text),
            _ => None,
        },
        Expr::Call(called) => of_call(called),
        Expr::List(_) => Some(Kind::List),
        Expr::Map(_) => Some(Kind::Object),
        Expr::Comprehension(it) => match &it.result.expr {
            Expr::Ident(name) if *name == it.accu_var => kind(&it.accu_init),
            _ => kind(&it.result),
        },
        Expr::Unspecified | Expr::Struct(_) => None,
    }
}

fn of_call(called: &CallExpr) -> Option<Kind> {
    match called.func_name.as_str() {
        "_&&_" | "_||_" | "!_" | "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_" | "@in"
        | "@has" | "@matches" | "startsWith" | "endsWith" | "contains" | "bool" => Some(Kind::Bool),
        "size" | "int" | "uint" | "double" | "indexOf" | "lastIndexOf" => Some(Kind::Number),
        "string" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "join" | "charAt" => {
            Some(Kind::Text)
        }
        "_+_" => called.args.iter().find_map(kind),
        "_-_" | "_*_" | "_/_" | "_%_" | "-_" => called.args.iter().find_map(kind),
        "_?_:_" => {
            let kinds: Vec<_> = called.args.iter().skip(1).map(kind).collect();
            kinds
                .first()
                .copied()
                .flatten()
                .filter(|first| kinds.iter().all(|it| *it == Some(*first)))
        }
        _ => None,
    }
}

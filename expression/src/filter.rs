//! Which events a subscription wants: conditions that all hold.
//!
//! A condition that compares a field with something written out is looked up without the
//! interpreter, and can be found by a hash: see [`Filter::key`].

use crate::{
    json::Limits,
    path::{Path, Scalar},
    program::{Failure, Kind, Purpose, Terms, check_path, each_path, kind},
    source::{Read, Refused},
    subject::Subject,
    survey::Fault,
};
use cel::common::{
    ast::{CallExpr, Expr, IdedExpr, operators},
    types::CelBool,
};
use serde_json::Value;
use std::fmt;

/// A compiled filter.
pub struct Filter {
    conditions: Vec<Condition>,
    terms: Terms,
}

/// One of the conditions that all have to hold.
struct Condition {
    source: Box<str>,
    test: Test,
    reads_payload: bool,
}

enum Test {
    /// What lies there is one of these.
    Equals(Path, Vec<Scalar>),
    /// What the interpreter says.
    Run(IdedExpr),
}

/// What became of one condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Conjunct {
    /// Its text.
    pub source: String,
    /// Does it hold?
    pub holds: Result<bool, Failure>,
    /// What the event has in the places that it names; None: nothing.
    pub values: Vec<(String, Option<Value>)>,
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.conditions.iter().map(|it| &it.source)).finish()
    }
}

impl Filter {
    /// Compiles a source. Errors: what is wrong with it, and where.
    pub fn compile(source: &str) -> Result<Self, Refused> {
        let variables = Purpose::Filter.variables();
        let mut read = Read::new(source, variables)?;
        each_path(&read.ast, variables, &mut |path, at| check_path(&read, path, at))?;
        check_condition(&read, &read.ast)?;
        let terms = Terms::new(Purpose::Filter, &mut read);
        let mut parts = Vec::new();
        let ast = std::mem::take(&mut read.ast);
        split(ast, &mut parts);
        let texts = texts(source, parts.len());
        let conditions =
            parts.into_iter().zip(texts).map(|(ast, source)| Condition::new(ast, source));
        Ok(Self { conditions: conditions.collect(), terms })
    }

    /// Does it want this event? A field that is not there is no error: the event is not wanted.
    /// Errors: why that cannot be told; then it is not wanted either.
    pub fn matches(&self, subject: &Subject<'_>) -> Result<bool, Failure> {
        let limits = self.terms.limits();
        let mut failed = None;
        // What needs no interpreter first: most events are not wanted.
        let (looked_up, run): (Vec<_>, Vec<_>) =
            self.conditions.iter().partition(|it| matches!(it.test, Test::Equals(..)));
        for condition in looked_up.into_iter().chain(run) {
            match condition.holds(&self.terms, subject, &limits) {
                Ok(true) => {}
                Ok(false) | Err(Failure::Missing(_)) => return Ok(false),
                Err(failure) => failed = Some(failure),
            }
        }
        failed.map_or(Ok(true), Err)
    }

    /// A condition that only events hold with one of these values in that place: the cheapest to
    /// look for. None: it has none.
    pub fn key(&self) -> Option<(&Path, &[Scalar])> {
        let keys = self.conditions.iter().filter_map(|condition| match &condition.test {
            Test::Equals(path, values) => Some((path, values.as_slice())),
            Test::Run(_) => None,
        });
        keys.min_by_key(|(path, values)| (path.is_in_payload(), values.len()))
    }

    /// Does it look into the payload?
    pub fn reads_payload(&self) -> bool {
        self.conditions.iter().any(|condition| condition.reads_payload)
    }

    /// What each of its conditions says of an event, and of what.
    pub fn explain(&self, subject: &Subject<'_>) -> Vec<Conjunct> {
        let explain = |condition: &Condition| {
            let holds = condition.holds(&self.terms, subject, &self.terms.limits());
            let value = |path: &Path| (path.to_string(), path.find(subject).map(|it| it.to_json()));
            Conjunct {
                source: condition.source.to_string(),
                holds,
                values: condition.paths().iter().map(value).collect(),
            }
        };
        self.conditions.iter().map(explain).collect()
    }
}

impl Condition {
    fn new(ast: IdedExpr, source: String) -> Self {
        let test = match equality(&ast) {
            Some((path, values)) => Test::Equals(path, values),
            None => Test::Run(ast),
        };
        let mut condition = Self { source: source.into(), test, reads_payload: false };
        condition.reads_payload = condition.paths().iter().any(Path::is_in_payload);
        condition
    }

    /// The places that it names.
    fn paths(&self) -> Vec<Path> {
        let mut paths = Vec::new();
        match &self.test {
            Test::Equals(path, _) => paths.push(path.clone()),
            Test::Run(ast) => {
                let mut look = |path: &Path, _| {
                    paths.push(path.clone());
                    Ok::<_, std::convert::Infallible>(())
                };
                let Ok(()) = each_path(ast, Purpose::Filter.variables(), &mut look);
                paths.sort_unstable();
                paths.dedup();
            }
        }
        paths
    }

    fn holds(
        &self,
        terms: &Terms,
        subject: &Subject<'_>,
        limits: &Limits,
    ) -> Result<bool, Failure> {
        if self.reads_payload {
            subject.document().map_err(|why| Failure::Unreadable(why.to_owned()))?;
        }
        match &self.test {
            Test::Equals(path, values) => {
                let found = path.find(subject);
                let found = found.ok_or_else(|| Failure::Missing(path.to_string()))?;
                Ok(found.scalar().is_some_and(|found| values.contains(&found)))
            }
            Test::Run(ast) => terms.run(ast, subject, limits, |value| {
                let holds = value.downcast_ref::<CelBool>().map(|holds| *holds.inner());
                let what = value.get_type().name();
                holds.ok_or_else(|| Failure::Error(format!("it gives {what}, not true or false")))
            }),
        }
    }
}

/// Refuses what can never be true or false.
fn check_condition(read: &Read, expr: &IdedExpr) -> Result<(), Refused> {
    if let Some(what) = kind(expr).filter(|kind| *kind != Kind::Bool) {
        let text = format!("a condition is true or false, and this gives {what}");
        return Err(read.refuse(Fault { at: expr.id, text }));
    }
    match &expr.expr {
        Expr::Call(CallExpr { func_name, args, .. })
            if [operators::LOGICAL_AND, operators::LOGICAL_OR, operators::LOGICAL_NOT]
                .contains(&func_name.as_str()) =>
        {
            args.iter().try_for_each(|part| check_condition(read, part))
        }
        _ => Ok(()),
    }
}

/// Takes an expression apart into what all has to hold.
fn split(mut expr: IdedExpr, parts: &mut Vec<IdedExpr>) {
    match &mut expr.expr {
        Expr::Call(CallExpr { func_name, args, .. }) if func_name == operators::LOGICAL_AND => {
            std::mem::take(args).into_iter().for_each(|part| split(part, parts));
        }
        _ => parts.push(expr),
    }
}

/// `path == value`, `value == path` or `path in [values]`.
fn equality(expr: &IdedExpr) -> Option<(Path, Vec<Scalar>)> {
    let Expr::Call(CallExpr { func_name, target: None, args }) = &expr.expr else { return None };
    let [left, right] = args.as_slice() else { return None };
    let variables = Purpose::Filter.variables();
    match func_name.as_str() {
        operators::EQUALS => {
            let (path, value) = match Path::of(left, variables) {
                Some(path) => (path, right),
                None => (Path::of(right, variables)?, left),
            };
            Some((path, vec![Scalar::of(value)?]))
        }
        operators::IN => {
            let Expr::List(list) = &right.expr else { return None };
            let values: Option<Vec<_>> = list.elements.iter().map(Scalar::of).collect();
            Some((Path::of(left, variables)?, values.filter(|values| !values.is_empty())?))
        }
        _ => None,
    }
}

/// The texts of the conditions: what lies between `&&` that stand in no brackets and no text.
/// Where that is not as many as there are, as in `(a && b)`, all of them have the whole.
fn texts(source: &str, count: usize) -> Vec<String> {
    let pieces = pieces(source);
    match pieces.len() == count {
        true => pieces,
        false => vec![source.trim().to_owned(); count],
    }
}

fn pieces(source: &str) -> Vec<String> {
    let (mut pieces, mut piece, mut depth, mut quote) = (Vec::new(), String::new(), 0_usize, None);
    let mut characters = source.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (None, '&') if depth == 0 && characters.peek() == Some(&'&') => {
                characters.next();
                pieces.push(std::mem::take(&mut piece));
                continue;
            }
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            (Some(_), '\\') => {
                piece.push(character);
                piece.extend(characters.next());
                continue;
            }
            _ => {}
        }
        piece.push(character);
    }
    pieces.push(piece);
    pieces.iter().map(|piece| piece.trim().to_owned()).collect()
}

//! A path into an event, as in `event.repository.name`, and the values that a hash can find.

use crate::subject::Subject;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use serde_json::Value;
use std::fmt;

/// Largest whole number that a JSON number and an integer agree on, whichever form it has.
const EXACT_MAX: i64 = 1 << 53;

/// A variable and the names of the fields below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    root: Box<str>,
    fields: Vec<Box<str>>,
}

impl Path {
    /// Does it lead into the payload?
    pub fn is_in_payload(&self) -> bool {
        &*self.root == "event"
    }

    /// The path that this is, if it is one: fields by name, below one of `variables`.
    pub(crate) fn of(expr: &IdedExpr, variables: &[&str]) -> Option<Self> {
        let (mut expr, mut fields) = (&expr.expr, Vec::new());
        loop {
            match expr {
                Expr::Ident(root) => {
                    fields.reverse();
                    let known = variables.contains(&root.as_str());
                    return known.then(|| Self { root: root.as_str().into(), fields });
                }
                Expr::Select(select) if !select.test => {
                    fields.push(select.field.as_str().into());
                    expr = &select.operand.expr;
                }
                Expr::Call(CallExpr { func_name, target: None, args }) => {
                    let [of, name] = args.as_slice() else { return None };
                    let Expr::Literal(LiteralValue::String(name)) = &name.expr else { return None };
                    if func_name != operators::INDEX {
                        return None;
                    }
                    fields.push(name.inner().into());
                    expr = &of.expr;
                }
                _ => return None,
            }
        }
    }

    /// A name of a header in it that no header has: they are in lower case.
    pub(crate) fn misspelt_header(&self) -> Option<&str> {
        let name = self.fields.first().filter(|_| &*self.root == "headers")?;
        name.bytes().any(|byte| byte.is_ascii_uppercase()).then_some(name)
    }

    /// What is there.
    pub fn find<'s>(&self, subject: &'s Subject<'_>) -> Option<Found<'s>> {
        let start = match &*self.root {
            "event" => subject.document().ok()?,
            "headers" => subject.headers(),
            text => return subject.text(text).filter(|_| self.fields.is_empty()).map(Found::Text),
        };
        let step = |value: &'s Value, field: &str| value.as_object()?.get(field);
        let mut fields = self.fields.iter().map(AsRef::as_ref);
        fields.try_fold(start, step).map(Found::Value)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.root)?;
        for field in &self.fields {
            let is_name = field.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && !field.starts_with(|first: char| first.is_ascii_digit());
            match is_name {
                true => write!(f, ".{field}")?,
                false => write!(f, "[\"{field}\"]")?,
            }
        }
        Ok(())
    }
}

/// What a path leads to.
#[derive(Debug, Clone, Copy)]
pub enum Found<'s> {
    /// A variable that is a text.
    Text(&'s str),
    /// A part of a document.
    Value(&'s Value),
}

impl Found<'_> {
    /// As a value that a hash can find; None: it is none.
    pub fn scalar(self) -> Option<Scalar> {
        match self {
            Self::Text(text) => Some(Scalar::Text(text.into())),
            Self::Value(Value::String(text)) => Some(Scalar::Text(text.as_str().into())),
            Self::Value(Value::Bool(value)) => Some(Scalar::Bool(*value)),
            Self::Value(Value::Number(number)) => match number.as_i64() {
                Some(whole) => Some(Scalar::Int(whole)),
                None => whole(number.as_f64()?).map(Scalar::Int),
            },
            Self::Value(Value::Null | Value::Array(_) | Value::Object(_)) => None,
        }
    }

    /// As JSON.
    pub fn to_json(self) -> Value {
        match self {
            Self::Text(text) => Value::from(text),
            Self::Value(value) => value.clone(),
        }
    }
}

/// A whole number that was written as another.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "it is in range")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() <= EXACT_MAX as f64).then_some(number as i64)
}

/// A value that a hash can find.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// A text.
    Text(Box<str>),
    /// A whole number.
    Int(i64),
    /// True or false.
    Bool(bool),
}

impl Scalar {
    /// A value that is written out, if a hash can find all that equal it.
    pub(crate) fn of(literal: &IdedExpr) -> Option<Self> {
        match &literal.expr {
            Expr::Literal(LiteralValue::String(text)) => Some(Self::Text(text.inner().into())),
            Expr::Literal(LiteralValue::Boolean(value)) => Some(Self::Bool(*value.inner())),
            Expr::Literal(LiteralValue::Int(number)) => {
                let number = *number.inner();
                (number.unsigned_abs() <= EXACT_MAX.unsigned_abs()).then_some(Self::Int(number))
            }
            _ => None,
        }
    }
}

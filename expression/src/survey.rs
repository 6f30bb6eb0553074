//! Looks an expression over before it may run: which names it uses, how its loops nest, and how
//! much there is of it. On the way it turns `has(a.b)` and `a.matches("...")` into calls of ours:
//! the first because fields without presence read as zero and still are not set, the second to
//! compile patterns only once. Where runs are metered, loops pay for what they go through.

use crate::{
    meter::{LOOP, METER},
    patterns::{Pattern, Patterns},
};
use cel::common::{
    ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators},
    types::{CelInt, CelString},
};
use std::collections::BTreeSet;

/// What expressions may name.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary<'n> {
    /// Variables.
    pub variables: &'n [&'n str],
    /// Functions, beside operators and [`FUNCTIONS`].
    pub functions: &'n [&'n str],
    /// Loops pay for what they go through: see [`crate::Meter`].
    pub is_metered: bool,
}

/// What an expression is like.
#[derive(Debug)]
pub struct Surveyed {
    /// Its compiled patterns, in the order of [`pattern_name`].
    pub patterns: Vec<Pattern>,
    /// Most loops inside each other.
    pub loops: usize,
    /// Variables that it uses.
    pub uses: BTreeSet<String>,
}

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: the id of a part.
    pub at: u64,
    /// Why.
    pub text: String,
}

/// Functions that every expression may call, beside operators.
pub const FUNCTIONS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "bool",
    "dyn",
    "type",
    "timestamp",
    "duration",
    "getFullYear",
    "getMonth",
    "getDayOfYear",
    "getDayOfMonth",
    "getDate",
    "getDayOfWeek",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
    "charAt",
    "indexOf",
    "lastIndexOf",
    "lowerAscii",
    "upperAscii",
    "join",
    "substring",
    "trim",
    "reverse",
    "all",
    "exists",
    "exists_one",
    "existsOne",
    "map",
    "filter",
    "has",
    "list",
    "null_type",
    "abs",
    "ceil",
    "floor",
    "round",
    "sqrt",
    "min",
    "max",
];
/// Names of types, which are values too.
const TYPES: [&str; 10] =
    ["int", "uint", "double", "string", "bytes", "bool", "list", "map", "null_type", "type"];

/// What joining two texts or lists costs, beside one.
const JOIN_WEIGHT: i64 = 15;

/// Deepest nesting of an expression, so that running it fits any stack.
const DEPTH_MAX: usize = 48;

/// Surveys and rewrites an expression.
pub fn survey(
    ast: &mut IdedExpr,
    vocabulary: Vocabulary<'_>,
    compiler: &Patterns,
) -> Result<Surveyed, Fault> {
    let mut survey = Survey {
        scope: vocabulary.variables.iter().map(|name| (*name).to_owned()).collect(),
        vocabulary,
        compiler,
        patterns: Vec::new(),
        looped: 0,
        nested: 0,
        loops: 0,
        weight: 0,
        uses: BTreeSet::new(),
    };
    survey.expression(ast)?;
    let Survey { patterns, loops, uses, .. } = survey;
    Ok(Surveyed { patterns, loops, uses })
}

/// The variable that holds a pattern; no source can name it.
pub fn pattern_name(index: usize) -> String {
    format!("@pattern{index}")
}

struct Survey<'p> {
    vocabulary: Vocabulary<'p>,
    compiler: &'p Patterns,
    /// Variables of the loops around.
    scope: Vec<String>,
    patterns: Vec<Pattern>,
    /// Loops around.
    looped: usize,
    /// Expressions around.
    nested: usize,
    loops: usize,
    /// What running all parts so far once costs.
    weight: i64,
    uses: BTreeSet<String>,
}

impl Survey<'_> {
    fn expression(&mut self, ast: &mut IdedExpr) -> Result<(), Fault> {
        self.nested += 1;
        self.weight += 1;
        if self.nested > DEPTH_MAX {
            let text = format!("more than {DEPTH_MAX} expressions inside each other");
            return Err(Fault { at: ast.id, text });
        }
        self.parts(ast)?;
        self.nested -= 1;
        Ok(())
    }

    fn parts(&mut self, ast: &mut IdedExpr) -> Result<(), Fault> {
        let at = ast.id;
        let unmade = || Fault { at, text: "messages cannot be made".to_owned() };
        match &mut ast.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name, at),
            Expr::List(list) => list.elements.iter_mut().try_for_each(|it| self.expression(it)),
            Expr::Map(map) => map.entries.iter_mut().try_for_each(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.expression(&mut entry.key)?;
                    self.expression(&mut entry.value)
                }
                EntryExpr::StructField(_) => Err(unmade()),
            }),
            Expr::Struct(_) => Err(unmade()),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Select(select) => {
                self.expression(&mut select.operand)?;
                if select.test {
                    let field = LiteralValue::String(CelString::from(select.field.clone()));
                    let field = IdedExpr { id: ast.id, expr: Expr::Literal(field) };
                    let args = vec![std::mem::take(&mut *select.operand), field];
                    ast.expr = call("@has", args);
                }
                Ok(())
            }
            Expr::Call(_) => self.call(ast),
        }
    }

    fn name(&mut self, name: &str, at: u64) -> Result<(), Fault> {
        if self.scope.iter().any(|variable| variable == name) {
            if self.vocabulary.variables.contains(&name) {
                self.uses.insert(name.to_owned());
            }
            return Ok(());
        }
        if TYPES.contains(&name) {
            return Ok(());
        }
        let known: Vec<_> =
            self.vocabulary.variables.iter().map(|name| format!("`{name}`")).collect();
        let text = match known.split_last() {
            Some((last, [])) => format!("`{name}` is not known; there is {last}"),
            Some((last, others)) => {
                format!("`{name}` is not known; there are {} and {last}", others.join(", "))
            }
            None => format!("`{name}` is not known"),
        };
        Err(Fault { at, text })
    }

    fn call(&mut self, ast: &mut IdedExpr) -> Result<(), Fault> {
        let at = ast.id;
        let fault = |text: String| Fault { at, text };
        let Expr::Call(called) = &mut ast.expr else { return Ok(()) };
        let name = called.func_name.as_str();
        let is_operator = !name.starts_with(|first: char| first.is_ascii_alphabetic());
        if !is_operator && !FUNCTIONS.contains(&name) && !self.vocabulary.functions.contains(&name)
        {
            return Err(fault(format!("there is no function `{name}`")));
        }
        if name == operators::ADD {
            self.weight += JOIN_WEIGHT;
        }
        let is_match = name == "matches";
        if let Some(target) = &mut called.target {
            self.expression(target)?;
        }
        called.args.iter_mut().try_for_each(|argument| self.expression(argument))?;
        if is_match {
            let CallExpr { target, mut args, .. } = std::mem::take(called);
            args.splice(0..0, target.map(|target| *target));
            let [text, pattern] = <[IdedExpr; 2]>::try_from(args)
                .map_err(|_wrong| fault("`matches` takes a text and a pattern".to_owned()))?;
            let Expr::Literal(LiteralValue::String(source)) = pattern.expr else {
                return Err(fault("the pattern of `matches` must be written out".to_owned()));
            };
            let name = Expr::Ident(pattern_name(self.patterns.len()));
            let compiled = self.compiler.compile(source.inner()).map_err(fault)?;
            self.patterns.push(Pattern(compiled));
            ast.expr = call("@matches", vec![text, IdedExpr { id: pattern.id, expr: name }]);
        }
        Ok(())
    }

    fn comprehension(&mut self, it: &mut ComprehensionExpr) -> Result<(), Fault> {
        self.expression(&mut it.iter_range)?;
        self.expression(&mut it.accu_init)?;
        let variables = self.scope.len();
        self.scope.extend([it.iter_var.clone(), it.accu_var.clone()]);
        self.scope.extend(it.iter_var2.clone());
        self.looped += 1;
        self.loops = self.loops.max(self.looped);
        let before = self.weight;
        for part in [&mut it.loop_cond, &mut it.loop_step, &mut it.result] {
            self.expression(part)?;
        }
        self.looped -= 1;
        self.scope.truncate(variables);
        if self.vocabulary.is_metered {
            let range = std::mem::take(&mut it.iter_range);
            let weight = LiteralValue::Int(CelInt::from(self.weight - before));
            let part = |expr| IdedExpr { id: range.id, expr };
            let args = [part(Expr::Ident(METER.to_owned())), part(Expr::Literal(weight))];
            let id = range.id;
            let args = args.into_iter().chain([range]).collect();
            it.iter_range = IdedExpr { id, expr: call(LOOP, args) };
        }
        Ok(())
    }
}

fn call(name: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args })
}

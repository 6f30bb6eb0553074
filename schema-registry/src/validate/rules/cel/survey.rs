//! Looks an expression over before it may run: which names it uses and how its loops nest. On the
//! way it turns `has(a.b)` and `a.matches("...")` into calls of ours: the first because fields
//! without presence read as zero and still are not set, the second to compile patterns only once.

use super::{super::patterns::Patterns, values::Pattern};
use cel::common::{
    ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue},
    types::CelString,
};

/// What an expression is like.
pub(super) struct Surveyed {
    pub patterns: Vec<Pattern>,
    /// Most loops inside each other.
    pub loops: usize,
    pub uses_now: bool,
}

/// Names that expressions may call, beside operators.
const FUNCTIONS: &[&str] = &[
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
    "isEmail",
    "isHostname",
    "isIp",
    "isIpPrefix",
    "isUri",
    "isUriRef",
    "isHostAndPort",
    "isNan",
    "isInf",
    "unique",
    "charAt",
    "format",
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

/// Deepest nesting of an expression, so that running it fits any stack.
const DEPTH_MAX: usize = 48;

/// Surveys and rewrites an expression. A predefined rule has more names.
pub(super) fn survey(
    ast: &mut IdedExpr,
    is_predefined: bool,
    compiler: &Patterns,
) -> Result<Surveyed, String> {
    let names =
        if is_predefined { ["this", "now", "rule", "rules"].as_slice() } else { &["this", "now"] };
    let mut survey = Survey {
        scope: names.iter().map(|name| (*name).to_owned()).collect(),
        compiler,
        patterns: Vec::new(),
        looped: 0,
        nested: 0,
        loops: 0,
        uses_now: false,
    };
    survey.expression(ast)?;
    let Survey { patterns, loops, uses_now, .. } = survey;
    Ok(Surveyed { patterns, loops, uses_now })
}

/// The variable that holds a pattern; no source can name it.
pub(super) fn pattern_name(index: usize) -> String {
    format!("@pattern{index}")
}

struct Survey<'p> {
    compiler: &'p Patterns,
    /// Variables of the loops around.
    scope: Vec<String>,
    patterns: Vec<Pattern>,
    /// Loops around.
    looped: usize,
    /// Expressions around.
    nested: usize,
    loops: usize,
    uses_now: bool,
}

impl Survey<'_> {
    fn expression(&mut self, ast: &mut IdedExpr) -> Result<(), String> {
        self.nested += 1;
        if self.nested > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} expressions inside each other"));
        }
        self.parts(ast)?;
        self.nested -= 1;
        Ok(())
    }

    fn parts(&mut self, ast: &mut IdedExpr) -> Result<(), String> {
        match &mut ast.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::List(list) => list.elements.iter_mut().try_for_each(|it| self.expression(it)),
            Expr::Map(map) => map.entries.iter_mut().try_for_each(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.expression(&mut entry.key)?;
                    self.expression(&mut entry.value)
                }
                EntryExpr::StructField(_) => Err("messages cannot be made".to_owned()),
            }),
            Expr::Struct(_) => Err("messages cannot be made".to_owned()),
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

    fn name(&mut self, name: &str) -> Result<(), String> {
        self.uses_now |= name == "now";
        let known = TYPES.contains(&name) || self.scope.iter().any(|variable| variable == name);
        if known {
            Ok(())
        } else {
            Err(format!("`{name}` is not known; there are `this` and `now`"))
        }
    }

    fn call(&mut self, ast: &mut IdedExpr) -> Result<(), String> {
        let Expr::Call(called) = &mut ast.expr else { return Ok(()) };
        let name = called.func_name.as_str();
        let is_operator = !name.starts_with(|first: char| first.is_ascii_alphabetic());
        if !is_operator && !FUNCTIONS.contains(&name) {
            return Err(format!("there is no function `{name}`"));
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
                .map_err(|_wrong| "`matches` takes a text and a pattern".to_owned())?;
            let Expr::Literal(LiteralValue::String(source)) = pattern.expr else {
                return Err("the pattern of `matches` must be written out".to_owned());
            };
            let name = Expr::Ident(pattern_name(self.patterns.len()));
            self.patterns.push(Pattern(self.compiler.compile(source.inner())?));
            ast.expr = call("@matches", vec![text, IdedExpr { id: pattern.id, expr: name }]);
        }
        Ok(())
    }

    fn comprehension(&mut self, it: &mut ComprehensionExpr) -> Result<(), String> {
        self.expression(&mut it.iter_range)?;
        self.expression(&mut it.accu_init)?;
        let variables = self.scope.len();
        self.scope.extend([it.iter_var.clone(), it.accu_var.clone()]);
        self.scope.extend(it.iter_var2.clone());
        self.looped += 1;
        self.loops = self.loops.max(self.looped);
        for part in [&mut it.loop_cond, &mut it.loop_step, &mut it.result] {
            self.expression(part)?;
        }
        self.looped -= 1;
        self.scope.truncate(variables);
        Ok(())
    }
}

fn call(name: &str, args: Vec<IdedExpr>) -> Expr {
    Expr::Call(CallExpr { func_name: name.to_owned(), target: None, args })
}

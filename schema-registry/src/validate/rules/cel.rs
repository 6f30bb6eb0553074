//! Rules in CEL (cel.dev): the only module that knows the interpreter.
//!
//! Its cost is bounded before it runs, because the interpreter itself has no limit: by the length
//! of the source, by how many loops lie inside each other, and by what a loop may meet: the deeper
//! the loops, the shorter the lists and texts. What exceeds that breaks the rule and says so.

mod survey;
mod values;

use self::survey::Surveyed;
use super::families::Refusal;
use crate::{compile::invalid, stack::on_a_large_stack};
use cel::{
    Context, Env, ExecutionError, Value as CelValue,
    common::types::{self, CelBool, CelInt, CelString, CelTimestamp},
    common::value::CowVal,
    parser::Expression as Ast,
};
use prost_reflect::{Kind, Value};
use std::sync::{Arc, LazyLock};

/// Longest source of a rule, in bytes.
const SOURCE_BYTES_MAX: usize = 4_096;
/// A rule in CEL, compiled.
pub(in super::super) struct Expression {
    /// The rule's id; the source if it has none.
    pub id: Box<str>,
    /// What it wants, for people.
    pub expected: String,
    /// Does it look at the clock?
    pub uses_now: bool,
    ast: Ast,
    patterns: Vec<values::Pattern>,
    limits: Limits,
    has_message: bool,
}

/// What an expression may meet.
#[derive(Debug, Clone, Copy)]
struct Limits {
    list_max: usize,
    text_bytes_max: usize,
}

/// By how many loops lie inside each other.
const LIMITS: [Limits; 3] = [
    Limits { list_max: usize::MAX, text_bytes_max: usize::MAX },
    Limits { list_max: 5_000, text_bytes_max: 16 * 1024 },
    Limits { list_max: 500, text_bytes_max: 1_024 },
];

static ENV: LazyLock<Option<Arc<Env>>> = LazyLock::new(|| environment().ok().map(Arc::new));

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Expression").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Expression {
    /// Compiles a rule, and refuses one that could cost too much.
    pub(super) fn compile(id: String, source: &str, message: String) -> Result<Self, Refusal> {
        let shown: String = id.chars().take(80).collect();
        let refuse = |text: String| format!("cel `{shown}`: {text}");
        if source.is_empty() {
            return Err(refuse("it has no expression".to_owned()));
        }
        if source.len() > SOURCE_BYTES_MAX {
            return Err(refuse(format!("longer than {SOURCE_BYTES_MAX} bytes")));
        }
        let (ast, Surveyed { patterns, loops, uses_now }) = parse(source).map_err(refuse)?;
        let limits = LIMITS.get(loops).copied();
        let limits = limits.ok_or_else(|| {
            refuse(format!("more than {} loops inside each other", LIMITS.len() - 1))
        })?;
        let has_message = !message.is_empty();
        let expected = if has_message { message } else { format!("what `{source}` asks for") };
        let id = id.into();
        Ok(Self { id, expected, uses_now, ast, patterns, limits, has_message })
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
        let mut context = Context::with_env(env);
        context.add_variable_as_val("this", values::value(this, kind, self.limits)?);
        if self.uses_now {
            context.add_variable_as_val("now", Box::new(CelTimestamp::from(values::time(now)?)));
        }
        for (index, pattern) in self.patterns.iter().enumerate() {
            context.add_variable_as_val(survey::pattern_name(index), Box::new(pattern.clone()));
        }
        CelValue::resolve(&self.ast, &context)
    }
}

/// Parses and surveys a source on a thread of its own, with a stack that no source can exhaust.
fn parse(source: &str) -> Result<(Ast, Surveyed), String> {
    let parsing = || {
        let parsed = env()?.parser().parse(source);
        let mut ast = parsed
            .map_err(|error| error.to_string().split_whitespace().collect::<Vec<_>>().join(" "))?;
        let surveyed = survey::survey(&mut ast)?;
        Ok::<_, String>((ast, surveyed))
    };
    let parsed = on_a_large_stack(|| parsing().map_err(invalid));
    parsed.map_err(|error| error.message)
}

fn env() -> Result<Arc<Env>, String> {
    ENV.as_ref().map(Arc::clone).ok_or_else(|| "the functions of CEL clash".to_owned())
}

/// The standard functions and those that protovalidate adds.
fn environment() -> Result<Env, cel::DeclarationError> {
    use super::{addresses, formats, uri};
    let mut env = Env::stdlib().with_optional_support(false);
    env.add_extension(cel::extensions::strings)?;
    env.add_overload("@has", "has", vec![types::DYN_TYPE, types::STRING_TYPE], values::has)?;
    env.add_overload(
        "@matches",
        "matches",
        vec![types::STRING_TYPE, values::PATTERN],
        values::matches,
    )?;

    macro_rules! text {
        ($name:literal, $is:path) => {
            env.add_member_overload($name, $name, types::STRING_TYPE, vec![], |args| {
                Ok(CowVal::owned(CelBool::from(
                    args.first().and_then(values::text).is_some_and($is),
                )))
            })?;
        };
    }
    text!("isEmail", formats::is_email);
    text!("isHostname", addresses::is_hostname);
    text!("isUri", uri::is_uri);
    text!("isUriRef", uri::is_uri_ref);
    text!("isIp", addresses::is_ip);
    text!("isIpPrefix", addresses::is_ip_with_prefixlen);
    env.add_member_overload(
        "isIp",
        "isIp_int",
        types::STRING_TYPE,
        vec![types::INT_TYPE],
        |args| Ok(by_version(&args, addresses::is_ip, addresses::is_ipv4, addresses::is_ipv6)),
    )?;
    env.add_member_overload(
        "isIpPrefix",
        "isIpPrefix_int",
        types::STRING_TYPE,
        vec![types::INT_TYPE],
        |args| {
            use addresses::{is_ip_with_prefixlen, is_ipv4_with_prefixlen, is_ipv6_with_prefixlen};
            Ok(by_version(
                &args,
                is_ip_with_prefixlen,
                is_ipv4_with_prefixlen,
                is_ipv6_with_prefixlen,
            ))
        },
    )?;
    env.add_member_overload(
        "isIpPrefix",
        "isIpPrefix_bool",
        types::STRING_TYPE,
        vec![types::BOOL_TYPE],
        |args| {
            let is = |text| match values::truth(args.get(1)) {
                true => addresses::is_ip_prefix(text),
                false => addresses::is_ip_with_prefixlen(text),
            };
            Ok(CowVal::owned(CelBool::from(args.first().and_then(values::text).is_some_and(is))))
        },
    )?;
    env.add_member_overload(
        "isIpPrefix",
        "isIpPrefix_int_bool",
        types::STRING_TYPE,
        vec![types::INT_TYPE, types::BOOL_TYPE],
        |args| {
            use addresses::{is_ip_prefix, is_ipv4_prefix, is_ipv6_prefix};
            use addresses::{is_ip_with_prefixlen, is_ipv4_with_prefixlen, is_ipv6_with_prefixlen};
            Ok(match values::truth(args.get(2)) {
                true => by_version(&args, is_ip_prefix, is_ipv4_prefix, is_ipv6_prefix),
                false => by_version(
                    &args,
                    is_ip_with_prefixlen,
                    is_ipv4_with_prefixlen,
                    is_ipv6_with_prefixlen,
                ),
            })
        },
    )?;
    env.add_member_overload(
        "isHostAndPort",
        "isHostAndPort",
        types::STRING_TYPE,
        vec![types::BOOL_TYPE],
        |args| {
            let is = |text| match values::truth(args.get(1)) {
                true => addresses::is_host_and_port(text),
                false => addresses::is_host_with_optional_port(text),
            };
            Ok(CowVal::owned(CelBool::from(args.first().and_then(values::text).is_some_and(is))))
        },
    )?;
    env.add_member_overload("isNan", "isNan", types::DOUBLE_TYPE, vec![], values::is_nan)?;
    env.add_member_overload("isInf", "isInf", types::DOUBLE_TYPE, vec![], values::is_inf)?;
    env.add_member_overload(
        "isInf",
        "isInf_int",
        types::DOUBLE_TYPE,
        vec![types::INT_TYPE],
        values::is_inf,
    )?;
    env.add_member_overload("unique", "unique", types::LIST_TYPE, vec![], values::unique)?;
    Ok(env)
}

/// A test of a text by the version of the address that the next argument names; 0 is any.
fn by_version<'b, 'v>(
    args: &[CowVal<'b, 'v>],
    any: fn(&str) -> bool,
    four: fn(&str) -> bool,
    six: fn(&str) -> bool,
) -> CowVal<'b, 'v> {
    let version = args.get(1).and_then(|version| version.downcast_ref::<CelInt>());
    let is = match version.map(|version| *version.inner()) {
        Some(0) => any,
        Some(4) => four,
        Some(6) => six,
        _ => |_: &str| false,
    };
    let text = args.first().and_then(|text| text.downcast_ref::<CelString<'_>>());
    CowVal::owned(CelBool::from(text.is_some_and(|text| is(text.inner()))))
}

//! The functions of CEL that rules may call: the standard ones, and those that protovalidate adds.

#![expect(clippy::needless_pass_by_value, reason = "the interpreter gives arguments that way")]

use super::{
    super::{addresses, formats, uri},
    values::{Evaluated, IS_SET, MESSAGE, within},
};
use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        functions::Function,
        types::{
            BOOL_TYPE, CelBool, CelDouble, CelInt, CelString, DOUBLE_TYPE, DYN_TYPE, INT_TYPE,
            LIST_TYPE, STRING_TYPE, Type,
        },
        value::{CowVal, Val},
    },
};

/// What rules may call beside what every expression may.
pub(super) const OF_RULES: &[&str] = &[
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
    "format",
];

/// Everything that a rule may call.
pub(super) fn environment() -> Result<Env, DeclarationError> {
    let mut env = expression::environment()?;
    env.add_overload("@has", "has", vec![DYN_TYPE, STRING_TYPE], has)?;
    let of_texts: [(&str, &str, Vec<Type>, Function); 11] = [
        ("isEmail", "", vec![], |args| text_is(&args, formats::is_email)),
        ("isHostname", "", vec![], |args| text_is(&args, addresses::is_hostname)),
        ("isUri", "", vec![], |args| text_is(&args, uri::is_uri)),
        ("isUriRef", "", vec![], |args| text_is(&args, uri::is_uri_ref)),
        ("isHostAndPort", "_bool", vec![BOOL_TYPE], is_host_and_port),
        ("isIp", "", vec![], is_ip),
        ("isIp", "_int", vec![INT_TYPE], is_ip),
        ("isIpPrefix", "", vec![], is_ip_prefix),
        ("isIpPrefix", "_int", vec![INT_TYPE], is_ip_prefix),
        ("isIpPrefix", "_bool", vec![BOOL_TYPE], is_ip_prefix),
        ("isIpPrefix", "_int_bool", vec![INT_TYPE, BOOL_TYPE], is_ip_prefix),
    ];
    for (name, suffix, arguments, function) in of_texts {
        let id = format!("{name}{suffix}");
        env.add_member_overload(name, &id, STRING_TYPE, arguments, function)?;
    }
    env.add_member_overload("isNan", "isNan", DOUBLE_TYPE, vec![], is_nan)?;
    env.add_member_overload("isInf", "isInf", DOUBLE_TYPE, vec![], is_inf)?;
    env.add_member_overload("isInf", "isInf_int", DOUBLE_TYPE, vec![INT_TYPE], is_inf)?;
    env.add_member_overload("unique", "unique", LIST_TYPE, vec![], unique)?;
    Ok(env)
}

fn text_is<'b, 'v>(
    args: &[CowVal<'b, 'v>],
    is: impl FnOnce(&str) -> bool,
) -> Evaluated<CowVal<'b, 'v>> {
    answer(args.first().and_then(text).is_some_and(is))
}

/// `a.isHostAndPort(must the port be there?)`
fn is_host_and_port<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Evaluated<CowVal<'b, 'v>> {
    if truth(args.get(1)) {
        text_is(&args, addresses::is_host_and_port)
    } else {
        text_is(&args, addresses::is_host_with_optional_port)
    }
}

/// `a.isIp()`, `a.isIp(version)`; 0 is any version.
fn is_ip<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Evaluated<CowVal<'b, 'v>> {
    match version(&args) {
        0 => text_is(&args, addresses::is_ip),
        4 => text_is(&args, addresses::is_ipv4),
        6 => text_is(&args, addresses::is_ipv6),
        _ => answer(false),
    }
}

/// `a.isIpPrefix()`, with a version, and with whether nothing may be set beyond the length.
fn is_ip_prefix<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Evaluated<CowVal<'b, 'v>> {
    match (version(&args), truth(args.last())) {
        (0, false) => text_is(&args, addresses::is_ip_with_prefixlen),
        (4, false) => text_is(&args, addresses::is_ipv4_with_prefixlen),
        (6, false) => text_is(&args, addresses::is_ipv6_with_prefixlen),
        (0, true) => text_is(&args, addresses::is_ip_prefix),
        (4, true) => text_is(&args, addresses::is_ipv4_prefix),
        (6, true) => text_is(&args, addresses::is_ipv6_prefix),
        _ => answer(false),
    }
}

fn version(args: &[CowVal<'_, '_>]) -> i64 {
    let version = args.get(1).and_then(|version| version.downcast_ref::<CelInt>());
    version.map_or(0, |version| *version.inner())
}

fn text<'a>(value: &'a CowVal<'_, '_>) -> Option<&'a str> {
    value.downcast_ref::<CelString<'_>>().map(CelString::inner)
}

fn truth(value: Option<&CowVal<'_, '_>>) -> bool {
    let value = value.and_then(|value| value.downcast_ref::<CelBool>());
    value.is_some_and(|value| *value.inner())
}

fn answer<'b, 'v>(value: bool) -> Evaluated<CowVal<'b, 'v>> {
    Ok(CowVal::owned(CelBool::from(value)))
}

/// `has(a.b)`: is a field set, has a map the key?
fn has<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Evaluated<CowVal<'b, 'v>> {
    let [of, name] = args.as_slice() else {
        return Err(ExecutionError::invalid_argument_count(2, args.len()));
    };
    let indexer = of.as_indexer();
    let indexer = indexer.ok_or_else(|| ExecutionError::no_such_key("`has` of a plain value"))?;
    if of.get_type() == &MESSAGE {
        let name = format!("{IS_SET}{}", text(name).unwrap_or_default());
        let is_set = indexer.get(&CelString::from(name))?;
        return answer(truth(Some(&is_set)));
    }
    match indexer.get(name.as_ref()) {
        Ok(_) => answer(true),
        Err(ExecutionError::NoSuchKey(_)) => answer(false),
        Err(error) => Err(error),
    }
}

fn is_nan<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Evaluated<CowVal<'b, 'v>> {
    let number = args.first().and_then(|number| number.downcast_ref::<CelDouble>());
    answer(number.is_some_and(|number| number.inner().is_nan()))
}

/// `a.isInf()`; with a sign, infinite in that direction.
fn is_inf<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Evaluated<CowVal<'b, 'v>> {
    let number = args.first().and_then(|number| number.downcast_ref::<CelDouble>());
    let sign = args.get(1).and_then(|sign| sign.downcast_ref::<CelInt>()).map(|sign| *sign.inner());
    answer(number.map(|number| *number.inner()).is_some_and(|number| {
        number.is_infinite()
            && match sign.unwrap_or(0).signum() {
                1 => number > 0.0,
                -1 => number < 0.0,
                _ => true,
            }
    }))
}

/// Longest list that `unique` compares, each with each.
const UNIQUE_MAX: usize = 500;

/// `a.unique()`: no element comes twice.
fn unique<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Evaluated<CowVal<'b, 'v>> {
    let list = args.first().and_then(|list| list.as_iterable());
    let list = list.ok_or_else(|| ExecutionError::no_such_key("`unique` of a plain value"))?;
    let mut elements = list.iter();
    let mut seen: Vec<&dyn Val> = Vec::new();
    while let Some(element) = elements.next() {
        within(seen.len() + 1, UNIQUE_MAX, "elements")?;
        if seen.iter().any(|before| before.equals(element)) {
            return answer(false);
        }
        seen.push(element);
    }
    answer(true)
}

//! The functions that all expressions share: the standard ones of CEL, and those that the survey
//! puts in place of others.

#![expect(clippy::needless_pass_by_value, reason = "the interpreter gives arguments that way")]

use crate::{
    meter::{LOOP, METER_KIND, charge_loop},
    patterns::{PATTERN, Pattern},
};
use cel::{
    DeclarationError, Env, ExecutionError,
    common::{
        types::{CelBool, CelString, DYN_TYPE, INT_TYPE, STRING_TYPE},
        value::CowVal,
    },
};

/// What every expression may call.
pub fn environment() -> Result<Env, DeclarationError> {
    let mut env = Env::stdlib().with_optional_support(false);
    env.add_extension(cel::extensions::strings)?;
    env.add_overload("@matches", "matches", vec![STRING_TYPE, PATTERN], matches)?;
    env.add_overload(LOOP, "loop", vec![METER_KIND, INT_TYPE, DYN_TYPE], charge_loop)?;
    Ok(env)
}

/// `has(a.b)` of a map: is there such a key?
pub(crate) fn has<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [of, name] = args.as_slice() else {
        return Err(ExecutionError::invalid_argument_count(2, args.len()));
    };
    let indexer = of.as_indexer();
    let indexer = indexer.ok_or_else(|| ExecutionError::no_such_key("`has` of a plain value"))?;
    match indexer.get(name.as_ref()) {
        Ok(_) => Ok(CowVal::owned(CelBool::from(true))),
        Err(ExecutionError::NoSuchKey(_)) => Ok(CowVal::owned(CelBool::from(false))),
        Err(error) => Err(error),
    }
}

/// `a.matches("...")` with the pattern compiled.
fn matches<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let pattern = args.get(1).and_then(|pattern| pattern.downcast_ref::<Pattern>());
    let text = args.first().and_then(|text| text.downcast_ref::<CelString<'_>>());
    let fits = pattern.zip(text).is_some_and(|(pattern, text)| pattern.0.is_match(text.inner()));
    Ok(CowVal::owned(CelBool::from(fits)))
}

//! The rules that a contract carries in `buf.validate` options (protovalidate.com), compiled once
//! per contract. [`read`] turns options into [`FieldRules`] and [`MessageRules`], and refuses what
//! it does not know; the walks over JSON and over built messages ask them.

mod operand;
mod rule;
mod formats;
mod addresses;
mod uri;
mod cel;
mod read;
mod families;
mod implies;
mod pattern;
mod samples;
mod strength;

pub(super) use self::{
    cel::Expression,
    families::{mask_paths, nanoseconds},
    operand::Operand,
    read::Reader,
    rule::Rule,
};
pub(crate) use self::{
    operand::Literal,
    samples::Sampler,
    strength::{Shift, Sides},
};

use prost_reflect::MessageDescriptor;

/// What a field's value must keep beyond its type.
#[derive(Debug, Default)]
pub(crate) struct FieldRules {
    /// It must be set; without presence: to something else than zero.
    pub required: bool,
    /// Does the field know "not set" from zero?
    pub presence: bool,
    /// The rules of its value, of its elements or of its map values.
    pub value: ValueRules,
    /// The rules of map keys.
    pub keys: ValueRules,
    /// How many elements or pairs there may be.
    pub count: Vec<Rule>,
    /// No element may come twice.
    pub unique: bool,
    /// CEL over the whole field.
    pub expressions: Vec<Expression>,
    /// Does zero, or an empty list or map, pass whatever the rules say?
    pub zero_passes: bool,
    /// Nothing counts, not even below (`IGNORE_ALWAYS`).
    pub ignored: bool,
}

/// What a single value must keep.
#[derive(Debug, Default)]
pub(crate) struct ValueRules {
    pub rules: Vec<Rule>,
    /// CEL over each element, key or map value; for single values these are the field's.
    pub expressions: Vec<Expression>,
    /// Does zero pass whatever the rules say?
    pub zero_passes: bool,
    /// Nothing below counts (`IGNORE_ALWAYS`).
    pub ignored: bool,
    /// Values that keep them, as the contract's author says.
    pub examples: Vec<Literal>,
    /// Rules that need a built message: those of `Any` and `FieldMask`.
    pub built_only: bool,
}

/// What a message must keep as a whole. It must be built to check that.
#[derive(Debug)]
pub(super) struct MessageRules {
    pub descriptor: MessageDescriptor,
    /// CEL over the message.
    pub expressions: Vec<Expression>,
    /// Groups of fields of which at most one may be set.
    pub groups: Vec<Group>,
}

/// Fields of which at most one may be set.
#[derive(Debug)]
pub(super) struct Group {
    /// Numbers of the fields.
    pub fields: Vec<u32>,
    /// Exactly one must be set.
    pub required: bool,
    /// For people.
    pub expected: String,
}

impl FieldRules {
    /// Can the field be checked without building its message?
    pub(super) const fn is_light(&self) -> bool {
        !self.unique
            && self.expressions.is_empty()
            && self.value.is_light()
            && self.keys.expressions.is_empty()
    }
}

impl FieldRules {
    /// May a list or map have so many elements?
    pub(crate) fn takes(&self, count: usize) -> bool {
        self.miscounted(count).next().is_none()
    }

    /// The rules that a list or map of so many elements breaks.
    pub(super) fn miscounted(&self, count: usize) -> impl Iterator<Item = &Rule> {
        let passes = count == 0 && self.zero_passes;
        let count = Operand::Whole(i128::try_from(count).unwrap_or(i128::MAX));
        self.count.iter().filter(move |rule| !passes && !rule.holds(count, 0))
    }

    /// Do they look at the clock?
    pub(super) fn use_now(&self) -> bool {
        let value = |rules: &ValueRules| {
            rules.rules.iter().any(Rule::uses_now)
                || rules.expressions.iter().any(|expression| expression.uses_now)
        };
        value(&self.value)
            || value(&self.keys)
            || self.expressions.iter().any(|expression| expression.uses_now)
    }
}

impl ValueRules {
    const fn is_light(&self) -> bool {
        self.expressions.is_empty() && !self.built_only
    }

    /// The rules that `operand` breaks.
    pub(super) fn broken<'r>(
        &'r self,
        operand: Operand<'r>,
        now: i128,
    ) -> impl Iterator<Item = &'r Rule> {
        let passes = self.zero_passes && operand.is_zero();
        self.rules.iter().filter(move |rule| !passes && !rule.holds(operand, now))
    }
}

#[cfg(test)]
mod tests;

//! Which of two sets of rules asks for more? For comparing the versions of a contract.
//!
//! What a rule of the other side implies is nothing new. Where that cannot be told, as for two
//! patterns or two expressions, it counts as new, so that a verdict errs to the safe side.

use super::{
    Expression, FieldRules, Group, Reader, Rule, ValueRules,
    families::{Refusal, literal},
};
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, Value};

/// The rules of two versions of a contract.
#[derive(Debug)]
pub(crate) struct Sides {
    old: Option<Reader>,
    new: Option<Reader>,
}

/// What the rules of a new version ask for that those of the old one did not, and the other way
/// round, for people.
#[derive(Debug, Default)]
pub(crate) struct Shift {
    pub added: Vec<String>,
    pub dropped: Vec<String>,
}

impl Sides {
    /// None: neither version has rules.
    pub(crate) fn of(old: &DescriptorPool, new: &DescriptorPool) -> Option<Self> {
        let (old, new) = (Reader::new(old), Reader::new(new));
        (old.is_some() || new.is_some()).then_some(Self { old, new })
    }

    /// Of a field that both versions have. Errors: the rules of one cannot be read.
    pub(crate) fn fields(
        &self,
        old: &FieldDescriptor,
        new: &FieldDescriptor,
    ) -> Result<Shift, Refusal> {
        let (was, is) = (field(self.old.as_ref(), old)?, field(self.new.as_ref(), new)?);
        Ok(Shift::between(&wants(&was, old), &wants(&is, new)))
    }

    /// Of a field that is new: payloads of the old version lack it.
    pub(crate) fn added(&self, new: &FieldDescriptor) -> Result<Shift, Refusal> {
        let rules = field(self.new.as_ref(), new)?;
        let missed = is_missed(&rules, new).then_some(Want::Present);
        Ok(Shift::between(&[], &Vec::from_iter(missed)))
    }

    /// Of messages as a whole, and of their oneofs.
    pub(crate) fn messages(
        &self,
        old: &MessageDescriptor,
        new: &MessageDescriptor,
    ) -> Result<Shift, Refusal> {
        let rules = |reader: Option<&Reader>, message| {
            let rules = reader.map(|reader| reader.message(message, true)).transpose()?;
            Ok::<_, Refusal>(rules.flatten())
        };
        let (was, is) = (rules(self.old.as_ref(), old)?, rules(self.new.as_ref(), new)?);
        let mut sides = [(was, self.old.as_ref(), old), (is, self.new.as_ref(), new)].map(
            |(rules, reader, message)| {
                let (expressions, groups) =
                    rules.map(|rules| (rules.expressions, rules.groups)).unwrap_or_default();
                (expressions, groups, choices(reader, message))
            },
        );
        let [was, is] = sides.each_mut().map(|(expressions, groups, choices)| {
            let expressions = expressions.iter().map(|it| Want::Expression(Part::Value, it, false));
            let groups = groups.iter().map(Want::Group);
            expressions.chain(groups).chain(choices.drain(..)).collect::<Vec<_>>()
        });
        Ok(Shift::between(&was, &is))
    }
}

fn field(reader: Option<&Reader>, field: &FieldDescriptor) -> Result<FieldRules, Refusal> {
    let rules = reader.map(|reader| reader.field(field)).transpose()?.flatten();
    let presence = field.supports_presence();
    Ok(rules.unwrap_or_else(|| FieldRules { presence, ..FieldRules::default() }))
}

/// The oneofs of a message of which one field must be set.
fn choices<'r>(reader: Option<&Reader>, message: &MessageDescriptor) -> Vec<Want<'r>> {
    let required = |oneof: &prost_reflect::OneofDescriptor| {
        !oneof.is_synthetic() && reader.is_some_and(|reader| reader.is_required(oneof))
    };
    let choice = |oneof: prost_reflect::OneofDescriptor| {
        let fields = oneof.fields().map(|field| field.number()).collect();
        Want::Choice(fields, oneof.name().to_owned())
    };
    message.oneofs().filter(required).map(choice).collect()
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The field, if it is a list or a map.
    Whole,
    /// A single value, an element or a map value.
    Value,
    Key,
}

/// One thing that is asked for.
#[derive(Debug)]
enum Want<'r> {
    /// And whether zero passes whatever the rule says.
    Rule(Part, &'r Rule, bool),
    Expression(Part, &'r Expression, bool),
    Unique,
    Required,
    /// A payload without the field is refused.
    Present,
    /// The rules inside the message count.
    Inside,
    Group(&'r Group),
    /// One of these fields must be set, those of the oneof with that name.
    Choice(Vec<u32>, String),
}

/// Everything that the rules of a field ask for.
fn wants<'r>(rules: &'r FieldRules, field: &FieldDescriptor) -> Vec<Want<'r>> {
    if rules.ignored {
        return Vec::new();
    }
    let many = field.is_list() || field.is_map();
    let whole = if many { Part::Whole } else { Part::Value };
    let mut wants = Vec::new();
    let flags = [
        (rules.required, Want::Required),
        (rules.unique, Want::Unique),
        (is_missed(rules, field), Want::Present),
        (holds_messages(field) && !rules.value.ignored, Want::Inside),
    ];
    wants.extend(flags.into_iter().filter_map(|(is, want)| is.then_some(want)));
    wants.extend(rules.count.iter().map(|it| Want::Rule(Part::Whole, it, rules.zero_passes)));
    let of_whole = |it| Want::Expression(whole, it, rules.zero_passes);
    wants.extend(rules.expressions.iter().map(of_whole));
    for (part, values) in [(Part::Value, &rules.value), (Part::Key, &rules.keys)] {
        let ValueRules { rules, expressions, zero_passes, ignored, .. } = values;
        if !ignored {
            wants.extend(rules.iter().map(|it| Want::Rule(part, it, *zero_passes)));
            wants.extend(expressions.iter().map(|it| Want::Expression(part, it, *zero_passes)));
        }
    }
    wants
}

fn holds_messages(field: &FieldDescriptor) -> bool {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            matches!(entry.map_entry_value_field().kind(), Kind::Message(_))
        }
        kind => matches!(kind, Kind::Message(_)),
    }
}

/// Is a payload refused that lacks the field?
fn is_missed(rules: &FieldRules, field: &FieldDescriptor) -> bool {
    if rules.ignored || rules.required {
        return !rules.ignored;
    }
    if rules.presence || rules.zero_passes {
        return false;
    }
    let zero = Value::default_value_for_field(field);
    let unkept = |it: &Expression| it.check(&zero, &field.kind(), 0).is_err();
    if rules.expressions.iter().any(unkept) {
        return true;
    }
    if field.is_list() || field.is_map() {
        return rules.miscounted(0).next().is_some();
    }
    let zero = literal(&zero);
    zero.is_some_and(|zero| rules.value.broken(zero.as_operand(), 0).next().is_some())
}

impl Want<'_> {
    /// Does whatever keeps this one keep the other one, too?
    fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rule(part, rule, lax), Self::Rule(of, other, other_lax)) => {
                part == of && (!lax || *other_lax) && rule.implies(other)
            }
            (Self::Expression(part, it, lax), Self::Expression(of, other, other_lax)) => {
                part == of && (!lax || *other_lax) && it.is_same(other)
            }
            (Self::Unique, Self::Unique)
            | (Self::Required, Self::Required | Self::Present)
            | (Self::Present, Self::Present)
            | (Self::Inside, Self::Inside) => true,
            (Self::Group(group), Self::Group(other)) => {
                let within = |these: &Group, those: &Group| {
                    these.fields.iter().all(|field| those.fields.contains(field))
                };
                within(other, group) && (!other.required || group.required && within(group, other))
            }
            (Self::Choice(fields, _), Self::Choice(others, _)) => {
                fields.iter().all(|field| others.contains(field))
            }
            _ => false,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Rule(_, rule, _) => format!("{} ({})", rule.expected, rule.id),
            Self::Expression(_, it, _) => format!("{} ({})", it.expected, it.id),
            Self::Unique => "no element twice (repeated.unique)".to_owned(),
            Self::Required => "a value (required)".to_owned(),
            Self::Present => "that it is there".to_owned(),
            Self::Inside => "what the rules inside it say".to_owned(),
            Self::Group(group) => format!("{} (message.oneof)", group.expected),
            Self::Choice(_, name) => format!("one field of `{name}` (required)"),
        }
    }
}

impl Shift {
    fn between(old: &[Want<'_>], new: &[Want<'_>]) -> Self {
        let beyond = |these: &[Want<'_>], those: &[Want<'_>]| {
            let asked = |this: &&Want<'_>| !those.iter().any(|that| that.implies(this));
            these.iter().filter(asked).map(Want::show).collect()
        };
        Self { added: beyond(new, old), dropped: beyond(old, new) }
    }
}

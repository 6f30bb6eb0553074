//! The rules of a built message and of its fields.

use super::Walk;
use crate::validate::{
    report::{Fault, Place},
    rules::{Expression, FieldRules, Group, Operand, ValueRules, mask_paths, nanoseconds},
    shape::MessageShape,
};
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value,
};
use std::{borrow::Cow, collections::HashSet};

impl Walk<'_> {
    /// Checks a message against its rules, but not the messages inside it.
    pub(super) fn keep(
        &mut self,
        message: &DynamicMessage,
        shape: &MessageShape,
        place: &Place<'_>,
    ) {
        let descriptor = message.descriptor();
        for field in shape.ruled.iter().filter_map(|index| shape.fields.get(*index)) {
            if let (Some(rules), Some(field)) = (&field.rules, descriptor.get_field(field.number)) {
                let name = if self.from_json { field.json_name() } else { field.name() };
                self.field(message, &field, rules, &place.field(name));
            }
        }
        if !self.from_json {
            for oneof in &shape.required_oneofs {
                let mut members = shape.fields.iter().filter(|field| field.oneof == Some(*oneof));
                if !members.any(|field| message.has_field_by_number(field.number)) {
                    let place = place.field(&shape.oneofs[*oneof]);
                    self.broken(&place, "required", "a value", "nothing");
                }
            }
        }
        if let Some(rules) = &shape.rules {
            for group in &rules.groups {
                self.group(message, group, place);
            }
            if !rules.expressions.is_empty() {
                let this = Value::Message(message.clone());
                self.expressions(&rules.expressions, &this, &Kind::Message(descriptor), place);
            }
        }
    }

    fn field(
        &mut self,
        message: &DynamicMessage,
        field: &FieldDescriptor,
        rules: &FieldRules,
        place: &Place<'_>,
    ) {
        if rules.ignored || self.from_json && rules.is_light() {
            return;
        }
        if !message.has_field(field) {
            if rules.required {
                if !self.from_json {
                    self.broken(place, "required", "a value", "nothing");
                }
                return;
            }
            if rules.presence || rules.zero_passes {
                return;
            }
        }
        let value = message.get_field(field);
        match value.as_ref() {
            Value::List(values) => self.list(values, &field.kind(), rules, place),
            Value::Map(pairs) => {
                let Kind::Message(entry) = field.kind() else { return };
                self.count(pairs.len(), rules, place);
                for (key, value) in pairs {
                    self.pair(key, value, (&entry, rules), place);
                }
            }
            single => {
                let zero = with_operand(single, |operand| operand.is_zero()).unwrap_or(false);
                if rules.zero_passes && zero {
                    return;
                }
                self.single(single, &rules.value, &field.kind(), place);
            }
        }
        self.expressions(&rules.expressions, value.as_ref(), &field.kind(), place);
    }

    fn list(&mut self, values: &[Value], kind: &Kind, rules: &FieldRules, place: &Place<'_>) {
        self.count(values.len(), rules, place);
        if rules.unique {
            let mut seen = HashSet::new();
            for (index, value) in values.iter().enumerate() {
                if identity(value).is_some_and(|identity| !seen.insert(identity)) {
                    let found = format!("the element {index} again");
                    self.broken(place, "repeated.unique", "no element twice", &found);
                    break;
                }
            }
        }
        for (index, value) in values.iter().enumerate() {
            self.single(value, &rules.value, kind, &place.index(index));
        }
    }

    fn pair(
        &mut self,
        key: &MapKey,
        value: &Value,
        (entry, rules): (&MessageDescriptor, &FieldRules),
        place: &Place<'_>,
    ) {
        let text = super::key_text(key);
        let place = place.key(&text);
        let key = Value::from(key.clone());
        self.single(&key, &rules.keys, &entry.map_entry_key_field().kind(), &place);
        self.single(value, &rules.value, &entry.map_entry_value_field().kind(), &place);
    }

    /// Checks one value: a field, an element, a key.
    fn single(&mut self, value: &Value, rules: &ValueRules, kind: &Kind, place: &Place<'_>) {
        if rules.ignored {
            return;
        }
        let now = self.rules.now;
        if !self.from_json || rules.built_only {
            with_operand(value, |operand| {
                for rule in rules.broken(operand, now) {
                    self.broken(place, &rule.id, &rule.expected, &operand.to_string());
                }
            });
        }
        let zero = || with_operand(value, |operand| operand.is_zero()).unwrap_or(false);
        if !(rules.expressions.is_empty() || rules.zero_passes && zero()) {
            self.expressions(&rules.expressions, value, kind, place);
        }
    }

    fn count(&mut self, count: usize, rules: &FieldRules, place: &Place<'_>) {
        if self.from_json {
            return;
        }
        for rule in rules.miscounted(count) {
            self.broken(place, &rule.id, &rule.expected, &count.to_string());
        }
    }

    fn group(&mut self, message: &DynamicMessage, group: &Group, place: &Place<'_>) {
        let set =
            group.fields.iter().filter(|number| message.has_field_by_number(**number)).count();
        if set > 1 || group.required && set == 0 {
            self.broken(place, "message.oneof", &group.expected, &format!("{set} of them"));
        }
    }

    fn expressions(
        &mut self,
        expressions: &[Expression],
        this: &Value,
        kind: &Kind,
        place: &Place<'_>,
    ) {
        for expression in expressions {
            if let Err(found) = expression.check(this, kind, self.rules.now) {
                self.broken(place, &expression.id, &expression.expected, &found);
            }
        }
    }

    fn broken(&mut self, place: &Place<'_>, rule: &str, expected: &str, found: &str) {
        let (expected, found) = (expected.to_owned(), found.to_owned());
        self.report.add_broken(place, Fault { rule, expected, found });
    }
}

/// Shows a value to `see` in terms of rules; None: it has no such terms.
fn with_operand<T>(value: &Value, see: impl FnOnce(Operand<'_>) -> T) -> Option<T> {
    let operand = match value {
        Value::Bool(value) => Operand::Truth(*value),
        Value::I32(value) | Value::EnumNumber(value) => Operand::Whole((*value).into()),
        Value::I64(value) => Operand::Whole((*value).into()),
        Value::U32(value) => Operand::Whole((*value).into()),
        Value::U64(value) => Operand::Whole((*value).into()),
        Value::F32(value) => Operand::Real((*value).into()),
        Value::F64(value) => Operand::Real(*value),
        Value::String(text) => Operand::Text(text),
        Value::Bytes(bytes) => Operand::Bytes(bytes),
        Value::List(_) | Value::Map(_) => return None,
        Value::Message(message) => {
            let descriptor = message.descriptor();
            match descriptor.full_name().strip_prefix("google.protobuf.")? {
                "Timestamp" | "Duration" => Operand::Whole(nanoseconds(message)),
                "FieldMask" => return Some(see(Operand::Text(&mask_paths(message)))),
                "Any" => {
                    let type_url = message.get_field_by_name("type_url").map(Cow::into_owned);
                    return Some(see(Operand::Text(type_url.as_ref()?.as_str()?)));
                }
                name if name.ends_with("Value") && name != "Value" && name != "ListValue" => {
                    let inner = message.get_field_by_name("value")?;
                    return with_operand(inner.as_ref(), see);
                }
                _ => return None,
            }
        }
    };
    Some(see(operand))
}

/// What makes two elements the same; None: nothing does (NaN, messages).
#[derive(PartialEq, Eq, Hash)]
enum Identity<'a> {
    Whole(i128),
    Real(u64),
    Truth(bool),
    Text(&'a str),
    Bytes(&'a [u8]),
}

fn identity(value: &Value) -> Option<Identity<'_>> {
    let real = |value: f64| {
        // Zero has a sign that does not count.
        (!value.is_nan()).then(|| Identity::Real(if value == 0.0 { 0 } else { value.to_bits() }))
    };
    Some(match value {
        Value::Bool(value) => Identity::Truth(*value),
        Value::I32(value) | Value::EnumNumber(value) => Identity::Whole((*value).into()),
        Value::I64(value) => Identity::Whole((*value).into()),
        Value::U32(value) => Identity::Whole((*value).into()),
        Value::U64(value) => Identity::Whole((*value).into()),
        Value::F32(value) => return real((*value).into()),
        Value::F64(value) => return real(*value),
        Value::String(text) => Identity::Text(text),
        Value::Bytes(bytes) => Identity::Bytes(bytes),
        Value::Message(_) | Value::List(_) | Value::Map(_) => return None,
    })
}

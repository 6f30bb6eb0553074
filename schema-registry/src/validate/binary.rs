//! Built messages: those decoded from binary protobuf, whose types decoding has proved, and those
//! built from JSON for the sake of their rules. What remains to be checked of both is checked here.

pub(super) mod decode;
mod rules;

use super::{
    Strictness, json, malformed,
    report::{Fault, Place, Report, quoted},
    shape::{Kind as ShapeKind, MessageShape, Shapes, has_own_json_form},
};
use contract::Result;
use decode::{Undecodable, decode};
use prost_reflect::{
    Cardinality, DynamicMessage, EnumDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage as _, Syntax, Value,
};
use std::borrow::Cow;

/// Decodes and checks a payload. Errors: `malformed_payload`.
pub(super) fn check(
    shapes: &Shapes,
    message: &MessageDescriptor,
    payload: &[u8],
    rules: Strictness,
) -> Result<Report> {
    let mut walk = Walk { shapes, rules, report: Report::default(), muted: 0, from_json: false };
    match decode(message, payload) {
        Ok(decoded) => walk.message(&decoded, &Place::ROOT, 0),
        Err(Undecodable::TooDeep) => walk.too_deep(&Place::ROOT),
        Err(Undecodable::Malformed(error)) => {
            let name = message.full_name();
            return Err(malformed(format!("the payload is no `{name}` in protobuf: {error}")));
        }
    }
    Ok(walk.report)
}

/// Checks what the walk over JSON could not check of a message that was built from it.
pub(super) fn check_built(json: &mut json::Walk<'_>, message: &DynamicMessage, place: &Place<'_>) {
    let (shapes, report) = (json.shapes, std::mem::take(&mut json.report));
    let rules = Strictness { reject_unknown: false, depth_max: usize::MAX, ..json.rules };
    let mut walk = Walk { shapes, rules, report, muted: 0, from_json: true };
    walk.message(message, place, 0);
    json.report = walk.report;
}

struct Walk<'s> {
    shapes: &'s Shapes,
    rules: Strictness,
    report: Report,
    /// How many values are open whose rules do not count.
    muted: usize,
    /// Was everything checked already that a walk over JSON can check?
    from_json: bool,
}

impl<'s> Walk<'s> {
    /// `depth`: how many objects would be around it in JSON, at most.
    fn message(&mut self, message: &DynamicMessage, place: &Place<'_>, depth: usize) {
        let descriptor = message.descriptor();
        let opens = self.is_object(&descriptor);
        if opens && depth >= self.rules.depth_max {
            return self.too_deep(place);
        }
        if self.rules.reject_unknown {
            for field in message.unknown_fields() {
                let found = format!("the unknown field number {}", field.number());
                self.note(place, "unknown_field", "no such field", found);
            }
        }
        let required = |field: &prost_reflect::FieldDescriptor| {
            field.cardinality() == Cardinality::Required && !message.has_field(field)
        };
        for field in descriptor.fields().filter(required) {
            self.note(&place.field(field.name()), "required", "a value", "nothing");
        }
        match descriptor.full_name() {
            "google.protobuf.Any" => return self.any(message, place, depth),
            "google.protobuf.Timestamp" => {
                self.seconds(message, place, -62_135_596_800..=253_402_300_799, |_, nanos| {
                    nanos >= 0
                });
            }
            "google.protobuf.Duration" => {
                let one_sign = |seconds: i64, nanos: i32| {
                    seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0)
                };
                self.seconds(message, place, -315_576_000_000..=315_576_000_000, one_sign);
            }
            "google.protobuf.Value" => self.any_value(message, place),
            _ => {}
        }
        let shape = self.shape(&descriptor);
        if let Some(shape) = shape {
            self.keep(message, shape, place);
        }
        let inside = depth + usize::from(opens);
        for (field, value) in message.fields() {
            let name = if self.from_json { field.json_name() } else { field.name() };
            let muted = usize::from(shape.is_some_and(|shape| shape.ignores(field.number())));
            self.muted += muted;
            self.value(value, &field.kind(), &place.field(name), inside);
            self.muted -= muted;
        }
        for (extension, value) in message.extensions() {
            self.value(value, &extension.kind(), &place.field(extension.json_name()), inside);
        }
    }

    /// Would JSON write it as an object or a list? If not, it adds nothing to the depth.
    fn is_object(&self, descriptor: &MessageDescriptor) -> bool {
        use ShapeKind::{Any, List, Message, Struct};
        let kind = self.shapes.kind_named(descriptor.full_name());
        matches!(kind, None | Some(Any | List | Message(_) | Struct))
    }

    fn too_deep(&mut self, place: &Place<'_>) {
        let expected = format!("at most {} messages inside each other", self.rules.depth_max);
        self.note(place, "depth", expected, "more");
    }

    /// The shape of a message that may carry rules.
    fn shape(&self, descriptor: &MessageDescriptor) -> Option<&'s MessageShape> {
        if !self.shapes.ruled || self.muted > 0 {
            return None;
        }
        match self.shapes.kind_named(descriptor.full_name())? {
            ShapeKind::Message(index) => self.shapes.message(index),
            _ => None,
        }
    }

    fn value(&mut self, value: &Value, kind: &Kind, place: &Place<'_>, depth: usize) {
        match value {
            Value::Message(message) => self.message(message, place, depth),
            Value::EnumNumber(number) => {
                if let Kind::Enum(descriptor) = kind {
                    self.enumeration(*number, descriptor, place);
                }
            }
            Value::List(values) => {
                // Lists of plain numbers and texts have nothing left to check.
                if matches!(kind, Kind::Message(_) | Kind::Enum(_)) {
                    for (index, value) in values.iter().enumerate() {
                        self.value(value, kind, &place.index(index), depth);
                    }
                }
            }
            Value::Map(values) => {
                let Some(entry) = kind.as_message() else { return };
                let kind = entry.map_entry_value_field().kind();
                for (key, value) in values {
                    self.value(value, &kind, &place.key(&key_text(key)), depth);
                }
            }
            _ => {}
        }
    }

    /// `proto2` enums take the numbers they name only.
    fn enumeration(&mut self, number: i32, descriptor: &EnumDescriptor, place: &Place<'_>) {
        let closed = descriptor.parent_file().syntax() == Syntax::Proto2;
        if closed && descriptor.get_value(number).is_none() {
            let expected = format!("a value of `{}`", descriptor.full_name());
            self.note(place, "enum", expected, number.to_string());
        }
    }

    fn seconds(
        &mut self,
        message: &DynamicMessage,
        place: &Place<'_>,
        allowed: std::ops::RangeInclusive<i64>,
        fits: fn(i64, i32) -> bool,
    ) {
        let number = |name: &str| message.get_field_by_name(name).map(Cow::into_owned);
        let seconds = number("seconds").and_then(|value| value.as_i64()).unwrap_or(0);
        let nanos = number("nanos").and_then(|value| value.as_i32()).unwrap_or(0);
        if !allowed.contains(&seconds) || nanos.unsigned_abs() > 999_999_999 {
            let expected = format!("{} to {} seconds", allowed.start(), allowed.end());
            self.note(place, "range", expected, format!("{seconds} s, {nanos} ns"));
        } else if !fits(seconds, nanos) {
            let expected = "nanoseconds of the sign that is due";
            self.note(place, "range", expected, format!("{seconds} s, {nanos} ns"));
        }
    }

    /// What JSON has no way to write is refused.
    fn any_value(&mut self, message: &DynamicMessage, place: &Place<'_>) {
        let Some((_, value)) = message.fields().next() else {
            return self.note(place, "required", "a value, be it null", "nothing");
        };
        if let Some(number) = value.as_f64().filter(|number| !number.is_finite()) {
            self.note(place, "range", "a finite number", number.to_string());
        }
    }

    fn any(&mut self, any: &DynamicMessage, place: &Place<'_>, depth: usize) {
        let field = |name: &str| any.get_field_by_name(name).map(Cow::into_owned);
        let (type_url, value) = (field("type_url"), field("value"));
        let type_url = type_url.as_ref().and_then(Value::as_str).unwrap_or("");
        let value = value.as_ref().and_then(Value::as_bytes).cloned().unwrap_or_default();
        if type_url.is_empty() && value.is_empty() {
            return;
        }
        let pool = any.descriptor();
        let pool = pool.parent_pool();
        let name = type_url.rsplit_once('/').map_or("", |(_, name)| name);
        let Some(descriptor) = pool.get_message_by_name(name) else {
            let expected = "the URL of a message type that the contract knows";
            return self.note(&place.field("type_url"), "any_type", expected, quoted(type_url));
        };
        // In JSON, fields stand beside `@type`, and anything else in an object under `value`.
        let inside = depth + usize::from(has_own_json_form(name));
        match decode(&descriptor, &value) {
            Ok(message) => self.message(&message, place, inside),
            Err(Undecodable::TooDeep) => self.too_deep(place),
            Err(Undecodable::Malformed(error)) => {
                let expected = format!("a `{name}` in protobuf");
                self.note(&place.field("value"), "format", expected, error.to_string());
            }
        }
    }

    fn note(
        &mut self,
        place: &Place<'_>,
        rule: &'static str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        self.report.add(place, Fault { rule, expected: expected.into(), found: found.into() });
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

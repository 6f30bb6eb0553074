//! Objects: the fields of a message, or the pairs of a map.

use super::{Node, REQUIRED, Walk, Wants, broken};
use crate::validate::{
    keys::{FieldName, Key, Text},
    report::{Fault, Place, quoted},
    rules::FieldRules,
    scalar::{self, Scalar},
    shape::{Count, FieldShape, Kind, MessageShape, Shapes},
    whole,
};
use serde::de::{IgnoredAny, MapAccess};
use std::collections::HashSet;

impl<'s> Node<'_, 's, '_> {
    /// Reads an object as the fields of a message; `@type` passes inside an `Any`.
    pub(in super::super) fn message<'de, A: MapAccess<'de>>(
        self,
        mut map: A,
        shape: &'s MessageShape,
        in_any: bool,
    ) -> Result<(), A::Error> {
        let Node { walk, place, depth, .. } = self;
        let base = walk.seen.len();
        walk.seen.resize(base + shape.words(), 0);
        let reject = walk.rules.reject_unknown;
        while let Some(key) = map.next_key_seed(FieldName { shape, in_any, reject })? {
            let (name, index) = match key {
                Key::Known(name, index) => (name, index),
                Key::Unknown(name) => {
                    if let Some(name) = name {
                        unknown_field(walk, &place.field(&name));
                    }
                    let (wants, depth) = (Wants::Whatever, depth + 1);
                    map.next_value_seed(Node { walk: &mut *walk, wants, place, depth })?;
                    continue;
                }
            };
            let Some(field) = shape.fields.get(index) else { continue };
            let place = place.field(name);
            let again = walk.mark(base, index);
            if again {
                walk.duplicate(&place);
            }
            let (wants, depth) = (Wants::Field(field), depth + 1);
            let muted = usize::from(field.rules.as_ref().is_some_and(|it| it.ignored));
            walk.muted += muted;
            let set =
                map.next_value_seed(Node { walk: &mut *walk, wants, place: &place, depth })?;
            walk.muted -= muted;
            if !set && field.required {
                missing(walk, &place, "null");
            }
            if !set {
                walk.absent(&place, field, "null");
            }
            if let Some(oneof) = field.oneof.filter(|_| set && !again)
                && walk.mark(base, shape.fields.len() + oneof)
            {
                second_of(walk, &place, shape, oneof);
            }
        }
        for index in &shape.required {
            if !walk.is_marked(base, *index) {
                missing(walk, &place.field(&shape.fields[*index].name), "nothing");
            }
        }
        for index in &shape.ruled {
            if let (false, Some(field)) = (walk.is_marked(base, *index), shape.fields.get(*index)) {
                walk.absent(&place.field(&field.name), field, "nothing");
            }
        }
        for oneof in &shape.required_oneofs {
            if walk.muted == 0 && !walk.is_marked(base, shape.fields.len() + oneof) {
                broken(walk, &place.field(&shape.oneofs[*oneof]), REQUIRED, &"nothing");
            }
        }
        walk.seen.truncate(base);
        Ok(())
    }

    /// Reads an object as a map or a `Struct`, or as something that passes anyway.
    pub(super) fn map<'de, A: MapAccess<'de>>(
        self,
        mut map: A,
        key_kind: Option<Kind>,
        wants: Wants<'s>,
    ) -> Result<(), A::Error> {
        let rules = self.field_rules();
        let Node { walk, place, depth, .. } = self;
        let depth = depth + 1;
        let Some(key_kind) = key_kind else {
            while map.next_key::<IgnoredAny>()?.is_some() {
                map.next_value_seed(Node { walk: &mut *walk, wants, place, depth })?;
            }
            return Ok(());
        };
        let muted = wants.muted();
        let mut keys = HashSet::new();
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let place = place.key(&key);
            if let Some(fault) = key_fault(key_kind, &key, walk.shapes) {
                walk.report.add(&place, fault);
            } else if let Some(rules) = rules {
                let key = if key_kind == Kind::Bool {
                    Scalar::Bool(key == "true")
                } else {
                    Scalar::Text(&key)
                };
                walk.keep(&place, &rules.keys, false, (key_kind, key));
            }
            walk.muted += muted;
            map.next_value_seed(Node { walk: &mut *walk, wants, place: &place, depth })?;
            walk.muted -= muted;
            if keys.contains(&key) {
                walk.duplicate(&place);
            } else {
                keys.insert(key);
            }
        }
        if let Some(rules) = rules {
            walk.count(place, rules, keys.len());
        }
        Ok(())
    }

    /// The rules of a field that is a list or a map.
    pub(super) fn field_rules(&self) -> Option<&'s FieldRules> {
        match self.wants {
            Wants::Field(FieldShape { rules, count: Count::List | Count::Map(_), .. }) => {
                rules.as_deref()
            }
            _ => None,
        }
    }
}

pub(in super::super) fn unknown_field(walk: &mut Walk<'_>, place: &Place<'_>) {
    let (expected, found) = ("no such field".to_owned(), "an unknown field".to_owned());
    walk.report.add(place, Fault { rule: "unknown_field", expected, found });
}

fn missing(walk: &mut Walk<'_>, place: &Place<'_>, found: &str) {
    let (expected, found) = ("a value".to_owned(), found.to_owned());
    walk.report.add(place, Fault { rule: "required", expected, found });
}

fn second_of(walk: &mut Walk<'_>, place: &Place<'_>, shape: &MessageShape, oneof: usize) {
    let members = shape.fields.iter().filter(|field| field.oneof == Some(oneof));
    let names: Vec<_> = members.map(|field| format!("`{}`", field.name)).collect();
    let expected = format!("only one of {}", names.join(", "));
    let found = "a second one".to_owned();
    walk.report.add(place, Fault { rule: "oneof", expected, found });
}

/// Keys of maps are numbers or booleans in quotes, or any text.
fn key_fault(kind: Kind, key: &str, shapes: &Shapes) -> Option<Fault<'static>> {
    if kind == Kind::Bool {
        let (rule, expected) = ("format", "`true` or `false` as key".to_owned());
        return (!matches!(key, "true" | "false")).then(|| Fault {
            rule,
            expected,
            found: quoted(key),
        });
    }
    if kind.is_whole() && whole::parse(key).is_ok() && !whole::is_canonical(key) {
        let expected =
            "a whole number without a fraction, an exponent or zeros in front".to_owned();
        return Some(Fault { rule: "format", expected, found: quoted(key) });
    }
    scalar::fault(kind, Scalar::Text(key), shapes)
}

//! Compares two versions of a contract under the `certes` rulebook, the strict one.
//!
//! What a payload of the old version may hold must mean the same in the new one, in JSON (by name)
//! and in binary (by number): fields may be added, and nothing else may change. Only the types that
//! the contract's message reaches count.

use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor,
};
use std::collections::{BTreeMap, BTreeSet};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Do payloads, or readers, of the old version break?
    pub breaking: bool,
    /// One sentence.
    pub text: String,
}

/// A version of a contract as it is compared.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version<'a> {
    /// All its types.
    pub pool: &'a DescriptorPool,
    /// Full name of its message.
    pub message: &'a str,
}

/// All differences from `old` to `new`, in the order of the types' names.
pub(crate) fn compare(old: Version<'_>, new: Version<'_>) -> Vec<Difference> {
    let mut differences = Differences(Vec::new());
    if old.message != new.message {
        let (was, is) = (old.message, new.message);
        differences.breaking(format!("the message of the contract is `{is}`; it was `{was}`"));
    }
    let (before, after) = (Types::reached(old), Types::reached(new));
    for (name, message) in &before.messages {
        match new.pool.get_message_by_name(name) {
            Some(changed) => differences.messages(message, &changed),
            None => differences.breaking(format!("message `{name}` was removed")),
        }
    }
    for (name, enumeration) in &before.enums {
        match new.pool.get_enum_by_name(name) {
            Some(changed) => differences.enums(enumeration, &changed),
            None => differences.breaking(format!("enum `{name}` was removed")),
        }
    }
    let added = after.messages.keys().filter(|name| !before.messages.contains_key(*name));
    for name in added {
        differences.fine(format!("message `{name}` was added"));
    }
    for name in after.enums.keys().filter(|name| !before.enums.contains_key(*name)) {
        differences.fine(format!("enum `{name}` was added"));
    }
    differences.0
}

/// The types that a contract's message reaches through its fields.
#[derive(Default)]
struct Types {
    messages: BTreeMap<String, MessageDescriptor>,
    enums: BTreeMap<String, EnumDescriptor>,
}

impl Types {
    fn reached(version: Version<'_>) -> Self {
        let mut types = Self::default();
        let mut open: Vec<_> =
            version.pool.get_message_by_name(version.message).into_iter().collect();
        while let Some(message) = open.pop() {
            for field in message.fields() {
                match field.kind() {
                    Kind::Message(next) if !types.messages.contains_key(next.full_name()) => {
                        open.push(next);
                    }
                    Kind::Enum(next) => _ = types.enums.insert(next.full_name().to_owned(), next),
                    _ => {}
                }
            }
            types.messages.insert(message.full_name().to_owned(), message);
        }
        types.messages.retain(|name, _| !name.starts_with("google.protobuf."));
        types.enums.retain(|name, _| !name.starts_with("google.protobuf."));
        types
    }
}

struct Differences(Vec<Difference>);

impl Differences {
    fn breaking(&mut self, text: String) {
        self.0.push(Difference { breaking: true, text });
    }

    fn fine(&mut self, text: String) {
        self.0.push(Difference { breaking: false, text });
    }

    fn messages(&mut self, old: &MessageDescriptor, new: &MessageDescriptor) {
        let mut matched = BTreeSet::new();
        for field in old.fields() {
            let name = field.full_name();
            let same_name = new.get_field_by_name(field.name());
            match same_name.or_else(|| new.get_field(field.number())) {
                Some(changed) => {
                    matched.insert(changed.number());
                    self.fields(&field, &changed);
                }
                None => self.breaking(format!("field `{name}` ({}) was removed", field.number())),
            }
        }
        for field in new.fields().filter(|field| !matched.contains(&field.number())) {
            let (name, number) = (field.full_name(), field.number());
            if field.cardinality() == Cardinality::Required {
                self.breaking(format!("required field `{name}` ({number}) was added"));
            } else {
                self.fine(format!("field `{name}` ({number}) was added"));
            }
        }
        self.oneofs(old, new);
    }

    fn fields(&mut self, old: &FieldDescriptor, new: &FieldDescriptor) {
        let name = old.full_name();
        if old.name() != new.name() {
            let now = new.name();
            self.breaking(format!("field `{name}` ({}) was renamed to `{now}`", old.number()));
        } else if old.json_name() != new.json_name() {
            let (was, is) = (old.json_name(), new.json_name());
            self.breaking(format!("field `{name}` is `{is}` in JSON; it was `{was}`"));
        }
        if old.number() != new.number() {
            let (was, is) = (old.number(), new.number());
            self.breaking(format!("field `{name}` has the number {is}; it was {was}"));
        }
        let (was, is) = (type_text(old), type_text(new));
        if was != is {
            self.breaking(format!("field `{name}` is of type {is}; it was {was}"));
        }
        let (was, is) = (label_text(old), label_text(new));
        if was != is {
            self.breaking(format!("field `{name}` is {is}; it was {was}"));
        }
    }

    /// Fields that could be set together before and exclude each other now.
    fn oneofs(&mut self, old: &MessageDescriptor, new: &MessageDescriptor) {
        let of = |message: &MessageDescriptor, name: &str| {
            let oneof = message.get_field_by_name(name)?.containing_oneof()?;
            (!oneof.is_synthetic()).then(|| oneof.name().to_owned())
        };
        for oneof in new.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let members = oneof.fields().map(|field| field.name().to_owned());
            let members: Vec<_> =
                members.filter(|name| old.get_field_by_name(name).is_some()).collect();
            let mut before: Vec<_> = members.iter().map(|name| of(old, name)).collect();
            before.dedup();
            let were_free = members.len() > 1 && (before.len() > 1 || before == [None]);
            if were_free {
                let (name, members) = (oneof.full_name(), members.join("`, `"));
                self.breaking(format!("fields `{members}` exclude each other now, in `{name}`"));
            }
        }
    }

    fn enums(&mut self, old: &EnumDescriptor, new: &EnumDescriptor) {
        let name = old.full_name();
        for value in old.values() {
            let value_name = value.name();
            match new.get_value_by_name(value_name).map(|value| value.number()) {
                None => self.breaking(format!("value `{value_name}` of enum `{name}` was removed")),
                Some(number) if number != value.number() => self.breaking(format!(
                    "value `{value_name}` of enum `{name}` has the number {number}; it was {}",
                    value.number()
                )),
                Some(_) => {}
            }
        }
        for value in new.values().filter(|value| old.get_value_by_name(value.name()).is_none()) {
            let value_name = value.name();
            self.breaking(format!("value `{value_name}` was added to enum `{name}`"));
        }
    }
}

fn type_text(field: &FieldDescriptor) -> String {
    if let (true, Some(entry)) = (field.is_map(), field.kind().as_message()) {
        let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
        return format!("map<{:?}, {}>", key.kind(), type_text(&value)).to_lowercase();
    }
    match field.kind() {
        Kind::Message(message) => format!("`{}`", message.full_name()),
        Kind::Enum(enumeration) => format!("`{}`", enumeration.full_name()),
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

fn label_text(field: &FieldDescriptor) -> &'static str {
    match field.cardinality() {
        Cardinality::Repeated => "repeated",
        Cardinality::Required => "required",
        Cardinality::Optional => "optional",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, compile::compile, testing::source};

    const OLD: &str = "
        message X {
            int32 id = 1;
            string name = 2;
            repeated string tags = 3;
            Color color = 4;
            Inner inner = 5;
            map<string, int32> counts = 6;
            string a = 7;
            string b = 8;
            oneof one { string c = 9; string d = 10; }
        }
        enum Color { NONE = 0; RED = 1; }
        message Inner { int32 n = 1; }
        message Unrelated { int32 n = 1; }";

    /// What changes when `from` becomes `to` in the old text.
    fn differences(from: &str, to: &str) -> Vec<Difference> {
        assert!(OLD.contains(from), "{from}");
        let version = |body: &str| {
            let text = format!("syntax = 'proto3'; {body}");
            let mut source = source("a/1/x", &[("a/1/x.proto", &text)]);
            source.message = Some("X".to_owned());
            compile(&source, &Config::default()).unwrap().pool
        };
        let (old, new) = (version(OLD), version(&OLD.replacen(from, to, 1)));
        let side = |pool| Version { pool, message: "X" };
        compare(side(&old), side(&new))
    }

    #[test]
    fn what_may_change() {
        for (from, to, text) in [
            ("int32 id = 1;", "int32 id = 1; bool new = 20;", "field `X.new` (20) was added"),
            ("int32 id = 1;", "int32 id = 1; oneof new { bool y = 20; }", "`X.y` (20) was added"),
            ("string a = 7;", "oneof new { string a = 7; bool z = 20; }", "`X.z` (20) was added"),
            ("message Inner {", "message Inner { int32 m = 2;", "field `Inner.m` (2) was added"),
        ] {
            let found = differences(from, to);
            assert_eq!(found.len(), 1, "{to}: {found:?}");
            assert!(!found[0].breaking && found[0].text.contains(text), "{found:?}");
        }
        assert_eq!(differences("message Unrelated { int32 n = 1; }", ""), []);
        assert_eq!(differences("int32 id = 1;", "// a comment\n int32 id = 1;"), []);
    }

    #[test]
    fn what_breaks() {
        for (from, to, text) in [
            ("int32 id = 1;", "", "field `X.id` (1) was removed"),
            ("int32 id = 1;", "int32 id = 30;", "field `X.id` has the number 30; it was 1"),
            ("int32 id = 1;", "int64 id = 1;", "field `X.id` is of type int64; it was int32"),
            ("int32 id = 1;", "int32 key = 1;", "field `X.id` (1) was renamed to `key`"),
            (
                "int32 id = 1;",
                "repeated int32 id = 1;",
                "field `X.id` is repeated; it was optional",
            ),
            ("int32 id = 1;", "int32 id = 1 [json_name = 'ID'];", "`ID` in JSON; it was `id`"),
            ("<string, int32>", "<string, int64>", "map<string, int64>; it was map<string, int32>"),
            ("RED = 1;", "RED = 1; BLUE = 2;", "value `BLUE` was added to enum `Color`"),
            ("RED = 1;", "RED = 3;", "value `RED` of enum `Color` has the number 3; it was 1"),
            ("RED = 1;", "", "value `RED` of enum `Color` was removed"),
            ("Inner inner = 5;", "Color inner = 5;", "is of type `Color`; it was `Inner`"),
            (
                "string a = 7;\n            string b = 8;",
                "oneof new { string a = 7; string b = 8; }",
                "fields `a`, `b` exclude each other now",
            ),
        ] {
            let found = differences(from, to);
            let named = |found: &Difference| found.breaking && found.text.contains(text);
            assert!(found.iter().any(named), "{to}: {found:?}");
        }
    }

    #[test]
    fn a_type_that_is_gone_breaks() {
        let version = |text: &str| {
            let text = format!("syntax = 'proto3'; {text} message X {{ Y y = 1; }}");
            let source = source("a/1/x", &[("a/1/x.proto", &text)]);
            compile(&source, &Config::default()).unwrap().pool
        };
        let old = version("message Y { message Z {} Z z = 1; }");
        let new = version("message Y { message W {} W z = 1; }");
        let side = |pool| Version { pool, message: "X" };
        let found = compare(side(&old), side(&new));
        assert!(found.iter().any(|found| found.text == "message `Y.Z` was removed"), "{found:?}");
        assert!(found.iter().any(|found| found.text == "message `Y.W` was added"), "{found:?}");
    }
}

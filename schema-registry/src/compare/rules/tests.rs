//! Every way in which rules may change, one row each: what it falls under.

use crate::{
    Config,
    compare::{Rule, Version, compare, is_breaking},
    compile::compile,
    testing::source,
};
use contract::schema::{Difference, Rulebook, Verdict};
use prost_reflect::DescriptorPool;

/// Loosened, tightened the other way round.
const LOOSER: &[(&str, &str, &str)] = &[
    // A field `f` of this type; its options before; after.
    ("int32", "int32.gt = 3", ""),
    ("int32", "int32.gt = 3", "int32.gt = 2"),
    ("int32", "int32.gt = 3", "int32.gte = 3"),
    ("int32", "int32 = {gte: 3, lt: 9}", "int32 = {gte: 3, lte: 9}"),
    ("int32", "int32 = {gte: 3, lt: 9}", "int32.gte = 3"),
    ("int32", "int32 = {gte: 9, lt: 3}", "int32 = {gte: 9, lte: 5}"),
    ("int32", "int32.gt = 9", "int32 = {gte: 9, lt: 3}"),
    ("int32", "int32.const = 4", "int32.gt = 3"),
    ("int32", "int32.const = 4", "int32 = {in: [4, 5]}"),
    ("int32", "int32 = {in: [4, 5]}", "int32 = {in: [5, 6, 4]}"),
    ("int32", "int32 = {not_in: [4, 5]}", "int32.not_in = 4"),
    ("int32", "int32.gt = 5", "int32.not_in = 5"),
    ("double", "double = {gt: 0.5, finite: true}", "double.gt = 0.5"),
    ("double", "double.lt = 0.5", "double.lt = 1"),
    ("string", "string.len = 3", "string = {min_len: 2, max_len: 4}"),
    ("string", "string.min_len = 3", "string.min_len = 2"),
    ("string", "string.max_bytes = 3", "string.max_bytes = 4"),
    ("string", "string.pattern = 'a+'", ""),
    ("string", "string.prefix = 'ab'", "string.prefix = 'a'"),
    ("string", "string.suffix = 'ab'", "string.suffix = 'b'"),
    ("string", "string.prefix = 'ab'", "string.contains = 'b'"),
    ("string", "string.contains = 'ab'", "string.contains = 'b'"),
    ("string", "string.not_contains = 'b'", "string.not_contains = 'ab'"),
    ("string", "string.email = true", ""),
    ("string", "string.ipv4 = true", "string.ip = true"),
    ("string", "string = {in: ['a@b', 'c@d']}", "string.email = true"),
    ("bytes", "bytes.ipv4 = true", "bytes.ip = true"),
    ("bool", "bool.const = true", ""),
    ("E", "enum.defined_only = true", ""),
    ("E", "enum = {in: [1]}", "enum = {in: [1, 0]}"),
    ("E", "enum.const = 1", "enum.defined_only = true"),
    ("optional string", "required = true", ""),
    ("string", "required = true", ""),
    ("string", "string.min_len = 3", "ignore = IGNORE_IF_ZERO_VALUE, string.min_len = 3"),
    ("string", "string.min_len = 3", "ignore = IGNORE_ALWAYS, string.min_len = 3"),
    ("In", "", "ignore = IGNORE_ALWAYS"),
    ("repeated string", "repeated.min_items = 2", "repeated.min_items = 1"),
    ("repeated string", "repeated.max_items = 2", "repeated.max_items = 3"),
    ("repeated string", "repeated.unique = true", ""),
    ("repeated string", "repeated.items.string.min_len = 2", "repeated.items.string.min_len = 1"),
    ("repeated In", "", "repeated.items.ignore = IGNORE_ALWAYS"),
    ("map<string, int32>", "map.min_pairs = 1", ""),
    ("map<string, int32>", "map.keys.string.max_len = 2", "map.keys.string.max_len = 3"),
    ("map<string, int32>", "map.values.int32.gt = 2", "map.values.int32.gt = 1"),
    ("google.protobuf.Timestamp", "timestamp.lt_now = true", ""),
    ("google.protobuf.Timestamp", "timestamp.within.seconds = 5", "timestamp.within.seconds = 6"),
    ("google.protobuf.Duration", "duration.lt.seconds = 5", "duration.lte.seconds = 5"),
    ("google.protobuf.FieldMask", "field_mask.in = 'a.b'", "field_mask.in = 'a'"),
    ("google.protobuf.FieldMask", "field_mask.not_in = 'a'", "field_mask.not_in = 'a.b'"),
    ("google.protobuf.Any", "any = {in: ['a/b']}", "any = {in: ['a/b', 'a/c']}"),
    ("google.protobuf.Int32Value", "int32.gt = 3", "int32.gt = 2"),
    ("int32", "cel = {id: 'a', expression: 'this > 1'}", ""),
    ("int32", "cel_expression = 'this > 1'", ""),
];

/// It cannot be told in which direction.
const CHANGED: &[(&str, &str, &str)] = &[
    ("string", "string.pattern = 'a+'", "string.pattern = 'b+'"),
    ("string", "string.email = true", "string.hostname = true"),
    ("string", "string.prefix = 'a'", "string.prefix = 'b'"),
    ("int32", "int32 = {gt: 1, lt: 5}", "int32 = {gt: 2, lt: 6}"),
    ("int32", "int32 = {in: [1, 2]}", "int32 = {in: [2, 3]}"),
    ("string", "string = {min_len: 2, max_len: 3}", "string = {min_len: 1, max_len: 2}"),
    ("int32", "cel = {id: 'a', expression: 'this > 1'}", "cel = {id: 'a', expression: 'this > 2'}"),
];

/// Nothing that matters to a payload.
const SAME: &[(&str, &str, &str)] = &[
    ("string", "string.min_len = 3", "string = {min_len: 3, example: 'abc'}"),
    ("int32", "int32 = {in: [1, 2]}", "int32 = {in: [2, 1]}"),
    ("int32", "int32 = {gt: 1, lt: 5}", "int32 = {lt: 5, gt: 1}"),
    ("string", "string.email = false", ""),
    (
        "int32",
        "cel = {id: 'a', expression: 'this > 1'}",
        "cel = {id: 'a', message: 'above one', expression: 'this > 1'}",
    ),
];

/// In the message itself; loosened as above.
const MESSAGES: &[(&str, &str)] = &[
    ("option (buf.validate.message).cel = {id: 'a', expression: 'this.a > this.b'};", ""),
    ("option (buf.validate.message).cel_expression = 'this.a > this.b';", ""),
    ("option (buf.validate.message).oneof = {fields: ['a', 'b']};", ""),
    (
        "option (buf.validate.message).oneof = {fields: ['a', 'b'], required: true};",
        "option (buf.validate.message).oneof = {fields: ['a', 'b']};",
    ),
    (
        "option (buf.validate.message).oneof = {fields: ['a', 'b', 'c']};",
        "option (buf.validate.message).oneof = {fields: ['a', 'c']};",
    ),
    (
        "oneof one { option (buf.validate.oneof).required = true; int32 x = 7; int32 y = 8; }",
        "oneof one { int32 x = 7; int32 y = 8; }",
    ),
];

fn pool(body: &str) -> DescriptorPool {
    let text = format!(
        "syntax = 'proto3';
        import 'buf/validate/validate.proto';
        import 'google/protobuf/any.proto';
        import 'google/protobuf/duration.proto';
        import 'google/protobuf/field_mask.proto';
        import 'google/protobuf/timestamp.proto';
        import 'google/protobuf/wrappers.proto';
        enum E {{ NONE = 0; ONE = 1; }}
        message In {{ string s = 1 [(buf.validate.field).string.min_len = 1]; }}
        message X {{ int32 a = 1; int32 b = 2; int32 c = 3; {body} }}"
    );
    compile(&source("a/1/x", &[("a/1/x.proto", &text)]), &Config::default()).unwrap().pool
}

fn between(old: &str, new: &str, rulebook: Rulebook) -> Vec<Difference> {
    let (old, new) = (pool(old), pool(new));
    let side = |pool| Version { pool, message: "X" };
    compare(side(&old), side(&new), rulebook)
}

fn field((kind, options): (&str, &str)) -> String {
    if options.is_empty() {
        return format!("{kind} f = 9;");
    }
    // Options at the top are separated by a comma and a blank, and begin with a name.
    let parts = options.replace("_VALUE, ", "_VALUE, (buf.validate.field).");
    let parts = parts.replace("_ALWAYS, ", "_ALWAYS, (buf.validate.field).");
    format!("{kind} f = 9 [(buf.validate.field).{parts}];")
}

#[track_caller]
fn is(old: &str, new: &str, rule: Option<Rule>) {
    let (before, after) = (pool(old), pool(new));
    let side = |pool| Version { pool, message: "X" };
    for rulebook in Rulebook::ALL {
        let found = compare(side(&before), side(&after), rulebook);
        let of_rules: Vec<_> = found.iter().filter(|it| it.rule.starts_with("rules_")).collect();
        let expected = Vec::from_iter(rule.map(Rule::name));
        let names: Vec<_> = of_rules.iter().map(|it| it.rule.as_str()).collect();
        assert_eq!(names, expected, "{old} -> {new}: {found:?}");
        let breaks =
            rulebook == Rulebook::Certes && rule.is_some_and(|rule| rule != Rule::RulesLoosened);
        assert_eq!(is_breaking(&found), breaks, "{rulebook}: {old} -> {new}: {found:?}");
    }
}

#[test]
fn every_row_of_fields() {
    for (kind, tight, loose) in LOOSER {
        let (tight, loose) = (field((kind, tight)), field((kind, loose)));
        is(&tight, &loose, Some(Rule::RulesLoosened));
        is(&loose, &tight, Some(Rule::RulesTightened));
    }
    for (kind, old, new) in CHANGED {
        is(&field((kind, old)), &field((kind, new)), Some(Rule::RulesChanged));
    }
    for (kind, old, new) in SAME {
        is(&field((kind, old)), &field((kind, new)), None);
    }
}

#[test]
fn every_row_of_messages() {
    for (tight, loose) in MESSAGES {
        is(tight, loose, Some(Rule::RulesLoosened));
        is(loose, tight, Some(Rule::RulesTightened));
    }
    let cel = |than: u32| {
        format!(
            "option (buf.validate.message).cel = {{id: 'a', expression: 'this.a > {than}'}};
            int32 d = 7;"
        )
    };
    is(&cel(1), &cel(2), Some(Rule::RulesChanged));
}

#[test]
fn a_new_field_that_must_be_there_breaks() {
    for (options, rule) in [
        ("string.max_len = 3", None),
        ("string.min_len = 1", Some(Rule::RulesTightened)),
        ("required = true", Some(Rule::RulesTightened)),
        ("cel_expression = 'this != \"\"'", Some(Rule::RulesTightened)),
        ("ignore = IGNORE_ALWAYS, string.min_len = 1", None),
    ] {
        is("", &field(("string", options)), rule);
    }
    is("", &field(("optional string", "string.min_len = 1")), None);
    is("", &field(("repeated string", "repeated.min_items = 1")), Some(Rule::RulesTightened));
}

#[test]
fn a_difference_says_what_is_asked_for() {
    let old = field(("string", "string.min_len = 1"));
    let new = field(("string", "string = {min_len: 2, prefix: 'a'}"));
    let found = between(&old, &new, Rulebook::Certes);
    let [found] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((found.path.as_str(), found.verdict), ("X.f", Verdict::Breaking));
    let text = "field `X.f` asks for more: at least 2 characters (string.min_len), a value that \
                starts with \"a\" (string.prefix)";
    assert_eq!(found.text, text);
}

#[test]
fn presence_decides_whether_rules_meet_a_field_that_is_absent() {
    let rule = "string.min_len = 1";
    is(&field(("string", rule)), &field(("optional string", rule)), Some(Rule::RulesLoosened));
}

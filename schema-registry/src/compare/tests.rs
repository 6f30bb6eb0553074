//! Every row of the rulebooks: a change, the rule that it falls under, and three verdicts.

use super::*;
use crate::{Config, compile::compile, testing::source};
use contract::schema::Verdict::{Breaking, Compatible};

const OLD: &str = "
    message X {
        reserved 40 to 49, 55;
        reserved 'old';
        int32 id = 1;
        string name = 2;
        repeated string tags = 3;
        Color color = 4;
        Inner inner = 5;
        map<string, int32> counts = 6;
        string a = 7;
        string b = 8;
        oneof one { string c = 9; string d = 10; }
        repeated int32 numbers = 11;
        bytes blob = 12;
        sint32 zigzag = 13;
        fixed32 fixed = 14;
        double ratio = 15;
        map<string, Inner> inners = 16;
        oneof single { string e = 17; }
    }
    enum Color { NONE = 0; RED = 1; GREEN = 2; }
    message Inner { int32 n = 1; }
    message Like { int64 n = 1; }
    message Unlike { string n = 1; }
    message Entry { string key = 1; int32 value = 2; }
    enum Shade { BRIGHT = 0; DARK = 1; }
    message Unrelated { int32 n = 1; }";

const PROTO2: &str = "
    message X {
        required int32 id = 1;
        optional int32 n = 2 [default = 5];
        optional group Old = 3 { optional int32 n = 1; }
        optional int32 m = 4;
    }
    message Inner { optional int32 n = 1; }";

fn pool(syntax: &str, body: &str) -> DescriptorPool {
    let text = format!("syntax = '{syntax}'; {body}");
    let mut source = source("a/1/x", &[("a/1/x.proto", &text)]);
    source.message = Some("X".to_owned());
    compile(&source, &Config::default()).unwrap().pool
}

/// What changes when `from` becomes `to` in the old text.
fn differences(from: &str, to: &str, rulebook: Rulebook) -> Vec<Difference> {
    let (syntax, old) = match OLD.contains(from) {
        true => ("proto3", OLD),
        false => ("proto2", PROTO2),
    };
    assert!(old.contains(from), "{from}");
    let (old, new) = (pool(syntax, old), pool(syntax, &old.replacen(from, to, 1)));
    let side = |pool| Version { pool, message: "X" };
    compare(side(&old), side(&new), rulebook)
}

/// From, to, the rule, and what certes, confluent and wire say.
type Row = (&'static str, &'static str, Rule, [Verdict; 3]);

const C: Verdict = Compatible;
const B: Verdict = Breaking;

const FIELDS: &[Row] = &[
    ("int32 id = 1;", "int32 id = 1; bool new = 20;", Rule::FieldAdded, [C, C, C]),
    ("oneof one {", "oneof one { string new = 20;", Rule::FieldAdded, [C, C, C]),
    ("message Inner {", "message Inner { int32 m = 2;", Rule::FieldAdded, [C, C, C]),
    (
        "required int32 id = 1;",
        "required int32 id = 1; required int32 new = 20;",
        Rule::RequiredFieldAdded,
        [B, B, B],
    ),
    ("int32 id = 1;", "", Rule::FieldRemoved, [B, C, C]),
    ("required int32 id = 1;", "", Rule::RequiredFieldRemoved, [B, B, B]),
    ("string d = 10;", "", Rule::OneofFieldRemoved, [B, B, C]),
    ("int32 id = 1;", "int32 key = 1;", Rule::FieldRenamed, [B, C, C]),
    ("int32 id = 1;", "int32 id = 1 [json_name = 'ID'];", Rule::FieldJsonNameChanged, [B, C, C]),
    ("int32 id = 1;", "int32 id = 30;", Rule::FieldNumberChanged, [B, C, B]),
    ("int32 id = 1;", "optional int32 id = 1;", Rule::FieldPresenceChanged, [C, C, C]),
    ("[default = 5]", "[default = 6]", Rule::FieldDefaultChanged, [B, C, C]),
];

const TYPES: &[Row] = &[
    ("int32 id = 1;", "string id = 1;", Rule::FieldTypeChanged, [B, B, B]),
    ("int32 id = 1;", "sint32 id = 1;", Rule::FieldTypeChanged, [B, B, B]),
    ("int32 id = 1;", "fixed32 id = 1;", Rule::FieldTypeChanged, [B, B, B]),
    ("double ratio", "float ratio", Rule::FieldTypeChanged, [B, B, B]),
    ("double ratio", "fixed64 ratio", Rule::FieldTypeChanged, [B, B, B]),
    ("Inner inner = 5;", "int32 inner = 5;", Rule::FieldTypeChanged, [B, B, B]),
    ("string name = 2;", "Inner name = 2;", Rule::FieldTypeChanged, [B, B, B]),
    ("map<string, int32>", "map<string, string>", Rule::FieldTypeChanged, [B, B, B]),
    ("map<string, int32> counts", "Entry counts", Rule::FieldTypeChanged, [B, B, B]),
    (
        "optional group Old = 3 { optional int32 n = 1; }",
        "optional Inner old = 3;",
        Rule::FieldTypeChanged,
        [B, B, B],
    ),
    ("int32 id = 1;", "int64 id = 1;", Rule::FieldTypeSameEncoding, [B, C, C]),
    ("int32 id = 1;", "bool id = 1;", Rule::FieldTypeSameEncoding, [B, C, C]),
    ("int32 id = 1;", "Color id = 1;", Rule::FieldTypeSameEncoding, [B, C, C]),
    ("Color color = 4;", "uint32 color = 4;", Rule::FieldTypeSameEncoding, [B, C, C]),
    ("Color color = 4;", "Shade color = 4;", Rule::FieldTypeSameEncoding, [B, C, C]),
    ("string name = 2;", "bytes name = 2;", Rule::FieldTypeSameEncoding, [B, C, C]),
    ("sint32 zigzag", "sint64 zigzag", Rule::FieldTypeSameEncoding, [B, C, C]),
    ("fixed32 fixed", "sfixed32 fixed", Rule::FieldTypeSameEncoding, [B, C, C]),
    ("map<string, int32>", "map<string, int64>", Rule::FieldTypeSameEncoding, [B, C, C]),
    ("bytes blob", "Inner blob", Rule::FieldBytesAndMessage, [B, B, C]),
    ("Inner inner = 5;", "bytes inner = 5;", Rule::FieldBytesAndMessage, [B, B, C]),
    ("Inner inner = 5;", "Like inner = 5;", Rule::FieldMessageTypeChanged, [B, B, C]),
    ("map<string, Inner>", "map<string, Like>", Rule::FieldMessageTypeChanged, [B, B, C]),
    ("map<string, int32> counts", "repeated Entry counts", Rule::FieldMapAndEntries, [B, B, C]),
    ("int32 id = 1;", "repeated int32 id = 1;", Rule::FieldNumericLabelChanged, [B, B, B]),
    ("repeated int32 numbers", "int32 numbers", Rule::FieldNumericLabelChanged, [B, B, B]),
    ("Color color = 4;", "repeated Color color = 4;", Rule::FieldNumericLabelChanged, [B, B, B]),
    ("string name = 2;", "repeated string name = 2;", Rule::FieldLabelChanged, [B, C, C]),
    ("repeated string tags", "string tags", Rule::FieldLabelChanged, [B, C, C]),
    ("Inner inner = 5;", "repeated Inner inner = 5;", Rule::FieldLabelChanged, [B, C, C]),
    ("optional int32 m", "required int32 m", Rule::FieldMadeRequired, [B, B, B]),
    ("required int32 id", "optional int32 id", Rule::FieldMadeOptional, [B, B, B]),
];

const REST: &[Row] = &[
    ("string a = 7;", "oneof new { string a = 7; bool z = 20; }", Rule::OneofAdded, [C, C, C]),
    ("int32 id = 1;", "int32 id = 1; oneof new { bool y = 20; }", Rule::OneofAdded, [C, C, C]),
    (
        "string a = 7;\n        string b = 8;",
        "oneof new { string a = 7; string b = 8; }",
        Rule::FieldsMovedToOneof,
        [B, B, B],
    ),
    (
        "string b = 8;\n        oneof one {",
        "oneof one { string b = 8;",
        Rule::FieldMovedToExistingOneof,
        [B, B, B],
    ),
    (
        "oneof one { string c = 9; string d = 10; }",
        "string c = 9; string d = 10;",
        Rule::OneofDissolved,
        [B, C, C],
    ),
    ("oneof single { string e = 17; }", "string e = 17;", Rule::OneofRemoved, [C, C, C]),
    (
        "oneof one { string c = 9; string d = 10; }",
        "oneof one { string c = 9; } string d = 10;",
        Rule::OneofFieldFreed,
        [B, B, C],
    ),
    ("reserved 40 to 49, 55;", "reserved 40 to 45, 55;", Rule::ReservedRemoved, [C, C, C]),
    ("reserved 'old';", "", Rule::ReservedRemoved, [C, C, C]),
    (
        "reserved 40 to 49, 55;",
        "reserved 40 to 49; bool new = 55;",
        Rule::ReservedReused,
        [B, C, B],
    ),
    ("int32 id = 1;", "int32 id = 1; Unrelated new = 20;", Rule::MessageAdded, [C, C, C]),
    ("int32 id = 1;", "int32 id = 1; Shade new = 20;", Rule::EnumAdded, [C, C, C]),
    ("RED = 1;", "RED = 1; BLUE = 3;", Rule::EnumValueAdded, [B, C, C]),
    ("RED = 1;", "", Rule::EnumValueRemoved, [B, C, C]),
    ("RED = 1;", "CRIMSON = 1;", Rule::EnumValueRenamed, [B, C, C]),
    ("RED = 1;", "RED = 3;", Rule::EnumValueNumberChanged, [B, C, B]),
];

#[test]
fn every_row_of_the_table() {
    for (from, to, rule, verdicts) in [FIELDS, TYPES, REST].concat() {
        for (rulebook, verdict) in Rulebook::ALL.into_iter().zip(verdicts) {
            let found = differences(from, to, rulebook);
            let named = found.iter().find(|found| found.rule == rule.name());
            let named = named.unwrap_or_else(|| panic!("{from} -> {to}: {found:?}"));
            assert_eq!(named.verdict, verdict, "{rulebook}: {from} -> {to}: {found:?}");
            assert!(!named.path.is_empty() && !named.text.is_empty(), "{named:?}");
            let breaks = found.iter().any(|found| found.verdict == Breaking);
            assert_eq!(breaks, verdict == Breaking, "{rulebook}: {from} -> {to}: {found:?}");
        }
    }
}

#[test]
fn every_rule_has_its_row_and_its_name() {
    // Told of by tests of their own: they take two texts, or are settings.
    let elsewhere = [
        Rule::MessageRemoved,
        Rule::EnumRemoved,
        Rule::ContractMessageChanged,
        Rule::PackageChanged,
        Rule::RulesTightened,
        Rule::RulesLoosened,
        Rule::RulesChanged,
        Rule::UnknownFieldsRefused,
        Rule::UnknownFieldsPass,
        Rule::RulebookChanged,
        Rule::ExampleChanged,
    ];
    let rows = [FIELDS, TYPES, REST].concat();
    let mut names = BTreeSet::new();
    for rule in Rule::ALL {
        let row = rows.iter().any(|(_, _, of, _)| of == rule);
        assert!(row != elsewhere.contains(rule), "{rule:?}");
        assert!(names.insert(rule.name()), "{rule:?}");
    }
}

#[test]
fn what_says_nothing_about_payloads_is_no_difference() {
    for rulebook in Rulebook::ALL {
        assert_eq!(differences("message Unrelated { int32 n = 1; }", "", rulebook), []);
        assert_eq!(differences("int32 id = 1;", "// a comment\n int32 id = 1;", rulebook), []);
        let packed = "repeated int32 numbers = 11 [packed = false];";
        assert_eq!(differences("repeated int32 numbers = 11;", packed, rulebook), []);
        let renamed = "oneof other { string c = 9; string d = 10; }";
        let oneof = "oneof one { string c = 9; string d = 10; }";
        assert_eq!(differences(oneof, renamed, rulebook), []);
        let wider = "reserved 41 to 60, 40;";
        assert_eq!(differences("reserved 40 to 49, 55;", wider, rulebook), []);
    }
}

#[test]
fn wire_looks_into_types_whatever_they_are_called() {
    for (from, to) in [
        ("Inner inner = 5;", "Unlike inner = 5;"),
        ("map<string, Inner>", "map<string, Unlike>"),
        ("Color color = 4;", "Other color = 4; enum Other { NONE = 0; RED = 7; }"),
    ] {
        let found = differences(from, to, Rulebook::Wire);
        assert!(is_breaking(&found), "{to}: {found:?}");
    }
}

/// Both sides, with their messages.
fn between(old: (&str, &str), new: (&str, &str), rulebook: Rulebook) -> Vec<(String, Verdict)> {
    let pool = |text: &str| {
        let text = format!("syntax = 'proto3'; {text}");
        compile(&source("a/1/x", &[("a/1/x.proto", &text)]), &Config::default()).unwrap().pool
    };
    let (before, after) = (pool(old.0), pool(new.0));
    let (before, after) =
        (Version { pool: &before, message: old.1 }, Version { pool: &after, message: new.1 });
    compare(before, after, rulebook).into_iter().map(|found| (found.rule, found.verdict)).collect()
}

#[test]
fn types_that_are_gone() {
    let old = (
        "message Y { message Z {} enum E { A = 0; } Z z = 1; E e = 2; } message X { Y y = 1; }",
        "X",
    );
    let new = ("message Y { message W {} W z = 1; int32 e = 2; } message X { Y y = 1; }", "X");
    let verdicts = |rule: &str| {
        Rulebook::ALL.map(|rulebook| {
            let found = between(old, new, rulebook);
            found.into_iter().find(|(of, _)| of == rule).map(|(_, verdict)| verdict)
        })
    };
    // Names do not count on the wire: there it is a field of another type.
    assert_eq!(verdicts("message_removed"), [Some(B), Some(B), None]);
    assert_eq!(verdicts("enum_removed"), [Some(B), Some(C), None]);
    assert_eq!(verdicts("field_message_type_changed"), [Some(B), Some(B), Some(C)]);
    assert_eq!(verdicts("message_added"), [Some(C); 3]);
}

#[test]
fn another_package_is_one_difference() {
    let old = ("package a.v1; message Y {} message X { Y y = 1; map<string, Y> m = 2; }", "a.v1.X");
    let new = ("package b; message Y {} message X { Y y = 1; map<string, Y> m = 2; }", "b.X");
    for (rulebook, verdict) in Rulebook::ALL.into_iter().zip([B, B, C]) {
        assert_eq!(between(old, new, rulebook), [("package_changed".to_owned(), verdict)]);
    }
    let bare = ("message Y {} message X { Y y = 1; map<string, Y> m = 2; }", "X");
    assert_eq!(between(bare, new, Rulebook::Certes).len(), 1);
    assert_eq!(between(new, bare, Rulebook::Certes).len(), 1);
}

#[test]
fn another_message_is_another_contract() {
    let text = "message Y { int32 n = 1; } message X { int32 n = 1; }";
    for (rulebook, verdict) in Rulebook::ALL.into_iter().zip([B, B, C]) {
        let found = between((text, "X"), (text, "Y"), rulebook);
        assert!(found.contains(&("contract_message_changed".to_owned(), verdict)), "{found:?}");
        assert_eq!(found.iter().any(|(_, verdict)| *verdict == B), verdict == B, "{found:?}");
    }
}

#[test]
fn the_documented_table_is_this_one() {
    let page = include_str!("../../../docs/protocol.md");
    for rule in Rule::ALL {
        let [certes, confluent, wire] =
            Rulebook::ALL.map(|rulebook| if rule.verdict(rulebook) == B { "✗" } else { "✓" });
        let row = format!("| `{}` | {certes} | {confluent} | {wire} |", rule.name());
        assert!(page.contains(&row), "docs/protocol.md lacks: {row}");
    }
}

//! What is printed keeps the contract, or says where it does not.

use super::*;
use crate::{
    Config,
    compile::compile,
    load,
    testing::{source, version},
    validate::tests::NOW,
};
use contract::schema::{SchemaSource, SchemaVersion, UnknownFields};

fn made(source: &SchemaSource) -> Skeleton {
    let compiled = compile(source, &Config::default()).unwrap();
    let version = SchemaVersion {
        message: compiled.message,
        unknown_fields: UnknownFields::Reject,
        ..version(source.uri.as_str(), 0)
    };
    let (descriptor_set, files) = (compiled.descriptor_set, compiled.files);
    let bundle = SchemaBundle { version, descriptor_set, files, example: None };
    let both = [FieldNames::Proto, FieldNames::CamelCase]
        .map(|names| skeleton(&bundle, names, NOW).unwrap());
    let [proto, camel_case] = both;
    assert_eq!(proto.broken, camel_case.broken);
    proto
}

#[test]
fn fields_are_named_as_the_contract_names_them() {
    let text = "syntax = 'proto3';
        message X { int32 some_number = 1; int32 other = 2 [json_name = '@other']; Y in_ner = 3; }
        message Y { bool is_it = 1; }";
    let mut source = source("a/1/x", &[("a/1/x.proto", text)]);
    source.message = Some("X".to_owned());
    let compiled = compile(&source, &Config::default()).unwrap();
    let version = SchemaVersion { message: compiled.message, ..version("a/1/x", 0) };
    let (descriptor_set, files) = (compiled.descriptor_set, compiled.files);
    let bundle = SchemaBundle { version, descriptor_set, files, example: None };
    let payload = |names| skeleton(&bundle, names, NOW).unwrap().payload;
    assert_eq!(
        payload(FieldNames::Proto),
        json!({"some_number": 1, "@other": 1, "in_ner": {"is_it": true}})
    );
    assert_eq!(
        payload(FieldNames::CamelCase),
        json!({"someNumber": 1, "@other": 1, "inNer": {"isIt": true}})
    );
}

/// A payload that the contract's own checker has taken.
#[track_caller]
fn checked(source: &SchemaSource) -> Value {
    let Skeleton { payload, broken, left_out } = made(source);
    assert_eq!((broken, left_out), (Vec::new(), BTreeSet::new()), "{payload:#}");
    payload
}

#[test]
fn every_kind_of_field_gets_a_value_that_keeps_the_contract() {
    let text = "syntax = 'proto3';
        import 'google/protobuf/any.proto';
        import 'google/protobuf/duration.proto';
        import 'google/protobuf/empty.proto';
        import 'google/protobuf/field_mask.proto';
        import 'google/protobuf/struct.proto';
        import 'google/protobuf/timestamp.proto';
        import 'google/protobuf/wrappers.proto';
        enum Color { NONE = 0; RED = 1; }
        message X {
            string some_name = 1; bytes blob = 2; bool yes = 3; double d = 4; float f = 5;
            int32 i = 6; int64 l = 7; uint32 u = 8; uint64 ul = 9; sint32 s = 10;
            sint64 sl = 11; fixed32 fi = 12; fixed64 fl = 13; sfixed32 sf = 14;
            sfixed64 sfl = 15; Color color = 16; repeated Color colors = 17; X again = 18;
            repeated X list = 19; map<string, X> tree = 20; map<int64, Inner> inners = 21;
            map<bool, int32> flags = 22; optional Inner inner = 23;
            oneof one { string a = 24; string b = 25; }
            google.protobuf.Any any = 30; google.protobuf.Duration duration = 31;
            google.protobuf.Empty empty = 32; google.protobuf.FieldMask mask = 33;
            google.protobuf.Struct struct = 34; google.protobuf.Timestamp at = 35;
            google.protobuf.Value value = 36; google.protobuf.ListValue values = 37;
            google.protobuf.NullValue null = 38; google.protobuf.StringValue sv = 39;
            google.protobuf.Int64Value lv = 40; google.protobuf.BytesValue bv = 41;
            google.protobuf.BoolValue yv = 42; google.protobuf.DoubleValue dv = 43;
        }
        message Inner { int32 n = 1; }";
    let mut source = source("a/1/x", &[("a/1/x.proto", text)]);
    source.message = Some("X".to_owned());
    let value = checked(&source);
    assert_eq!(value["some_name"], "some_name");
    assert_eq!(value["color"], "RED");
    assert_eq!(value["inners"], json!({"1": {"n": 1}}));
    assert_eq!((value.get("a").is_some(), value.get("b")), (true, None));
    assert_eq!((value.get("again"), value.get("tree")), (None, None));
}

#[test]
fn required_fields_are_there_or_their_message_is_not() {
    let text = "syntax = 'proto2';
        message Y { required X x = 1; }
        message X { required int32 n = 1; optional Y y = 2; }";
    let value = checked(&source("a/1/x", &[("a/1/x.proto", text)]));
    assert_eq!(value, json!({"n": 1}));
}

#[test]
fn every_shipped_contract_is_kept() {
    let schemas = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas");
    let sources = load(schemas.as_ref(), &Config::default()).unwrap();
    assert!(sources.len() > 10);
    for source in sources {
        assert!(!checked(&source).as_object().unwrap().is_empty(), "{}", source.uri);
    }
}

fn ruled(body: &str) -> SchemaSource {
    let text = format!(
        "syntax = 'proto3';
        import 'buf/validate/validate.proto';
        import 'google/protobuf/any.proto';
        import 'google/protobuf/duration.proto';
        import 'google/protobuf/field_mask.proto';
        import 'google/protobuf/timestamp.proto';
        import 'google/protobuf/wrappers.proto';
        enum E {{ NONE = 0; ONE = 1; TWO = 2; }}
        message In {{ string s = 1 [(buf.validate.field).string.len = 3]; }}
        {body}"
    );
    source("a/1/x", &[("a/1/x.proto", &text)])
}

/// Each standard rule, and some together.
const RULES: &[(&str, &str)] = &[
    ("int32", "int32.const = -7"),
    ("int64", "int64 = {gt: 9007199254740993, lt: 9007199254740995}"),
    ("uint32", "uint32 = {gte: 7, not_in: [7, 8]}"),
    ("uint64", "uint64.gte = 18446744073709551615"),
    ("sint32", "sint32.lt = -100"),
    ("sint64", "sint64.lte = -100"),
    ("fixed32", "fixed32 = {in: [3, 4]}"),
    ("fixed64", "fixed64 = {gt: 10, lt: 3}"),
    ("sfixed32", "sfixed32 = {gte: -5, lte: -5}"),
    ("sfixed64", "sfixed64 = {not_in: [0, 1, 2]}"),
    ("double", "double = {gt: 0.001, lt: 0.002, finite: true}"),
    ("float", "float = {gte: 1e10}"),
    ("double", "double.const = -2.5"),
    ("bool", "bool.const = false"),
    ("string", "string.const = 'exactly'"),
    ("string", "string.len = 2"),
    ("string", "string = {min_len: 20, max_len: 20}"),
    ("string", "string = {min_bytes: 30, max_bytes: 31}"),
    ("string", "string.len_bytes = 4"),
    ("string", "string.pattern = '^[A-Z]{3}-\\\\d{4,}(x|y)?$'"),
    ("string", "string = {prefix: 'pre-', suffix: '.txt', contains: '/', max_len: 12}"),
    ("string", "string = {not_contains: 'f', min_len: 1}"),
    ("string", "string = {in: ['red', 'blue']}"),
    ("string", "string = {not_in: ['f']}"),
    ("string", "string = {pattern: '^(.)x.$', example: ['axb']}"),
    ("string", "string.email = true"),
    ("string", "string.hostname = true"),
    ("string", "string.ip = true"),
    ("string", "string.ipv4 = true"),
    ("string", "string.ipv6 = true"),
    ("string", "string.uri = true"),
    ("string", "string.uri_ref = true"),
    ("string", "string.address = true"),
    ("string", "string.uuid = true"),
    ("string", "string.tuuid = true"),
    ("string", "string.ulid = true"),
    ("string", "string.ip_with_prefixlen = true"),
    ("string", "string.ipv4_with_prefixlen = true"),
    ("string", "string.ipv6_with_prefixlen = true"),
    ("string", "string.ip_prefix = true"),
    ("string", "string.ipv4_prefix = true"),
    ("string", "string.ipv6_prefix = true"),
    ("string", "string.host_and_port = true"),
    ("string", "string.protobuf_fqn = true"),
    ("string", "string.protobuf_dot_fqn = true"),
    ("string", "string.well_known_regex = KNOWN_REGEX_HTTP_HEADER_NAME"),
    ("string", "string.well_known_regex = KNOWN_REGEX_HTTP_HEADER_VALUE"),
    ("bytes", "bytes = {min_len: 5, max_len: 5}"),
    ("bytes", "bytes.len = 7"),
    ("bytes", "bytes.const = 'ab'"),
    ("bytes", "bytes = {prefix: 'ab', suffix: 'z', contains: 'c'}"),
    ("bytes", "bytes.pattern = '^[0-9]+$'"),
    ("bytes", "bytes.ip = true"),
    ("bytes", "bytes.ipv4 = true"),
    ("bytes", "bytes.ipv6 = true"),
    ("bytes", "bytes.uuid = true"),
    ("E", "enum.const = 2"),
    ("E", "enum = {defined_only: true, not_in: [1]}"),
    ("E", "enum = {in: [0]}"),
    ("repeated string", "repeated = {min_items: 4, max_items: 5, unique: true}"),
    ("repeated string", "repeated = {min_items: 3, unique: true, items: {string: {email: true}}}"),
    ("repeated int32", "repeated = {min_items: 9, unique: true, items: {int32: {gt: 100}}}"),
    ("repeated bool", "repeated.max_items = 0"),
    ("repeated In", "repeated.min_items = 2"),
    ("map<string, int32>", "map = {min_pairs: 3, keys: {string: {min_len: 9}}}"),
    ("map<int32, string>", "map = {keys: {int32: {lt: 0}}, values: {string: {uuid: true}}}"),
    ("map<string, In>", "map.max_pairs = 0"),
    ("google.protobuf.Timestamp", "timestamp.lt_now = true"),
    ("google.protobuf.Timestamp", "timestamp = {gt_now: true, within: {seconds: 100000000}}"),
    ("google.protobuf.Timestamp", "timestamp = {gt: {seconds: 5}, lt: {seconds: 7}}"),
    ("google.protobuf.Timestamp", "timestamp.const.seconds = -5"),
    ("google.protobuf.Timestamp", "timestamp.within.seconds = 5"),
    ("google.protobuf.Duration", "duration = {gt: {seconds: -5}, lt: {seconds: -3}}"),
    ("google.protobuf.Duration", "duration.const = {seconds: 1, nanos: 500000000}"),
    ("google.protobuf.Duration", "duration = {in: [{seconds: 90}]}"),
    ("google.protobuf.FieldMask", "field_mask = {in: ['some_path', 'b']}"),
    ("google.protobuf.FieldMask", "field_mask = {not_in: ['field']}"),
    ("google.protobuf.Any", "any = {in: ['type.googleapis.com/Lost', 'type.googleapis.com/In']}"),
    ("google.protobuf.Int64Value", "int64.gt = 50"),
    ("google.protobuf.StringValue", "string.ipv4 = true"),
    ("google.protobuf.BytesValue", "bytes.min_len = 3"),
    ("string", "required = true"),
    ("bytes", "required = true"),
    ("repeated bytes", "required = true"),
    ("string", "cel_expression = 'this.size() == 0 || this == \"f\"'"),
    ("int32", "cel = {id: 'odd', expression: 'this > 4 && this % 2 == 0'}"),
    ("repeated int32", "repeated.items.cel = {id: 'big', expression: 'this > 6'}"),
    ("google.protobuf.Timestamp", "cel_expression = 'this < now'"),
];

#[test]
fn every_standard_rule_is_kept() {
    let fields: Vec<_> = RULES
        .iter()
        .enumerate()
        .map(|(n, (kind, rule))| format!("{kind} f{n} = {} [(buf.validate.field).{rule}];", n + 1))
        .collect();
    let payload = checked(&ruled(&format!("message X {{ {} }}", fields.join("\n"))));
    let shown = payload.as_object().unwrap().len();
    assert_eq!(shown, RULES.len(), "{payload:#}");
}

#[test]
fn what_excludes_each_other_is_not_shown_together() {
    let payload = checked(&ruled(
        "message X {
            option (buf.validate.message).oneof = {fields: ['a', 'b'], required: true};
            option (buf.validate.message).oneof = {fields: ['b', 'c']};
            string a = 1; string b = 2; string c = 3;
            oneof one {
                option (buf.validate.oneof).required = true;
                X again = 4; int32 other = 5;
            }
        }",
    ));
    assert_eq!(payload, json!({"a": "a", "c": "c", "other": 1}));
}

#[test]
fn where_nothing_is_found_it_says_so() {
    let made = made(&ruled(
        "message X {
            int32 low = 1;
            int32 high = 2;
            string secret = 3 [(buf.validate.field).cel = {
                id: 'secret', message: 'a word nobody guesses', expression: \"this == 'xyzzy'\"
            }];
            option (buf.validate.message).cel = {
                id: 'order', message: 'low is below high', expression: 'this.low < this.high'
            };
        }",
    ));
    let broken: Vec<_> = made.broken.iter().map(|it| (&*it.path, &*it.rule)).collect();
    assert_eq!(broken, [("secret", "secret"), ("", "order")]);
    assert_eq!(made.payload["low"], 1);
}

#[test]
fn a_time_that_must_be_near_and_past_is_not_at_the_edge() {
    let payload = checked(&ruled(
        "message X { google.protobuf.Timestamp at = 1 [
            (buf.validate.field).timestamp = {lt_now: true, within: {seconds: 3600}}
        ]; }",
    ));
    let at = chrono::DateTime::parse_from_rfc3339(payload["at"].as_str().unwrap()).unwrap();
    assert_eq!(at.timestamp_micros(), NOW.0 - 1_800_000_000);
}

/// Each of 8 messages has the next one in 40 fields: 40 to the 8th in all.
#[test]
fn a_contract_that_branches_without_end_gives_a_payload_of_some_size() {
    let fields = |kind: &str| {
        let fields = (1..=40).map(|n| format!("{kind} f{n} = {n}; "));
        fields.chain(["int32 last = 41;".to_owned()]).collect::<String>()
    };
    let message = |n: usize| {
        let inner = if n == 1 { "string".to_owned() } else { format!("M{}", n - 1) };
        format!("message M{n} {{ {} }}", fields(&inner))
    };
    let made = made(&ruled(&(1..=8).map(message).collect::<String>()));
    let values = size(&made.payload);
    assert!((VALUES_MAX..VALUES_MAX + 8 * 41).contains(&values), "{values}");
    assert_eq!(made.broken, [], "what is left out was not needed");
    assert_eq!(made.payload["last"], 1, "single values are shown to the end");
    assert!(made.left_out.contains("M7") && !made.left_out.contains("M8"), "{:?}", made.left_out);
}

#[test]
fn a_list_that_asks_for_lists_is_cut_and_told() {
    let message = |n: usize| {
        let rule = "(buf.validate.field).repeated.min_items = 100";
        let inner = if n == 1 { "string".to_owned() } else { format!("M{}", n - 1) };
        format!("message M{n} {{ repeated {inner} list = 1 [{rule}]; }}")
    };
    let made = made(&ruled(&(1..=5).map(message).collect::<String>()));
    assert!(size(&made.payload) <= VALUES_MAX + 5, "{}", size(&made.payload));
    assert!(made.left_out.contains("M1"), "{:?}", made.left_out);
    let broken: Vec<_> = made.broken.iter().map(|it| (&*it.path, &*it.rule)).collect();
    assert!(broken.contains(&("list", "repeated.min_items")), "{broken:?}");
}

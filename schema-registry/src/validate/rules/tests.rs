//! What each rule lets pass, in JSON and in binary protobuf alike, and which rules are refused.

mod cel;
mod predefined;

use crate::{
    Config,
    compile::compile,
    testing::source,
    validate::{
        Contract,
        tests::{NOW, contract_of},
    },
};
use contract::{ErrorCode, schema::UnknownFields};
use prost_reflect::{DynamicMessage, prost::Message as _};

fn file(body: &str) -> String {
    format!(
        "syntax = 'proto3';
        import 'buf/validate/validate.proto';
        import 'google/protobuf/any.proto';
        import 'google/protobuf/duration.proto';
        import 'google/protobuf/field_mask.proto';
        import 'google/protobuf/timestamp.proto';
        import 'google/protobuf/wrappers.proto';
        {body}"
    )
}

fn contract(body: &str) -> Contract {
    contract_of("X", &file(body), UnknownFields::Ignore)
}

/// A message `X` of one field `f`, whose options are given.
fn field(field: &str, options: &str) -> Contract {
    contract(&format!("enum E {{ NONE = 0; ONE = 1; }} message X {{ {field} f = 1 [{options}]; }}"))
}

/// The violations as `path rule`, sorted.
fn violations(contract: &Contract, media: &str, payload: &[u8]) -> Vec<String> {
    let Err(error) = contract.check(media, payload, NOW) else { return Vec::new() };
    assert_eq!(error.code, ErrorCode::ContractViolation, "{error}");
    let mut found: Vec<_> = error
        .violations
        .into_iter()
        .map(|found| format!("{} {}", found.path, found.rule))
        .collect();
    found.sort();
    found
}

/// Checks a payload in JSON and, as the same message, in binary protobuf.
#[track_caller]
fn found(contract: &Contract, json: &str, expected: &[&str]) {
    assert_eq!(violations(contract, "application/json", json.as_bytes()), expected, "{json}");
    let mut parser = serde_json::Deserializer::from_str(json);
    let message = DynamicMessage::deserialize(contract.message.clone(), &mut parser).unwrap();
    let binary = message.encode_to_vec();
    assert_eq!(violations(contract, "application/protobuf", &binary), expected, "binary of {json}");
}

/// Values of the field `f` that pass and that break `rule`.
#[track_caller]
fn table(contract: &Contract, rule: &str, good: &[&str], bad: &[&str]) {
    for value in good {
        found(contract, &format!(r#"{{"f": {value}}}"#), &[]);
    }
    for value in bad {
        found(contract, &format!(r#"{{"f": {value}}}"#), &[&format!("f {rule}")]);
    }
}

#[track_caller]
fn refused(body: &str, expected: &str) {
    let error = compile(&source("a/1/x", &[("a/1/x.proto", &file(body))]), &Config::default());
    let error = error.map(|_| ()).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidDefinition);
    assert!(
        error.message.starts_with("a/1/x.proto: ") && error.message.contains(expected),
        "{error}"
    );
}

/// An author learns of every field at once.
#[test]
fn all_rules_that_cannot_be_kept_are_named() {
    let bad = |n: usize| format!("int32 f{n} = {n} [(buf.validate.field).string.min_len = 1];");
    let fields: String = (1..=25).map(bad).collect();
    let cel = "option (buf.validate.message).cel = {id: 'x', expression: 'this.nope'};";
    let body = format!("message Y {{ {cel} int32 a = 1; }} message X {{ {fields} }}");
    let body = file(&body);
    let error = compile(&source("a/1/x", &[("a/1/x.proto", &body)]), &Config::default());
    let error = error.map(|_| ()).unwrap_err().message;
    for named in ["Y: ", "X.f1: ", "X.f2: ", "X.f19: "] {
        assert!(error.contains(named), "{named} in {error}");
    }
    assert!(
        !error.contains("X.f20: ") && error.ends_with("; the rules after these were not looked at"),
        "{error}"
    );
}

#[test]
fn numbers() {
    for (kind, family) in [
        ("int32", "int32"),
        ("sint64", "sint64"),
        ("fixed32", "fixed32"),
        ("double", "double"),
        ("float", "float"),
    ] {
        let with = |rule: &str| field(kind, &format!("(buf.validate.field).{family} = {{{rule}}}"));
        let id = |rule: &str| format!("{family}.{rule}");
        table(&with("const: 7"), &id("const"), &["7", "7.0"], &["8", "0"]);
        table(&with("in: [1, 2]"), &id("in"), &["1"], &["3"]);
        table(&with("not_in: [1, 2]"), &id("not_in"), &["3", "0"], &["1"]);
        table(&with("gt: 3"), &id("gt"), &["4"], &["3", "0"]);
        table(&with("gte: 3"), &id("gte"), &["3"], &["2"]);
        table(&with("lt: 3"), &id("lt"), &["2", "0"], &["3"]);
        table(&with("lte: 3"), &id("lte"), &["3"], &["4"]);
        table(&with("gt: 3, lt: 6"), &id("gt_lt"), &["4"], &["3", "6"]);
        table(&with("gte: 6, lt: 3"), &id("gte_lt_exclusive"), &["6", "2"], &["3", "5"]);
    }
    let finite = field("double", "(buf.validate.field).double.finite = true");
    table(&finite, "double.finite", &["1.5"], &["\"NaN\"", "\"Infinity\""]);
    let below = field("double", "(buf.validate.field).double.lt = 5");
    table(&below, "double.lt", &["\"-Infinity\""], &["\"NaN\""]);
    let float = field("float", "(buf.validate.field).float.const = 0.1");
    table(&float, "float.const", &["0.1"], &["0.2"]);
    let wide = field("int64", "(buf.validate.field).int64.gt = 9007199254740992");
    table(&wide, "int64.gt", &["\"9007199254740993\""], &["9007199254740992"]);
    let wrapped = field("google.protobuf.Int64Value", "(buf.validate.field).int64.gt = 3");
    table(&wrapped, "int64.gt", &["4", "null"], &["3", "0"]);
}

#[test]
fn texts() {
    let with = |rule: &str| field("string", &format!("(buf.validate.field).string = {{{rule}}}"));
    table(&with("const: 'a'"), "string.const", &["\"a\""], &["\"b\"", "\"\""]);
    table(&with("len: 2"), "string.len", &["\"äö\""], &["\"ä\"", "\"abc\""]);
    table(&with("min_len: 2"), "string.min_len", &["\"äö\""], &["\"ä\"", "\"\""]);
    table(&with("max_len: 2"), "string.max_len", &["\"äö\""], &["\"abc\""]);
    table(&with("len_bytes: 2"), "string.len_bytes", &["\"ä\""], &["\"äö\""]);
    table(&with("min_bytes: 2"), "string.min_bytes", &["\"ä\""], &["\"a\""]);
    table(&with("max_bytes: 2"), "string.max_bytes", &["\"ä\""], &["\"äö\""]);
    table(&with("pattern: '^\\\\d+$'"), "string.pattern", &["\"12\""], &["\"a\"", "\"٣\""]);
    table(&with("prefix: 'a'"), "string.prefix", &["\"ab\""], &["\"b\""]);
    table(&with("suffix: 'a'"), "string.suffix", &["\"ba\""], &["\"b\""]);
    table(&with("contains: 'a'"), "string.contains", &["\"bab\""], &["\"b\""]);
    table(&with("not_contains: 'a'"), "string.not_contains", &["\"b\""], &["\"bab\""]);
    table(&with("in: ['a', 'b']"), "string.in", &["\"b\""], &["\"c\""]);
    table(&with("email: true"), "string.email", &["\"a@b.c\""], &["\"a\"", "\"\""]);
    table(&with("email: false"), "", &["\"a\""], &[]);
    for (rule, good) in [
        ("hostname", "a.b"),
        ("ip", "::1"),
        ("ipv4", "1.2.3.4"),
        ("ipv6", "::1"),
        ("uri", "a:b"),
        ("uri_ref", "/b"),
        ("address", "a.b"),
        ("uuid", "0190163d-8694-739b-aea5-966c26f8ad91"),
        ("tuuid", "0190163d8694739baea5966c26f8ad91"),
        ("ip_with_prefixlen", "1.2.3.4/8"),
        ("ipv4_with_prefixlen", "1.2.3.4/8"),
        ("ipv6_with_prefixlen", "::1/8"),
        ("ip_prefix", "10.0.0.0/8"),
        ("ipv4_prefix", "10.0.0.0/8"),
        ("ipv6_prefix", "::/8"),
        ("host_and_port", "a:1"),
        ("ulid", "01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ("protobuf_fqn", "a.b"),
        ("protobuf_dot_fqn", ".a.b"),
    ] {
        let contract = with(&format!("{rule}: true"));
        table(&contract, &format!("string.{rule}"), &[&format!("{good:?}")], &["\" {not}\""]);
    }
    let header = with("well_known_regex: KNOWN_REGEX_HTTP_HEADER_NAME");
    table(&header, "string.well_known_regex.header_name", &["\"X-A\""], &["\"a b\""]);
    let loose = with("well_known_regex: KNOWN_REGEX_HTTP_HEADER_NAME, strict: false");
    table(&loose, "string.well_known_regex.header_name", &["\"a b\""], &["\"a\\nb\""]);
}

#[test]
fn bytes_bools_and_enums() {
    let with = |rule: &str| field("bytes", &format!("(buf.validate.field).bytes = {{{rule}}}"));
    table(&with("const: 'ab'"), "bytes.const", &["\"YWI=\"", "\"YWI\""], &["\"YWE\"", "\"\""]);
    table(&with("len: 2"), "bytes.len", &["\"YWI=\""], &["\"YQ\""]);
    table(&with("pattern: '^a+$'"), "bytes.pattern", &["\"YWE=\""], &["\"YWI\"", "\"_w\""]);
    table(&with("prefix: 'a'"), "bytes.prefix", &["\"YWI\""], &["\"Yg\""]);
    table(&with("contains: 'b'"), "bytes.contains", &["\"YWI\""], &["\"YWE\""]);
    table(&with("ipv4: true"), "bytes.ipv4", &["\"AQIDBA\""], &["\"AQID\""]);
    let on = field("bool", "(buf.validate.field).bool.const = true");
    table(&on, "bool.const", &["true"], &["false", "null"]);
    let with = |rule: &str| field("E", &format!("(buf.validate.field).enum = {{{rule}}}"));
    table(&with("defined_only: true"), "enum.defined_only", &["\"ONE\"", "1", "0"], &["7"]);
    table(&with("in: [1]"), "enum.in", &["\"ONE\""], &["\"NONE\"", "0"]);
    table(&with("not_in: [1]"), "enum.not_in", &["\"NONE\""], &["1"]);
}

#[test]
fn lists_and_maps() {
    let with = |rule: &str| {
        field("repeated string", &format!("(buf.validate.field).repeated = {{{rule}}}"))
    };
    table(
        &with("min_items: 2"),
        "repeated.min_items",
        &["[\"a\", \"b\"]"],
        &["[\"a\"]", "[]", "null"],
    );
    table(&with("max_items: 1"), "repeated.max_items", &["[]", "[\"a\"]"], &["[\"a\", \"b\"]"]);
    table(&with("unique: true"), "repeated.unique", &["[]", "[\"a\", \"b\"]"], &["[\"a\", \"a\"]"]);
    let items = with("items: {string: {min_len: 2}}");
    found(&items, r#"{"f": ["ab", "a", ""]}"#, &["f[1] string.min_len", "f[2] string.min_len"]);
    let lax = with("items: {ignore: IGNORE_IF_ZERO_VALUE, string: {min_len: 2}}");
    found(&lax, r#"{"f": ["ab", "a", ""]}"#, &["f[1] string.min_len"]);
    let doubles = field("repeated double", "(buf.validate.field).repeated.unique = true");
    table(&doubles, "repeated.unique", &["[1, \"NaN\", \"NaN\"]"], &["[0.0, -0.0]"]);

    let with =
        |rule: &str| field("map<int32, string>", &format!("(buf.validate.field).map = {{{rule}}}"));
    table(&with("min_pairs: 1"), "map.min_pairs", &["{\"1\": \"\"}"], &["{}", "null"]);
    table(&with("max_pairs: 1"), "map.max_pairs", &["{}"], &["{\"1\": \"\", \"2\": \"\"}"]);
    let both = with("keys: {int32: {gt: 1}}, values: {string: {min_len: 1}}");
    found(&both, r#"{"f": {"1": "a", "2": ""}}"#, &["f.1 int32.gt", "f.2 string.min_len"]);
    let required = field("repeated string", "(buf.validate.field).required = true");
    table(&required, "required", &["[\"a\"]"], &["[]", "null"]);
}

#[test]
fn times_masks_and_any() {
    let with = |rule: &str| {
        field("google.protobuf.Timestamp", &format!("(buf.validate.field).timestamp = {{{rule}}}"))
    };
    let (past, now) = ("\"2025-12-31T23:00:00Z\"", "\"2026-01-01T00:00:00Z\"");
    let future = "\"2026-01-01T02:00:00.5+01:00\"";
    table(&with("lt_now: true"), "timestamp.lt_now", &[past, "null"], &[now, future]);
    table(&with("gt_now: true"), "timestamp.gt_now", &[future], &[now, past]);
    table(&with("within: {seconds: 3600}"), "timestamp.within", &[now, past], &[future]);
    table(&with("lt: {seconds: 1767225600}"), "timestamp.lt", &[past], &[now]);
    let with = |rule: &str| {
        field("google.protobuf.Duration", &format!("(buf.validate.field).duration = {{{rule}}}"))
    };
    table(
        &with("gte: {seconds: 1, nanos: 5}"),
        "duration.gte",
        &["\"1.000000005s\""],
        &["\"1s\"", "\"-3s\""],
    );
    table(&with("in: [{seconds: 1}]"), "duration.in", &["\"1s\"", "null"], &["\"2s\""]);
    let with = |rule: &str| {
        field("google.protobuf.FieldMask", &format!("(buf.validate.field).field_mask = {{{rule}}}"))
    };
    table(
        &with("in: ['a_b', 'c']"),
        "field_mask.in",
        &["\"aB.d,c\"", "\"\""],
        &["\"aC\"", "\"c,d\""],
    );
    table(&with("not_in: ['a']"), "field_mask.not_in", &["\"ab\""], &["\"a.b\""]);
    let any = field("google.protobuf.Any", "(buf.validate.field).any.in = 't/X'");
    let good = r#"{"@type": "t/X"}"#;
    table(&any, "any.in", &[good], &[r#"{"@type": "u/X", "f": {"@type": "t/X"}}"#]);
}

#[test]
fn presence_and_what_is_ignored() {
    let plain = field("string", "(buf.validate.field).string.min_len = 1");
    found(&plain, "{}", &["f string.min_len"]);
    let optional = field("optional string", "(buf.validate.field).string.min_len = 1");
    found(&optional, "{}", &[]);
    table(&optional, "string.min_len", &["null", "\"a\""], &["\"\""]);
    let required =
        field("optional string", "(buf.validate.field) = {required: true, string: {max_len: 1}}");
    found(&required, "{}", &["f required"]);
    table(&required, "required", &["\"\""], &["null"]);
    table(
        &field("int32", "(buf.validate.field).required = true"),
        "required",
        &["1"],
        &["0", "null"],
    );
    let lax = field(
        "string",
        "(buf.validate.field) = {ignore: IGNORE_IF_ZERO_VALUE, string: {min_len: 2}}",
    );
    table(&lax, "string.min_len", &["\"\"", "null", "\"ab\""], &["\"a\""]);
    let never =
        field("string", "(buf.validate.field) = {ignore: IGNORE_ALWAYS, string: {min_len: 2}}");
    table(&never, "", &["\"a\"", "\"\""], &[]);

    let nested = contract(
        "message In { string s = 1 [(buf.validate.field).string.min_len = 1]; }
        message X {
            In checked = 1;
            In ignored = 2 [(buf.validate.field).ignore = IGNORE_ALWAYS];
            repeated In list = 3 [(buf.validate.field).repeated.items.ignore = IGNORE_ALWAYS];
            oneof one { option (buf.validate.oneof).required = true; In a = 4; int32 b = 5; }
        }",
    );
    found(
        &nested,
        r#"{"checked": {}, "ignored": {}, "list": [{}], "b": 0}"#,
        &["checked.s string.min_len"],
    );
    found(&nested, r#"{"a": {}}"#, &["a.s string.min_len"]);
    found(&nested, r#"{"b": null}"#, &["one required"]);
}

#[test]
fn groups_of_fields() {
    let contract = contract(
        "message X {
            option (buf.validate.message).oneof = {fields: ['a', 'b']};
            option (buf.validate.message).oneof = {fields: ['b', 'c'], required: true};
            string a = 1 [(buf.validate.field).string.min_len = 2];
            int32 b = 2;
            repeated int32 c = 3;
        }",
    );
    found(&contract, r#"{"b": 1}"#, &[]);
    found(&contract, r#"{"a": "ab", "b": 1}"#, &[" message.oneof"]);
    found(&contract, r#"{"a": "ab"}"#, &[" message.oneof"]);
    found(&contract, r#"{"a": "a", "c": [1]}"#, &["a string.min_len"]);
}

#[test]
fn rules_that_cannot_work_are_refused() {
    for (body, expected) in [
        (
            "message X { int32 f = 1 [(buf.validate.field).string.min_len = 1]; }",
            "X.f: `string` rules do not fit",
        ),
        (
            "message X { string f = 1 [(buf.validate.field).string = {min_len: 3, max_len: 2}]; }",
            "string.min_len is greater",
        ),
        (
            "message X { int32 f = 1 [(buf.validate.field).int32 = {gt: 3, lt: 3}]; }",
            "int32: no value",
        ),
        (
            "message X { repeated X f = 1 [(buf.validate.field).repeated.unique = true]; }",
            "for scalars",
        ),
        (
            "message X { repeated int32 f = 1 [(buf.validate.field).repeated = {min_items: 3, max_items: 2}]; }",
            "min_items is greater",
        ),
        (
            "message X { string f = 1 [(buf.validate.field).string.pattern = '(']; }",
            "X.f: string.pattern `(` is not one",
        ),
        (
            "message X { string f = 1 [(buf.validate.field).string.pattern = '\\\\w{900}{90}']; }",
            "size limit",
        ),
        (
            "message X { option (buf.validate.message).oneof = {fields: 'g'}; int32 f = 1; }",
            "X: oneof: there is no field `g`",
        ),
    ] {
        refused(body, expected);
    }
}

#[test]
fn ignored_elements_leave_their_list_to_its_rules() {
    let contract = contract(
        "message In { string s = 1 [(buf.validate.field).string.min_len = 1]; }
        message X {
            repeated In list = 1 [(buf.validate.field).repeated = {
                min_items: 2, items: {ignore: IGNORE_ALWAYS}
            }];
            map<string, In> map = 2 [(buf.validate.field).map = {
                max_pairs: 1, keys: {string: {max_len: 1}}, values: {ignore: IGNORE_ALWAYS}
            }];
        }",
    );
    found(&contract, r#"{"list": [{}, {}], "map": {"a": {}}}"#, &[]);
    found(&contract, r#"{"list": [{}]}"#, &["list repeated.min_items"]);
    found(
        &contract,
        r#"{"list": [{}, {}], "map": {"ab": {}, "b": {}}}"#,
        &["map map.max_pairs", "map.ab string.max_len"],
    );
}

/// Each is small enough, and all together are not.
#[test]
fn the_patterns_of_a_contract_share_a_budget() {
    let pattern = |n: usize, text: &str| {
        format!("string f{n} = {n} [(buf.validate.field).string.pattern = '{text}'];")
    };
    let body = |text: &dyn Fn(usize) -> String| {
        format!("message X {{ {} }}", (1..=60).map(|n| pattern(n, &text(n))).collect::<String>())
    };
    let compiled = |body: &str| {
        compile(&source("a/1/x", &[("a/1/x.proto", &file(body))]), &Config::default()).map(|_| ())
    };
    assert_eq!(compiled(&body(&|_| r"\\pL{20}".to_owned())), Ok(()), "equal ones count once");
    let error = compiled(&body(&|n| format!(r"\\pL{{20}}{n}"))).unwrap_err().message;
    assert!(!error.contains("X.f32: ") && error.contains("X.f33: string.pattern"), "{error}");
    assert!(error.contains("33554432 bytes") && error.contains("pattern_bytes_max"), "{error}");
    assert!(error.contains("X.f52: ") && !error.contains("X.f53: "), "no more than 20: {error}");
    let cel = "message X { string s = 1 [(buf.validate.field).cel_expression =
        \"this.matches('\\\\\\\\pL{900}')\"]; }";
    refused(cel, "size limit");
}

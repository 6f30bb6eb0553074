//! What is accepted and what is refused, with the place and the rule of each violation.

use super::*;
use crate::{
    Config,
    compile::compile,
    testing::{source, version},
};
use contract::{clock::Timestamp, schema::UnknownFields};
use prost_reflect::prost::Message as _;

/// 2026-01-01T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

const EVERYTHING: &str = include_str!("../../test-data/everything.proto");

pub(super) fn contract_of(message: &str, text: &str, unknown_fields: UnknownFields) -> Contract {
    let mut source = source("a/1/x", &[("a/1/x.proto", text)]);
    source.message = Some(message.to_owned());
    let compiled = compile(&source, &Config::default()).unwrap();
    let version =
        SchemaVersion { message: compiled.message, unknown_fields, ..version("a/1/x", 0) };
    let (descriptor_set, files) = (compiled.descriptor_set, compiled.files);
    Contract::new(&SchemaBundle { version, descriptor_set, files, example: None }, 100).unwrap()
}

fn everything(unknown_fields: UnknownFields) -> Contract {
    contract_of("Everything", EVERYTHING, unknown_fields)
}

fn legacy() -> Contract {
    let text = "syntax = 'proto2';
        message Legacy {
            required int32 id = 1;
            optional Size size = 2;
            repeated Part parts = 3;
            extensions 100 to 200;
        }
        message Part { required string name = 1; }
        enum Size { SMALL = 1; LARGE = 2; }
        extend Legacy { optional int32 extra = 100; }";
    contract_of("Legacy", text, UnknownFields::Reject)
}

/// The violations as `path rule`, in order.
fn violations(contract: &Contract, media: &str, payload: &[u8]) -> Vec<String> {
    match contract.check(media, payload, NOW) {
        Ok(()) => Vec::new(),
        Err(error) => {
            assert_eq!(error.code, ErrorCode::ContractViolation, "{error}");
            let of = |found: contract::schema::Violation| format!("{} {}", found.path, found.rule);
            error.violations.into_iter().map(of).collect()
        }
    }
}

#[track_caller]
fn found(contract: &Contract, json: &str, expected: &[&str]) {
    assert_eq!(violations(contract, "application/json", json.as_bytes()), expected, "{json}");
}

fn code(contract: &Contract, media: &str, payload: &[u8]) -> ErrorCode {
    contract.check(media, payload, NOW).unwrap_err().code
}

#[test]
fn what_the_json_mapping_allows() {
    let contract = everything(UnknownFields::Reject);
    for json in [
        "{}",
        " \n{ } ",
        r#"{"an_int32": 1, "anInt64": "9223372036854775807", "aUint32": 4294967295}"#,
        r#"{"anInt32": 1.0, "anInt64": -5, "aUint64": 1e3, "anInt32s": ["2", 3, -4.0]}"#,
        r#"{"aDouble": "NaN", "aFloat": "-Infinity", "aBool": true, "aString": "é\u00e9"}"#,
        r#"{"aDouble": "1e5", "aFloat": 3.4e38}"#,
        r#"{"anInt32": 1.5e1, "aUint32": 100e-2, "anInt32s": ["1.0", "1.5e1", "100e-2"]}"#,
        r#"{"anInt64": 9223372036854775807.0, "aUint64": 1844674407370955161.5e1}"#,
        r#"{"anInt64": -9223372036854775808e0, "aUint64": "18446744073709551615.0"}"#,
        r#"{"someBytes": "-_8", "color": "RED", "colors": [0, "BLUE", 77]}"#,
        r#"{"anInt32": null, "anInt32s": null, "inner": null, "counts": null, "left": null}"#,
        r#"{"left": null, "right": 1}"#,
        r#"{"inner": {"name": "a", "inner": {"names": ["b"]}}, "inners": [{}, {"name": ""}]}"#,
        r#"{"counts": {"a": 1, "b c": "2"}, "byNumber": {"-1": {}}, "byBool": {"true": "x"}}"#,
        r#"{"time": "2026-01-02T03:04:05.5+01:00", "duration": "1.5s", "mask": "a.bC,d"}"#,
        r#"{"object": {"a": [1, {"b": null}]}, "anything": null, "things": [1, "x", {}]}"#,
        r#"{"anything": {"deep": [true]}, "nothing": null, "empty": {}}"#,
        r#"{"wrapped": "5", "wrappedText": "x", "wrappedBool": false}"#,
        r#"{"any": {"@type": "x/Inner", "name": "a"}}"#,
        r#"{"any": {"name": "a", "@type": "type.googleapis.com/Inner"}}"#,
        r#"{"any": {"value": "1s", "@type": "t/google.protobuf.Duration"}}"#,
        r#"{"any": {"@type": "t/google.protobuf.Any", "value": {"@type": "t/Inner"}}}"#,
    ] {
        found(&contract, json, &[]);
    }
}

#[test]
fn every_violation_has_its_place_and_rule() {
    let contract = everything(UnknownFields::Reject);
    for (json, expected) in [
        (r#"{"anInt32": "x", "aBool": 1}"#, vec!["anInt32 format", "aBool type"]),
        (r#"{"anInt32": 2147483648, "aUint32": -1}"#, vec!["anInt32 range", "aUint32 range"]),
        (r#"{"an_int32": 1.5, "anInt64": true}"#, vec!["an_int32 type", "anInt64 type"]),
        (r#"{"anInt64": "9223372036854775808"}"#, vec!["anInt64 range"]),
        (r#"{"anInt64": 9223372036854775808e0}"#, vec!["anInt64 range"]),
        (r#"{"anInt64": -9223372036854775809}"#, vec!["anInt64 range"]),
        (r#"{"anInt64": 9007199254740993.5}"#, vec!["anInt64 type"]),
        (r#"{"anInt32": 1e-400, "aUint64": 1e400}"#, vec!["anInt32 type", "aUint64 range"]),
        (r#"{"anInt32": "1e-999999999999"}"#, vec!["anInt32 format"]),
        (r#"{"byNumber": {"1": {}, "01": {}}}"#, vec!["byNumber.01 format"]),
        (r#"{"byNumber": {"1e0": {}}}"#, vec!["byNumber.1e0 format"]),
        (r#"{"aFloat": 3.5e38, "aDouble": "inf"}"#, vec!["aFloat range", "aDouble format"]),
        (r#"{"aString": 1, "someBytes": "a"}"#, vec!["aString type", "someBytes format"]),
        (r#"{"color": "PINK", "colors": ["RED", 1.5]}"#, vec!["color enum", "colors[1] type"]),
        (r#"{"colors": [2147483648]}"#, vec!["colors[0] range"]),
        (r#"{"anInt32s": [1, null, "x"]}"#, vec!["anInt32s[1] type", "anInt32s[2] format"]),
        (r#"{"anInt32s": 5, "anInt32": [5]}"#, vec!["anInt32s type", "anInt32 type"]),
        (r#"{"inner": [], "inners": {}}"#, vec!["inner type", "inners type"]),
        (
            r#"{"inners": [{}, {"inner": {"name": 7}}, "x"]}"#,
            vec!["inners[1].inner.name type", "inners[2] type"],
        ),
        (
            r#"{"counts": {"a": "x", "b c": {}}, "byNumber": {"x": {}}, "byBool": {"1": ""}}"#,
            vec!["counts.a format", "counts[\"b c\"] type", "byNumber.x format", "byBool.1 format"],
        ),
        (r#"{"counts": {"a": 1, "a": 2}}"#, vec!["counts.a duplicate_key"]),
        (r#"{"object": {"a": 1, "a": 2}}"#, vec!["object.a duplicate_key"]),
        (r#"{"anInt32": 1, "an_int32": 1}"#, vec!["an_int32 duplicate_key"]),
        (r#"{"anInt32": null, "anInt32": 1}"#, vec!["anInt32 duplicate_key"]),
        (r#"{"left": "a", "right": 1}"#, vec!["right oneof"]),
        (
            r#"{"nope": {"a": [1]}, "inner": {"x": 1}}"#,
            vec!["nope unknown_field", "inner.x unknown_field"],
        ),
        (
            r#"{"time": "yesterday", "duration": "1h", "mask": "a_b", "time": 5}"#,
            vec![
                "time format",
                "duration format",
                "mask format",
                "time duplicate_key",
                "time type",
            ],
        ),
        (
            r#"{"object": [], "list": {}, "nothing": 0}"#,
            vec!["object type", "list type", "nothing type"],
        ),
        (r#"{"wrapped": "x", "wrappedBool": "true"}"#, vec!["wrapped format", "wrappedBool type"]),
        (r#"{"any": {"@type": "x/Nope"}}"#, vec!["any.@type any_type"]),
        (r#"{"any": {"@type": "Inner"}}"#, vec!["any.@type any_type"]),
        (r#"{"any": {"name": "a"}}"#, vec!["any type"]),
        (r#"{"any": {"name": 5, "@type": "x/Inner"}}"#, vec!["any.name type"]),
        (r#"{"any": {"@type": "x/google.protobuf.Duration"}}"#, vec!["any.value required"]),
        (r#"{"any": 5, "anys": [null]}"#, vec!["any type", "anys[0] type"]),
        ("[]", vec![" type"]),
        ("null", vec![" type"]),
        ("7", vec![" type"]),
    ] {
        found(&contract, json, &expected);
    }
}

#[test]
fn a_violation_says_what_was_expected_and_found() {
    let contract = everything(UnknownFields::Reject);
    let long =
        format!(r#"{{"color": "PINK", "anInt32": "{}", "left": "", "right": 2}}"#, "é".repeat(99));
    let error = contract.check("application/json", long.as_bytes(), NOW).unwrap_err();
    assert_eq!(error.message, "the payload breaks the contract of a/1/x in 3 places");
    let [color, number, right] = error.violations.as_slice() else { panic!("{error:?}") };
    assert_eq!(color.expected, "one of `NONE`, `RED`, `BLUE`");
    assert_eq!(color.found, "\"PINK\"");
    assert_eq!(number.expected, "a whole number of 32 bits");
    assert_eq!(number.found, format!("\"{}...\"", "é".repeat(60)));
    assert_eq!(right.expected, "only one of `left`, `right`");
}

#[test]
fn unknown_fields_pass_if_the_schema_says_so() {
    let contract = everything(UnknownFields::Ignore);
    found(&contract, r#"{"nope": {"a": [1, {"b": null}]}, "inner": {"x": "y"}}"#, &[]);
    found(&contract, r#"{"nope": 1, "nope": 2, "anInt32": true}"#, &["anInt32 type"]);
    found(&contract, r#"{"color": "PINK"}"#, &["color enum"]);
}

#[test]
fn depth_is_bounded_everywhere() {
    let contract = everything(UnknownFields::Ignore);
    let nested = |before: &str, open: &str, close: &str, depth: usize| {
        format!("{{{before}{}1{}}}", open.repeat(depth), close.repeat(depth))
    };
    for (before, depth) in [(r#""anything":"#, 99), (r#""nope":"#, 99)] {
        found(&contract, &nested(before, "[", "]", depth), &[]);
        for too_deep in [depth + 1, 5000] {
            let json = nested(before, "[", "]", too_deep);
            let found = violations(&contract, "application/json", json.as_bytes());
            assert!(matches!(found.as_slice(), [one] if one.ends_with(" depth")), "{found:?}");
        }
    }
    let json = format!("{}{{}}{}", r#"{"inner":"#.repeat(5000), "}".repeat(5000));
    let found = violations(&contract, "application/json", json.as_bytes());
    assert_eq!(found.len(), 1, "{found:?}");
    let any = r#"{"@type":"t/google.protobuf.Any","value":"#;
    let json = format!(r#"{{"any":{}{{"@type":"t/Inner"}}{}}}"#, any.repeat(40), "}".repeat(40));
    let found = violations(&contract, "application/json", json.as_bytes());
    assert!(matches!(found.as_slice(), [one] if one.ends_with(" depth")), "{found:?}");
}

#[test]
fn what_is_not_json_is_malformed() {
    let contract = everything(UnknownFields::Ignore);
    let payloads: [&[u8]; 9] = [
        b"",
        b"{",
        b"{} {}",
        b"{'a': 1}",
        b"{\"anInt32\": 01}",
        b"{\"aString\": \"\xff\"}",
        b"{\"nope\": \"\xc3\x28\"}",
        b"{\"aString\": \"\\ud800\"}",
        b"{\"aString\": 5, ",
    ];
    for payload in payloads {
        let code = code(&contract, "application/json", payload);
        assert_eq!(code, ErrorCode::MalformedPayload, "{}", String::from_utf8_lossy(payload));
    }
    assert_eq!(code(&contract, "text/plain", b"{}"), ErrorCode::UnsupportedMediaType);
}

#[test]
fn forms_are_checked_by_the_json_they_hold() {
    let (contract, form) = (everything(UnknownFields::Reject), "application/x-www-form-urlencoded");
    assert_eq!(violations(&contract, form, b"payload=%7B%22anInt32%22%3A+1%7D"), [""; 0]);
    let found = violations(&contract, form, b"payload=%7B%22anInt32%22%3A+true%7D");
    assert_eq!(found, ["anInt32 type"]);
    assert_eq!(code(&contract, form, b"other=1"), ErrorCode::MalformedPayload);
    assert_eq!(code(&contract, form, b"payload=%7B"), ErrorCode::MalformedPayload);
}

#[test]
fn proto2_wants_its_required_fields_and_its_enum_numbers() {
    let contract = legacy();
    found(&contract, r#"{"id": 1, "size": 2, "[extra]": 5}"#, &[]);
    found(&contract, r#"{"id": 1, "size": "SMALL", "parts": [{"name": ""}]}"#, &[]);
    found(&contract, "{}", &["id required"]);
    found(&contract, r#"{"id": null}"#, &["id required"]);
    found(
        &contract,
        r#"{"parts": [{}], "size": 9, "[extra]": "x"}"#,
        &["parts[0].name required", "size enum", "[extra] format", "id required"],
    );
}

#[test]
fn binary_protobuf() {
    let (contract, media) = (legacy(), "application/protobuf");
    assert_eq!(violations(&contract, media, &[8, 1, 16, 2]), [""; 0]);
    assert_eq!(violations(&contract, media, &[]), ["id required"]);
    let payload = [16, 9, 26, 0, 80, 1];
    let found = violations(&contract, media, &payload);
    assert_eq!(found, [" unknown_field", "id required", "size enum", "parts[0].name required"]);
    assert_eq!(code(&contract, media, &[8]), ErrorCode::MalformedPayload);
    assert_eq!(code(&contract, media, &[10, 1, 0xff, 0xff]), ErrorCode::MalformedPayload);

    let contract = everything(UnknownFields::Ignore);
    let json = r#"{"time": "2026-01-02T03:04:05Z", "counts": {"a": 1}, "inners": [{"name": "a"}],
        "any": {"@type": "x/Inner", "name": "b"}, "colors": ["RED", 77], "nope": 0}"#;
    let options = prost_reflect::DeserializeOptions::new().deny_unknown_fields(false);
    let mut json = serde_json::Deserializer::from_str(json);
    let descriptor = contract.message.clone();
    let message =
        prost_reflect::DynamicMessage::deserialize_with_options(descriptor, &mut json, &options);
    let mut bytes = message.unwrap().encode_to_vec();
    assert_eq!(violations(&contract, "application/x-protobuf", &bytes), [""; 0]);
    // A time far outside of the calendar: field 20, a Timestamp whose seconds are 2^62.
    let number = contract.message.get_field_by_name("time").unwrap().number();
    prost_reflect::prost::encoding::message::encode(
        number,
        &prost_types::Timestamp { seconds: 1 << 62, nanos: 0 },
        &mut bytes,
    );
    assert_eq!(violations(&contract, "application/protobuf", &bytes), ["time range"]);
}

#[test]
fn binary_protobuf_that_json_could_not_write() {
    use prost_types::{Duration, Timestamp, Value, value::Kind};

    let contract = everything(UnknownFields::Ignore);
    let found = |name: &str, value: &[u8]| {
        let number = contract.message.get_field_by_name(name).unwrap().number();
        let mut bytes = Vec::new();
        prost_reflect::prost::encoding::bytes::encode(number, &value.to_vec(), &mut bytes);
        violations(&contract, "application/protobuf", &bytes)
    };
    for (nanos, broken) in [(-1, true), (0, false), (999_999_999, false)] {
        let time = Timestamp { seconds: 1, nanos }.encode_to_vec();
        assert_eq!(!found("time", &time).is_empty(), broken, "{nanos}");
    }
    for (seconds, nanos, broken) in
        [(1, -1, true), (-1, 1, true), (-1, -1, false), (0, -1, false), (1, 1, false)]
    {
        let duration = Duration { seconds, nanos }.encode_to_vec();
        let expected = if broken { vec!["duration range"] } else { vec![] };
        assert_eq!(found("duration", &duration), expected, "{seconds} {nanos}");
    }
    let value = |kind| Value { kind: Some(kind) }.encode_to_vec();
    assert_eq!(found("anything", &[]), ["anything required"]);
    assert_eq!(found("anything", &value(Kind::NumberValue(f64::NAN))), ["anything range"]);
    assert_eq!(found("anything", &value(Kind::NumberValue(-f64::INFINITY))), ["anything range"]);
    for kind in [Kind::NullValue(0), Kind::NumberValue(0.0), Kind::StringValue(String::new())] {
        assert_eq!(found("anything", &value(kind)), [""; 0]);
    }
}

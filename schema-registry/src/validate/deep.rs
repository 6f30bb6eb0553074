//! How deep payloads may be: the same for JSON and for protobuf, with rules and without.

use super::{Contract, built, tests::NOW, tests::contract_of};
use contract::{ErrorCode, schema::UnknownFields};
use prost_reflect::prost::Message as _;

const DEPTH_MAX: usize = 100;

fn plain() -> Contract {
    contract(" ")
}

/// Its rules need the built message.
fn ruled() -> Contract {
    contract(
        "[(buf.validate.field).repeated.unique = true, (buf.validate.field).cel = {
            id: 'few', expression: 'this.size() < 3'
        }]",
    )
}

fn contract(rules: &str) -> Contract {
    let text = format!(
        "syntax = 'proto3'; import 'buf/validate/validate.proto';
        import 'google/protobuf/any.proto'; import 'google/protobuf/struct.proto';
        import 'google/protobuf/timestamp.proto'; import 'google/protobuf/wrappers.proto';
        message X {{
            repeated string tags = 1 {rules};
            google.protobuf.Struct object = 2;
            google.protobuf.Value anything = 3;
            X inner = 4;
            google.protobuf.Any any = 5;
            map<string, X> by_name = 6;
            google.protobuf.ListValue list = 7;
            google.protobuf.Timestamp at = 8;
            google.protobuf.Int64Value number = 9;
            repeated google.protobuf.Value things = 10;
        }}"
    );
    contract_of("X", &text, UnknownFields::Reject)
}

/// `levels` of `open` and `close` around `inside`.
fn nested(levels: usize, (open, close): (&str, &str), inside: &str) -> String {
    format!("{}{inside}{}", open.repeat(levels), close.repeat(levels))
}

const OBJECT: (&str, &str) = ("{\"a\":", "}");
const LIST: (&str, &str) = ("[", "]");

/// Payloads that are as deep as `levels` objects and lists, the payload itself included.
fn payloads(levels: usize) -> Vec<String> {
    let leaf = r#"{"at":"2026-01-02T03:04:05Z","number":"7","anything":1}"#;
    let any = "{\"@type\":\"t/X\",\"object\":";
    vec![
        format!("{{\"object\":{}}}", nested(levels - 1, OBJECT, "1").replace("{\"a\":1}", "{}")),
        format!("{{\"anything\":{}}}", nested(levels - 1, OBJECT, "null")),
        format!("{{\"anything\":{}}}", nested(levels - 1, LIST, "")),
        format!("{{\"list\":{}}}", nested(levels - 1, LIST, "true")),
        format!("{{\"things\":[{}]}}", nested(levels - 2, OBJECT, "\"x\"")),
        nested(levels - 1, ("{\"inner\":", "}"), leaf),
        format!("{{\"any\":{any}{}}}}}", nested(levels - 2, OBJECT, "0")),
    ]
}

fn depth_violation(contract: &Contract, media: &str, payload: &[u8]) -> String {
    let error = contract.check(media, payload, NOW).unwrap_err();
    assert_eq!(error.code, ErrorCode::ContractViolation, "{error}");
    let rules: Vec<_> = error.violations.iter().map(|found| found.rule.as_str()).collect();
    assert_eq!(rules, ["depth"], "{error:?}");
    error.violations[0].expected.clone()
}

#[test]
fn what_is_within_the_limit_is_accepted_in_both_formats() {
    for contract in [plain(), ruled()] {
        for levels in [3, 50, 51, DEPTH_MAX] {
            for json in payloads(levels) {
                let checked = contract.check("application/json", json.as_bytes(), NOW);
                assert_eq!(checked, Ok(()), "{levels}: {json}");
                let message = built::message(&contract.message, &json).unwrap();
                let binary = message.encode_to_vec();
                let checked = contract.check("application/protobuf", &binary, NOW);
                assert_eq!(checked, Ok(()), "{levels}, binary: {json}");
            }
        }
    }
}

#[test]
fn what_is_beyond_the_limit_is_a_violation_that_names_it() {
    for contract in [plain(), ruled()] {
        for json in payloads(DEPTH_MAX + 1) {
            let expected = depth_violation(&contract, "application/json", json.as_bytes());
            assert_eq!(expected, "at most 100 objects and lists inside each other", "{json}");
        }
        for levels in [DEPTH_MAX + 1, 120] {
            // In protobuf, a list of messages is none itself.
            let payloads = payloads(levels).into_iter().filter(|json| !json.contains("things"));
            for json in payloads {
                let message = built::message(&contract.message, &json).unwrap();
                let binary = message.encode_to_vec();
                let expected = depth_violation(&contract, "application/protobuf", &binary);
                assert_eq!(expected, "at most 100 messages inside each other", "{json}");
            }
        }
    }
}

#[test]
fn bombs_of_protobuf_are_told_to_be_too_deep() {
    let bomb = (0..5_000).fold(Vec::new(), |inner: Vec<u8>, _| {
        let mut outer = Vec::with_capacity(inner.len() + 8);
        prost_reflect::prost::encoding::bytes::encode(4, &inner, &mut outer);
        outer
    });
    let expected = "at most 100 messages inside each other";
    assert_eq!(depth_violation(&plain(), "application/protobuf", &bomb), expected);
}

#[test]
fn rules_hold_beside_what_is_deep() {
    let deep = nested(90, OBJECT, "1");
    let json = format!("{{\"inner\":{{\"object\":{deep},\"tags\":[\"a\",\"b\",\"a\"]}}}}");
    let contract = ruled();
    let binary = built::message(&contract.message, &json).unwrap().encode_to_vec();
    for (media, payload) in
        [("application/json", json.as_bytes()), ("application/protobuf", &binary)]
    {
        let error = contract.check(media, payload, NOW).unwrap_err();
        let found: Vec<_> = error.violations.iter().map(|it| (&*it.path, &*it.rule)).collect();
        assert_eq!(found, [("inner.tags", "repeated.unique"), ("inner.tags", "few")], "{media}");
    }
}

#[test]
fn what_is_decoded_level_by_level_is_what_the_library_decodes() {
    let contract = plain();
    let deep = nested(60, OBJECT, "[1,\"x\",{\"b\":null},true]");
    let json = format!(
        "{{\"tags\":[\"a\",\"b\"],\"inner\":{{\"byName\":{{\"k\":{{\"tags\":[\"c\"]}},\"l\":{{}}}},\
         \"object\":{deep}}},\"any\":{{\"@type\":\"t/X\",\"object\":{deep}}}}}"
    );
    let message = built::message(&contract.message, &json).unwrap();
    let mut binary = message.encode_to_vec();
    // A field twice: the library merges them, and so do we.
    binary.extend(
        built::message(&contract.message, "{\"inner\":{\"tags\":[\"d\"]}}")
            .unwrap()
            .encode_to_vec(),
    );
    let decoded = super::binary::decode::decode(&contract.message, &binary).unwrap();
    let inner = decoded.get_field_by_name("inner").unwrap().into_owned();
    let inner = inner.as_message().unwrap();
    let tags = inner.get_field_by_name("tags").unwrap().into_owned();
    assert_eq!(tags.as_list().map(<[_]>::len), Some(1));
    assert_eq!(inner.get_field_by_name("byName"), None);
    let by_name = inner.get_field_by_name("by_name").unwrap().into_owned();
    assert_eq!(by_name.as_map().map(|pairs| pairs.len()), Some(2));
    let before = message.get_field_by_name("inner").unwrap().into_owned();
    let object = |message: &prost_reflect::DynamicMessage| {
        message.get_field_by_name("object").unwrap().into_owned()
    };
    assert_eq!(object(inner), object(before.as_message().unwrap()));
    assert_eq!(decoded.get_field_by_name("any"), message.get_field_by_name("any"));
    assert_eq!(decoded.get_field_by_name("tags"), message.get_field_by_name("tags"));
}
